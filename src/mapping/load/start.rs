//! `from.start`.

use toml::value::{Datetime, Offset};

use crate::{diagnostic::Fault, mapping::Start, toml_reader::Table};

/// Where a new group starts: `"first"`, `"last"` or a time with its offset.
pub(super) fn start(from: &Table<'_>) -> Start {
    if let Some(time) = from.time("start") {
        if let Some(milliseconds) = milliseconds(&time.value) {
            return Start::Time(milliseconds);
        }
        let message = format!("`{}` must be a time of day with an offset from UTC, after 1970", from.name("start"));
        from.faults().add(Fault::error(time.at, message, "not enough").hint("write `2026-01-31T08:00:00Z`"));
        return Start::Last;
    }
    if from.is_text("start")
        && from.text("start").is_some_and(|text| text.value.starts_with(|c: char| c.is_ascii_digit()))
    {
        let at = from.text("start").map(|text| text.at);
        let message = format!("`{}` must be a time, not text", from.name("start"));
        from.faults().add(
            Fault::error(at.unwrap_or_else(|| from.at().clone()), message, "text")
                .hint("write the time without quotes"),
        );
        return Start::Last;
    }
    from.choice("start", &[("first", Start::First), ("last", Start::Last)]).map_or(Start::Last, |found| found.value)
}

/// Milliseconds since the epoch.
fn milliseconds(time: &Datetime) -> Option<u64> {
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

#[cfg(test)]
mod tests {
    use super::milliseconds;

    #[test]
    fn times_count_from_the_epoch_with_leap_years_and_offsets() {
        for (text, expected) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2000-02-29T12:34:56.789Z", Some(951_827_696_789)),
            ("2026-03-01T00:00:00Z", Some(1_772_323_200_000)),
            ("2026-01-01T00:00:00+08:00", Some(1_767_196_800_000)),
            ("1969-12-31T23:59:59Z", None),
            ("2026-01-01T00:00:00", None),
            ("2026-01-01", None),
        ] {
            let time = text.parse().expect("a TOML time");
            assert_eq!(milliseconds(&time), expected, "{text}");
        }
    }
}
