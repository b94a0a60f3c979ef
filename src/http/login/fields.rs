//! The fields of a request's body: a JSON object or a form, whatever its content type says. Pure.
//!
//! It must never read one name twice: who could add a field to a broker's request could change what it asks.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, Visitor},
};
use serde_json::Value;

use crate::lmq::parameters;

/// Names and values. Nothing where it is neither, or a name is given twice, or a value is no text, number or nothing.
pub fn read(body: &[u8]) -> Option<Vec<(String, String)>> {
    let pairs = if is_json(body) {
        serde_json::from_slice::<Object>(body).ok()?.0
    } else {
        parameters::split(std::str::from_utf8(body).ok()?)?
    };
    let twice = |(index, (name, _)): (usize, &(String, String))| pairs[..index].iter().any(|(known, _)| known == name);
    if pairs.len() > MOST || pairs.iter().enumerate().any(twice) { None } else { Some(pairs) }
}

/// Whether a body is taken for a JSON object.
pub fn is_json(body: &[u8]) -> bool {
    body.first() == Some(&b'{')
}

/// Fields of a request: more than any broker sends.
const MOST: usize = 64;

/// A JSON object, with all that it says: a map would keep the last of two values of one name, and say nothing.
struct Object(Vec<(String, String)>);

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Pairs).map(Self)
    }
}

struct Pairs;

impl<'de> Visitor<'de> for Pairs {
    type Value = Vec<(String, String)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of texts and numbers")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut pairs = Vec::new();
        while let Some((name, value)) = map.next_entry::<String, Value>()? {
            pairs.push((name, text(value).ok_or_else(|| A::Error::custom("not a text or number"))?));
        }
        Ok(pairs)
    }
}

fn text(value: Value) -> Option<String> {
    match value {
        Value::Null => Some(String::new()),
        Value::String(text) => Some(text),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_and_objects_are_read_alike() {
        let expected = [("acc", "4"), ("topic", "a/+ b"), ("username", "A|B")];
        for body in [
            r#"{"acc":4,"topic":"a/+ b","username":"A|B"}"#,
            r#"{"acc":"4","topic":"a/+ b","username":"A\u007cB"}"#,
            "acc=4&topic=a%2F%2B+b&username=A%7CB",
            "acc=4&topic=a/%2B%20b&username=A|B",
        ] {
            let read = read(body.as_bytes()).unwrap();
            let pairs: Vec<_> = read.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            assert_eq!(pairs, expected, "{body}");
        }
        assert_eq!(read(br#"{"username":null}"#), Some(vec![("username".to_owned(), String::new())]));
        assert_eq!(read(b""), Some(Vec::new()));
    }

    #[test]
    fn what_is_ambiguous_is_not_read() {
        let twice = br#"{"clientid":"a","username":"u","clientid":"b"}"#;
        for body in [&b"{"[..], b"{}x", br#"{"a":[1]}"#, br#"{"a":true}"#, twice, b"a=1&b=2&a=3", b"a=%zz", b"\xff"] {
            assert_eq!(read(body), None, "{}", String::from_utf8_lossy(body));
        }
        let many: Vec<String> = (0..=MOST).map(|number| format!("{number}=")).collect();
        assert_eq!(read(many.join("&").as_bytes()), None);
    }
}
