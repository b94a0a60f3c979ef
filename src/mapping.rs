//! Mapping files, checked: routes as they run.
//!
//! `Route` is what `run`, `check`, `explain` and `test` all work on. Everything here is pure: a translation takes
//! a message and gives a message, and cannot fail for lack of anything that was known when the file was loaded.

pub mod case;
pub mod explain;
pub mod fault;
#[cfg(test)]
pub(crate) mod fixtures;
pub(crate) mod hash;
mod load;
pub mod loops;
pub mod mark;
pub mod names;
pub mod pattern;
pub mod shape;
pub mod template;
#[cfg(test)]
mod tests;
pub mod translation;

use std::{path::PathBuf, sync::Arc, time::Duration};

pub use load::{Mapping, MappingFile, load};
use translation::Translation;

use crate::{
    message::{Message, Qos},
    presence::adapter::Adapter,
    settings::{BrokerApi, MqttBroker, RocketMqCluster},
};

/// One route of a mapping file, with the brokers it joins.
#[derive(Debug, Clone)]
pub struct Route {
    /// Unique over all files.
    pub name: String,
    /// The file and line where it stands, for messages.
    pub place: Place,
    /// Where messages are read.
    pub from: From,
    /// Where they are stored.
    pub to: To,
    /// Whether a message for one client (LMQ-5) is dropped while that client is known to be offline, unless it is said to
    /// be kept.
    pub drops_offline: bool,
    /// What becomes of a message that can never be stored.
    pub on_refuse: OnRefuse,
    /// Where refused messages go.
    pub park: Park,
    /// How a message that was read becomes the message that is stored.
    pub translation: Translation,
}

impl Route {
    /// Whether this route's source reads a message that stands on its broker.
    pub fn takes(&self, message: &Message) -> bool {
        match &self.from {
            From::Mqtt(_) => self.translation.takes(&message.topic),
            From::RocketMq(from) => {
                from.topic == message.topic.parent()
                    && (from.tags.is_empty() || message.tag.as_ref().is_some_and(|tag| from.tags.contains(tag)))
            }
            From::Events(_) => false,
        }
    }
}

/// A place in a mapping file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub file: Arc<PathBuf>,
    /// Its line, from 1.
    pub line: usize,
}

/// Where a route reads.
#[derive(Debug, Clone)]
pub enum From {
    /// A persistent MQTT session of its own.
    Mqtt(FromMqtt),
    /// A RocketMQ consumer group of its own.
    RocketMq(FromRocketMq),
    /// What a broker says of its clients.
    Events(FromEvents),
}

impl From {
    /// The broker's name in the settings.
    pub fn broker_name(&self) -> &str {
        match self {
            Self::Mqtt(from) => &from.broker.name,
            Self::RocketMq(from) => &from.cluster.name,
            Self::Events(FromEvents { via: Via::Mqtt(session), .. }) => &session.broker.name,
            Self::Events(FromEvents { via: Via::Webhook, .. }) => "webhook",
        }
    }

    /// Whether it tells of this broker's clients. Two names may stand for one broker; a webhook does not say whose it is.
    pub fn tells_of(&self, broker: &MqttBroker) -> bool {
        let Self::Events(events) = self else { return false };
        match &events.via {
            Via::Mqtt(session) => session.broker.name == broker.name || session.broker.url == broker.url,
            Via::Webhook => true,
        }
    }

    /// The MQTT session that it reads, if it reads one.
    pub fn session(&self) -> Option<&FromMqtt> {
        match self {
            Self::Mqtt(session) | Self::Events(FromEvents { via: Via::Mqtt(session), .. }) => Some(session),
            Self::RocketMq(_) | Self::Events(FromEvents { via: Via::Webhook, .. }) => None,
        }
    }
}

/// Reading what a broker says of its clients: the source of a `[[status]]` route.
#[derive(Debug, Clone)]
pub struct FromEvents {
    /// How the broker says it.
    pub adapter: Adapter,
    /// How it gets here.
    pub via: Via,
    /// How long the broker may be away before its clients count as gone; `None` is for ever.
    pub grace: Option<Duration>,
    /// Whether only clients whose ids have a group (LMQ-2.1) make notices.
    pub grouped: bool,
    /// Where the broker lists its clients, if it does.
    pub api: Option<BrokerApi>,
}

/// How a broker's events get here.
#[derive(Debug, Clone)]
pub enum Via {
    /// It publishes them.
    Mqtt(FromMqtt),
    /// It posts them to the listener of hooks, under the name of the route.
    Webhook,
}

/// Reading from MQTT.
#[derive(Debug, Clone)]
pub struct FromMqtt {
    /// The broker.
    pub broker: Arc<MqttBroker>,
    /// The session's client id.
    pub client_id: String,
    /// Topic filters as MQTT writes them, `$share/...` not included, in the order of the file.
    pub filters: Vec<String>,
    /// The shared subscription's group.
    pub share: Option<String>,
    /// The QoS to subscribe with.
    pub qos: Qos,
    /// Whether retained copies that are sent at every SUBSCRIBE are all forwarded (3.1.1 only).
    pub forward_retained: bool,
}

/// Reading from RocketMQ.
#[derive(Debug, Clone)]
pub struct FromRocketMq {
    /// The cluster.
    pub cluster: Arc<RocketMqCluster>,
    /// The topic, without the namespace.
    pub topic: String,
    /// The consumer group, without the namespace.
    pub group: String,
    /// Tags to take; empty means all.
    pub tags: Vec<String>,
    /// Where a new group starts.
    pub start: Start,
}

/// Where a new consumer group starts reading the queues that exist when it first starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// At the oldest message.
    First,
    /// After the newest message.
    Last,
    /// At the first message stored at or after this time, in milliseconds since the epoch.
    Time(u64),
}

/// Where a route stores.
#[derive(Debug, Clone)]
pub enum To {
    /// Publishes over an MQTT session of its own.
    Mqtt {
        /// The broker.
        broker: Arc<MqttBroker>,
        /// The session's client id; ends in `-out`.
        client_id: String,
    },
    /// Sends to topics of a RocketMQ cluster.
    RocketMq {
        /// The cluster.
        cluster: Arc<RocketMqCluster>,
    },
}

impl To {
    /// The broker's name in the settings.
    pub fn broker_name(&self) -> &str {
        match self {
            Self::Mqtt { broker, .. } => &broker.name,
            Self::RocketMq { cluster } => &cluster.name,
        }
    }
}

/// What becomes of a message that can never be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnRefuse {
    /// Put aside with the reason; the rest goes on.
    Park,
    /// The route stands still until a person acts.
    Stall,
    /// Counted and given up.
    Drop,
}

/// Where refused messages are put aside.
#[derive(Debug, Clone)]
pub enum Park {
    /// A file per route under the data folder.
    File,
    /// A RocketMQ topic.
    RocketMq {
        /// The cluster.
        cluster: Arc<RocketMqCluster>,
        /// The topic.
        topic: String,
    },
}

impl Park {
    /// The broker's name in the settings, or `file`.
    pub fn broker_name(&self) -> &str {
        match self {
            Self::File => "file",
            Self::RocketMq { cluster, .. } => &cluster.name,
        }
    }
}
