//! A back end that asks for tokens, revokes them and asks about them. It shares no code with what it asks.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::Value;
use sha1::Sha1;

use crate::servers::http;

/// The access key of these tests, and what it may do.
pub(super) const CREDENTIALS: &str = r#"
[[access_key]]
id = "YYYYY"
secret = "XXXXX"
groups = "GID_Test"
topics = ["TopicA/#", "TopicB/#"]
"#;

/// The settings of a token service; `topic` is where replicas tell each other.
pub(super) fn settings(topic: Option<&str>) -> String {
    let topic = topic.map(|topic| format!("topic = {topic:?}\n")).unwrap_or_default();
    format!(
        "\n[lmq]\ninstance = \"mqtt-x\"\ncredentials = \"credentials.toml\"\n\
         [lmq.tokens]\nsecret = \"a secret that all replicas share\"\n{topic}"
    )
}

/// Milliseconds since the epoch.
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis().try_into().unwrap()
}

/// A token service on a loopback port.
#[derive(Debug, Clone, Copy)]
pub(super) struct Service {
    pub(super) port: u16,
}

impl Service {
    /// A token for some seconds.
    pub(super) async fn apply(self, resources: &str, actions: &str, seconds: u64) -> String {
        self.try_apply(resources, actions, seconds).await.unwrap_or_else(|refused| panic!("no token: {refused}"))
    }

    /// A token, or the answer that refuses it.
    pub(super) async fn try_apply(self, resources: &str, actions: &str, seconds: u64) -> Result<String, Value> {
        let expires = (now() + seconds * 1000).to_string();
        let signed = [
            ("actions", actions),
            ("expireTime", &expires),
            ("instanceId", "mqtt-x"),
            ("resources", resources),
            ("serviceName", "mq"),
        ];
        let answer = self.call("apply", &signed).await;
        if answer["code"] == 200 { Ok(answer["tokenData"].as_str().unwrap().to_owned()) } else { Err(answer) }
    }

    /// The code of the answer.
    pub(super) async fn revoke(self, token: &str) -> i64 {
        self.call("revoke", &[("token", token)]).await["code"].as_i64().unwrap()
    }

    /// The code of the answer.
    pub(super) async fn query(self, token: &str) -> i64 {
        self.call("query", &[("token", token)]).await["code"].as_i64().unwrap()
    }

    /// `signed` are in the order of their names.
    async fn call(self, what: &str, signed: &[(&str, &str)]) -> Value {
        let text: Vec<String> = signed.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let mut mac = Hmac::<Sha1>::new_from_slice(b"XXXXX").unwrap();
        mac.update(text.join("&").as_bytes());
        let signature = BASE64_STANDARD.encode(mac.finalize().into_bytes());
        let all = signed.iter().copied().chain([("accessKey", "YYYYY"), ("signature", &signature)]);
        let query: Vec<String> = all.map(|(name, value)| format!("{name}={}", encoded(value))).collect();
        let path = format!("/token/{what}?{}", query.join("&"));
        let (status, body) = http::ask(self.port, "GET", &path).await.unwrap();
        assert_eq!(status, 200, "{body}");
        serde_json::from_str(&body).unwrap()
    }
}

fn encoded(value: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let encode = |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    value.bytes().map(encode).collect()
}
