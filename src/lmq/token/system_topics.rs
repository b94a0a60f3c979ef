//! What a client and its endpoint say of tokens while the client is connected (LMQ-9.5): the topics, and what is written
//! there. Pure. It must never show a token but in the text that is sent.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::{Invalid, Kind};

/// Where a client publishes a new token.
pub const UPLOAD: &str = "$SYS/uploadToken";
/// Where it hears, unsubscribed, that one will expire.
pub const EXPIRES: &str = "$SYS/tokenExpireNotice";
/// Where it hears that one is not valid, before it is dropped.
pub const INVALID: &str = "$SYS/tokenInvalidNotice";

/// The longest notice that is read, in bytes.
const MAX_NOTICE: usize = 4 * 1024;

/// What is published to [`UPLOAD`], in JSON. It has no `Debug`: a token must not be shown.
#[derive(Serialize, Deserialize)]
pub struct UploadBody<'a> {
    /// The token.
    pub token: Cow<'a, str>,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: Kind,
}

/// What a client is told of its tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// One ends soon.
    Expires {
        /// When, in milliseconds since the epoch.
        time: u64,
        /// Its type.
        kind: Kind,
    },
    /// One is none any more, and the client is about to be dropped.
    Ended {
        /// Why.
        why: Invalid,
        /// Its type.
        kind: Kind,
    },
}

impl Notice {
    /// The topic.
    pub fn topic(self) -> &'static str {
        match self {
            Self::Expires { .. } => EXPIRES,
            Self::Ended { .. } => INVALID,
        }
    }

    /// The JSON.
    pub fn payload(self) -> String {
        match self {
            Self::Expires { time, kind } => format!("{{\"expireTime\":{time},\"type\":\"{}\"}}", kind.text()),
            Self::Ended { why, kind } => format!("{{\"code\":{},\"type\":\"{}\"}}", why.code(), kind.text()),
        }
    }
}

/// What a client makes of a [`Notice`], whoever sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// A token expires in some minutes.
    Expires,
    /// One is not valid, and the connection is about to be dropped. The code, if there is one.
    Invalid(Option<i64>),
}

impl Told {
    /// The notice that a publish is: `None` where it is none. One that cannot be read still says by its topic what it
    /// is about.
    pub fn read(topic: &str, payload: &[u8]) -> Option<Self> {
        match topic {
            EXPIRES => Some(Self::Expires),
            INVALID => {
                let small = payload.len() <= MAX_NOTICE;
                let body = small.then(|| serde_json::from_slice::<InvalidBody>(payload).ok()).flatten();
                Some(Self::Invalid(body.and_then(|body| body.code)))
            }
            _ => None,
        }
    }

    /// What it means, in words.
    pub fn meaning(self) -> String {
        match self {
            Self::Expires => "a token expires in some minutes".to_owned(),
            Self::Invalid(Some(4)) => "the token does not hold the topic that was used".to_owned(),
            Self::Invalid(Some(8)) => "the token has a wrong signature".to_owned(),
            Self::Invalid(Some(-1)) => "the token is of an account that may not log in".to_owned(),
            Self::Invalid(code) => {
                let known = code.and_then(Invalid::from_code);
                known.map_or_else(|| "the token is not valid".to_owned(), |why| why.to_string())
            }
        }
    }
}

#[derive(Deserialize)]
struct InvalidBody {
    code: Option<i64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notices_are_those_of_the_contract() {
        let notice = Notice::Expires { time: 1_566_003_600_000, kind: Kind::Both };
        assert_eq!(
            (notice.topic(), &*notice.payload()),
            ("$SYS/tokenExpireNotice", "{\"expireTime\":1566003600000,\"type\":\"RW\"}")
        );
        for (why, code) in
            [(Invalid::Forged, 1), (Invalid::Expired, 2), (Invalid::Revoked, 3), (Invalid::Permission, 5)]
        {
            let notice = Notice::Ended { why, kind: Kind::Read };
            assert_eq!(notice.topic(), "$SYS/tokenInvalidNotice");
            assert_eq!(notice.payload(), format!("{{\"code\":{code},\"type\":\"R\"}}"));
            let told = Told::read(notice.topic(), notice.payload().as_bytes());
            assert_eq!(told.map(Told::meaning), Some(why.to_string()));
        }
    }

    #[test]
    fn notices_are_known_by_their_topics() {
        for (topic, payload, told) in [
            (EXPIRES, r#"{"expireTime":1566003600000,"type":"RW"}"#, Some(Told::Expires)),
            (EXPIRES, "nonsense", Some(Told::Expires)),
            (INVALID, r#"{"code":3,"type":"R"}"#, Some(Told::Invalid(Some(3)))),
            (INVALID, r#"{"code":-1}"#, Some(Told::Invalid(Some(-1)))),
            (INVALID, "{", Some(Told::Invalid(None))),
            ("a/$SYS/tokenInvalidNotice", "{}", None),
            (UPLOAD, "{}", None),
        ] {
            assert_eq!(Told::read(topic, payload.as_bytes()), told, "{topic} {payload}");
        }
        assert_eq!(Told::Invalid(Some(-1)).meaning(), "the token is of an account that may not log in");
        assert_eq!(Told::Invalid(None).meaning(), "the token is not valid");
    }
}
