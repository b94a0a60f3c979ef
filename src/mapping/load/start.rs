//! `from.start`.

use crate::{calendar::milliseconds, diagnostic::Fault, mapping::Start, toml_reader::Table};

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
