//! The neutral message: what both ends decode into and encode from.
//!
//! Its fields are those of the LMQ contract (sections 3 and 4), since that contract says what an MQTT publish
//! and a RocketMQ message have in common. It must never know a socket, a clock or a client library.

use std::sync::Arc;

use bytes::Bytes;

/// One message between a source and a sink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Where it was read, or, once translated, where it goes.
    pub topic: Topic,
    /// The payload of a publish, the body of a RocketMQ message: bytes, never touched.
    pub payload: Bytes,
    /// LMQ-3.3 `qoslevel`: the QoS at which it was delivered, or with which it is to be published.
    pub qos: Qos,
    /// MQTT's retain flag.
    pub retain: bool,
    /// LMQ-3.3 `clientId`: the publisher, where it is known.
    pub client_id: Option<String>,
    /// RocketMQ's tag.
    pub tag: Option<String>,
    /// RocketMQ's keys, separated by spaces.
    pub keys: Option<String>,
    /// LMQ-10.2 `__SHARDINGKEY`: the key of an ordered message. Read from RocketMQ, or set by the mapping.
    pub sharding_key: Option<String>,
    /// User properties in their order, repeats included. A reserved name (`lmq::properties`) among them never
    /// becomes a RocketMQ property of its own.
    pub user_properties: Vec<(String, String)>,
    /// MQTT 5 content type.
    pub content_type: Option<String>,
    /// MQTT 5 response topic.
    pub response_topic: Option<String>,
    /// MQTT 5 correlation data.
    pub correlation_data: Option<Bytes>,
    /// MQTT 5 payload format indicator: true means UTF-8 text.
    pub payload_is_text: Option<bool>,
    /// MQTT 5 message expiry in seconds, counted from the moment the source received it.
    pub expiry: Option<u32>,
    /// LMQ-5.4 `cleansessionflag`.
    pub clean_session: Option<bool>,
    /// LMQ-4.3 `mqttRealTopic`: the topic that the receiver is shown.
    pub real_topic: Option<String>,
    /// The bridge's own mark, as it was read: where the message entered (loop guard).
    pub mark: Option<String>,
    /// The RocketMQ queue it was read from: the default order of a RocketMQ source.
    pub queue: Option<Queue>,
}

impl Message {
    /// A message with only a topic and a payload; QoS 1, everything else absent.
    pub fn new(topic: Topic, payload: impl Into<Bytes>) -> Self {
        Self {
            topic,
            payload: payload.into(),
            qos: Qos::AtLeastOnce,
            retain: false,
            client_id: None,
            tag: None,
            keys: None,
            sharding_key: None,
            user_properties: Vec::new(),
            content_type: None,
            response_topic: None,
            correlation_data: None,
            payload_is_text: None,
            expiry: None,
            clean_session: None,
            real_topic: None,
            mark: None,
            queue: None,
        }
    }

    /// Bytes that this message occupies, near enough to bound memory by.
    pub fn weight(&self) -> usize {
        let text = |value: &Option<String>| value.as_ref().map_or(0, String::len);
        size_of::<Self>()
            + self.topic.as_str().len()
            + self.payload.len()
            + text(&self.client_id)
            + text(&self.tag)
            + text(&self.keys)
            + text(&self.sharding_key)
            + text(&self.content_type)
            + text(&self.response_topic)
            + self.correlation_data.as_ref().map_or(0, Bytes::len)
            + self.user_properties.iter().map(|(name, value)| 48 + name.len() + value.len()).sum::<usize>()
    }
}

/// A topic in its two parts: the parent (MQTT's first level, the RocketMQ topic) and the subtopic
/// (the rest, with its leading slash, or empty). LMQ-3.1, LMQ-3.2.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Topic {
    whole: String,
    parent: usize,
}

impl Topic {
    /// Splits a whole MQTT topic at its first slash.
    pub fn from_mqtt(whole: impl Into<String>) -> Self {
        let whole = whole.into();
        let parent = whole.find('/').unwrap_or(whole.len());
        Self { whole, parent }
    }

    /// Joins a RocketMQ topic and a subtopic, which may lack its leading slash (LMQ-4.1).
    pub fn from_parts(parent: &str, subtopic: &str) -> Self {
        let slash = if subtopic.is_empty() || subtopic.starts_with('/') { "" } else { "/" };
        Self { whole: [parent, slash, subtopic].concat(), parent: parent.len() }
    }

    /// The whole topic, as MQTT writes it.
    pub fn as_str(&self) -> &str {
        &self.whole
    }

    /// The parent topic.
    pub fn parent(&self) -> &str {
        &self.whole[..self.parent]
    }

    /// The subtopic with its leading slash, or nothing.
    pub fn subtopic(&self) -> &str {
        &self.whole[self.parent..]
    }
}

/// MQTT's quality of service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Qos {
    /// At most once: nothing can hold its source.
    AtMostOnce,
    /// At least once.
    AtLeastOnce,
    /// Exactly once, on the MQTT leg alone.
    ExactlyOnce,
}

impl Qos {
    /// The level as the contract writes it: `0`, `1`, `2`.
    pub fn level(self) -> u8 {
        self as u8
    }

    /// Reads `0`, `1` or `2`.
    pub fn from_level(level: u8) -> Option<Self> {
        match level {
            0 => Some(Self::AtMostOnce),
            1 => Some(Self::AtLeastOnce),
            2 => Some(Self::ExactlyOnce),
            _ => None,
        }
    }
}

/// One message queue of a RocketMQ topic.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Queue {
    /// The broker's name.
    pub broker: Arc<str>,
    /// The queue's number on that broker, from 0.
    pub id: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_split_at_the_first_slash() {
        for (whole, parent, subtopic) in [
            ("ACE/live/100", "ACE", "/live/100"),
            ("ACE", "ACE", ""),
            ("a/", "a", "/"),
            ("/a", "", "/a"),
            ("a//b", "a", "//b"),
        ] {
            let topic = Topic::from_mqtt(whole);
            assert_eq!((topic.parent(), topic.subtopic()), (parent, subtopic), "{whole}");
        }
    }

    #[test]
    fn parts_join_with_and_without_the_leading_slash() {
        for (subtopic, whole) in [("/live", "ACE/live"), ("live", "ACE/live"), ("", "ACE")] {
            assert_eq!(Topic::from_parts("ACE", subtopic).as_str(), whole);
        }
    }
}
