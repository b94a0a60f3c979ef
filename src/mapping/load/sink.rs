//! `to`: where a route stores.

use std::sync::Arc;

use super::{brokers::pick, source::qos};
use crate::{
    diagnostic::{At, Fault},
    mapping::To,
    message::Qos,
    settings::{MqttBroker, RocketMqCluster, Settings},
    toml_reader::{Found, Table},
};

/// A sink as far as it could be read. Its templates are still text: they are read against the source.
pub(super) struct Sink {
    /// The end, if nothing of it is missing.
    pub(super) to: Option<To>,
    /// Whether messages go to MQTT.
    pub(super) mqtt: bool,
    /// Where `mqtt` or `rocketmq` stands, or whatever stands for it.
    pub(super) at: At,
    /// The topic's template, unless it is the default.
    pub(super) topic: Option<Found<String>>,
    pub(super) tag: Option<Found<String>>,
    pub(super) key: Option<Found<String>>,
    pub(super) client_id: Option<Found<String>>,
    pub(super) shard_key: Option<Found<String>>,
    pub(super) qos: Option<Qos>,
    pub(super) retain: Option<bool>,
    pub(super) real_topic: bool,
    /// Whether messages for a client that is offline are dropped, and where that is said.
    pub(super) drops_offline: Option<At>,
    /// What a topic without a literal prefix may be.
    pub(super) within: Vec<Found<String>>,
}

const KEYS: [&str; 10] =
    ["broker", "tag", "key", "client_id", "shard_key", "qos", "retain", "real_topic", "offline", "within"];

/// Reads `to` of a route. Without a kind, messages go to the other kind than the source's, as the contract has it.
pub(super) fn sink(to: Table<'_>, route: &str, source_is_mqtt: Option<bool>, settings: &Settings) -> Option<Sink> {
    let (mqtt, at) = match (to.key_at("mqtt"), to.key_at("rocketmq"), source_is_mqtt) {
        (Some(at), None, _) => (true, at),
        (None, Some(at), _) => (false, at),
        (None, None, Some(source_is_mqtt)) => (!source_is_mqtt, to.at().clone()),
        (first, second, _) => {
            if let (Some(mqtt), Some(rocketmq)) = (first, second) {
                let fault = Fault::error(rocketmq, "a route has one sink", "a second sink");
                to.faults().add(fault.other(mqtt, "the first").hint("write a route for each"));
            }
            // The keys of both kinds are known.
            let _ = KEYS.map(|key| to.key_at(key));
            to.finish();
            return None;
        }
    };
    refuse(&to, mqtt);
    let end = if mqtt {
        pick::<MqttBroker>(&to, settings, &at).map(|broker| To::Mqtt { client_id: client_id(&broker, route), broker })
    } else {
        pick::<RocketMqCluster>(&to, settings, &at).map(|cluster| To::RocketMq { cluster })
    };
    let sink = Sink {
        to: end,
        mqtt,
        topic: to.filled_text(if mqtt { "mqtt" } else { "rocketmq" }),
        at,
        tag: to.filled_text("tag"),
        key: to.filled_text("key"),
        client_id: to.filled_text("client_id"),
        shard_key: to.filled_text("shard_key"),
        qos: qos(&to),
        retain: to.flag("retain").map(|found| found.value),
        real_topic: to.flag("real_topic").is_some_and(|found| found.value),
        drops_offline: offline(&to),
        within: to.texts("within").unwrap_or_default(),
    };
    to.finish();
    Some(sink)
}

/// Reads `to` of a status route: a topic of RocketMQ. What else a notice has, the contract says (LMQ-7.1).
pub(super) fn notices(to: Table<'_>, route: &str, settings: &Settings) -> Option<Sink> {
    for key in ["mqtt", "tag", "key", "client_id", "shard_key"] {
        if let Some(at) = to.key_at(key) {
            let message = format!("`{}` has no meaning for status notices", to.name(key));
            let fault = Fault::error(at, message, "not used");
            to.faults().add(fault.hint("they go to a topic of RocketMQ, with the tags and the body of LMQ-7.1"));
            let _known = KEYS.map(|key| to.key_at(key));
            to.finish();
            return None;
        }
    }
    sink(to, route, Some(true), settings)
}

fn offline(to: &Table<'_>) -> Option<At> {
    to.choice("offline", &[("drop", true), ("send", false)]).filter(|found| found.value).map(|found| found.at)
}

fn client_id(broker: &Arc<MqttBroker>, route: &str) -> String {
    format!("{}-{route}-out", broker.client_id)
}

/// Refuses keys that the other kind of sink has.
fn refuse(to: &Table<'_>, mqtt: bool) {
    let (keys, kind): (&[&'static str], _) = if mqtt {
        (&["tag", "key", "client_id", "shard_key"], "MQTT")
    } else {
        (&["qos", "retain", "real_topic", "offline"], "RocketMQ")
    };
    for key in keys {
        if let Some(at) = to.key_at(key) {
            let message = format!("`{}` has no meaning for a sink on {kind}", to.name(key));
            to.faults().add(Fault::error(at, message, "not used"));
        }
    }
}
