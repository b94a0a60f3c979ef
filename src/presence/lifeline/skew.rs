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
    /// How late something comes that happened at `at` by the broker's clock, in milliseconds; takes note of it.
    pub(super) fn lateness(&mut self, at: u64, now: u64) -> u64 {
        let difference = difference(now, at);
        match &mut self.current {
            Some((began, smallest)) if now.saturating_sub(*began) <= WINDOW => *smallest = difference.min(*smallest),
            current => self.before = current.replace((now, difference)).map(|(_, smallest)| smallest),
        }
        u64::try_from(difference.saturating_sub(self.smallest())).unwrap_or(0)
    }

    /// The broker's clock when the bridge's shows `now`.
    pub(super) fn broker_time(&self, now: u64) -> u64 {
        now.saturating_add_signed(self.smallest().saturating_neg())
    }

    fn smallest(&self) -> i64 {
        let current = self.current.map(|(_, smallest)| smallest);
        current.into_iter().chain(self.before).min().unwrap_or(0)
    }
}

fn difference(now: u64, at: u64) -> i64 {
    let signed = |time| i64::try_from(time).unwrap_or(i64::MAX);
    signed(now).saturating_sub(signed(at))
}
