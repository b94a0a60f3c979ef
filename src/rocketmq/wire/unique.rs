//! `UNIQ_KEY`: the id that a producer gives a message, in the layout of the Java client.
//!
//! It has no clock: whoever asks for a key says what time it is.

/// One key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UniqueKey([u8; 32]);

impl UniqueKey {
    /// Its 32 hexadecimal digits.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("hexadecimal digits are text")
    }
}

const HEX: &[u8; 16] = b"0123456789ABCDEF";
const MILLIS_OF_DAY: u64 = 86_400_000;

/// Makes keys: 10 bytes that name the process, 4 bytes of time, 2 bytes of counter, as hexadecimal text.
#[derive(Debug, Clone)]
pub struct UniqueKeys {
    process: [u8; 20],
    counter: u16,
}

impl UniqueKeys {
    /// Keys of one producer. `process` has to differ between producers (Java: address, process id, hash).
    pub fn new(process: [u8; 10]) -> Self {
        let mut text = [0; 20];
        put_hex(&process, &mut text);
        Self { process: text, counter: 0 }
    }

    /// The next key, at a time in milliseconds since the epoch. Unlike any of the 65,535 before it.
    pub fn next(&mut self, now: u64) -> UniqueKey {
        let mut key = [0; 32];
        key[..20].copy_from_slice(&self.process);
        put_hex(&millis_of_month(now).to_be_bytes(), &mut key[20..28]);
        put_hex(&self.counter.to_be_bytes(), &mut key[28..]);
        self.counter = self.counter.wrapping_add(1);
        UniqueKey(key)
    }
}

fn put_hex(bytes: &[u8], out: &mut [u8]) {
    for (byte, pair) in bytes.iter().zip(out.chunks_exact_mut(2)) {
        pair[0] = HEX[usize::from(byte >> 4)];
        pair[1] = HEX[usize::from(byte & 15)];
    }
}

/// Milliseconds since the first of the month (UTC): what tools read a key's time from.
fn millis_of_month(now: u64) -> u32 {
    // Days since 1 March of the year 0, in which leap days come last (Howard Hinnant's civil_from_days).
    let day = now / MILLIS_OF_DAY + 719_468;
    let day_of_era = day % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * month + 2) / 5;
    u32::try_from(day_of_month * MILLIS_OF_DAY + now % MILLIS_OF_DAY).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_holds_process_time_and_counter() {
        let mut keys = UniqueKeys::new([0xC0, 0xA8, 0x00, 0x01, 0x12, 0x34, 0xDE, 0xAD, 0xBE, 0xEF]);
        // 2026-03-01 00:00:01.000 UTC
        assert_eq!(keys.next(1_772_323_201_000).as_str(), "C0A800011234DEADBEEF000003E80000");
        assert_eq!(keys.next(1_772_323_201_000).as_str(), "C0A800011234DEADBEEF000003E80001");
    }

    #[test]
    fn the_month_begins_anew_on_its_first_day() {
        for (now, days) in [
            (1_709_164_800_000, 28), // 2024-02-29
            (1_709_251_200_000, 0),  // 2024-03-01
            (1_767_139_200_000, 30), // 2025-12-31
            (1_767_225_600_000, 0),  // 2026-01-01
        ] {
            assert_eq!(u64::from(millis_of_month(now)), days * MILLIS_OF_DAY, "{now}");
        }
    }
}
