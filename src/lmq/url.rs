//! Parameters as they stand in a URL or a form.

use std::fmt::Write as _;

/// `name=value` joined by `&`, every byte but letters, digits and `-._~` written as `%` and two digits.
pub fn query<'a>(parameters: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_means_something_in_a_url_is_written_as_digits() {
        assert_eq!(query([("a", "GID_x@@@1"), ("signature", "a+b/c=")]), "a=GID_x%40%40%401&signature=a%2Bb%2Fc%3D");
        assert_eq!(query([("ü", "")]), "%C3%BC=");
        assert_eq!(query([]), "");
    }
}
