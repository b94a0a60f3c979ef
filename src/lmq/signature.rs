//! Signatures of the LMQ contract: HMAC-SHA1 in base64 (sections 1, 8 and 9). It must never keep or print a secret, and
//! never compare a signature in a time that depends on how much of it is right.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::Sha1;

/// The text that a request's signature covers (LMQ-8.1, LMQ-9.1): `name=value` sorted by name and joined by `&`, the
/// values of one name sorted and joined by `,`, all as they were before URL encoding.
pub fn canonical<'a>(parameters: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut sorted: Vec<_> = parameters.into_iter().collect();
    sorted.sort_unstable();
    let mut text = String::new();
    let mut last = None;
    for (name, value) in sorted {
        if last == Some(name) {
            text.push(',');
        } else {
            if last.is_some() {
                text.push('&');
            }
            text.push_str(name);
            text.push('=');
        }
        text.push_str(value);
        last = Some(name);
    }
    text
}

/// Whether `signature` is that of `text`, found out in the same time wherever they differ.
pub fn is_valid(secret: &str, text: &str, signature: &str) -> bool {
    BASE64_STANDARD.decode(signature).is_ok_and(|bytes| mac(secret, text).verify_slice(&bytes).is_ok())
}

fn mac(secret: &str, text: &str) -> Hmac<Sha1> {
    let mut mac = Hmac::<Sha1>::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of every length");
    mac.update(text.as_bytes());
    mac
}

/// The signature of `text`.
pub fn sign(secret: &str, text: &str) -> String {
    BASE64_STANDARD.encode(mac(secret, text).finalize().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The contract's vectors: key, text, signature.
    const VECTORS: [(&str, &str, &str); 5] = [
        ("XXXXX", "GID_Test@@@0001", "vI009IZJZVGRwBwZvnbwjfuXxVM="),
        ("SHA1Util", "testHmacSHA1", "LicXOdrzX+EWJKbJriUcGxm63Wg="),
        (
            "XXXXX",
            "accessKey=YYYYY&instanceId=mqtt-xxxxx&resource=GID_Test@@@0001&timestamp=1566000000000",
            "ghnUW05VdKAxx1AjgcB5iZjCqeU=",
        ),
        (
            "XXXXX",
            "actions=R,W&expireTime=1566003600000&instanceId=mqtt-xxxxx&resources=TopicA/#,TopicB/+&serviceName=mq",
            "5UgqvVOBp7uRXs+1KTeOwZ4rJW0=",
        ),
        ("XXXXX", "parama=a&paramb=b1,b2,b3&paramc=c1,c2", "5MkABB5zHWDmJVhXM6K+WfwD2/E="),
    ];

    #[test]
    fn the_vectors_of_the_contract_hold() {
        for (secret, text, signature) in VECTORS {
            assert_eq!(sign(secret, text), signature, "{text}");
            assert!(is_valid(secret, text, signature), "{text}");
        }
    }

    #[test]
    fn nothing_but_the_signature_itself_is_valid() {
        let (secret, text, signature) = VECTORS[2];
        for wrong in ["", "=", "ghnUW05VdKAxx1AjgcB5iZjCqeU", "GhnUW05VdKAxx1AjgcB5iZjCqeU=", "ghnU", VECTORS[0].2] {
            assert!(!is_valid(secret, text, wrong), "{wrong}");
        }
        assert!(!is_valid("XXXXx", text, signature));
        assert!(!is_valid("", text, signature));
        assert!(!is_valid(secret, &text.replace("0001", "0002"), signature));
    }

    #[test]
    fn names_are_sorted_and_so_are_the_values_of_one_name() {
        let unsorted = [("paramc", "c2"), ("paramb", "b3"), ("parama", "a"), ("paramb", "b1"), ("paramb", "b2")];
        assert_eq!(canonical(unsorted.into_iter().chain([("paramc", "c1")])), VECTORS[4].1);
        let plain = [
            ("timestamp", "1566000000000"),
            ("resource", "GID_Test@@@0001"),
            ("accessKey", "YYYYY"),
            ("instanceId", "mqtt-xxxxx"),
        ];
        assert_eq!(canonical(plain), VECTORS[2].1);
        assert_eq!(canonical([("", ""), ("a", "")]), "=&a=");
        assert_eq!(canonical([]), "");
    }
}
