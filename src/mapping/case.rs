//! Tests inside mapping files (`[[route.test]]`): a message, and what the route must make of it.
//!
//! They run without a broker, so they hold what the translation and the contract say, never what a broker does.

use bytes::Bytes;

use super::{Place, Route, To, translation::Translated};
use crate::{
    delivery::Refusal,
    lmq::properties,
    message::{Message, Qos},
};

/// One test of a route.
#[derive(Debug, Clone)]
pub struct Case {
    /// Where it stands.
    pub place: Place,
    /// The message as the source would have read it.
    pub given: Message,
    /// What must come of it.
    pub expect: Expect,
}

/// What must come of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expect {
    /// It is sent; what is not given may be anything.
    Sent(Box<Expected>),
    /// It is refused with this kind, such as `value_missing`.
    Refused(String),
}

/// What is known of the message that is sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expected {
    /// The whole topic on MQTT, the topic without the subtopic on RocketMQ.
    pub topic: Option<String>,
    /// RocketMQ's tag; empty means none.
    pub tag: Option<String>,
    /// RocketMQ's keys; empty means none.
    pub key: Option<String>,
    /// The QoS.
    pub qos: Option<Qos>,
    /// The retain flag.
    pub retain: Option<bool>,
    /// Some of the properties: all that RocketMQ is sent, or MQTT's user properties. An empty value means that the
    /// property is absent.
    pub properties: Vec<(String, String)>,
    /// The payload, byte for byte.
    pub payload: Option<Bytes>,
}

/// The message that a RocketMQ source makes of a topic, its properties and a body.
pub fn stored(
    topic: &str,
    tag: Option<&str>,
    keys: Option<&str>,
    own: &[(String, String)],
    body: impl Into<Bytes>,
) -> Message {
    let own = own.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let tag = tag.map(|tag| (properties::names::TAGS, tag));
    let keys = keys.map(|keys| (properties::names::KEYS, keys));
    properties::decode(topic, own.chain(tag).chain(keys), body.into())
}

/// Runs a test; what is not as expected, in words. Nothing means that it passed.
pub fn run(route: &Route, case: &Case) -> Vec<String> {
    if !route.takes(&case.given) {
        return vec![format!("the route does not take `{}`", case.given.topic.as_str())];
    }
    let outcome = route.translation.translate(&case.given).and_then(|translated| outcome(route, translated));
    match (&case.expect, outcome) {
        (Expect::Sent(_), Err(refusal)) => vec![format!("refused: {refusal}")],
        (Expect::Refused(kind), Err(refusal)) if refusal.kind == kind => Vec::new(),
        (Expect::Refused(kind), Err(refusal)) => {
            vec![format!("expected a refusal `{kind}`, got `{}`: {refusal}", refusal.kind)]
        }
        (_, Ok(None)) => vec!["the loop guard holds it back: it would go to where it comes from".to_owned()],
        (Expect::Refused(kind), Ok(Some(sent))) => {
            vec![format!("expected a refusal `{kind}`, but it is sent to `{}`", sent.topic)]
        }
        (Expect::Sent(expected), Ok(Some(sent))) => expected.differences(&sent),
    }
}

/// A message in the terms of its sink.
struct Sent {
    topic: String,
    properties: Vec<(String, String)>,
    message: Message,
}

fn outcome(route: &Route, translated: Translated) -> Result<Option<Sent>, Refusal> {
    let Translated::Send { message, .. } = translated else { return Ok(None) };
    let (topic, properties) = match route.to {
        To::Mqtt { .. } => (message.topic.as_str(), message.user_properties.clone()),
        To::RocketMq { .. } => {
            let own = |(name, value): (std::borrow::Cow<'_, str>, std::borrow::Cow<'_, str>)| {
                (name.into_owned(), value.into_owned())
            };
            (message.topic.parent(), properties::encode(&message)?.into_iter().map(own).collect())
        }
    };
    Ok(Some(Sent { topic: topic.to_owned(), properties, message }))
}

impl Expected {
    fn differences(&self, sent: &Sent) -> Vec<String> {
        let mut found = Vec::new();
        let mut compare = |what: &str, expected: Option<&str>, got: Option<&str>| {
            if let Some(expected) = expected
                && expected != got.unwrap_or_default()
            {
                found.push(match got {
                    Some(got) => format!("{what}: expected `{expected}`, got `{got}`"),
                    None => format!("{what}: expected `{expected}`, got none"),
                });
            }
        };
        compare("topic", self.topic.as_deref(), Some(&sent.topic));
        compare("tag", self.tag.as_deref(), sent.message.tag.as_deref());
        compare("key", self.key.as_deref(), sent.message.keys.as_deref());
        let qos = |qos: Qos| qos.level().to_string();
        compare("qos", self.qos.map(qos).as_deref(), Some(&qos(sent.message.qos)));
        let retain = self.retain.map(|retain| retain.to_string());
        compare("retain", retain.as_deref(), Some(&sent.message.retain.to_string()));
        for (name, value) in &self.properties {
            let got = sent.properties.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
            compare(&format!("property `{name}`"), Some(value), got);
        }
        if let Some(payload) = &self.payload
            && *payload != sent.message.payload
        {
            let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).escape_debug().to_string();
            found.push(format!("payload: expected `{}`, got `{}`", text(payload), text(&sent.message.payload)));
        }
        found
    }
}

#[cfg(test)]
mod tests;
