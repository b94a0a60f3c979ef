//! Points in time as people write them, in milliseconds since the epoch. It knows no time zones but what is written
//! beside a time, and must never look at a clock.

use toml::value::{Datetime, Offset};

/// A point in time: a date, a time of day and its offset from UTC, as RFC 3339 has them. Nothing when a part is
/// missing, and before 1970.
pub fn milliseconds(time: &Datetime) -> Option<u64> {
    let (date, clock, offset) = (time.date?, time.time?, time.offset?);
    let minutes_east = match offset {
        Offset::Z => 0,
        Offset::Custom { minutes } => i64::from(minutes),
    };
    // Days since 1970 of a date of the Gregorian calendar, counted in years that begin in March.
    let (year, month) = (i64::from(date.year), i64::from(date.month));
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + i64::from(date.day) - 719_469;
    let minutes = days * 1440 + i64::from(clock.hour) * 60 + i64::from(clock.minute) - minutes_east;
    let seconds = minutes * 60 + i64::from(clock.second.unwrap_or(0));
    u64::try_from(seconds * 1000 + i64::from(clock.nanosecond.unwrap_or(0) / 1_000_000)).ok()
}

/// Reads `2026-01-31T08:00:00.123+08:00`.
pub fn point(text: &str) -> Option<u64> {
    milliseconds(&text.parse().ok()?)
}

/// Reads `2026-01-31 08:00:00`, which says nothing of its offset, as if it were in UTC.
pub fn local(text: &str) -> Option<u64> {
    let time: Datetime = text.parse().ok()?;
    milliseconds(&Datetime { offset: Some(Offset::Z), ..time })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_count_from_the_epoch_with_leap_years_and_offsets() {
        for (text, expected) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2000-02-29T12:34:56.789Z", Some(951_827_696_789)),
            ("2026-03-01T00:00:00Z", Some(1_772_323_200_000)),
            ("2026-01-01T00:00:00+08:00", Some(1_767_196_800_000)),
            ("2024-01-01T12:34:56.789+08:00", Some(1_704_083_696_789)),
            ("2023-12-31T20:34:56.780-08:00", Some(1_704_083_696_780)),
            ("1969-12-31T23:59:59Z", None),
            ("2026-01-01T00:00:00", None),
            ("2026-01-01", None),
            ("now", None),
            ("", None),
        ] {
            assert_eq!(point(text), expected, "{text}");
        }
    }

    #[test]
    fn a_time_without_an_offset_is_taken_as_it_stands() {
        assert_eq!(local("2026-03-01 00:00:00"), Some(1_772_323_200_000));
        assert_eq!(local("2026-03-01"), None);
        assert_eq!(local("08:00:00"), None);
    }
}
