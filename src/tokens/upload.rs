//! A token that a client sends to take the place of the one that ends (LMQ-9.5), as its broker's webhook tells of it.
//!
//! Pure: nothing that is posted makes it panic. It must never show a token.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::Deserialize;

use crate::{
    lmq::token::{
        Kind,
        system_topics::{UPLOAD, UploadBody},
    },
    presence::adapter::Adapter,
};

/// What a client sent. It has no `Debug`: a token must not be shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Upload {
    /// The client.
    pub client_id: String,
    /// The token.
    pub token: String,
    /// Its type.
    pub kind: Kind,
}

/// The publish of a webhook: what RMQTT and EMQX call the same things.
#[derive(Deserialize)]
struct Published {
    topic: Option<String>,
    /// RMQTT.
    from_clientid: Option<String>,
    /// EMQX.
    clientid: Option<String>,
    payload: Option<String>,
}

/// Reads a post: nothing where it is about something else.
pub fn read(adapter: Adapter, body: &[u8]) -> Result<Option<Upload>, &'static str> {
    let published: Published = serde_json::from_slice(body).map_err(|_| "it is no object in JSON")?;
    if published.topic.as_deref() != Some(UPLOAD) {
        return Ok(None);
    }
    let payload = published.payload.ok_or("it has no `payload`")?;
    let (client_id, payload) = match adapter {
        Adapter::Rmqtt => {
            (published.from_clientid, BASE64_STANDARD.decode(payload).map_err(|_| "a payload not in base64")?)
        }
        Adapter::Emqx => (published.clientid, payload.into_bytes()),
        _ => return Err("this broker tells nothing of what clients publish"),
    };
    let client_id = client_id.ok_or("it does not say which client it is from")?;
    // What a client sends that is none: nobody can be told of it but the client, and it knows.
    let Ok(UploadBody { token, kind }) = serde_json::from_slice(&payload) else { return Ok(None) };
    Ok(Some(Upload { client_id, token: token.into_owned(), kind }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What RMQTT 0.24 posts.
    fn rmqtt(topic: &str, payload: &str) -> Vec<u8> {
        serde_json::to_vec(&serde_json::json!({
            "action": "message_publish", "dup": false, "from_clientid": "GID_a@@@1", "from_ipaddress": "127.0.0.1:1",
            "from_node": 1, "from_type": "custom", "from_username": "Token|AK|x", "packet_id": 1,
            "payload": BASE64_STANDARD.encode(payload), "qos": 1, "retain": false, "time": "2026-01-01 00:00:00",
            "topic": topic, "ts": 1_767_225_600_000_u64,
        }))
        .unwrap()
    }

    #[test]
    fn what_rmqtt_and_emqx_tell_of_is_read() {
        let payload = r#"{"token":"abc","type":"RW"}"#;
        let upload = Upload { client_id: "GID_a@@@1".into(), token: "abc".into(), kind: Kind::Both };
        assert!(read(Adapter::Rmqtt, &rmqtt(UPLOAD, payload)) == Ok(Some(upload.clone())));
        let emqx = serde_json::json!({ "clientid": "GID_a@@@1", "topic": UPLOAD, "payload": payload, "qos": 1 });
        assert!(read(Adapter::Emqx, emqx.to_string().as_bytes()) == Ok(Some(upload)));
    }

    #[test]
    fn what_is_none_is_passed_over_or_refused() {
        assert!(read(Adapter::Rmqtt, &rmqtt("a/b", r#"{"token":"abc","type":"RW"}"#)) == Ok(None));
        for payload in ["", "{}", r#"{"token":"abc"}"#, r#"{"token":"abc","type":"WR"}"#, r#"{"token":1,"type":"R"}"#] {
            assert!(read(Adapter::Rmqtt, &rmqtt(UPLOAD, payload)) == Ok(None), "{payload}");
        }
        for body in ["", "[]", "{", "1"] {
            assert!(read(Adapter::Rmqtt, body.as_bytes()).is_err(), "{body}");
        }
        let plain = serde_json::json!({ "from_clientid": "a", "topic": UPLOAD, "payload": "{}" }).to_string();
        assert!(read(Adapter::Rmqtt, plain.as_bytes()).is_err());
        assert!(read(Adapter::Mosquitto, plain.as_bytes()).is_err());
    }
}
