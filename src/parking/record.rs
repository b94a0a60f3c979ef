//! The written form of a parked message. Separate from [`Message`], so that either can change without the other.

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    delivery::Refusal,
    message::{Message, Qos, Topic},
};

/// The format that this version writes.
const VERSION: u32 = 1;

/// One parked message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    version: u32,
    /// The route that could not send it.
    pub route: String,
    /// Milliseconds since the epoch.
    pub parked_at: u64,
    /// The stable short name of the reason, such as `body_too_large`.
    pub kind: String,
    /// The reason in words.
    pub reason: String,
    parent: String,
    subtopic: String,
    payload: String,
    qos: u8,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    retain: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    client_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tag: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    keys: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sharding_key: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    user_properties: Vec<(String, String)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    content_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    response_topic: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    correlation_data: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    payload_is_text: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    clean_session: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    real_topic: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mark: Option<String>,
}

/// Why a line is not a record.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// Not JSON of the expected shape.
    #[error("not a parked message: {0}")]
    Json(#[from] serde_json::Error),
    /// Written by a later version.
    #[error("written in format {0}; this version reads format {VERSION}")]
    Version(u32),
    /// A field that cannot be.
    #[error("field `{0}` holds something that is no parked message's")]
    Field(&'static str),
}

impl Record {
    /// Writes down a message that a route refused. Its expiry is left out: it was kept for a person, not for a device.
    pub fn new(route: &str, message: &Message, refusal: &Refusal, parked_at: u64) -> Self {
        Self {
            version: VERSION,
            route: route.to_owned(),
            parked_at,
            kind: refusal.kind.to_owned(),
            reason: refusal.reason.clone(),
            parent: message.topic.parent().to_owned(),
            subtopic: message.topic.subtopic().to_owned(),
            payload: STANDARD.encode(&message.payload),
            qos: message.qos.level(),
            retain: message.retain,
            client_id: message.client_id.clone(),
            tag: message.tag.clone(),
            keys: message.keys.clone(),
            sharding_key: message.sharding_key.clone(),
            user_properties: message.user_properties.clone(),
            content_type: message.content_type.clone(),
            response_topic: message.response_topic.clone(),
            correlation_data: message.correlation_data.as_ref().map(|data| STANDARD.encode(data)),
            payload_is_text: message.payload_is_text,
            clean_session: message.clean_session,
            real_topic: message.real_topic.clone(),
            mark: message.mark.clone(),
        }
    }

    /// Whether it holds what a source could not read: bytes that were no message, and must not be sent as one.
    pub fn is_raw(&self) -> bool {
        self.kind == Refusal::UNDECODABLE
    }

    /// The line, without its end.
    pub fn to_line(&self) -> String {
        serde_json::to_string(self).expect("strings, numbers and lists of them are JSON")
    }

    /// Reads a line.
    pub fn from_line(line: &str) -> Result<Self, RecordError> {
        let record: Self = serde_json::from_str(line)?;
        if record.version != VERSION {
            return Err(RecordError::Version(record.version));
        }
        record.message()?;
        Ok(record)
    }

    /// The topic as it was read.
    pub fn topic(&self) -> String {
        format!("{}{}", self.parent, self.subtopic)
    }

    /// Bytes of the payload, as near as its written form tells.
    pub fn payload_len(&self) -> usize {
        self.payload.trim_end_matches('=').len() * 3 / 4
    }

    /// The message as it was read.
    pub fn message(&self) -> Result<Message, RecordError> {
        let bytes = |text: &str, field| STANDARD.decode(text).map(Bytes::from).map_err(|_| RecordError::Field(field));
        let mut message =
            Message::new(Topic::from_parts(&self.parent, &self.subtopic), bytes(&self.payload, "payload")?);
        message.qos = Qos::from_level(self.qos).ok_or(RecordError::Field("qos"))?;
        message.retain = self.retain;
        message.client_id.clone_from(&self.client_id);
        message.tag.clone_from(&self.tag);
        message.keys.clone_from(&self.keys);
        message.sharding_key.clone_from(&self.sharding_key);
        message.user_properties.clone_from(&self.user_properties);
        message.content_type.clone_from(&self.content_type);
        message.response_topic.clone_from(&self.response_topic);
        message.correlation_data =
            self.correlation_data.as_deref().map(|data| bytes(data, "correlation_data")).transpose()?;
        message.payload_is_text = self.payload_is_text;
        message.clean_session = self.clean_session;
        message.real_topic.clone_from(&self.real_topic);
        message.mark.clone_from(&self.mark);
        Ok(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_gives_back_the_message_it_was_made_of() {
        let mut message = Message::new(Topic::from_mqtt("plant/a//b/"), (0..=255).collect::<Vec<u8>>());
        message.qos = Qos::ExactlyOnce;
        message.retain = true;
        message.tag = Some("t".into());
        message.user_properties = vec![("a".into(), "\u{2}".into()), ("a".into(), String::new())];
        message.correlation_data = Some(Bytes::from_static(&[0, 255]));
        message.payload_is_text = Some(false);
        let record = Record::new("r", &message, &Refusal::new("k", "why\nso"), 7);
        let line = record.to_line();
        assert!(!line.contains('\n'), "one record, one line");
        let read = Record::from_line(&line).expect("our own line");
        assert_eq!(read.message().expect("our own message"), message);
        assert_eq!((read.kind.as_str(), read.reason.as_str()), ("k", "why\nso"));
    }

    #[test]
    fn lines_of_others_are_refused_with_a_reason() {
        for (line, words) in [
            ("{", "not a parked message"),
            (
                r#"{"version":9,"route":"r","parked_at":1,"kind":"k","reason":"w","parent":"a","subtopic":"","payload":"","qos":1}"#,
                "format 9",
            ),
            (
                r#"{"version":1,"route":"r","parked_at":1,"kind":"k","reason":"w","parent":"a","subtopic":"","payload":"*","qos":1}"#,
                "`payload`",
            ),
            (
                r#"{"version":1,"route":"r","parked_at":1,"kind":"k","reason":"w","parent":"a","subtopic":"","payload":"","qos":3}"#,
                "`qos`",
            ),
        ] {
            let error = Record::from_line(line).expect_err(line).to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
