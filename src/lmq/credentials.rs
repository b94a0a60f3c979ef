//! What a client of LMQ sends to log in (LMQ-1), and to stay when its tokens end (LMQ-9.5). It must never show a secret or
//! a token but in the text that is sent.

use super::{
    login::Username,
    signature::sign,
    token::{self, Kind, system_topics::UploadBody},
};
use crate::settings::{LmqLogin, Secret};

/// The longest text of tokens that is taken, in bytes: well below what MQTT takes as a password.
pub const MAX_TOKENS: usize = 16 * 1024;

/// The user name of a login, by its mode.
pub fn username(login: &LmqLogin) -> String {
    let username = match login {
        LmqLogin::Signature { access_key, instance, .. } => Username::Signature { access_key, instance },
        LmqLogin::Token { access_key, instance, .. } => Username::Token { access_key, instance },
        LmqLogin::Device { access_key: id, instance, .. } => Username::Device { id, instance },
        LmqLogin::Custom { username, .. } => Username::Custom(username),
    };
    username.to_string()
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
        let joined = parts.join("|");
        let tokens = token::password::tokens(&joined)?;
        if tokens.iter().any(|(_, token)| token.contains(|c: char| c.is_control() || c.is_whitespace())) {
            return Err("a token that holds spaces");
        }
        let tokens = tokens.into_iter().map(|(kind, token)| (kind, Secret::new(token))).collect();
        Ok(Self(tokens))
    }

    /// The password (LMQ-1.2).
    pub fn password(&self) -> Secret {
        Secret::new(token::password::password(self.0.iter().map(|(kind, token)| (*kind, token.reveal()))))
    }

    /// What is published to [`UPLOAD`](token::system_topics::UPLOAD) so that these take the place of `earlier`: a payload for each token that is new.
    pub fn uploads(&self, earlier: Option<&Self>) -> Vec<Secret> {
        let known = |pair: &(Kind, Secret)| earlier.is_some_and(|earlier| earlier.0.contains(pair));
        let payload = |(kind, token): &(Kind, Secret)| {
            let upload = UploadBody { token: token.reveal().into(), kind: *kind };
            serde_json::to_string(&upload).ok().map(Secret::new)
        };
        self.0.iter().filter(|pair| !known(pair)).filter_map(payload).collect()
    }
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
}
