//! What a client of LMQ sends to log in (LMQ-1), and what it says and hears of its tokens while it is connected
//! (LMQ-9.5). It must never show a secret or a token but in the text that is sent.

use serde::{Deserialize, Serialize};

use super::signature::sign;
use crate::settings::{LmqLogin, Secret};

/// Where a client publishes a new token.
pub const UPLOAD: &str = "$SYS/uploadToken";
/// Where it hears, unsubscribed, that one will expire.
pub const EXPIRES: &str = "$SYS/tokenExpireNotice";
/// Where it hears that one is not valid, before it is dropped.
pub const INVALID: &str = "$SYS/tokenInvalidNotice";

/// The longest text of tokens that is taken, in bytes: well below what MQTT takes as a password.
pub const MAX_TOKENS: usize = 16 * 1024;
/// The longest notice that is read, in bytes.
const MAX_NOTICE: usize = 4 * 1024;

/// The user name of a login, by its mode.
pub fn username(login: &LmqLogin) -> String {
    match login {
        LmqLogin::Signature { access_key, instance, .. } => format!("Signature|{access_key}|{instance}"),
        LmqLogin::Token { access_key, instance, .. } => format!("Token|{access_key}|{instance}"),
        LmqLogin::Device { access_key, instance, .. } => format!("DeviceCredential|{access_key}|{instance}"),
        LmqLogin::Custom { username, .. } => username.clone(),
    }
}

/// The password of a login for one client id: `None` in token mode, where [`Tokens::password`] is.
pub fn password(login: &LmqLogin, client_id: &str) -> Option<Secret> {
    match login {
        LmqLogin::Signature { secret_key, .. }
        | LmqLogin::Device { secret_key, .. }
        | LmqLogin::Custom { secret_key, signed: true, .. } => Some(Secret::new(sign(secret_key.reveal(), client_id))),
        LmqLogin::Custom { secret_key, signed: false, .. } => Some(secret_key.clone()),
        LmqLogin::Token { .. } => None,
    }
}

/// What a token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
enum Kind {
    R,
    W,
    #[serde(rename = "RW")]
    Rw,
}

/// The tokens of one client: one to three, each of another kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tokens(Vec<(Kind, Secret)>);

impl Tokens {
    /// Reads `TYPE|TOKEN[|TYPE|TOKEN...]` (LMQ-1.2), where each pair may also stand on a line of its own. The error says
    /// what is wrong and shows nothing of the tokens.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if text.len() > MAX_TOKENS {
            return Err("more than 16 KiB, which is no password");
        }
        let text = text.trim();
        if text.is_empty() {
            return Err("no token");
        }
        let parts: Vec<&str> = text.lines().flat_map(|line| line.split('|')).map(str::trim).collect();
        let mut tokens = Vec::new();
        for pair in parts.chunks(2) {
            let [kind, token] = *pair else { return Err("a token without its type: write `RW|TOKEN`") };
            let kind = match kind {
                "R" => Kind::R,
                "W" => Kind::W,
                "RW" => Kind::Rw,
                _ => return Err("a token's type must be `R`, `W` or `RW`, as in `R|TOKEN|W|TOKEN`"),
            };
            if token.is_empty() || token.contains(|c: char| c.is_control() || c.is_whitespace()) {
                return Err("a token is empty, or holds spaces");
            }
            if tokens.iter().any(|(known, _)| *known == kind) {
                return Err("two tokens of one type");
            }
            tokens.push((kind, Secret::new(token)));
        }
        Ok(Self(tokens))
    }

    /// The password (LMQ-1.2).
    pub fn password(&self) -> Secret {
        let pairs = self.0.iter().map(|(kind, token)| format!("{}|{}", kind.name(), token.reveal()));
        Secret::new(pairs.collect::<Vec<_>>().join("|"))
    }

    /// What is published to [`UPLOAD`] so that these take the place of `earlier`: a payload for each token that is new.
    pub fn uploads(&self, earlier: Option<&Self>) -> Vec<Secret> {
        let known = |pair: &(Kind, Secret)| earlier.is_some_and(|earlier| earlier.0.contains(pair));
        let payload = |(kind, token): &(Kind, Secret)| {
            let upload = Upload { token: token.reveal(), kind: *kind };
            serde_json::to_string(&upload).ok().map(Secret::new)
        };
        self.0.iter().filter(|pair| !known(pair)).filter_map(payload).collect()
    }
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::R => "R",
            Self::W => "W",
            Self::Rw => "RW",
        }
    }
}

/// The payload of [`UPLOAD`].
#[derive(Serialize)]
struct Upload<'a> {
    token: &'a str,
    #[serde(rename = "type")]
    kind: Kind,
}

/// What an endpoint says of a client's token, unasked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// It expires in some minutes.
    Expires,
    /// It is not valid, and the connection is about to be dropped. The code, if it gave one.
    Invalid(Option<i64>),
}

impl Notice {
    /// The notice that a publish is: `None` where it is none. One that cannot be read still says by its topic what it
    /// is about.
    pub fn read(topic: &str, payload: &[u8]) -> Option<Self> {
        match topic {
            EXPIRES => Some(Self::Expires),
            INVALID => {
                let small = payload.len() <= MAX_NOTICE;
                let told = small.then(|| serde_json::from_slice::<Told>(payload).ok()).flatten();
                Some(Self::Invalid(told.and_then(|told| told.code)))
            }
            _ => None,
        }
    }

    /// What it means, in words.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Expires => "expires in some minutes",
            Self::Invalid(Some(1)) => "is forged",
            Self::Invalid(Some(2)) => "has expired",
            Self::Invalid(Some(3)) => "was revoked",
            Self::Invalid(Some(4)) => "does not hold the topic that was used",
            Self::Invalid(Some(5)) => "does not allow what was done",
            Self::Invalid(Some(8)) => "has a wrong signature",
            Self::Invalid(Some(-1)) => "is of an account that may not log in",
            Self::Invalid(_) => "is not valid",
        }
    }
}

#[derive(Deserialize)]
struct Told {
    code: Option<i64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret {
        Secret::new(text)
    }

    fn shown(secrets: &[Secret]) -> Vec<&str> {
        secrets.iter().map(Secret::reveal).collect()
    }

    #[test]
    fn each_mode_has_its_user_name_and_signs_the_whole_client_id() {
        let (access_key, instance) = ("YYYYY".to_owned(), "mqtt-xxxxx".to_owned());
        let vector = "vI009IZJZVGRwBwZvnbwjfuXxVM=";
        let signature = LmqLogin::Signature {
            access_key: access_key.clone(),
            secret_key: secret("XXXXX"),
            instance: instance.clone(),
        };
        let device = LmqLogin::Device { access_key, secret_key: secret("XXXXX"), instance };
        let custom = |signed| LmqLogin::Custom { username: "shop".into(), secret_key: secret("XXXXX"), signed };
        for (login, name, expected) in [
            (&signature, "Signature|YYYYY|mqtt-xxxxx", vector),
            (&device, "DeviceCredential|YYYYY|mqtt-xxxxx", vector),
            (&custom(true), "shop", vector),
            (&custom(false), "shop", "XXXXX"),
        ] {
            assert_eq!(username(login), name);
            assert_eq!(password(login, "GID_Test@@@0001").as_ref().map(Secret::reveal), Some(expected), "{name}");
        }
        assert_ne!(password(&signature, "GID_Test@@@0002"), password(&signature, "GID_Test@@@0001"));
    }

    #[test]
    fn tokens_are_the_password_of_the_contract() {
        for (text, password) in [
            ("R|123|W|abcd", "R|123|W|abcd"),
            ("RW|t=\n", "RW|t="),
            ("W|abcd\r\nR|123\n", "W|abcd|R|123"),
            (" RW | x ", "RW|x"),
        ] {
            assert_eq!(Tokens::parse(text).unwrap().password().reveal(), password);
        }
        for text in ["", "\n", "abc", "R|", "R|a|b", "X|a", "rw|a", "R|a|R|b", "R|a b", "R|a|", "R|a||W|b"] {
            let error = Tokens::parse(text).unwrap_err();
            assert!(!error.contains("abc"), "{text}: {error}");
        }
        assert!(Tokens::parse(&format!("R|{}", "x".repeat(MAX_TOKENS))).is_err());
    }

    #[test]
    fn only_new_tokens_are_uploaded() {
        let (old, new) = (Tokens::parse("R|1|W|2").unwrap(), Tokens::parse("W|3|R|1").unwrap());
        assert_eq!(shown(&new.uploads(Some(&old))), [r#"{"token":"3","type":"W"}"#]);
        assert_eq!(shown(&new.uploads(None)).len(), 2);
        assert!(new.uploads(Some(&new)).is_empty());
        let both = Tokens::parse("RW|a\"b").unwrap().uploads(None);
        assert_eq!(shown(&both), [r#"{"token":"a\"b","type":"RW"}"#]);
    }

    #[test]
    fn tokens_are_never_shown() {
        let tokens = Tokens::parse("RW|hunter2").unwrap();
        assert!(!format!("{tokens:?} {:?}", tokens.uploads(None)).contains("hunter"));
    }

    #[test]
    fn notices_are_known_by_their_topics() {
        for (topic, payload, notice) in [
            (EXPIRES, r#"{"expireTime":1566003600000,"type":"RW"}"#, Some(Notice::Expires)),
            (EXPIRES, "nonsense", Some(Notice::Expires)),
            (INVALID, r#"{"code":3,"type":"R"}"#, Some(Notice::Invalid(Some(3)))),
            (INVALID, r#"{"code":-1}"#, Some(Notice::Invalid(Some(-1)))),
            (INVALID, "{", Some(Notice::Invalid(None))),
            ("a/$SYS/tokenInvalidNotice", "{}", None),
            (UPLOAD, "{}", None),
        ] {
            assert_eq!(Notice::read(topic, payload.as_bytes()), notice, "{topic} {payload}");
        }
        assert_eq!(Notice::Invalid(Some(3)).meaning(), "was revoked");
    }
}
