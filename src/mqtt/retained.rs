//! Retained messages on MQTT 3.1.1, which sends them at every SUBSCRIBE: the first time of a session they count,
//! later copies do not. (MQTT 5 sends them once, by retain handling 1, and this is not asked.) Pure.

use std::time::Duration;

/// Without a retained copy for so long, the first set has come whole.
const WHOLE_AFTER: Duration = Duration::from_secs(5);

#[derive(Debug, Default)]
pub(super) struct Retained {
    /// The first set of this session may still be coming.
    expected: bool,
}

impl Retained {
    /// A new connection. Without a session, the subscription is its first.
    pub(super) fn connected(&mut self, session_present: bool) {
        self.expected |= !session_present;
    }

    /// Whether a publish is a later copy, to be skipped. One marked as sent again was sent before and not
    /// acknowledged, so it belongs to a set that counted.
    pub(super) fn is_later_copy(&mut self, retain: bool, dup: bool) -> bool {
        if !retain {
            // Brokers send the set before what was published after the SUBSCRIBE.
            self.expected &= dup;
        }
        retain && !dup && !self.expected
    }

    /// A connection ended, so long after its last retained copy or, without one, its SUBSCRIBE. A set that was
    /// cut off in the middle is still expected on the next connection.
    pub(super) fn disconnected(&mut self, quiet: Duration, all_acknowledged: bool) {
        if all_acknowledged && quiet >= WHOLE_AFTER {
            self.expected = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_set_counts_and_later_ones_do_not() {
        let mut retained = Retained::default();
        retained.connected(false);
        assert!(!retained.is_later_copy(true, false));
        assert!(!retained.is_later_copy(false, false));
        retained.connected(true);
        assert!(retained.is_later_copy(true, false));
        assert!(!retained.is_later_copy(false, false), "a live message is never skipped");
    }

    #[test]
    fn a_set_that_was_cut_off_is_still_expected() {
        let mut retained = Retained::default();
        retained.connected(false);
        assert!(!retained.is_later_copy(true, false));
        retained.disconnected(Duration::from_millis(10), false);
        retained.connected(true);
        assert!(!retained.is_later_copy(true, true));
        assert!(!retained.is_later_copy(true, false));
        retained.disconnected(WHOLE_AFTER, true);
        retained.connected(true);
        assert!(retained.is_later_copy(true, false));
        assert!(!retained.is_later_copy(true, true), "sent again: it was never acknowledged");
    }

    #[test]
    fn a_forgotten_session_starts_anew() {
        let mut retained = Retained::default();
        retained.connected(true);
        assert!(retained.is_later_copy(true, false));
        retained.connected(false);
        assert!(!retained.is_later_copy(true, false));
    }
}
