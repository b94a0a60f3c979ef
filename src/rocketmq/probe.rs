//! Looking at a cluster for `check --connect`: does it answer, and does it have the topics. It changes nothing there.

use std::{collections::BTreeSet, sync::Arc};

use super::{
    client::{CallError, Client},
    wire::{code::request, frame::Request},
};
use crate::settings::RocketMqCluster;

/// What a cluster says of one topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicReport {
    /// Queues that give messages.
    pub readable: usize,
    /// Queues that take messages.
    pub writable: usize,
    /// The brokers that have it.
    pub brokers: Vec<String>,
}

/// Asks the name servers for each topic, and each of its brokers for one of its queues: a broker that cannot be
/// reached and an access key that does not suffice show there. The answer for a topic is `None` when there is none.
pub async fn probe(
    cluster: &Arc<RocketMqCluster>,
    topics: &BTreeSet<String>,
) -> Vec<(String, Result<Option<TopicReport>, CallError>)> {
    let (client, _pushes) = Client::new(cluster.clone(), "check");
    let mut answers = Vec::new();
    for topic in topics {
        let answer = match look(&client, &client.with_namespace(topic)).await {
            Ok(report) => Ok(Some(report)),
            Err(CallError::TopicNotExist(_)) => Ok(None),
            Err(error) => Err(error),
        };
        answers.push((topic.clone(), answer));
    }
    answers
}

async fn look(client: &Client, topic: &str) -> Result<TopicReport, CallError> {
    let route = client.route(topic).await?;
    for broker in route.brokers.keys().filter(|broker| route.master(broker).is_some()) {
        let question = Request::new(request::GET_MAX_OFFSET).text("topic", topic.to_owned()).field("queueId", 0_u32);
        client.call(broker, question, client.cluster().request_timeout).await?.success()?;
    }
    Ok(TopicReport {
        readable: route.readable().len(),
        writable: route.writable().len(),
        brokers: route.brokers.keys().map(ToString::to_string).collect(),
    })
}
