//! Durations and sizes as people write them.

use std::time::Duration;

/// Reads `60s`, `5m`, `1h 30m`.
pub(super) fn duration(text: &str) -> Option<Duration> {
    humantime::parse_duration(text).ok()
}

/// Reads `4096`, `64KiB`, `16 MiB`, `4MB`: bytes.
pub(super) fn size(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..digits].parse().ok()?;
    let factor = match text[digits..].trim_start().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        _ => return None,
    };
    number.checked_mul(factor)
}

/// Writes a size as it may be read again.
pub(super) fn show_size(bytes: u64) -> String {
    match bytes {
        0 => "0".to_owned(),
        _ if bytes.is_multiple_of(1 << 20) => format!("{}MiB", bytes >> 20),
        _ if bytes.is_multiple_of(1 << 10) => format!("{}KiB", bytes >> 10),
        _ => bytes.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_take_binary_and_decimal_units() {
        let cases = [("7", Some(7)), ("64KiB", Some(65_536)), ("16 MiB", Some(16 << 20)), ("4MB", Some(4_000_000))];
        for (text, bytes) in cases.into_iter().chain([("MiB", None), ("1 pound", None), ("-1", None)]) {
            assert_eq!(size(text), bytes, "{text}");
        }
        assert_eq!(size("99999999999GiB"), None, "overflow");
    }
}
