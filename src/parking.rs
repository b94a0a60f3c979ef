//! Parking: what can never be sent is put aside, whole and with its reason, so that the rest can go on.
//!
//! A record is one line of JSON, the same in a file and in a RocketMQ topic. It holds the message as it was read,
//! so that a replay goes through the mapping as it is then. A record is safe before its message is acknowledged:
//! a file is synced, a topic has confirmed. A place that cannot take records stalls the route; nothing is dropped.

mod file;
mod record;
pub mod topic;

use std::{io, sync::Arc, time::Duration};

use tokio::{sync::mpsc, time::sleep};

pub use file::{Parked, ParkedFile, Replay, replay_source};
pub use record::{Record, RecordError};

use crate::{
    delivery::{OrderKey, Outcome, Outgoing, SinkHandle, Ticket},
    message::{Message, Topic},
    telemetry::EndState,
};

/// How long a place that could not take records is left alone.
const RETRY: Duration = Duration::from_secs(1);

/// A refused message and whose it is.
pub type Refused = (Ticket, Record);

/// The route's side of its link to parking. Bounded by what is in flight.
#[derive(Debug)]
pub struct ParkHandle {
    /// What is to be put aside. Dropped: finish and end.
    pub refused: mpsc::UnboundedSender<Vec<Refused>>,
    /// What is safe.
    pub parked: mpsc::UnboundedReceiver<Vec<Ticket>>,
}

/// Parking's side of its link to the route.
#[derive(Debug)]
pub struct ParkLink {
    refused: mpsc::UnboundedReceiver<Vec<Refused>>,
    parked: mpsc::UnboundedSender<Vec<Ticket>>,
    state: Arc<EndState>,
}

/// Links a route to its parking.
pub fn park_link(state: Arc<EndState>) -> (ParkLink, ParkHandle) {
    let (refused, refused_rx) = mpsc::unbounded_channel();
    let (parked, parked_rx) = mpsc::unbounded_channel();
    (ParkLink { refused: refused_rx, parked, state }, ParkHandle { refused, parked: parked_rx })
}

/// A topic that takes parked messages: its sink, and its name.
#[derive(Debug)]
pub struct ParkTopic {
    /// The sink.
    pub sink: SinkHandle,
    /// The topic.
    pub topic: String,
}

/// Puts aside what a route refuses, until the route ends. What a topic refuses in its turn (a record is a third
/// longer than its message) goes to the file.
pub async fn run(file: ParkedFile, mut topic: Option<ParkTopic>, mut link: ParkLink) {
    link.state.up();
    while let Some(mut refused) = link.refused.recv().await {
        while let Ok(more) = link.refused.try_recv() {
            refused.extend(more);
        }
        let tickets: Vec<Ticket> = refused.iter().map(|(ticket, _)| *ticket).collect();
        let mut records: Vec<Record> = refused.into_iter().map(|(_, record)| record).collect();
        if let Some(topic) = &mut topic {
            match send(topic, records).await {
                Some(refused_again) => records = refused_again,
                None => return,
            }
        }
        if !records.is_empty() {
            store(&file, records, &link).await;
        }
        if link.parked.send(tickets).is_err() {
            return;
        }
    }
}

/// Appends to the file, however often it takes while the route lives.
async fn store(file: &ParkedFile, records: Vec<Record>, link: &ParkLink) {
    let records = Arc::new(records);
    while !link.parked.is_closed() {
        let (to, what) = (file.clone(), records.clone());
        let written = tokio::task::spawn_blocking(move || to.append(&what)).await;
        match written.unwrap_or_else(|panic| Err(io::Error::other(panic))) {
            Ok(()) => return link.state.up(),
            Err(error) => link.state.down(format!("cannot write {}: {error}", file.path().display())),
        }
        sleep(RETRY).await;
    }
}

/// Sends records to the topic and waits for all of them; gives back those that it refused. `None`: the sink is gone.
async fn send(to: &mut ParkTopic, records: Vec<Record>) -> Option<Vec<Record>> {
    let outgoing = records.iter().enumerate().map(|(index, record)| {
        let mut message = Message::new(Topic::from_parts(&to.topic, ""), record.to_line());
        message.tag = Some(record.kind.clone());
        message.keys = Some(record.route.clone());
        Outgoing { ticket: index as Ticket, order: OrderKey::Hash(0), message, deadline: None }
    });
    to.sink.outgoing.send(outgoing.collect()).await.ok()?;
    let mut outcomes: Vec<Option<Outcome>> = records.iter().map(|_| None).collect();
    let mut waiting = records.len();
    while waiting > 0 {
        for settled in to.sink.settled.recv().await? {
            let slot = usize::try_from(settled.ticket).ok().and_then(|index| outcomes.get_mut(index));
            if let Some(slot) = slot {
                waiting -= usize::from(slot.replace(settled.outcome).is_none());
            }
        }
    }
    let not_stored = records.into_iter().zip(outcomes).filter(|(_, outcome)| *outcome != Some(Outcome::Stored));
    Some(not_stored.map(|(record, _)| record).collect())
}
