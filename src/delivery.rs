//! The contract between a source, a route and a sink.
//!
//! A source hands on messages, each with a [`Ticket`]; the route translates them and passes them to a sink; the
//! sink says what became of each; only then does the route tell the source that the ticket is settled, and only
//! then may the source acknowledge it to its broker. A ticket that is never settled costs a duplicate, never a
//! loss: a source that sees its channels close acknowledges nothing more.
//!
//! Everything goes in batches, so that a channel is crossed once for many messages. Shutdown needs no signal of
//! its own: a route closes the receiver of deliveries (read no more), waits for what is in flight, then drops
//! its senders (finish and close). Nothing here knows MQTT, RocketMQ or a mapping file.

use std::{fmt, sync::Arc};

use tokio::{sync::mpsc, time::Instant};

use crate::{
    message::{Message, Queue},
    telemetry::EndState,
};

/// Names a message of one source, from 0 and rising by one in the order of receipt, also over reconnects.
pub type Ticket = u64;

/// A message that a source has read and not acknowledged.
#[derive(Debug)]
pub struct Delivery {
    /// What the source wants back when the message is settled.
    pub ticket: Ticket,
    /// The message as it was read.
    pub message: Message,
    /// The source believes that it has handed this message on before (MQTT's DUP, RocketMQ's reconsume count).
    pub suspected_duplicate: bool,
    /// What an MQTT broker calls it in this session, at QoS 1 and 2: the same when it sends it again.
    pub packet_id: Option<u16>,
    /// The source could not read it: the payload holds it raw, and the route parks it instead of translating it.
    pub unreadable: Option<Refusal>,
}

/// A translated message on its way to a sink.
#[derive(Debug)]
pub struct Outgoing {
    /// The ticket of the delivery that it came from.
    pub ticket: Ticket,
    /// Messages of one route with equal order keys are stored in the order in which they are passed.
    pub order: OrderKey,
    /// The message, its topic now that of the destination.
    pub message: Message,
    /// When it expires (MQTT 5 message expiry): the sink writes what remains, and settles it as expired afterwards.
    pub deadline: Option<Instant>,
}

/// What messages that keep their order have in common, the same in every process and on every machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OrderKey {
    /// Its hash.
    Hash(u64),
    /// The number of a shard key (LMQ-10.2): RocketMQ's queue is this modulo how many there are.
    Shard(u32),
}

/// What a sink says of a message. A sink retries for ever by itself, so there is no third word.
#[derive(Debug)]
pub struct Settled {
    /// Whose outcome this is.
    pub ticket: Ticket,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of a message on the far side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The far broker confirmed that it holds the message.
    Stored,
    /// It can never be stored there, however often it is sent.
    Refused(Refusal),
    /// Its time was over before it could be sent.
    Expired,
}

/// Why a message can never be sent, in words for the person who reads the parked file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// A stable, short name for metrics and tests, such as `body_too_large`.
    pub kind: &'static str,
    /// The whole reason.
    pub reason: String,
}

impl Refusal {
    /// The kind of a message that its source could not read. What is parked of it is raw, and no message's payload.
    pub const UNDECODABLE: &str = "undecodable";

    /// A refusal of a kind, with its reason.
    pub fn new(kind: &'static str, reason: impl Into<String>) -> Self {
        Self { kind, reason: reason.into() }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.reason, self.kind)
    }
}

/// What a reader that keeps its own place tells of a topic: nothing of it is acknowledged.
#[derive(Debug)]
pub enum Tailed {
    /// More of a queue was read.
    Read {
        /// The queue.
        queue: Queue,
        /// Its messages, oldest first.
        messages: Vec<Message>,
        /// Where to go on reading.
        next: u64,
        /// Messages before these were deleted before they could be read.
        lost: bool,
    },
    /// The topic has these queues, each of which will be at its end some time.
    Queues(Vec<Queue>),
    /// All that a queue held when its reading began has been told.
    AtEnd(Queue),
    /// A queue, or all of the topic, cannot be read now, and why.
    Fault {
        /// Nothing when it is the topic.
        queue: Option<Queue>,
        /// In words.
        reason: String,
    },
    /// A queue is read again after a fault.
    Well(Queue),
}

/// How many batches may wait between two tasks: enough to overlap them, few enough to bound memory.
const BATCHES: usize = 4;

/// A source's side of its link to the route.
#[derive(Debug)]
pub struct SourceLink {
    /// Where deliveries go. Closed means: read no more, keep acknowledging.
    pub deliveries: mpsc::Sender<Vec<Delivery>>,
    /// Tickets that may be acknowledged, in any order. Closed means: acknowledge what is settled, then end.
    pub settled: mpsc::UnboundedReceiver<Vec<Ticket>>,
    /// Where the source says how it is.
    pub state: Arc<EndState>,
}

/// The route's side of its link to a source.
#[derive(Debug)]
pub struct SourceHandle {
    /// What the source has read.
    pub deliveries: mpsc::Receiver<Vec<Delivery>>,
    /// Tickets that the source may acknowledge. Bounded by what is in flight.
    pub settled: mpsc::UnboundedSender<Vec<Ticket>>,
}

/// A sink's side of its link to the route.
#[derive(Debug)]
pub struct SinkLink {
    /// What is to be stored. Closed means: finish what was taken, then end.
    pub outgoing: mpsc::Receiver<Vec<Outgoing>>,
    /// What became of it. Every message passed is settled exactly once, in any order, unless the route ends first.
    pub settled: mpsc::UnboundedSender<Vec<Settled>>,
    /// Where the sink says how it is.
    pub state: Arc<EndState>,
}

/// The route's side of its link to a sink.
#[derive(Debug)]
pub struct SinkHandle {
    /// What is to be stored.
    pub outgoing: mpsc::Sender<Vec<Outgoing>>,
    /// What became of it.
    pub settled: mpsc::UnboundedReceiver<Vec<Settled>>,
}

/// Links a source to a route.
pub fn source_link(state: Arc<EndState>) -> (SourceLink, SourceHandle) {
    let (deliveries, deliveries_rx) = mpsc::channel(BATCHES);
    let (settled, settled_rx) = mpsc::unbounded_channel();
    (SourceLink { deliveries, settled: settled_rx, state }, SourceHandle { deliveries: deliveries_rx, settled })
}

/// Links a route to a sink.
pub fn sink_link(state: Arc<EndState>) -> (SinkLink, SinkHandle) {
    let (outgoing, outgoing_rx) = mpsc::channel(BATCHES);
    let (settled, settled_rx) = mpsc::unbounded_channel();
    (SinkLink { outgoing: outgoing_rx, settled, state }, SinkHandle { outgoing, settled: settled_rx })
}
