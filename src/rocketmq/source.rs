//! Reading a topic as a member of a consumer group.
//!
//! One task sees to membership, locks and offsets; each queue that is held has a task that pulls. They share the
//! holds, under one lock that is never kept across a wait. A message is committed only once it is settled
//! (invariant 3). Order holds whatever happens to locks: each reader of a queue hands on a gapless run of it that
//! begins at or below what was settled.

mod commit;
mod group;
mod holds;
pub mod probe;
mod pull;
mod start;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, mpsc};

use super::{
    client::{CallError, Client, Push, Response},
    wire::{
        consume::{self, Member, Model},
        frame::Request,
    },
};
use crate::{
    clock::epoch_millis,
    delivery::{SourceLink, Ticket},
    mapping::FromRocketMq,
    settings::{Limits, RocketMqCluster},
    telemetry::EndState,
};
use group::Group;
use holds::Holds;

/// The most messages that one pull asks for. Brokers give 32 unless told otherwise.
const PULL_MOST: usize = 256;
/// A batch takes at most this part of the bytes that the route may hold, and one message more: some batches wait, or are
/// on their way, beside what the route counts.
const BATCH_PART: usize = 16;

/// What the tasks of one source share.
struct Shared {
    client: Client,
    member: Member,
    from: FromRocketMq,
    pull_most: usize,
    /// What a batch may weigh before it ends.
    batch_bytes: usize,
    state: Arc<EndState>,
    holds: Mutex<Holds>,
    /// Something has changed that membership should look at now.
    wake: Notify,
    /// Something has been settled that may be committed.
    settled: Notify,
}

impl Shared {
    /// What the tasks of a source share, and what brokers ask of it.
    fn new(
        from: FromRocketMq,
        client_id: String,
        limits: Limits,
        state: Arc<EndState>,
    ) -> (Arc<Self>, mpsc::Receiver<Push>) {
        let (client, pushes) = Client::known_as(from.cluster.clone(), client_id);
        let member = Member {
            client_id: client.client_id().to_owned(),
            group: client.with_namespace(&from.group),
            topic: client.with_namespace(&from.topic),
            tags: from.tags.clone(),
            version: epoch_millis(),
            model: Model::Clustering,
        };
        let pull_most = limits.messages.clamp(1, PULL_MOST);
        let batch_bytes = limits.bytes / BATCH_PART;
        let shared = Self {
            client,
            member,
            from,
            pull_most,
            batch_bytes,
            state,
            holds: Mutex::default(),
            wake: Notify::new(),
            settled: Notify::new(),
        };
        (Arc::new(shared), pushes)
    }

    fn holds(&self) -> MutexGuard<'_, Holds> {
        self.holds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request that does not wait by design.
    async fn ask(&self, broker: &str, request: Request) -> Result<Response, CallError> {
        self.client.call(broker, request, self.from.cluster.request_timeout).await
    }

    /// Says how this end is, after a fault came or went.
    fn report(&self) {
        let fault = self.holds().fault();
        match fault {
            Some(reason) => self.state.down(reason),
            None => self.state.up(),
        }
    }
}

/// Reads until the link ends: with its deliveries closed it only settles; with its settled tickets closed it
/// commits, gives up its queues and returns, in about a second at most. No two that run at a time may have one client
/// id; one that has it again after a kill has its queues at once, which brokers would keep locked for a minute.
pub async fn run(from: FromRocketMq, client_id: String, limits: Limits, link: SourceLink) {
    let SourceLink { deliveries, mut settled, state } = link;
    let (shared, pushes) = Shared::new(from, client_id, limits, state);
    let mut group = Group::new(shared.clone(), deliveries, pushes);
    tokio::select! {
        () = settle(&shared, &mut settled) => {}
        () = commit::keep(&shared) => {}
        () = group.keep() => {}
    }
    drop(group);
    commit::leave(&shared).await;
}

/// Takes settled tickets until there can be no more.
async fn settle(shared: &Shared, settled: &mut mpsc::UnboundedReceiver<Vec<Ticket>>) {
    while let Some(tickets) = settled.recv().await {
        let mut holds = shared.holds();
        holds.settle(&tickets);
        while let Ok(tickets) = settled.try_recv() {
            holds.settle(&tickets);
        }
        shared.settled.notify_one();
    }
}

/// Ends a consumer group, with its offsets, on every broker of a cluster.
pub async fn retire(cluster: Arc<RocketMqCluster>, group: &str) -> Result<(), CallError> {
    let limit = cluster.request_timeout;
    let (client, _pushes) = Client::new(cluster.clone(), "retire");
    let group = client.with_namespace(group);
    for address in client.masters().await? {
        client.call_address(&address, consume::delete_group(&group), limit).await?.success()?;
    }
    Ok(())
}
