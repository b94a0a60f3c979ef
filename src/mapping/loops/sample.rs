//! Made-up messages that stand for all of their shape.
//!
//! Translations only join texts, so what becomes of made-up names becomes of any.

use crate::{
    mapping::{From, Route, To, pattern::Pattern, translation::Produces},
    message::{Message, Topic},
    settings::MqttVersion,
};

/// Messages that one route may write and the next one reads.
pub(super) fn messages(from: &Route, to: &Route, all: &[Route]) -> Vec<Message> {
    let topics = match (from.translation.produces(), &to.from) {
        (Produces::Mqtt(written), From::Mqtt(_)) => {
            let read = || to.translation.filters();
            written
                .iter()
                .flat_map(|topic| read().filter_map(|filter| filter.intersection(topic)))
                .flat_map(|shared| mqtt(&shared))
                .collect()
        }
        _ => rocketmq(to),
    };
    let properties: Vec<_> = all.iter().flat_map(|route| route.translation.properties()).collect();
    topics.into_iter().map(|message| known(message, &properties)).collect()
}

/// Messages that a route reads.
pub(super) fn own(route: &Route) -> Vec<Message> {
    let topics = match route.from {
        From::Mqtt(_) => route.translation.filters().flat_map(mqtt).collect(),
        From::RocketMq(_) => rocketmq(route),
        From::Events(_) => Vec::new(),
    };
    let properties: Vec<_> = route.translation.properties().collect();
    topics.into_iter().map(|message| known(message, &properties)).collect()
}

/// A short and a long topic of a filter.
fn mqtt(filter: &Pattern) -> Vec<Message> {
    let mut names = 0;
    let levels: Vec<_> = filter.filter().split('/').collect();
    let mut name = |level: &str| match level {
        "+" => {
            names += 1;
            format!("n{names}")
        }
        _ => level.to_owned(),
    };
    let Some((&"#", above)) = levels.split_last() else {
        let topic = levels.iter().map(|level| name(level)).collect::<Vec<_>>().join("/");
        return vec![Message::new(Topic::from_mqtt(topic), "")];
    };
    let above: Vec<_> = above.iter().map(|level| name(level)).collect();
    let long = [above.as_slice(), &["r1".to_owned(), "r2".to_owned()]].concat();
    let topics = [above, long].into_iter().map(|levels| levels.join("/")).filter(|topic| !topic.is_empty());
    topics.map(|topic| Message::new(Topic::from_mqtt(topic), "")).collect()
}

/// Messages with each tag that a RocketMQ source takes, with and without a subtopic.
fn rocketmq(route: &Route) -> Vec<Message> {
    let From::RocketMq(from) = &route.from else { return Vec::new() };
    let tags = if from.tags.is_empty() { vec!["n"] } else { from.tags.iter().map(String::as_str).collect() };
    let message = |tag: &str, subtopic| {
        let message = Message::new(Topic::from_parts(&from.topic, subtopic), "");
        Message { tag: Some(tag.to_owned()), ..message }
    };
    tags.iter().flat_map(|tag| ["", "/r1/r2"].map(|subtopic| message(tag, subtopic))).collect()
}

/// The message with all that templates may ask for.
fn known(message: Message, properties: &[&str]) -> Message {
    Message {
        client_id: Some("GID_n@@@n".to_owned()),
        keys: Some("n".to_owned()),
        user_properties: properties.iter().map(|name| ((*name).to_owned(), "n".to_owned())).collect(),
        ..message
    }
}

/// The message as it is read on the far side of a broker: without what that broker cannot carry.
pub(super) fn across(to: &To, mut message: Message) -> Message {
    if let To::Mqtt { broker, .. } = to {
        (message.tag, message.keys) = (None, None);
        if broker.version == MqttVersion::V4 {
            (message.mark, message.client_id) = (None, None);
            message.user_properties.clear();
        }
    }
    message
}
