//! The fields of a request's body: a JSON object or a form, whatever its content type says. Pure.
//!
//! It must never read one name twice: who could add a field to a broker's request could change what it asks.

use serde_json::{Map, Value};

use super::super::query;

/// Names and values. Nothing where it is neither, or a name is given twice, or a value is no text, number or nothing.
pub fn read(body: &[u8]) -> Option<Vec<(String, String)>> {
    if body.first() == Some(&b'{') {
        let object: Map<String, Value> = serde_json::from_slice(body).ok()?;
        return object.into_iter().map(|(name, value)| Some((name, text(value)?))).collect();
    }
    let pairs = query::split(std::str::from_utf8(body).ok()?)?;
    let twice = |(index, (name, _)): (usize, &(String, String))| pairs[..index].iter().any(|(known, _)| known == name);
    if pairs.iter().enumerate().any(twice) { None } else { Some(pairs) }
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
        for body in [&b"{"[..], b"{}x", br#"{"a":[1]}"#, br#"{"a":true}"#, b"a=1&b=2&a=3", b"a=%zz", b"\xff"] {
            assert_eq!(read(body), None, "{}", String::from_utf8_lossy(body));
        }
    }
}
