//! A look at where a route would read, for `check --connect`. It must never take anything.

use std::sync::Arc;

use crate::{
    rocketmq::{
        client::{CallError, Client},
        wire::{code::request, frame::Request},
    },
    settings::RocketMqCluster,
};

/// How many queues of a topic (without the namespace) give messages; `None` when there is no such topic. Each of its
/// brokers is asked where a queue ends, so that one that does not answer or know our access key shows.
pub async fn probe(cluster: Arc<RocketMqCluster>, topic: &str) -> Result<Option<usize>, CallError> {
    let (client, _pushes) = Client::new(cluster, "probe");
    let topic = client.with_namespace(topic);
    let route = match client.sure_route(&topic).await {
        Err(CallError::TopicNotExist(_)) => return Ok(None),
        answer => answer?,
    };
    for broker in route.brokers.keys().filter(|broker| route.master(broker).is_some()) {
        let question = Request::new(request::GET_MAX_OFFSET).text("topic", topic.clone()).field("queueId", 0_u32);
        client.call(broker, question, client.cluster().request_timeout).await?.success()?;
    }
    Ok(Some(route.readable().len()))
}
