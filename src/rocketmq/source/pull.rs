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
            record::{Record, Undecodable, records},
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
                let (batch, offsets) = read(&shared, &queue, position, &body);
                drop(body);
                if !hand_on(&shared, hold, &deliveries, batch, &offsets, span).await {
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

/// Waits until the lock is sure and somebody takes the batch; false when the queue is not to be read further.
async fn hand_on(
    shared: &Shared,
    hold: Hold,
    deliveries: &mpsc::Sender<Vec<Delivery>>,
    mut batch: Vec<Delivery>,
    offsets: &[u64],
    span: Span,
) -> bool {
    if batch.is_empty() {
        shared.holds().skip(hold, span);
        return true;
    }
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
        let mut holds = shared.holds();
        match holds.hand_on(hold, &mut batch, offsets, span, Instant::now()) {
            Handed::On => {
                permit.send(batch);
                return true;
            }
            Handed::Unconfirmed => {}
            Handed::Gone => return false,
        }
    }
}

/// The messages of an answer that are for us, and their offsets: ascending, none below `position`.
fn read(shared: &Shared, queue: &Queue, position: u64, body: &Bytes) -> (Vec<Delivery>, Vec<u64>) {
    let mut at = position;
    let mut batch = Vec::with_capacity(32);
    let mut offsets = Vec::with_capacity(32);
    for record in records(body, shared.from.cluster.max_message) {
        let stated = record.as_ref().map_or_else(|bad| bad.queue_offset, |record| Some(record.queue_offset));
        let offset = stated.unwrap_or(at).max(at);
        at = offset + 1;
        let mut delivery = match record {
            Ok(record) => match readable(shared, &record) {
                Some(delivery) => delivery,
                None => continue,
            },
            Err(bad) => unreadable(shared, queue, offset, &bad),
        };
        delivery.message.queue = Some(queue.clone());
        batch.push(delivery);
        offsets.push(offset);
    }
    (batch, offsets)
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
