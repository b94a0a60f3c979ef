//! Numbered messages and the count of what became of them: lost, repeated, out of order.

use std::{collections::HashMap, fmt, io::Write as _};

/// The body of message `number` of key `key`: `k7 n42 ` and spaces up to `size` bytes.
pub fn body(key: u64, number: u64, size: usize) -> Vec<u8> {
    let mut body = format!("k{key} n{number} ").into_bytes();
    body.resize(size.max(body.len()), b' ');
    body
}

/// Key and number of a body; `None` if it is not one of ours.
pub fn parse(body: &[u8]) -> Option<(u64, u64)> {
    let text = std::str::from_utf8(body).ok()?;
    let (key, rest) = text.strip_prefix('k')?.split_once(" n")?;
    let (number, _) = rest.split_once(' ')?;
    Some((key.parse().ok()?, number.parse().ok()?))
}

/// The body of a message that does not count.
pub const PROBE: &[u8] = b"probe";

/// What arrived of `keys` × `per_key` numbered messages.
#[derive(Debug, Default)]
pub struct Tally {
    keys: HashMap<u64, Key>,
    /// All arrivals, repeated ones included.
    pub arrivals: u64,
    /// Bodies that nobody sent.
    pub strange: u64,
}

#[derive(Debug, Default)]
struct Key {
    seen: Vec<bool>,
    distinct: u64,
    highest: Option<u64>,
    out_of_order: u64,
}

impl Tally {
    /// Notes an arrival. Probes, which tests send to see whether a way is open, do not count.
    pub fn arrived(&mut self, body: &[u8]) {
        if body == PROBE {
            return;
        }
        self.arrivals += 1;
        let Some((key, number)) = parse(body) else {
            self.strange += 1;
            return;
        };
        let key = self.keys.entry(key).or_default();
        let at = usize::try_from(number).expect("numbers fit memory");
        if key.seen.len() <= at {
            key.seen.resize(at + 1, false);
        }
        if std::mem::replace(&mut key.seen[at], true) {
            return;
        }
        key.distinct += 1;
        if key.highest.is_some_and(|highest| number < highest) {
            key.out_of_order += 1;
        }
        key.highest = key.highest.max(Some(number));
    }

    /// How many different messages arrived.
    pub fn distinct(&self) -> u64 {
        self.keys.values().map(|key| key.distinct).sum()
    }

    /// Whether one message has arrived.
    pub fn has(&self, key: u64, number: u64) -> bool {
        let at = usize::try_from(number).unwrap_or(usize::MAX);
        self.keys.get(&key).is_some_and(|key| key.seen.get(at).copied().unwrap_or(false))
    }

    /// The result, against what was sent: message `n` of `sent` was number `n / keys` of key `n % keys`.
    pub fn report(&self, sent: u64, keys: u64) -> Report {
        let lost: Vec<(u64, u64)> =
            (0..sent).map(|n| (n % keys, n / keys)).filter(|&(key, number)| !self.has(key, number)).collect();
        Report {
            sent,
            keys,
            duplicates: self.arrivals - self.strange - self.distinct(),
            out_of_order: self.keys.values().map(|key| key.out_of_order).sum(),
            strange: self.strange,
            lost,
        }
    }
}

/// What became of a run's messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    pub sent: u64,
    pub keys: u64,
    /// Key and number of each.
    pub lost: Vec<(u64, u64)>,
    /// Arrivals beyond the first.
    pub duplicates: u64,
    /// First arrivals after a later number of the same key.
    pub out_of_order: u64,
    pub strange: u64,
}

impl Report {
    /// Says it, past what a test runner captures: it is worth reading of a run that passes, too.
    pub fn tell(&self, run: &str) {
        let _ = writeln!(std::io::stderr(), "{run}: {self}");
    }

    /// Panics unless all arrived and, per key, in order.
    pub fn must_be_whole(&self, run: &str) {
        assert!(self.lost.is_empty(), "{run}: lost, as key and number: {:?}", &self.lost[..self.lost.len().min(20)]);
        assert_eq!((self.out_of_order, self.strange), (0, 0), "{run}: {self}");
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sent, keys, lost, duplicates, out_of_order, strange } = self;
        write!(f, "{sent} sent of {keys} keys, {} lost, {duplicates} duplicates, ", lost.len())?;
        write!(f, "{out_of_order} out of order, {strange} strange")
    }
}

#[test]
fn a_tally_tells_lost_repeated_and_reordered_apart() {
    let mut tally = Tally::default();
    for (key, number) in [(0, 0), (0, 2), (0, 1), (0, 2), (1, 0)] {
        tally.arrived(&body(key, number, 64));
    }
    tally.arrived(b"else");
    let report = tally.report(6, 2);
    assert_eq!(report.lost, [(1, 1), (1, 2)]);
    assert_eq!((report.duplicates, report.out_of_order, report.strange), (1, 1, 1));
}
