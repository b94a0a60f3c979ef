//! `from`: where a route reads.

use std::sync::Arc;

use super::{brokers::pick, start::start};
use crate::{
    diagnostic::{At, Fault, Faults},
    mapping::{From, FromMqtt, FromRocketMq, pattern::Pattern},
    message::Qos,
    settings::{MqttBroker, MqttVersion, RocketMqCluster, Settings},
    toml_reader::{Found, Table},
};

const QOS: [(&str, Qos); 3] = [("0", Qos::AtMostOnce), ("1", Qos::AtLeastOnce), ("2", Qos::ExactlyOnce)];

/// A source as far as it could be read.
pub(super) struct Source {
    /// The end, if nothing of it is missing.
    pub(super) from: Option<From>,
    /// What its messages' topics are like.
    pub(super) kind: Kind,
    /// Where its client id or group comes from.
    pub(super) identity_at: At,
}

/// What the topics of a source are like.
pub(super) enum Kind {
    Mqtt {
        filters: Vec<Found<String>>,
        version_5: bool,
        shared: Option<At>,
    },
    RocketMq {
        topic: Option<Found<String>>,
    },
    /// A status route: there are no topics.
    Events,
}

impl Source {
    pub(super) fn is_mqtt(&self) -> bool {
        matches!(self.kind, Kind::Mqtt { .. })
    }
}

/// Reads `from` of a route.
pub(super) fn source(from: Table<'_>, route: &str, settings: &Settings) -> Option<Source> {
    let source = match (from.key_at("mqtt"), from.key_at("rocketmq")) {
        (Some(at), None) => Some(mqtt(&from, at, route, settings)),
        (None, Some(at)) => Some(rocketmq(&from, at, route, settings)),
        (Some(mqtt), Some(rocketmq)) => {
            let fault = Fault::error(rocketmq, "a route has one source", "a second source");
            from.faults().add(fault.other(mqtt, "the first").hint("write a route for each"));
            None
        }
        (None, None) => {
            from.missing("mqtt` or `rocketmq", "say what the route reads: `from.mqtt = \"plant/#\"`");
            None
        }
    };
    // With no known kind, the keys of both are known.
    if source.is_none() {
        for key in MQTT_KEYS.into_iter().chain(ROCKETMQ_KEYS).chain(["broker"]) {
            let _ = from.key_at(key);
        }
    }
    from.finish();
    source
}

const MQTT_KEYS: [&str; 4] = ["qos", "client_id", "share", "retained"];
const ROCKETMQ_KEYS: [&str; 3] = ["tags", "group", "start"];

/// Refuses keys that the other kind of source has.
fn refuse(from: &Table<'_>, keys: &[&'static str], kind: &str) {
    for key in keys {
        if let Some(at) = from.key_at(key) {
            let message = format!("`{}` has no meaning for a source on {kind}", from.name(key));
            from.faults().add(Fault::error(at, message, "not used"));
        }
    }
}

fn mqtt(from: &Table<'_>, at: At, route: &str, settings: &Settings) -> Source {
    refuse(from, &ROCKETMQ_KEYS, "MQTT");
    let broker = pick::<MqttBroker>(from, settings, &at);
    let version = broker.as_ref().map_or(MqttVersion::V5, |broker| broker.version);
    let filters = from.texts("mqtt").unwrap_or_default();
    let patterns = patterns(&filters, from.faults());
    if version == MqttVersion::V4 {
        refuse_overlaps(&patterns, from.faults());
    }
    let client_id = from.filled_text("client_id");
    let share = share(from);
    let qos = qos(from).unwrap_or(Qos::AtLeastOnce);
    let forward_retained = retained(from, version);
    let end = |broker: Arc<MqttBroker>| {
        let client_id =
            client_id.as_ref().map_or_else(|| format!("{}-{route}", broker.client_id), |id| id.value.clone());
        From::Mqtt(FromMqtt {
            client_id,
            broker,
            filters: patterns.iter().map(|pattern| pattern.value.filter().to_owned()).collect(),
            share: share.as_ref().map(|share| share.value.clone()),
            qos,
            forward_retained,
        })
    };
    Source {
        from: broker.map(end),
        identity_at: client_id.as_ref().map_or(at, |id| id.at.clone()),
        kind: Kind::Mqtt { filters, version_5: version == MqttVersion::V5, shared: share.map(|share| share.at) },
    }
}

/// The filters that are some; what is wrong with the others is found with the templates.
fn patterns(filters: &[Found<String>], faults: &Faults) -> Vec<Found<Pattern>> {
    let mut patterns: Vec<Found<Pattern>> = Vec::new();
    for text in filters {
        let Ok(value) = Pattern::parse(&text.value) else { continue };
        if let Some(same) = patterns.iter().find(|other| other.value.filter() == value.filter()) {
            let message = format!("the filter `{}` stands here twice", value.filter());
            faults.add(Fault::error(text.at.clone(), message, "again").other(same.at.clone(), "first here"));
            continue;
        }
        patterns.push(Found { value, at: text.at.clone() });
    }
    patterns
}

/// MQTT 5 tells the copies of one publish apart by subscription identifiers; 3.1.1 cannot.
fn refuse_overlaps(patterns: &[Found<Pattern>], faults: &Faults) {
    for (index, pattern) in patterns.iter().enumerate() {
        for earlier in &patterns[..index] {
            if let Some(both) = pattern.value.intersection(&earlier.value) {
                let message =
                    format!("two filters of one route take `{}`, so on MQTT 3.1.1 it would come twice", both.filter());
                let fault = Fault::error(pattern.at.clone(), message, "overlaps");
                let hint = "write filters that share no topic, a route for each, or use `version = \"5\"`";
                faults.add(fault.other(earlier.at.clone(), "with this").hint(hint));
            }
        }
    }
}

pub(super) fn share(from: &Table<'_>) -> Option<Found<String>> {
    let share = from.filled_text("share")?;
    if let Some(bad) = share.value.chars().find(|c| "/+#".contains(*c)) {
        let message = format!("`{bad}` is not allowed in the name of a shared subscription");
        from.faults().add(Fault::error(share.at.clone(), message, "MQTT 4.8.2"));
    }
    Some(share)
}

fn retained(from: &Table<'_>, version: MqttVersion) -> bool {
    let forward = from.choice("retained", &[("first", false), ("forward", true)]);
    if let Some(found) = &forward
        && version == MqttVersion::V5
    {
        let message = format!("`{}` is for MQTT 3.1.1 alone", from.name("retained"));
        let fault = Fault::error(found.at.clone(), message, "not used");
        from.faults().add(fault.hint("MQTT 5 sends retained messages only for a new subscription"));
    }
    forward.is_some_and(|found| found.value)
}

/// A QoS, as a number or as text.
pub(super) fn qos(table: &Table<'_>) -> Option<Qos> {
    if table.is_text("qos") {
        return table.choice("qos", &QOS).map(|found| found.value);
    }
    table.integer("qos", &(0..=2)).and_then(|found| QOS.get(usize::try_from(found.value).ok()?)).map(|(_, qos)| *qos)
}

fn rocketmq(from: &Table<'_>, at: At, route: &str, settings: &Settings) -> Source {
    refuse(from, &MQTT_KEYS, "RocketMQ");
    let cluster = pick::<RocketMqCluster>(from, settings, &at);
    let topic = from.filled_text("rocketmq");
    let group = from.filled_text("group");
    if let Some(group) = &group {
        check_group(group, from.faults());
    }
    let (tags, start) = (tags(from), start(from));
    let end = |cluster: Arc<RocketMqCluster>| {
        let topic = topic.as_ref()?.value.clone();
        let group = group.as_ref().map_or_else(|| format!("GID_rocketbridge_{route}"), |group| group.value.clone());
        Some(From::RocketMq(FromRocketMq { cluster, topic, group, tags, start }))
    };
    Source {
        from: cluster.and_then(end),
        identity_at: group.as_ref().map_or(at, |group| group.at.clone()),
        kind: Kind::RocketMq { topic },
    }
}

/// The longest consumer group that RocketMQ takes.
const MAX_GROUP: usize = 255;

fn check_group(group: &Found<String>, faults: &Faults) {
    let name = &group.value;
    let wrong = name.char_indices().find(|(_, c)| !(c.is_ascii_alphanumeric() || "_-%|".contains(*c)));
    if let Some((at, c)) = wrong {
        let at = group.at.within(name, at..at + c.len_utf8());
        let message = format!("`{}` is not allowed in a consumer group", c.escape_debug());
        faults.add(Fault::error(at, message, "letters, digits, `_`, `-`, `%` and `|` are"));
    } else if name.len() > MAX_GROUP {
        let message = format!("a consumer group has at most {MAX_GROUP} characters");
        faults.add(Fault::error(group.at.clone(), message, format!("{} here", name.len())));
    }
}

/// RocketMQ's own form: `A || B`; `*` is all.
fn tags(from: &Table<'_>) -> Vec<String> {
    let Some(found) = from.filled_text("tags") else { return Vec::new() };
    if found.value.trim() == "*" {
        return Vec::new();
    }
    let mut tags = Vec::new();
    let mut start = 0;
    for part in found.value.split("||") {
        let range = start..start + part.len();
        start = range.end + 2;
        let tag = part.trim();
        let label = match tag {
            "" => "a tag is missing here",
            "*" => "`*` stands alone or not at all",
            _ if tag.contains(|c: char| c.is_whitespace() || c == '|' || c.is_control()) => "not one tag",
            _ => {
                tags.push(tag.to_owned());
                continue;
            }
        };
        let at = found.at.within(&found.value, range);
        let message = format!("`{}` is not a list of tags", from.name("tags"));
        from.faults().add(Fault::error(at, message, label).hint("write `A || B`, or leave it out for all"));
    }
    tags
}
