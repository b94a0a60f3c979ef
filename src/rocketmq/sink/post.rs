//! Stores a single message for whoever has no route. It tries once, and says what came of it.

use std::sync::Arc;

use bytes::BytesMut;

use super::{
    process_name,
    verdict::{Verdict, judge},
    write_entry,
};
use crate::{
    clock::epoch_millis,
    message::Message,
    rocketmq::{
        client::Client,
        wire::{
            send::{Destination, send_one},
            unique::UniqueKeys,
        },
    },
    settings::RocketMqCluster,
};

/// A producer of one topic.
#[derive(Debug)]
pub struct Poster {
    client: Client,
    group: String,
    topic: String,
    keys: UniqueKeys,
}

impl Poster {
    /// A producer that stores in `topic`, without its namespace, whatever topic a message says.
    pub fn new(cluster: Arc<RocketMqCluster>, group: &str, topic: &str) -> Self {
        let (client, _pushes) = Client::new(cluster, group);
        let (group, topic) = (client.with_namespace(group), client.with_namespace(topic));
        Self { client, group, topic, keys: UniqueKeys::new(process_name()) }
    }

    /// Returns once the message is stored in some queue, or says why it may not be.
    pub async fn post(&mut self, message: &Message) -> Result<(), String> {
        let route = self.client.route(&self.topic).await.map_err(|error| error.to_string())?;
        let queues = route.writable();
        let queue = fastrand::choice(&queues).ok_or_else(|| format!("no queue of {} takes messages", self.topic))?;
        let cluster = self.client.cluster();
        let (mut entry, born) = (BytesMut::new(), epoch_millis());
        write_entry(&mut entry, message, &mut self.keys, born, cluster.max_message)
            .map_err(|refusal| refusal.reason)?;
        let to = Destination { group: &self.group, topic: &self.topic, queue: queue.id, born };
        let answer = self.client.call(&queue.broker, send_one(to, entry.freeze()), cluster.request_timeout).await;
        match judge(answer, cluster.stored_when) {
            Verdict::Stored => Ok(()),
            Verdict::Refused(reason) | Verdict::Retry(reason) | Verdict::Reroute(reason) => Err(reason),
        }
    }
}
