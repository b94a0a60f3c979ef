//! Retained messages on MQTT 3.1.1, which sends them at every SUBSCRIBE: the first set that a process asks for counts,
//! later ones do not. (MQTT 5 sends them once, by retain handling 1, and this is not asked.)
//!
//! A copy is skipped only when the first set is known to have come whole, since one that is skipped is lost. When in
//! doubt it counts, and is a duplicate. What waits in the session may be ahead of the set, for as long as it takes.
//! Pure: told the time.

use std::time::Duration;

use tokio::time::Instant;

/// Without a copy for so long, no more of the set comes.
const WHOLE_AFTER: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Retained {
    /// The set has come whole: what the next connection brings of it are later copies.
    whole: bool,
    /// Copies count on this connection. They go on to do so when the set is whole, as the next one is not yet asked for.
    expected: bool,
    /// A copy has come since the last SUBSCRIBE.
    begun: bool,
    last_copy: Instant,
    last_publish: Instant,
}

impl Retained {
    /// Of a new process, which cannot know how much of a set an earlier one has had.
    pub(super) fn new(now: Instant) -> Self {
        Self { whole: false, expected: true, begun: false, last_copy: now, last_publish: now }
    }

    /// A new connection subscribes to all filters. Without a session, the subscription is its first.
    pub(super) fn connected(&mut self, session_present: bool, now: Instant) {
        self.whole &= session_present;
        self.asked(!self.whole, now);
    }

    /// A filter that was refused is asked for again: if it is granted, its set is the first.
    pub(super) fn asked_again(&mut self, now: Instant) {
        self.whole = false;
        self.asked(true, now);
    }

    fn asked(&mut self, expected: bool, now: Instant) {
        *self = Self { whole: self.whole, expected, begun: false, last_copy: now, last_publish: now };
    }

    /// Whether a publish is a later copy, to be skipped. One marked as sent again was sent before and not
    /// acknowledged, so it belongs to a set that counted.
    pub(super) fn is_later_copy(&mut self, retain: bool, dup: bool, now: Instant) -> bool {
        self.last_publish = now;
        if retain {
            self.last_copy = now;
            self.begun |= !dup;
        } else if self.begun && !dup {
            // Brokers send the set before what was published after the SUBSCRIBE, or mixed with it for a while.
            self.whole |= now - self.last_copy >= WHOLE_AFTER;
        }
        retain && !dup && !self.expected
    }

    /// The connection ended. On one that was quiet nothing waited any more, nor a set behind it.
    pub(super) fn disconnected(&mut self, all_acknowledged: bool, now: Instant) {
        self.whole |= all_acknowledged && now - self.last_publish >= WHOLE_AFTER;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A process, its time, and what it makes of each copy and live message.
    struct Process {
        retained: Retained,
        now: Instant,
    }

    impl Process {
        fn start(session_present: bool) -> Self {
            let now = Instant::now();
            let mut process = Self { retained: Retained::new(now), now };
            process.retained.connected(session_present, now);
            process
        }

        fn passes(&mut self, time: Duration) {
            self.now += time;
        }

        fn counts(&mut self, dup: bool) -> bool {
            !self.retained.is_later_copy(true, dup, self.now)
        }

        fn live(&mut self) {
            assert!(!self.retained.is_later_copy(false, false, self.now), "a live message is never skipped");
        }

        fn reconnect(&mut self, all_acknowledged: bool, session_present: bool) {
            self.retained.disconnected(all_acknowledged, self.now);
            self.retained.connected(session_present, self.now);
        }
    }

    #[test]
    fn the_first_set_of_a_process_counts_and_later_ones_do_not() {
        for session_present in [false, true] {
            let mut process = Process::start(session_present);
            assert!(process.counts(false));
            process.live();
            assert!(process.counts(false), "some brokers mix the set with what is live");
            process.passes(WHOLE_AFTER);
            process.live();
            process.reconnect(false, true);
            assert!(!process.counts(false));
            assert!(process.counts(true), "sent again: it was never acknowledged");
            process.live();
        }
    }

    #[test]
    fn a_set_that_was_cut_off_is_still_expected() {
        let mut process = Process::start(false);
        assert!(process.counts(false));
        process.live();
        process.reconnect(true, true);
        assert!(process.counts(true) && process.counts(false));
        process.passes(WHOLE_AFTER);
        process.reconnect(false, true);
        assert!(process.counts(false), "what is not acknowledged may hold it up");
        process.passes(WHOLE_AFTER);
        process.reconnect(true, true);
        assert!(!process.counts(false));
    }

    #[test]
    fn a_set_behind_what_waited_in_the_session_is_still_expected() {
        let mut process = Process::start(true);
        for _ in 0..20 {
            process.passes(WHOLE_AFTER / 5);
            process.live();
        }
        process.reconnect(true, true);
        assert!(process.counts(false));
    }

    #[test]
    fn the_set_of_a_filter_that_is_granted_later_counts() {
        let mut process = Process::start(false);
        process.passes(WHOLE_AFTER);
        process.reconnect(true, true);
        assert!(!process.counts(false));
        process.retained.asked_again(process.now);
        process.live();
        assert!(process.counts(false));
        process.reconnect(true, true);
        assert!(process.counts(false), "it may have been cut off");
    }

    #[test]
    fn a_forgotten_session_starts_anew() {
        let mut process = Process::start(true);
        process.passes(WHOLE_AFTER);
        process.reconnect(true, true);
        assert!(!process.counts(false));
        process.reconnect(false, false);
        assert!(process.counts(false));
    }
}
