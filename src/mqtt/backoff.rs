//! How long to wait before the next try: quick at first, never in step with others, slower and slower against a
//! client that uses our client id. Pure but for the jitter.

use std::time::Duration;

/// A connection that lived this long starts the counting anew.
const STEADY: Duration = Duration::from_secs(5);
const FIRST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(1);
const FIRST_CONTESTED: Duration = Duration::from_secs(1);
/// When the broker says that another client took the session over.
const LONGEST_CONTESTED: Duration = Duration::from_secs(60);
/// When it only looks like it: a flapping network does too.
const LONGEST_SUSPECTED: Duration = Duration::from_secs(5);
/// So many connections that were closed right after login look like a second client with our id.
const SUSPICIOUS: u32 = 5;

/// How a connection ended, as far as it says something about a second client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The broker said that another client connected with our id.
    TakenOver,
    /// The broker closed it without a word, as many do then, Mosquitto 2.0 among them.
    Silently,
    /// In a way that says nothing of the kind.
    Otherwise,
}

#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
    taken_over: u32,
    closed_early: u32,
}

impl Backoff {
    /// No connection came about, so no other client is in the way.
    pub(super) fn failed(&mut self) {
        self.failures += 1;
        self.closed_early = 0;
    }

    /// A connection was up for a time and ended.
    pub(super) fn ended(&mut self, lived: Duration, end: End) {
        let steady = lived >= STEADY;
        self.failures = if steady { 1 } else { self.failures + 1 };
        match end {
            End::TakenOver => self.taken_over += 1,
            End::Silently | End::Otherwise if steady => self.taken_over = 0,
            End::Silently | End::Otherwise => {}
        }
        self.closed_early = if end == End::Silently && !steady { self.closed_early + 1 } else { 0 };
    }

    /// Whether another client seems to use our client id.
    pub(super) fn is_contested(&self) -> bool {
        self.taken_over > 0 || self.closed_early >= SUSPICIOUS
    }

    /// How long the next connection must live before it counts as up.
    pub(super) fn proof(&self) -> Duration {
        if self.is_contested() { STEADY } else { Duration::ZERO }
    }

    /// The time to wait, with jitter.
    pub(super) fn delay(&self) -> Duration {
        let whole = if self.taken_over > 0 {
            doubled(FIRST_CONTESTED, self.taken_over - 1, LONGEST_CONTESTED)
        } else if self.is_contested() {
            doubled(FIRST_CONTESTED, self.closed_early - SUSPICIOUS, LONGEST_SUSPECTED)
        } else {
            doubled(FIRST, self.failures.saturating_sub(1), LONGEST)
        };
        whole.mul_f64(0.5 + fastrand::f64() / 2.0)
    }
}

fn doubled(first: Duration, times: u32, longest: Duration) -> Duration {
    first.saturating_mul(1 << times.min(16)).min(longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(100);

    #[test]
    fn the_first_try_comes_quickly_and_later_ones_within_a_second() {
        let mut backoff = Backoff::default();
        backoff.failed();
        assert!(backoff.delay() <= FIRST);
        for _ in 0..100 {
            backoff.failed();
            assert!(backoff.delay() <= LONGEST);
        }
        assert!(backoff.delay() >= LONGEST / 2);
    }

    #[test]
    fn a_broker_that_fails_after_a_while_is_not_taken_for_a_second_client() {
        let mut backoff = Backoff::default();
        for _ in 0..20 {
            backoff.ended(Duration::from_secs(6), End::Silently);
        }
        assert!(!backoff.is_contested());
        assert!(backoff.delay() <= FIRST);
    }

    #[test]
    fn a_broker_that_was_away_in_between_is_not_taken_for_a_second_client() {
        let mut backoff = Backoff::default();
        for _ in 0..20 {
            backoff.ended(SHORT, End::Silently);
            backoff.failed();
        }
        assert!(!backoff.is_contested());
    }

    #[test]
    fn a_contested_client_id_is_fought_for_more_and_more_slowly() {
        let mut backoff = Backoff::default();
        backoff.ended(SHORT, End::TakenOver);
        assert!(backoff.is_contested() && backoff.delay() <= FIRST_CONTESTED);
        for _ in 0..20 {
            backoff.ended(Duration::from_secs(30), End::TakenOver);
        }
        assert!(backoff.delay() >= LONGEST_CONTESTED / 2);
        backoff.ended(Duration::from_secs(3600), End::Otherwise);
        assert!(!backoff.is_contested());
    }

    #[test]
    fn silent_closes_are_suspected_only_when_they_repeat() {
        let mut backoff = Backoff::default();
        for _ in 1..SUSPICIOUS {
            backoff.ended(SHORT, End::Silently);
            assert!(!backoff.is_contested());
        }
        for _ in 0..20 {
            backoff.ended(SHORT, End::Silently);
            assert!(backoff.is_contested() && backoff.delay() <= LONGEST_SUSPECTED);
        }
    }
}
