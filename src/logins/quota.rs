//! How many lines of one kind the log takes: so many at once, then no more for a while. Pure.

/// Lines of a period.
const LINES: u32 = 20;
/// How long a period is, in milliseconds.
const PERIOD: u64 = 10_000;

/// Counts lines.
#[derive(Debug, Default)]
pub(super) struct Quota {
    began: u64,
    lines: u32,
    passed_over: u64,
}

impl Quota {
    /// Whether a line may be written; `now` is in milliseconds since the epoch. If so, how many were passed over since
    /// the last one.
    pub(super) fn take(&mut self, now: u64) -> Option<u64> {
        // A clock that was set back begins a period, too.
        if now.abs_diff(self.began) >= PERIOD {
            (self.began, self.lines) = (now, 0);
        }
        if self.lines == LINES {
            self.passed_over += 1;
            return None;
        }
        self.lines += 1;
        Some(std::mem::take(&mut self.passed_over))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_passed_over_is_counted() {
        let mut quota = Quota::default();
        let now = 1_566_000_000_000;
        assert!((0..LINES).all(|_| quota.take(now) == Some(0)));
        assert!((0..7).all(|_| quota.take(now + PERIOD - 1).is_none()));
        assert_eq!((quota.take(now + PERIOD), quota.take(now + PERIOD)), (Some(7), Some(0)));
        assert_eq!(quota.take(1), Some(0), "a clock that was set back");
    }
}
