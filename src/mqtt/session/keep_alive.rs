//! The keep-alive of one connection: asks often enough, and judges silence only while it listens. Pure.

use std::time::Duration;

use bytes::BytesMut;
use tokio::time::Instant;

use super::Ending;
use crate::mqtt::packet::write_ping;

/// Seldom enough to cost nothing, often enough for what waits for a tick.
const LONGEST_PERIOD: Duration = Duration::from_secs(5);
/// For a broker that wants none: a dead connection must still be found.
const UNLIMITED: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(super) struct KeepAlive {
    limit: Duration,
    asked: Instant,
    /// Counted in ticks, so that a process that was stopped itself does not blame the broker.
    silent: Duration,
}

impl KeepAlive {
    pub(super) fn new(limit: Duration, now: Instant) -> Self {
        let limit = if limit.is_zero() { UNLIMITED } else { limit };
        Self { limit, asked: now, silent: Duration::ZERO }
    }

    /// How often to [`Self::check`].
    pub(super) fn period(&self) -> Duration {
        (self.limit / 2).min(LONGEST_PERIOD)
    }

    pub(super) fn heard(&mut self) {
        self.silent = Duration::ZERO;
    }

    /// At each tick: asks when it is time. While nothing is read, a missing answer is no failure.
    pub(super) fn check(&mut self, now: Instant, blocked: bool, out: &mut BytesMut) -> Result<(), Ending> {
        if blocked {
            self.silent = Duration::ZERO;
        } else {
            self.silent += self.period();
        }
        if self.silent > self.limit + self.period() {
            return Err(Ending::Silent(self.silent));
        }
        if now.duration_since(self.asked) >= self.limit / 2 {
            self.asked = now;
            write_ping(out);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_ends_a_connection_only_while_it_is_read() {
        let start = Instant::now();
        let mut keep_alive = KeepAlive::new(Duration::from_secs(60), start);
        let mut out = BytesMut::new();
        let mut now = start;
        for _ in 0..100 {
            now += keep_alive.period();
            assert!(keep_alive.check(now, true, &mut out).is_ok());
        }
        let since = now;
        while keep_alive.check(now, false, &mut out).is_ok() {
            now += keep_alive.period();
        }
        let waited = now - since;
        assert!(waited > Duration::from_secs(55) && waited < Duration::from_secs(80), "{waited:?}");
    }

    #[test]
    fn a_process_that_was_stopped_does_not_blame_the_broker() {
        let start = Instant::now();
        let mut keep_alive = KeepAlive::new(Duration::from_secs(60), start);
        assert!(keep_alive.check(start + Duration::from_secs(3600), false, &mut BytesMut::new()).is_ok());
    }

    #[test]
    fn it_asks_within_the_interval_that_was_agreed() {
        for seconds in [1, 7, 60, 3600] {
            let limit = Duration::from_secs(seconds);
            let mut now = Instant::now();
            let mut keep_alive = KeepAlive::new(limit, now);
            let mut asked = now;
            for _ in 0..2000 {
                let mut out = BytesMut::new();
                now += keep_alive.period();
                keep_alive.heard();
                assert!(keep_alive.check(now, false, &mut out).is_ok());
                if !out.is_empty() {
                    assert!(now - asked <= limit);
                    asked = now;
                }
                assert!(now - asked < limit);
            }
        }
    }
}
