//! The parameters of a URL or a form, and what all signed requests have in common (LMQ-8.1, LMQ-9.1). Pure: nothing that is
//! sent makes it panic.

use std::{fmt::Write as _, iter};

/// Who asks.
pub const ACCESS_KEY: &str = "accessKey";
/// Which instance it is about.
pub const INSTANCE: &str = "instanceId";
/// What proves it.
pub const SIGNATURE: &str = "signature";

/// The parameters of a request, in its order.
#[derive(Debug, Clone, Copy)]
pub struct Parameters<'a>(pub &'a [(String, String)]);

impl<'a> Parameters<'a> {
    /// Every value of a name.
    pub fn all(self, name: &str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(given, _)| given == name).map(|(_, value)| value.as_str())
    }

    /// The first value of a name; nothing where it is not given.
    pub fn first(self, name: &str) -> &'a str {
        self.all(name).next().unwrap_or_default()
    }

    /// Whether it has no value but empty ones.
    pub fn lacks(self, name: &str) -> bool {
        self.all(name).all(str::is_empty)
    }

    /// The signature. The `+` of base64 is a space where the writer did not encode it.
    pub fn signature(self) -> String {
        self.first(SIGNATURE).replace(' ', "+")
    }
}

/// `name=value` joined by `&`, every byte but letters, digits and `-._~` written as `%` and two digits.
pub fn join<'a>(parameters: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut text = String::new();
    for (name, value) in parameters {
        if !text.is_empty() {
            text.push('&');
        }
        encode(name, &mut text);
        text.push('=');
        encode(value, &mut text);
    }
    text
}

fn encode(plain: &str, out: &mut String) {
    for byte in plain.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to text never fails.
            let _ = write!(out, "%{byte:02X}");
        }
    }
}

/// Takes a form, or the part of a URL after its `?`, apart, each name and value decoded as browsers encode forms: `%` and two
/// hexadecimal digits is a byte, `+` a space. Nothing where that is not text.
pub fn split(query: &str) -> Option<Vec<(String, String)>> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        Some((decode(name)?, decode(value)?))
    });
    pairs.collect()
}

fn decode(text: &str) -> Option<String> {
    let mut rest = text.bytes();
    let bytes = iter::from_fn(|| {
        Some(match rest.next()? {
            b'%' => digit(rest.next()).zip(digit(rest.next())).map(|(high, low)| high << 4 | low),
            b'+' => Some(b' '),
            byte => Some(byte),
        })
    });
    String::from_utf8(bytes.collect::<Option<_>>()?).ok()
}

fn digit(byte: Option<u8>) -> Option<u8> {
    char::from(byte?).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_means_something_in_a_url_is_written_as_digits() {
        assert_eq!(join([("a", "GID_x@@@1"), ("signature", "a+b/c=")]), "a=GID_x%40%40%401&signature=a%2Bb%2Fc%3D");
        assert_eq!(join([("ü", "")]), "%C3%BC=");
        assert_eq!(join([]), "");
    }

    #[test]
    fn names_and_values_are_decoded() {
        for (query, pairs) in [
            ("", &[][..]),
            ("a=1&b=2&a=3", &[("a", "1"), ("b", "2"), ("a", "3")]),
            ("&a&&b=&=c&", &[("a", ""), ("b", ""), ("", "c")]),
            ("s=a%2Bb%3D%3d", &[("s", "a+b==")]),
            ("r=GID@@@1+2=3", &[("r", "GID@@@1 2=3")]),
            ("%C3%A9=%e4%bd%a0", &[("\u{e9}", "\u{4f60}")]),
        ] {
            let found = split(query).unwrap();
            let found: Vec<_> = found.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            assert_eq!(found, pairs, "{query}");
        }
        for bad in ["a=%", "a=%4", "a=%g0", "a=%+1", "a=%ff", "%80"] {
            assert_eq!(split(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_joined_is_split_again(pairs in prop::collection::vec((".{1,8}", ".{0,8}"), 0..4)) {
            let joined = join(pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())));
            prop_assert_eq!(split(&joined), Some(pairs));
        }
    }
}
