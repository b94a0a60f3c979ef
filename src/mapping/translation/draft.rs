//! What the strings of a mapping file say of a translation, before it is checked.

use crate::{mapping::fault::Fault, message::Qos, settings::Secret};

/// What a route says of its translation, unchecked.
#[derive(Debug, Clone)]
pub struct Draft<'a> {
    /// The end that it reads.
    pub from: DraftFrom<'a>,
    /// The source broker's name in the settings.
    pub from_broker: &'a str,
    /// The end that it writes.
    pub to: DraftTo<'a>,
    /// The sink broker's name in the settings.
    pub to_broker: &'a str,
    /// `to.within`: filters for MQTT; names, or starts of names and a `*`, for RocketMQ. Empty where not given.
    pub within: Vec<&'a str>,
    /// `order_by`: a template, `"none"`, or not given.
    pub order_by: Option<&'a str>,
    /// `strict = "lmq"`: hold LMQ-2.
    pub strict_lmq: bool,
    /// Signs the loop guard's marks.
    pub loop_key: &'a Secret,
}

/// The source of a [`Draft`].
#[derive(Debug, Clone)]
pub enum DraftFrom<'a> {
    /// MQTT.
    Mqtt {
        /// `from.mqtt`: at least one filter.
        filters: Vec<&'a str>,
        /// Whether the broker is spoken to in MQTT 5, so that messages have user properties.
        version_5: bool,
    },
    /// RocketMQ.
    RocketMq {
        /// `from.rocketmq`.
        topic: &'a str,
    },
    /// What happens to clients: a status route, whose notices are in order for each client.
    Clients,
}

/// The sink of a [`Draft`].
#[derive(Debug, Clone)]
pub enum DraftTo<'a> {
    /// MQTT.
    Mqtt {
        /// `to.mqtt`; `{topic}{subtopic}` of RocketMQ and `{topic}` of MQTT where not given (LMQ-4.1).
        topic: Option<&'a str>,
        /// `to.qos`; the message's own where not given.
        qos: Option<Qos>,
        /// `to.retain`; the message's own where not given.
        retain: Option<bool>,
        /// `to.real_topic`: a message's `mqttRealTopic` takes the place of the topic (LMQ-4.3).
        real_topic: bool,
    },
    /// RocketMQ.
    RocketMq {
        /// `to.rocketmq`; `{parent}` where not given (LMQ-3.1).
        topic: Option<&'a str>,
        /// `to.tag`; the message's own where not given.
        tag: Option<&'a str>,
        /// `to.key`; the message's own where not given.
        key: Option<&'a str>,
        /// `to.client_id` (LMQ-3.3 `clientId`), for publishers that only the topic tells; the message's own where not
        /// given.
        client_id: Option<&'a str>,
        /// `to.shard_key` (LMQ-10.2): takes the place of `order_by`.
        shard_key: Option<&'a str>,
    },
}

/// The string of a [`Draft`] that a fault is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Field {
    /// A filter of `from.mqtt`, by its index.
    Filter(usize),
    /// `from.rocketmq`.
    FromTopic,
    /// `to.mqtt` or `to.rocketmq`; where it was not given, the route as a whole (the range then says nothing).
    Topic,
    /// `to.tag`.
    Tag,
    /// `to.key`.
    Key,
    /// `to.client_id`.
    ClientId,
    /// `to.shard_key`.
    ShardKey,
    /// An element of `to.within`, by its index.
    Within(usize),
    /// `order_by`.
    OrderBy,
}

/// A fault of a [`Draft`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{fault}")]
pub struct DraftFault {
    /// In which string.
    pub field: Field,
    /// What is wrong in it.
    pub fault: Fault,
}

impl Draft<'_> {
    /// The kinds of the two ends, as loop marks tell them apart.
    pub(super) fn kinds(&self) -> (&'static str, &'static str) {
        let from = match self.from {
            DraftFrom::Mqtt { .. } => "mqtt",
            DraftFrom::RocketMq { .. } => "rocketmq",
            DraftFrom::Clients => "clients",
        };
        (from, if matches!(self.to, DraftTo::Mqtt { .. }) { "mqtt" } else { "rocketmq" })
    }

    /// The destination's template, with its default.
    pub(super) fn topic(&self) -> &str {
        let (given, default) = match (&self.to, &self.from) {
            (DraftTo::RocketMq { topic, .. }, DraftFrom::Clients) => (topic, "{group}_MQTT"),
            (DraftTo::RocketMq { topic, .. }, _) => (topic, "{parent}"),
            (DraftTo::Mqtt { topic, .. }, DraftFrom::RocketMq { .. }) => (topic, "{topic}{subtopic}"),
            (DraftTo::Mqtt { topic, .. }, DraftFrom::Mqtt { .. } | DraftFrom::Clients) => (topic, "{topic}"),
        };
        given.unwrap_or(default)
    }
}
