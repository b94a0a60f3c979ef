//! Reading all queues of a topic for oneself, as a member of a broadcast group: nothing is shared, locked or committed;
//! where to go on is known to whoever reads.
//!
//! It must never call a topic read to its end before it is, nor hide that messages were deleted before they were read.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{MissedTickBehavior, interval, sleep},
};

use super::{
    client::{CallError, Client},
    wire::{
        code::response,
        consume::{Member, Model, Pulled},
        record::records,
    },
};
use crate::{
    clock::epoch_millis,
    delivery::Tailed,
    lmq::properties,
    message::{Message, Queue},
    settings::RocketMqCluster,
};

/// How long a broker holds a pull that finds nothing.
const SUSPEND: Duration = Duration::from_secs(15);
/// What a broker may take beyond that.
const SLACK: Duration = Duration::from_secs(10);
/// Between looks for new queues, and between heartbeats.
const PERIOD: Duration = Duration::from_secs(20);
/// Between tries after a fault.
const PAUSE: Duration = Duration::from_secs(1);
/// The most messages that one pull asks for.
const MOST: usize = 256;

/// Which topic to read, from where.
#[derive(Debug, Clone)]
pub struct From {
    /// The cluster.
    pub cluster: Arc<RocketMqCluster>,
    /// The topic, without the namespace.
    pub topic: String,
    /// The broadcast group, without the namespace.
    pub group: String,
    /// Where to go on; a queue that is not here is read from its first message.
    pub positions: HashMap<Queue, u64>,
}

/// Reads until nobody listens.
pub async fn run(from: From, told: mpsc::Sender<Tailed>) {
    let (client, mut pushes) = Client::new(from.cluster.clone(), &from.group);
    let member = Member {
        client_id: client.client_id().to_owned(),
        group: client.with_namespace(&from.group),
        topic: client.with_namespace(&from.topic),
        tags: Vec::new(),
        version: epoch_millis(),
        model: Model::Broadcasting,
    };
    let tail = Arc::new(Tail { client, member, from, told });
    let (mut reading, mut tasks, mut faulty) = (HashSet::new(), JoinSet::new(), false);
    let mut period = interval(PERIOD);
    period.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = tail.told.closed() => return,
            Some(_) = pushes.recv() => {}
            _ = period.tick() => {
                let well = tail.look(&mut reading, &mut tasks, faulty).await;
                faulty = well.is_err();
                if let Err(error) = well {
                    let _gone = tail.told.send(Tailed::Fault { queue: None, reason: error.to_string() }).await;
                    period.reset_after(PAUSE);
                }
            }
        }
    }
}

/// What one pull gave.
struct Read {
    messages: Vec<Message>,
    next: u64,
    lost: bool,
}

struct Tail {
    client: Client,
    member: Member,
    from: From,
    told: mpsc::Sender<Tailed>,
}

impl Tail {
    /// Says that we are there, and begins to read queues that are new. Whether the last look was `faulty`: this one is
    /// told of, then.
    async fn look(
        self: &Arc<Self>,
        reading: &mut HashSet<Queue>,
        tasks: &mut JoinSet<()>,
        faulty: bool,
    ) -> Result<(), CallError> {
        let limit = self.from.cluster.request_timeout;
        let route = self.client.route(&self.member.topic).await?;
        let queues = route.readable();
        let brokers: HashSet<Arc<str>> = queues.iter().map(|queue| queue.broker.clone()).collect();
        for broker in brokers {
            // One that does not answer shows where its queues are read.
            let _late = self.client.call(&broker, self.member.heartbeat(), limit).await;
        }
        let fresh: Vec<Queue> = queues.iter().filter(|queue| !reading.contains(*queue)).cloned().collect();
        if faulty || !fresh.is_empty() {
            let _gone = self.told.send(Tailed::Queues(queues)).await;
        }
        for queue in fresh {
            reading.insert(queue.clone());
            let tail = self.clone();
            tasks.spawn(async move { tail.read(queue).await });
        }
        Ok(())
    }

    /// Reads one queue until nobody listens.
    async fn read(&self, queue: Queue) {
        let (mut position, end, mut lost) = loop {
            match self.begin(&queue).await {
                Ok(begun) => break begun,
                Err(error) => {
                    if !self.fault(&queue, &error).await {
                        return;
                    }
                }
            }
        };
        let (mut at_end, mut faulty) = (false, false);
        loop {
            if position >= end && !at_end {
                at_end = true;
                if self.told.send(Tailed::AtEnd(queue.clone())).await.is_err() {
                    return;
                }
            }
            let listening = match self.pull(&queue, position).await {
                Ok(read) => {
                    position = read.next;
                    let well =
                        !std::mem::take(&mut faulty) || self.told.send(Tailed::Well(queue.clone())).await.is_ok();
                    lost |= read.lost;
                    well && (read.messages.is_empty() || self.hand_on(&queue, read, std::mem::take(&mut lost)).await)
                }
                Err(error) => {
                    faulty = true;
                    self.fault(&queue, &error).await
                }
            };
            if !listening {
                return;
            }
        }
    }

    /// False when nobody listens.
    async fn hand_on(&self, queue: &Queue, read: Read, lost: bool) -> bool {
        let Read { messages, next, .. } = read;
        self.told.send(Tailed::Read { queue: queue.clone(), messages, next, lost }).await.is_ok()
    }

    /// False when nobody listens.
    async fn fault(&self, queue: &Queue, error: &CallError) -> bool {
        let reason = format!("queue {} of {} on {}: {error}", queue.id, self.from.topic, queue.broker);
        let told = Tailed::Fault { queue: Some(queue.clone()), reason };
        let listening = self.told.send(told).await.is_ok();
        sleep(PAUSE.mul_f64(0.5 + fastrand::f64())).await;
        listening
    }

    /// Where to begin, where the queue ends now, and whether messages before that were deleted unread.
    async fn begin(&self, queue: &Queue) -> Result<(u64, u64, bool), CallError> {
        let end = self.offset(queue, self.member.max_offset(queue)).await?;
        let oldest = self.offset(queue, self.member.min_offset(queue)).await?;
        let begin = self.from.positions.get(queue).copied().unwrap_or(0);
        Ok((begin.max(oldest), end, begin < oldest))
    }

    async fn offset(&self, queue: &Queue, request: super::wire::frame::Request) -> Result<u64, CallError> {
        let answer = self.client.call(&queue.broker, request, self.from.cluster.request_timeout).await?.success()?;
        let offset: Option<i64> = answer.fields.number("offset");
        let offset = offset.ok_or_else(|| CallError::Unreadable("an answer without an offset".to_owned()))?;
        Ok(u64::try_from(offset).unwrap_or(0))
    }

    async fn pull(&self, queue: &Queue, position: u64) -> Result<Read, CallError> {
        let request = self.member.pull(queue, position, MOST, SUSPEND);
        let answer = self.client.call(&queue.broker, request, SUSPEND + SLACK).await?;
        let read = |messages, next, lost| Read { messages, next, lost };
        match Pulled::read(answer.code, answer.remark.as_deref(), &answer.fields) {
            Some(Pulled::Found(span)) => Ok(read(self.messages(&answer.body), span.next, false)),
            Some(Pulled::Nothing(span)) => Ok(read(Vec::new(), span.next.max(position), false)),
            // A queue that was made anew ends before where we were.
            Some(Pulled::Moved(span) | Pulled::Reset(span)) => Ok(read(Vec::new(), span.next, true)),
            None if answer.code == response::SUCCESS => {
                Err(CallError::Unreadable("a pull answer without offsets".to_owned()))
            }
            None => Err(answer.into_error()),
        }
    }

    /// What cannot be read is none of ours.
    fn messages(&self, body: &Bytes) -> Vec<Message> {
        let decode = |record: super::wire::record::Record| {
            let body = Bytes::copy_from_slice(&record.body);
            properties::decode(&self.from.topic, properties::split(record.properties), body)
        };
        records(body, self.from.cluster.max_message).filter_map(Result::ok).map(decode).collect()
    }
}
