//! A look at where a route would write, for `check --connect`. It must never store anything.

use std::{collections::BTreeSet, sync::Arc};

use bytes::Bytes;

use crate::{
    rocketmq::{
        client::{CallError, Client},
        wire::{
            code::response,
            send::{Destination, send_batch},
        },
    },
    settings::RocketMqCluster,
};

/// A queue that no topic has: brokers check who asks before they say so.
const NO_QUEUE: u32 = i32::MAX as u32;

/// What was found.
#[derive(Debug, PartialEq, Eq)]
pub enum Probe {
    /// No name server answers, and why the last one did not.
    Unreachable(String),
    /// The name servers answer; no topic was asked for.
    Reachable,
    /// The name servers answer and know no such topic.
    TopicMissing,
    /// The topic is there.
    Topic {
        /// Queues that may be written; 0 where its permission forbids it.
        queues: usize,
        /// Each broker that has some of them, and what it says.
        brokers: Vec<(Arc<str>, BrokerProbe)>,
    },
}

/// What one broker says.
#[derive(Debug, PartialEq, Eq)]
pub enum BrokerProbe {
    /// It would take messages from us.
    Writable,
    /// Our access key, its signature or its permission does not suffice, in the broker's words.
    Unauthorised(String),
    /// It does not answer, or cannot take messages now.
    Unusable(String),
}

/// Looks at a cluster and, where the topic is known beforehand, at the topic (without the namespace). Takes no longer
/// than the request timeout for each of its two steps.
pub async fn probe(cluster: Arc<RocketMqCluster>, topic: Option<&str>) -> Probe {
    let (client, _pushes) = Client::new(cluster, "probe");
    let full_name = client.with_namespace(topic.unwrap_or(super::ANY_TOPIC));
    let route = match (client.route(&full_name).await, topic) {
        (Ok(_) | Err(CallError::TopicNotExist(_)), None) => return Probe::Reachable,
        (Err(CallError::TopicNotExist(_)), Some(_)) => return Probe::TopicMissing,
        (Err(error), _) => return Probe::Unreachable(error.to_string()),
        (Ok(route), Some(_)) => route,
    };
    let queues = route.writable();
    let mut brokers = Vec::new();
    for broker in queues.iter().map(|queue| queue.broker.clone()).collect::<BTreeSet<_>>() {
        let finding = ask(&client, &broker, &full_name).await;
        brokers.push((broker, finding));
    }
    Probe::Topic { queues: queues.len(), brokers }
}

/// Asks a broker to store nothing in a queue that is not there.
async fn ask(client: &Client, broker: &str, topic: &str) -> BrokerProbe {
    let to = Destination { group: "GID_rocketbridge", topic, queue: NO_QUEUE, born: 0 };
    let request = send_batch(to, Bytes::from_static(b"nothing"));
    match client.call(broker, request, client.cluster().request_timeout).await {
        Ok(answer) if answer.code == response::INVALID_PARAMETER => BrokerProbe::Writable,
        Ok(answer) => match answer.success() {
            Ok(_) => BrokerProbe::Writable,
            Err(CallError::Unauthorised(words)) => BrokerProbe::Unauthorised(words),
            Err(error) => BrokerProbe::Unusable(error.to_string()),
        },
        Err(error) => BrokerProbe::Unusable(error.to_string()),
    }
}
