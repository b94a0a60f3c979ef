//! A message and its RocketMQ properties, both ways: LMQ-3 and LMQ-4.
//!
//! What MQTT has and the contract has no name for crosses under names of the same style, listed in [`names`]. No
//! value from outside may ever become a reserved property, or inject one through RocketMQ's two separators.
//!
//! RocketMQ's own properties say how a message fares on one cluster, so they stay there; all else is carried
//! across, also from one RocketMQ to another.

pub mod names;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

pub use names::is_reserved;

use crate::{
    delivery::Refusal,
    message::{Message, Qos, Topic},
};

/// Separates a name from its value.
const VALUE: char = '\u{1}';
/// Ends a property.
const END: char = '\u{2}';

/// LMQ-3.4: the most that `mqtt5UserProperty` may hold, in bytes.
const USER_PROPERTIES_MAX: usize = 8 * 1024;

/// The most that all properties of one message may take, in bytes. RocketMQ's limit is 32,767; the rest is for
/// `UNIQ_KEY` and what brokers add.
const TOTAL_MAX: usize = 32_000;

/// The names that `decode` turns into fields of a message.
#[derive(Debug, Clone, Copy)]
enum Field {
    Tag,
    Keys,
    ShardingKey,
    SecondTopic,
    Qos,
    ClientId,
    CleanSession,
    Topic,
    UserProperties,
    Expiry,
    ContentType,
    RealTopic,
    Retain,
    ResponseTopic,
    CorrelationData,
    PayloadFormat,
    Mark,
    OriginTopic,
}

impl Field {
    fn of(name: &str) -> Option<Self> {
        Some(match name {
            names::TAGS => Self::Tag,
            names::KEYS => Self::Keys,
            names::SHARDING_KEY => Self::ShardingKey,
            names::SECOND_TOPIC => Self::SecondTopic,
            names::QOS | names::ORIGIN_QOS => Self::Qos,
            names::CLIENT_ID => Self::ClientId,
            names::CLEAN_SESSION | names::ORIGIN_CLEAN_SESSION => Self::CleanSession,
            names::TOPIC => Self::Topic,
            names::USER_PROPERTIES => Self::UserProperties,
            names::EXPIRY => Self::Expiry,
            names::CONTENT_TYPE => Self::ContentType,
            names::REAL_TOPIC => Self::RealTopic,
            names::RETAIN => Self::Retain,
            names::RESPONSE_TOPIC => Self::ResponseTopic,
            names::CORRELATION_DATA => Self::CorrelationData,
            names::PAYLOAD_FORMAT => Self::PayloadFormat,
            names::MARK => Self::Mark,
            names::ORIGIN_TOPIC => Self::OriginTopic,
            _ => return None,
        })
    }
}

/// An element of `mqtt5UserProperty`.
#[derive(Serialize, Deserialize)]
struct UserProperty<'m> {
    #[serde(borrow)]
    key: Cow<'m, str>,
    #[serde(borrow)]
    value: Cow<'m, str>,
}

/// Names and values, in the order in which they are written.
pub type Pairs<'m> = Vec<(Cow<'m, str>, Cow<'m, str>)>;

/// All properties of a message except `UNIQ_KEY`, ready to be written one after the other: no name or value is
/// empty or holds a separator, and together they are within RocketMQ's limit.
///
/// Refused are `property_unencodable` (a separator where only RocketMQ's own form can carry the value),
/// `user_properties_too_large` (LMQ-3.4: 8 KB) and `properties_too_large`.
pub fn encode(message: &Message) -> Result<Pairs<'_>, Refusal> {
    let mut out = Properties(Vec::with_capacity(8 + message.user_properties.len()));
    out.text(names::TAGS, message.tag.as_deref())?;
    out.text(names::KEYS, message.keys.as_deref())?;
    out.text(names::SHARDING_KEY, message.sharding_key.as_deref())?;
    out.text(names::SECOND_TOPIC, Some(message.topic.subtopic().trim_end_matches('/')))?;
    out.safe(names::QOS, ["0", "1", "2"][usize::from(message.qos.level())]);
    out.text(names::CLIENT_ID, message.client_id.as_deref())?;
    if let Some(clean) = message.clean_session {
        out.safe(names::CLEAN_SESSION, if clean { "true" } else { "false" });
    }
    out.text(names::TOPIC, Some(message.topic.as_str()))?;
    if let Some(seconds) = message.expiry {
        out.safe(names::EXPIRY, seconds.to_string());
    }
    out.text(names::CONTENT_TYPE, message.content_type.as_deref())?;
    out.text(names::RESPONSE_TOPIC, message.response_topic.as_deref())?;
    if let Some(data) = &message.correlation_data
        && !data.is_empty()
    {
        out.safe(names::CORRELATION_DATA, BASE64_STANDARD.encode(data));
    }
    if let Some(is_text) = message.payload_is_text {
        out.safe(names::PAYLOAD_FORMAT, if is_text { "1" } else { "0" });
    }
    out.text(names::REAL_TOPIC, message.real_topic.as_deref())?;
    if message.retain {
        out.safe(names::RETAIN, "true");
    }
    out.text(names::MARK, message.mark.as_deref())?;
    if !message.user_properties.is_empty() {
        out.user_properties(message)?;
    }
    out.checked()
}

struct Properties<'m>(Pairs<'m>);

impl<'m> Properties<'m> {
    /// A value that is known to be fit.
    fn safe(&mut self, name: &'static str, value: impl Into<Cow<'m, str>>) {
        self.0.push((Cow::Borrowed(name), value.into()));
    }

    /// A value from outside. An empty one is the same as none: RocketMQ cannot hold it.
    fn text(&mut self, name: &'static str, value: Option<&'m str>) -> Result<(), Refusal> {
        let Some(value) = value.filter(|value| !value.is_empty()) else { return Ok(()) };
        if has_separator(value) {
            let reason = format!("`{name}` holds a character U+0001 or U+0002, which RocketMQ keeps for itself");
            return Err(Refusal::new("property_unencodable", reason));
        }
        self.safe(name, value);
        Ok(())
    }

    /// User properties as the list of LMQ-3.4, and each also under its own name where RocketMQ can hold it; of
    /// repeats, the first.
    fn user_properties(&mut self, message: &'m Message) -> Result<(), Refusal> {
        let properties = &message.user_properties;
        let first_own = self.0.len();
        for (name, value) in properties {
            let holds = !name.is_empty() && !value.is_empty() && !has_separator(name) && !has_separator(value);
            if holds && !is_reserved(name) && !self.0[first_own..].iter().any(|(earlier, _)| earlier == name) {
                self.0.push((Cow::Borrowed(name), Cow::Borrowed(value)));
            }
        }
        let list: Vec<_> = properties
            .iter()
            .map(|(key, value)| UserProperty { key: Cow::Borrowed(key), value: Cow::Borrowed(value) })
            .collect();
        let json = serde_json::to_string(&list)
            .map_err(|error| Refusal::new("property_unencodable", format!("user properties: {error}")))?;
        if json.len() <= USER_PROPERTIES_MAX {
            // JSON escapes control characters, so it holds no separator.
            self.safe(names::USER_PROPERTIES, json);
            return Ok(());
        }
        // A message that RocketMQ already held in this form is not refused for a limit of MQTT's.
        let all_own = self.0.len() - first_own == properties.len();
        if message.queue.is_some() && all_own {
            return Ok(());
        }
        let reason = format!(
            "its user properties take {} bytes as `{}`, more than {USER_PROPERTIES_MAX}",
            json.len(),
            names::USER_PROPERTIES
        );
        Err(Refusal::new("user_properties_too_large", reason))
    }

    fn checked(self) -> Result<Pairs<'m>, Refusal> {
        let total: usize = self.0.iter().map(|(name, value)| name.len() + value.len() + 2).sum();
        if total > TOTAL_MAX {
            let reason = format!("its properties take {total} bytes, more than {TOTAL_MAX}");
            return Err(Refusal::new("properties_too_large", reason));
        }
        Ok(self.0)
    }
}

fn has_separator(text: &str) -> bool {
    text.bytes().any(|byte| byte == VALUE as u8 || byte == END as u8)
}

/// Splits RocketMQ's one string of properties; what is not a pair, or has an empty half, is skipped, as Java's
/// `MessageDecoder` does.
pub fn split(properties: &str) -> impl Iterator<Item = (&str, &str)> {
    properties
        .split(END)
        .filter_map(|pair| pair.split_once(VALUE))
        .filter(|(name, value)| !name.is_empty() && !value.is_empty())
}

/// The message that a RocketMQ message is: its topic without a namespace, its properties and its body.
///
/// Never fails: a property of the contract whose value makes no sense crosses as a user property, so that nothing
/// is lost, and the field keeps its default (LMQ-4.2: `qoslevel` 1). User properties are those of
/// `mqtt5UserProperty`, then those under their own names that it does not list.
pub fn decode<'p>(topic: &str, properties: impl IntoIterator<Item = (&'p str, &'p str)>, body: Bytes) -> Message {
    let mut message = Message::new(Topic::from_parts(topic, ""), body);
    let mut topics = Topics::default();
    let mut listed = Vec::new();
    for (name, value) in properties {
        let Some(field) = Field::of(name) else {
            if !names::is_rocketmq_name(name) {
                message.user_properties.push((name.to_owned(), value.to_owned()));
            }
            continue;
        };
        if !read_field(field, value, &mut message, &mut topics, &mut listed) {
            message.user_properties.push((name.to_owned(), value.to_owned()));
        }
    }
    if !listed.is_empty() {
        let own = std::mem::take(&mut message.user_properties);
        let listed_names = listed.len();
        message.user_properties = listed;
        for (name, value) in own {
            if !message.user_properties[..listed_names].iter().any(|(listed, _)| *listed == name) {
                message.user_properties.push((name, value));
            }
        }
    }
    topics.settle(topic, &mut message);
    message
}

/// Where properties say that the message belongs; read together once all are known.
#[derive(Default)]
struct Topics<'p> {
    second: Option<&'p str>,
    whole: Option<&'p str>,
    origin: Option<&'p str>,
}

impl Topics<'_> {
    /// LMQ-4.1: topic and subtopic. `topic` may only add trailing slashes to it, and `originMqttTopic` may only
    /// stand in for a missing subtopic of the same parent, so that neither chooses another topic.
    fn settle(&self, parent: &str, message: &mut Message) {
        let under_parent =
            |whole: &str| whole.strip_prefix(parent).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        match (self.second, self.origin) {
            (Some(second), origin) => {
                message.topic = Topic::from_parts(parent, second);
                keep(origin, names::ORIGIN_TOPIC, message, false);
            }
            (None, Some(origin)) if under_parent(origin) => {
                message.topic = Topic::from_parts(parent, &origin[parent.len()..]);
            }
            (None, origin) => keep(origin, names::ORIGIN_TOPIC, message, true),
        }
        if let Some(whole) = self.whole {
            let same = whole.trim_end_matches('/') == message.topic.as_str().trim_end_matches('/');
            if same && under_parent(whole) {
                message.topic = Topic::from_parts(parent, &whole[parent.len()..]);
            } else {
                keep(Some(whole), names::TOPIC, message, true);
            }
        }
    }
}

/// A topic that could not be followed crosses as a user property, unless it says nothing new.
fn keep(value: Option<&str>, name: &str, message: &mut Message, always: bool) {
    if let Some(value) = value
        && (always || value != message.topic.as_str())
        && !message.user_properties.iter().any(|(listed, _)| listed == name)
    {
        message.user_properties.push((name.to_owned(), value.to_owned()));
    }
}

/// Reads a property of the contract into its field; false when its value makes no sense.
fn read_field<'p>(
    field: Field,
    value: &'p str,
    message: &mut Message,
    topics: &mut Topics<'p>,
    listed: &mut Vec<(String, String)>,
) -> bool {
    let text = || Some(value.to_owned());
    match field {
        Field::Tag => message.tag = text(),
        Field::Keys => message.keys = text(),
        Field::ShardingKey => message.sharding_key = text(),
        Field::ClientId => message.client_id = text(),
        Field::ContentType => message.content_type = text(),
        Field::RealTopic => message.real_topic = text(),
        Field::ResponseTopic => message.response_topic = text(),
        Field::Mark => message.mark = text(),
        Field::SecondTopic => topics.second = Some(value),
        Field::Topic => topics.whole = Some(value),
        Field::OriginTopic => topics.origin = Some(value),
        Field::Qos => return read(&mut message.qos, value.parse().ok().and_then(Qos::from_level)),
        Field::CleanSession => return read(&mut message.clean_session, truth(value).map(Some)),
        Field::Retain => return read(&mut message.retain, truth(value)),
        Field::Expiry => return read(&mut message.expiry, value.parse().ok().map(Some)),
        Field::PayloadFormat => {
            return read(
                &mut message.payload_is_text,
                ["0", "1"].iter().position(|v| *v == value).map(|v| Some(v == 1)),
            );
        }
        Field::CorrelationData => {
            let data = BASE64_STANDARD.decode(value).ok().map(|data| Some(Bytes::from(data)));
            return read(&mut message.correlation_data, data);
        }
        Field::UserProperties => {
            let list = serde_json::from_str::<Vec<UserProperty>>(value).ok();
            let owned = list.map(|list| list.into_iter().map(|p| (p.key.into_owned(), p.value.into_owned())).collect());
            return read(listed, owned);
        }
    }
    true
}

fn read<T>(field: &mut T, value: Option<T>) -> bool {
    value.map(|value| *field = value).is_some()
}

fn truth(value: &str) -> Option<bool> {
    match value {
        "true" | "TRUE" | "True" | "1" => Some(true),
        "false" | "FALSE" | "False" | "0" => Some(false),
        _ => None,
    }
}
