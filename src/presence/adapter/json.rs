//! JSON objects of events, read by name. Pure.

use serde_json::{Map, Value};

use super::{Reading, Unreadable};
use crate::presence::event::Said;

/// Below it a time is in seconds, from it on in milliseconds: the year 5138 in the one unit, 1973 in the other.
const SECONDS_END: u64 = 100_000_000_000;

/// One object.
pub(super) struct Fields(Map<String, Value>);

/// Reads an object, or each object of an array, in order.
pub(super) fn each(body: &[u8], read: impl Fn(&Fields) -> Result<Option<Said>, Unreadable>) -> Reading {
    let value = serde_json::from_slice(body).map_err(|error| Unreadable(format!("no JSON: {error}")))?;
    let values = match value {
        Value::Array(values) => values,
        value => vec![value],
    };
    let said = values.into_iter().map(|value| match value {
        Value::Object(fields) => read(&Fields(fields)),
        _ => Err(Unreadable::because("not a JSON object")),
    });
    said.filter_map(Result::transpose).collect()
}

impl Fields {
    /// A text that is not empty.
    pub(super) fn text(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.as_str().filter(|text| !text.is_empty())
    }

    /// A client id.
    pub(super) fn client_id(&self, key: &str) -> Result<String, Unreadable> {
        self.text(key).map(str::to_owned).ok_or_else(|| Unreadable(format!("no client id in `{key}`")))
    }

    /// Whether there is a value other than null.
    pub(super) fn has(&self, key: &str) -> bool {
        self.0.get(key).is_some_and(|value| !value.is_null())
    }

    /// A whole number, or a text that holds one, as templates of webhooks like to write it.
    pub(super) fn number(&self, key: &str) -> Option<u64> {
        match self.0.get(key)? {
            Value::Number(number) => number.as_u64(),
            Value::String(text) => text.parse().ok(),
            _ => None,
        }
    }

    /// A time as milliseconds since the epoch. Zero is how brokers write that they do not know.
    pub(super) fn millis(&self, key: &str) -> Option<u64> {
        let time = self.number(key).filter(|time| *time > 0)?;
        Some(if time < SECONDS_END { time * 1000 } else { time })
    }
}
