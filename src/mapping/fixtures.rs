//! Routes for tests, made from the least that tells them apart.

use std::{path::PathBuf, sync::Arc, time::Duration};

use super::{
    From, FromMqtt, FromRocketMq, OnRefuse, Park, Place, Route, Start, To,
    translation::{
        Translation,
        draft::{Draft, DraftFrom, DraftTo},
    },
};
use crate::{
    message::Qos,
    settings::{MqttBroker, MqttTransport, MqttUrl, MqttVersion, RocketMqCluster, Secret, StoredWhen, TlsFiles},
};

/// An end of a route: `edge:a/#` on MQTT 5, `old:a/#` on MQTT 3.1.1 for a broker whose name starts with `old`, and
/// `main!topic` on RocketMQ.
pub(crate) fn route(name: &str, from: &str, to: &str) -> Route {
    tagged_route(name, from, &[], to)
}

/// A route that takes only some tags of its RocketMQ source.
pub(super) fn tagged_route(name: &str, from: &str, tags: &[&str], to: &str) -> Route {
    let key = Secret::new("test");
    let (from_broker, from_topic) = from.split_once([':', '!']).unwrap();
    let (to_broker, to_topic) = to.split_once([':', '!']).unwrap();
    let draft = Draft {
        from: if from.contains('!') {
            DraftFrom::RocketMq { topic: from_topic }
        } else {
            DraftFrom::Mqtt { filters: vec![from_topic], version_5: !from.starts_with("old") }
        },
        from_broker,
        to: if to.contains('!') {
            DraftTo::RocketMq { topic: Some(to_topic), tag: None, key: None, client_id: None, shard_key: None }
        } else {
            DraftTo::Mqtt { topic: Some(to_topic), qos: None, retain: None, real_topic: false }
        },
        to_broker,
        within: if to_topic.starts_with('{') { vec![if to.contains('!') { "*" } else { "#" }] } else { Vec::new() },
        order_by: None,
        strict_lmq: false,
        loop_key: &key,
    };
    let translation = Translation::check(&draft).unwrap_or_else(|faults| panic!("{name}: {faults:?}"));
    Route {
        name: name.to_owned(),
        drops_offline: false,
        place: Place { file: Arc::new(PathBuf::from("test.toml")), line: 1 },
        from: match &draft.from {
            DraftFrom::Mqtt { .. } => From::Mqtt(FromMqtt {
                broker: Arc::new(mqtt(from_broker)),
                client_id: name.to_owned(),
                filters: translation.filters().map(|filter| filter.filter().to_owned()).collect(),
                share: None,
                qos: Qos::AtLeastOnce,
                forward_retained: false,
            }),
            DraftFrom::RocketMq { topic } => From::RocketMq(FromRocketMq {
                cluster: Arc::new(rocketmq(from_broker)),
                topic: (*topic).to_owned(),
                group: name.to_owned(),
                tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
                start: Start::Last,
            }),
            DraftFrom::Clients => unreachable!("no fixture reads events"),
        },
        to: match draft.to {
            DraftTo::Mqtt { .. } => To::Mqtt { broker: Arc::new(mqtt(to_broker)), client_id: format!("{name}-out") },
            DraftTo::RocketMq { .. } => To::RocketMq { cluster: Arc::new(rocketmq(to_broker)) },
        },
        on_refuse: OnRefuse::Park,
        park: Park::File,
        translation,
    }
}

/// A route that parks in a RocketMQ topic, `main!topic`.
pub(super) fn parking_route(name: &str, from: &str, to: &str, park: &str) -> Route {
    let (cluster, topic) = park.split_once('!').unwrap();
    let park = Park::RocketMq { cluster: Arc::new(rocketmq(cluster)), topic: topic.to_owned() };
    Route { park, ..route(name, from, to) }
}

fn mqtt(name: &str) -> MqttBroker {
    MqttBroker {
        name: name.to_owned(),
        url: MqttUrl { transport: MqttTransport::Tcp, host: name.to_owned(), port: 1883, path: String::new() },
        version: if name.starts_with("old") { MqttVersion::V4 } else { MqttVersion::V5 },
        client_id: "bridge".to_owned(),
        username: None,
        password: None,
        login: None,
        tls: TlsFiles::default(),
        will: None,
        keep_alive: Duration::from_secs(60),
        session_expiry: None,
        window: 100,
        max_packet: 1 << 20,
        connect_timeout: Duration::from_secs(5),
        api: None,
    }
}

fn rocketmq(name: &str) -> RocketMqCluster {
    RocketMqCluster {
        name: name.to_owned(),
        name_servers: vec![format!("{name}:9876")],
        access_key: None,
        secret_key: None,
        tls: None,
        namespace: String::new(),
        stored_when: StoredWhen::Durable,
        request_timeout: Duration::from_secs(3),
        max_message: 4 << 20,
        lane_grace: Duration::from_secs(30),
    }
}
