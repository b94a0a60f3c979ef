//! Pulling one queue: one request under way, one answer at most waiting to be handed on.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep},
};
use tracing::{error, warn};

use super::{Shared, holds::Handed};
use crate::{
    delivery::{Delivery, Refusal},
    lmq::properties,
    message::{Message, Queue, Topic},
    rocketmq::{
        client::CallError,
        offsets::Hold,
        wire::{
            consume::{Pulled, Span},
            record::{Record, Records, Undecodable, records},
        },
    },
};

/// How long a broker holds a pull that finds nothing.
const SUSPEND: Duration = Duration::from_secs(15);
/// What a broker may take beyond that: it was seen to answer 2.5 s late, and looks only every 5 s.
const SLACK: Duration = Duration::from_secs(10);
/// Between failed pulls, doubling from the first to the second.
const PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// A broker that answers "nothing there" at once instead of waiting is not asked more often than this.
const IDLE_PAUSE: Duration = Duration::from_millis(100);

/// Pulls a queue until it is no longer held, or nobody takes deliveries any more.
pub(super) async fn pull(shared: Arc<Shared>, mut hold: Hold, queue: Queue, deliveries: mpsc::Sender<Vec<Delivery>>) {
    let mut pause = PAUSE;
    loop {
        let Some(position) = shared.holds().position(hold) else { return };
        let asked = Instant::now();
        match ask(&shared, &queue, position).await {
            Ok((Pulled::Found(span), body)) => {
                let records = records(&body, shared.from.cluster.max_message);
                let answer = Answer { shared: &shared, queue: &queue, records, at: position, span };
                if !hand_on(&shared, hold, &deliveries, answer).await {
                    return;
                }
            }
            Ok((Pulled::Nothing(span), _)) => {
                shared.holds().skip(hold, span);
                if span.next <= position && asked.elapsed() < IDLE_PAUSE {
                    sleep(IDLE_PAUSE).await;
                }
            }
            Ok((moved @ (Pulled::Moved(span) | Pulled::Reset(span)), _)) => {
                say_moved(&shared, &queue, position, moved);
                let Some(same_or_new) = shared.holds().jump(hold, span) else { return };
                hold = same_or_new;
                sleep(PAUSE).await;
            }
            Err(fault) => {
                shared.state.retried.inc();
                if shared.holds().set_fault(hold, Some(format!("cannot read from {}: {fault}", queue.broker))) {
                    shared.report();
                    shared.wake.notify_one();
                }
                sleep(pause.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
                continue;
            }
        }
        pause = PAUSE;
        if shared.holds().set_fault(hold, None) {
            shared.report();
        }
    }
}

async fn ask(shared: &Shared, queue: &Queue, position: u64) -> Result<(Pulled, Bytes), CallError> {
    let request = shared.member.pull(queue, position, shared.pull_most, SUSPEND);
    let answer = shared.client.call(&queue.broker, request, SUSPEND + SLACK).await?;
    match Pulled::read(answer.code, answer.remark.as_deref(), &answer.fields) {
        Some(pulled) => Ok((pulled, answer.body)),
        None if answer.code == crate::rocketmq::wire::code::response::SUCCESS => {
            Err(CallError::Unreadable("a pull answer without offsets".to_owned()))
        }
        None => Err(answer.into_error()),
    }
}

/// Hands on all of an answer, piece by piece, each once the lock is sure and somebody takes it; false when the queue is
/// not to be read further.
async fn hand_on(
    shared: &Shared,
    hold: Hold,
    deliveries: &mpsc::Sender<Vec<Delivery>>,
    mut answer: Answer<'_>,
) -> bool {
    let mut batch = Batch::default();
    loop {
        let readiness = shared.holds().readiness(hold, Instant::now());
        match readiness {
            Handed::On => {}
            Handed::Unconfirmed => {
                sleep(IDLE_PAUSE).await;
                continue;
            }
            Handed::Gone => return false,
        }
        let Ok(permit) = deliveries.reserve().await else { return false };
        // Not before there is room: what is decompressed takes many times what came.
        if batch.deliveries.is_empty() {
            batch = answer.next_batch();
        }
        let mut holds = shared.holds();
        if batch.deliveries.is_empty() {
            holds.skip(hold, answer.span);
            return true;
        }
        match holds.hand_on(hold, &mut batch.deliveries, &batch.offsets, answer.span_so_far(), Instant::now()) {
            Handed::On => {
                permit.send(std::mem::take(&mut batch.deliveries));
                if answer.records.is_empty() {
                    return true;
                }
            }
            Handed::Unconfirmed => {}
            Handed::Gone => return false,
        }
    }
}

/// An answer, as far as it is not yet read.
struct Answer<'a> {
    shared: &'a Shared,
    queue: &'a Queue,
    records: Records<'a>,
    /// One past the last offset that was read.
    at: u64,
    span: Span,
}

/// Messages that are for us, and their offsets: ascending, none below where the answer began.
#[derive(Default)]
struct Batch {
    deliveries: Vec<Delivery>,
    offsets: Vec<u64>,
}

impl Answer<'_> {
    /// The next messages, until they weigh enough for a batch; none when there are no more.
    fn next_batch(&mut self) -> Batch {
        let Self { shared, queue, .. } = *self;
        let mut batch = Batch { deliveries: Vec::with_capacity(32), offsets: Vec::with_capacity(32) };
        let mut weight = 0;
        while weight < shared.batch_bytes {
            let Some(record) = self.records.next() else { break };
            let stated = record.as_ref().map_or_else(|bad| bad.queue_offset, |record| Some(record.queue_offset));
            let offset = stated.unwrap_or(self.at).max(self.at);
            self.at = offset + 1;
            let mut delivery = match record {
                Ok(record) => match readable(shared, &record) {
                    Some(delivery) => delivery,
                    None => continue,
                },
                Err(bad) => unreadable(shared, queue, offset, &bad),
            };
            weight += delivery.message.weight();
            delivery.message.queue = Some(queue.clone());
            batch.deliveries.push(delivery);
            batch.offsets.push(offset);
        }
        batch
    }

    /// Where the queue is to be read on behind what was read of this answer.
    fn span_so_far(&self) -> Span {
        let next = if self.records.is_empty() { self.span.next } else { self.at };
        Span { next, ..self.span }
    }
}

/// Nothing when it has another tag: brokers compare tags by their hashes only.
fn readable(shared: &Shared, record: &Record) -> Option<Delivery> {
    // What waits here must not keep the connection's read buffer alive.
    let body = Bytes::copy_from_slice(&record.body);
    let message = properties::decode(&shared.from.topic, properties::split(record.properties), body);
    let tags = &shared.from.tags;
    if !tags.is_empty() && !tags.iter().any(|tag| Some(tag) == message.tag.as_ref()) {
        return None;
    }
    Some(Delivery {
        ticket: 0,
        message,
        suspected_duplicate: record.reconsume_times > 0,
        packet_id: None,
        unreadable: None,
    })
}

fn unreadable(shared: &Shared, queue: &Queue, offset: u64, bad: &Undecodable) -> Delivery {
    let reason = format!("queue {} of broker {}, offset {offset}: {}", queue.id, queue.broker, bad.fault);
    warn!(topic = shared.from.topic, %reason, "a stored message cannot be read");
    let raw = Bytes::copy_from_slice(&bad.raw);
    let message = Message::new(Topic::from_parts(&shared.from.topic, ""), raw);
    let unreadable = Some(Refusal::new(Refusal::UNDECODABLE, reason));
    Delivery { ticket: 0, message, suspected_duplicate: false, packet_id: None, unreadable }
}

/// A moved offset is never silent: forwards it is loss, unless a person moved it.
fn say_moved(shared: &Shared, queue: &Queue, position: u64, moved: Pulled) {
    let (topic, group) = (&shared.from.topic, &shared.from.group);
    let Queue { broker, id } = queue;
    match moved {
        Pulled::Moved(span) if span.next > position => {
            let lost = span.next - position;
            error!(topic, group, %broker, queue = id, lost, from = position, to = span.next, "messages were deleted before they were read");
            shared.state.dropped("lost_by_retention", lost);
        }
        Pulled::Moved(span) | Pulled::Reset(span) | Pulled::Found(span) | Pulled::Nothing(span) => {
            warn!(topic, group, %broker, queue = id, from = position, to = span.next, "reads on at another offset");
        }
    }
}
