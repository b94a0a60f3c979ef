//! Stores a route's messages in RocketMQ.
//!
//! One task takes messages, writes each as an entry of its lane (`lanes`), and sends what the lanes allow; requests
//! run beside it. It retries for ever and never reorders the messages of one order key.

mod backlog;
mod lanes;
pub mod post;
pub mod probe;
mod topics;
mod verdict;

use std::{iter::once, ops::ControlFlow, sync::Arc, time::Duration};

use bytes::BytesMut;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};

use super::{
    client::{CallError, Client, Response},
    wire::{
        batch::{EntryError, put_entry},
        route::TopicRoute,
        send::{Destination, send_batch, send_one, topic_fault},
        unique::UniqueKeys,
    },
};
use crate::{
    clock::epoch_millis,
    delivery::{Outcome, Outgoing, Refusal, Settled, SinkLink, Ticket},
    lmq::properties,
    message::Message,
    settings::{Limits, RocketMqCluster},
};
use backlog::{BatchLimits, Entry, Expiry};
use lanes::{RequestId, Send};
use topics::Topics;
use verdict::{Verdict, judge};

/// How much one request carries at most. Larger gains nothing: the broker is the bottleneck.
const BATCH: BatchLimits = BatchLimits { bytes: 512 * 1024, entries: 1024 };
/// The first and the longest wait before a request is sent again.
const RETRY: Duration = Duration::from_millis(50);
const LONGEST_RETRY: Duration = Duration::from_secs(1);
/// The property that tools find a message by.
const UNIQUE_KEY: &str = "UNIQ_KEY";
/// A topic that every broker has of itself.
const ANY_TOPIC: &str = "TBW102";

/// Stores what comes over `link` until it closes and all that was taken is settled, or until nobody takes outcomes
/// any more.
pub async fn run(cluster: Arc<RocketMqCluster>, route_name: &str, limits: Limits, link: SinkLink) {
    let (client, _pushes) = Client::new(cluster, &format!("{route_name}-out"));
    let mut sink = Sink::new(client, route_name, limits, link);
    sink.greet(Duration::ZERO);
    while !sink.is_done() {
        if sink.step().await.is_break() {
            return;
        }
        sink.pump();
    }
}

type Answer = (Arc<str>, RequestId, Result<Response, CallError>);
type Lookup = (Option<Arc<str>>, Result<Arc<TopicRoute>, CallError>);

struct Sink {
    client: Client,
    group: String,
    /// Messages that are held at most; their bytes are bounded by the route.
    most: usize,
    link: SinkLink,
    /// The route has closed its side: finish.
    closed: bool,
    topics: Topics,
    requests: JoinSet<Answer>,
    lookups: JoinSet<Lookup>,
    greeting: Greeting,
    keys: UniqueKeys,
    settled: Vec<Settled>,
    /// Reused for each message, each round.
    entry: BytesMut,
    sends: Vec<Send>,
    expired: Vec<Ticket>,
}

/// Whether any name server has answered since the start, so that an idle sink can say how it is.
enum Greeting {
    Asked,
    Failed(String),
    Answered,
}

impl Sink {
    fn new(client: Client, route_name: &str, limits: Limits, link: SinkLink) -> Self {
        let cluster = client.cluster();
        let batch = BatchLimits { bytes: BATCH.bytes.min(cluster.max_message), ..BATCH };
        let topics = Topics::new(batch, cluster.lane_grace);
        Self {
            group: client.with_namespace(&format!("GID_rocketbridge_{route_name}")),
            client,
            most: limits.messages,
            link,
            closed: false,
            topics,
            requests: JoinSet::new(),
            lookups: JoinSet::new(),
            greeting: Greeting::Asked,
            keys: UniqueKeys::new(process_name()),
            settled: Vec::new(),
            entry: BytesMut::new(),
            sends: Vec::new(),
            expired: Vec::new(),
        }
    }

    fn is_done(&self) -> bool {
        self.closed && self.topics.unresolved() == 0
    }

    /// Waits for one thing to happen and takes it in.
    async fn step(&mut self) -> ControlFlow<()> {
        let due = self.topics.next_due();
        let room = !self.closed && self.topics.unresolved() < self.most;
        tokio::select! {
            biased;
            Some(answer) = self.requests.join_next() => {
                let mut next = Some(answer);
                while let Some(answer) = next {
                    if let Ok((topic, id, answer)) = answer {
                        self.answered(&topic, id, answer);
                    }
                    next = self.requests.try_join_next();
                }
            }
            Some(lookup) = self.lookups.join_next() => {
                if let Ok((topic, route)) = lookup {
                    self.looked_up(topic.as_deref(), route);
                }
            }
            batch = self.link.outgoing.recv(), if room => match batch {
                Some(batch) => self.take(batch),
                None => self.closed = true,
            },
            () = wake(due) => {}
            () = self.link.settled.closed() => return ControlFlow::Break(()),
        }
        ControlFlow::Continue(())
    }

    fn take(&mut self, batch: Vec<Outgoing>) {
        let (now, millis) = (Instant::now(), epoch_millis());
        for outgoing in batch {
            let ticket = outgoing.ticket;
            if let Err(outcome) = self.accept(outgoing, now, millis) {
                self.settled.push(Settled { ticket, outcome });
            }
        }
    }

    /// Writes a message as an entry of its lane, or says at once what becomes of it.
    fn accept(&mut self, outgoing: Outgoing, now: Instant, millis: u64) -> Result<(), Outcome> {
        let Outgoing { ticket, order, mut message, deadline } = outgoing;
        let expiry = match deadline {
            None => None,
            Some(deadline) => {
                let written = Expiry::left(deadline, now).ok_or(Outcome::Expired)?;
                message.expiry = Some(u32::try_from(written).unwrap_or(u32::MAX));
                Some(Expiry { deadline, written })
            }
        };
        self.entry.clear();
        let length = write_entry(&mut self.entry, &message, &mut self.keys, millis, self.client.cluster().max_message)
            .map_err(Outcome::Refused)?;
        let name = message.topic.parent();
        let topic = if let Some(topic) = self.topics.get_mut(name) {
            topic
        } else {
            let full_name = self.client.with_namespace(name);
            if let Some(fault) = topic_fault(&full_name) {
                let reason = format!("RocketMQ cannot have a topic {full_name:?}: {fault}");
                return Err(Outcome::Refused(Refusal::new("topic_not_allowed", reason)));
            }
            self.topics.add(name, full_name, now)
        };
        topic.push(Entry { ticket, order, length, expiry }, &self.entry);
        Ok(())
    }

    fn answered(&mut self, topic: &str, id: RequestId, answer: Result<Response, CallError>) {
        let Some(topic) = self.topics.get_mut(topic) else { return };
        let retry = |failures| Instant::now() + backoff(failures);
        match judge(answer, self.client.cluster().stored_when) {
            Verdict::Stored => {
                let stored = topic.lanes.stored(id);
                self.settled.extend(stored.map(|ticket| Settled { ticket, outcome: Outcome::Stored }));
            }
            Verdict::Refused(reason) => {
                if let Some(ticket) = topic.lanes.refused(id) {
                    let outcome = Outcome::Refused(Refusal::new("refused_by_broker", reason));
                    self.settled.push(Settled { ticket, outcome });
                }
            }
            Verdict::Retry(problem) => topic.lanes.failed(id, problem, retry),
            Verdict::Reroute(problem) => {
                topic.doubt();
                topic.lanes.failed(id, problem, retry);
            }
        }
    }

    fn looked_up(&mut self, topic: Option<&str>, route: Result<Arc<TopicRoute>, CallError>) {
        self.greeting = match (&self.greeting, &route) {
            (Greeting::Answered, _) | (_, Ok(_) | Err(CallError::TopicNotExist(_))) => Greeting::Answered,
            (_, Err(error)) => Greeting::Failed(error.to_string()),
        };
        match topic {
            Some(name) => {
                if let Some(topic) = self.topics.get_mut(name) {
                    topic.routed(route, &self.client.cluster().name, Instant::now());
                }
            }
            None if matches!(self.greeting, Greeting::Failed(_)) => self.greet(LONGEST_RETRY),
            None => {}
        }
    }

    /// Asks for some route, only to know whether the cluster can be reached.
    fn greet(&mut self, after: Duration) {
        let client = self.client.clone();
        self.lookups.spawn(async move {
            sleep(after).await;
            (None, client.route(ANY_TOPIC).await)
        });
    }

    /// Sends what may be sent, tells what was settled, and says how it is.
    fn pump(&mut self) {
        let now = Instant::now();
        for (name, topic) in self.topics.busy() {
            if topic.ask(now) {
                let (client, name, full_name) = (self.client.clone(), name.clone(), topic.full_name.clone());
                self.lookups.spawn(async move { (Some(name), client.route(&full_name).await) });
            }
            topic.lanes.advance(now);
            topic.lanes.ready(now, &mut self.sends, &mut self.expired);
            for send in self.sends.drain(..) {
                if send.again {
                    self.link.state.retried.inc();
                }
                let queue = send.queue.id;
                let to = Destination { group: &self.group, topic: &topic.full_name, queue, born: epoch_millis() };
                let request = if send.entries == 1 { send_one(to, send.bytes) } else { send_batch(to, send.bytes) };
                let (client, name) = (self.client.clone(), name.clone());
                self.requests.spawn(async move {
                    let limit = client.cluster().request_timeout;
                    (name, send.id, client.call(&send.queue.broker, request, limit).await)
                });
            }
        }
        self.settled.extend(self.expired.drain(..).map(|ticket| Settled { ticket, outcome: Outcome::Expired }));
        if !self.settled.is_empty() {
            // That nobody listens any more shows in the next step.
            let _ = self.link.settled.send(std::mem::take(&mut self.settled));
        }
        self.report();
    }

    fn report(&self) {
        match (self.topics.problem(), &self.greeting) {
            (Some(problem), _) => self.link.state.down(problem),
            (None, Greeting::Failed(problem)) => self.link.state.down(problem),
            (None, Greeting::Answered) => self.link.state.up(),
            (None, Greeting::Asked) => {}
        }
    }
}

/// What tells the ids that a producer gives from those of all others.
fn process_name() -> [u8; 10] {
    let mut process = [0; 10];
    process[..4].copy_from_slice(&std::process::id().to_be_bytes());
    process[4..].fill_with(|| fastrand::u8(..));
    process
}

/// Writes a message as a batch entry, with an id of its own.
fn write_entry(
    out: &mut BytesMut,
    message: &Message,
    keys: &mut UniqueKeys,
    millis: u64,
    max_message: usize,
) -> Result<usize, Refusal> {
    let size = message.payload.len();
    if size > max_message {
        let reason = format!("its body has {size} bytes, RocketMQ takes {max_message}");
        return Err(Refusal::new("body_too_large", reason));
    }
    let properties = properties::encode(message)?;
    let key = keys.next(millis);
    let pairs = properties.iter().map(|(name, value)| (name.as_ref(), value.as_ref()));
    put_entry(out, &message.payload, once((UNIQUE_KEY, key.as_str())).chain(pairs)).map_err(|error| match error {
        EntryError::Properties(_) => Refusal::new("properties_too_large", error.to_string()),
        EntryError::Body(_) => Refusal::new("body_too_large", error.to_string()),
    })
}

/// How long to wait after so many failures in a row, jittered so that lanes do not come back all at once.
fn backoff(failures: u32) -> Duration {
    let whole = RETRY.saturating_mul(1 << (failures - 1).min(10)).min(LONGEST_RETRY);
    whole.mul_f64(0.5 + fastrand::f64() / 2.0)
}

async fn wake(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
