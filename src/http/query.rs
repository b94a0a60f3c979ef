//! The parameters of a URL or a form. Pure: nothing that is sent makes it panic.

use std::iter;

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
    use super::*;

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
}
