//! How far the bridge's clock is ahead of a broker's, from what comes and when. Pure.
//!
//! Events can come late and never early, so the smallest difference is the nearest to the truth; it is looked for
//! anew every few minutes, since clocks are set and drift.

/// For how long a smallest difference counts, in milliseconds.
const WINDOW: u64 = 600_000;

#[derive(Debug, Default)]
pub(super) struct Skew {
    /// When the window began, and the smallest difference in it.
    current: Option<(u64, i64)>,
    /// The smallest of the window before.
    before: Option<i64>,
}

impl Skew {
    /// As it was for the last process, where that saw it.
    pub(super) fn new(ahead: Option<i64>) -> Self {
        Self { current: None, before: ahead }
    }

    /// How far the bridge's clock is ahead, where that has been seen.
    pub(super) fn ahead(&self) -> Option<i64> {
        self.current.map(|(_, smallest)| smallest).into_iter().chain(self.before).min()
    }

    /// How late something comes that happened at `at` by the broker's clock, in milliseconds; takes note of it.
    pub(super) fn lateness(&mut self, at: u64, now: u64) -> u64 {
        let difference = difference(now, at);
        match &mut self.current {
            Some((began, smallest)) if now.saturating_sub(*began) <= WINDOW => *smallest = difference.min(*smallest),
            current => {
                let over = current.replace((now, difference)).map(|(_, smallest)| smallest);
                self.before = over.or(self.before);
            }
        }
        u64::try_from(difference.saturating_sub(self.smallest())).unwrap_or(0)
    }

    /// The broker's clock when the bridge's shows `now`.
    pub(super) fn broker_time(&self, now: u64) -> u64 {
        now.saturating_add_signed(self.smallest().saturating_neg())
    }

    fn smallest(&self) -> i64 {
        self.ahead().unwrap_or(0)
    }
}

fn difference(now: u64, at: u64) -> i64 {
    let signed = |time| i64::try_from(time).unwrap_or(i64::MAX);
    signed(now).saturating_sub(signed(at))
}
