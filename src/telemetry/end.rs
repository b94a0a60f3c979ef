//! What one end of a route says of itself: whether it can work, and if not, why.
//!
//! A state is logged when it changes, not every time it is met. It must never hold a secret or a payload.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use prometheus_client::metrics::{counter::Counter, gauge::Gauge};
use tokio::time::Instant;
use tracing::{info, warn};

use super::{
    Families,
    labels::{EndLabel, ReasonLabel, RouteLabel},
};

/// What one end of a route says of itself. Its tasks write it, the route and the admin listener read it.
#[derive(Debug)]
pub struct EndState {
    label: EndLabel,
    /// Requests sent again.
    pub retried: Counter,
    up: Gauge,
    condition: Mutex<Condition>,
    connection: Mutex<Connection>,
    reads_all: AtomicBool,
    families: Arc<Families>,
}

/// How it stands with a connection to a broker. Whether the end can work is another question: it may be connected and
/// refused, or not have lasted long enough to count on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Connection {
    /// How many have begun.
    pub beginnings: u64,
    /// The last one found its session as it was left.
    pub kept: bool,
    /// It has not ended.
    pub lasts: bool,
}

#[derive(Debug, Clone)]
enum Condition {
    Up,
    Down { reason: String, since: Instant, said: bool },
}

impl EndState {
    /// An end that has not worked yet.
    pub(super) fn new(label: EndLabel, families: Arc<Families>) -> Self {
        Self {
            retried: families.retried.get_or_create_owned(&label),
            up: families.up.get_or_create_owned(&label),
            connection: Mutex::default(),
            reads_all: AtomicBool::new(false),
            condition: Mutex::new(Condition::Down {
                reason: "starting".to_owned(),
                since: Instant::now(),
                said: false,
            }),
            label,
            families,
        }
    }

    pub(super) fn label(&self) -> &EndLabel {
        &self.label
    }

    /// The broker's name in the settings.
    pub fn broker(&self) -> &str {
        &self.label.broker
    }

    /// The end can work. Logs the end of an outage once.
    pub fn up(&self) {
        let mut condition = self.condition.lock().unwrap_or_else(PoisonError::into_inner);
        if let Condition::Down { since, said, .. } = &*condition {
            self.up.set(1);
            if *said {
                info!(route = %self.label.route, broker = %self.label.broker, role = %self.label.role, away_s = since.elapsed().as_secs_f64(), "works again");
            }
            *condition = Condition::Up;
        }
    }

    /// The end cannot work, and why. Call it at every failed try: only a new reason is logged.
    pub fn down(&self, reason: impl Into<String>) {
        let reason = reason.into();
        let mut condition = self.condition.lock().unwrap_or_else(PoisonError::into_inner);
        let since = match &*condition {
            Condition::Down { reason: old, said: true, .. } if *old == reason => return,
            Condition::Down { since, .. } => *since,
            Condition::Up => Instant::now(),
        };
        self.up.set(0);
        warn!(route = %self.label.route, broker = %self.label.broker, role = %self.label.role, %reason, "cannot work, waiting");
        *condition = Condition::Down { reason, since, said: true };
    }

    /// A connection to the broker has begun; `kept`: the broker still has the session.
    pub fn began(&self, kept: bool) {
        let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        *connection = Connection { beginnings: connection.beginnings + 1, kept, lasts: true };
    }

    /// The connection to the broker has ended.
    pub fn ended(&self) {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner).lasts = false;
    }

    /// How it stands with the connection to the broker.
    pub fn connection(&self) -> Connection {
        *self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why the end cannot work, or nothing when it can.
    pub fn reason(&self) -> Option<String> {
        match &*self.condition.lock().unwrap_or_else(PoisonError::into_inner) {
            Condition::Up => None,
            Condition::Down { reason, .. } => Some(reason.clone()),
        }
    }

    /// Whether a source reads all that is its own: nothing of it waits for another member of its group to let go.
    pub fn reads_all(&self) -> bool {
        self.reads_all.load(Ordering::Relaxed) && self.reason().is_none()
    }

    /// Says whether nothing waits for another member.
    pub fn set_reads_all(&self, all: bool) {
        self.reads_all.store(all, Ordering::Relaxed);
    }

    /// Says how many messages wait at the broker. An end whose broker does not tell never says so.
    pub fn lag(&self, messages: i64) {
        self.families.lag.get_or_create(&self.label).set(messages);
    }

    /// Counts a message that the broker took although nobody had subscribed. A route that has none has no series.
    pub fn unheard(&self) {
        self.families.unheard.get_or_create(&RouteLabel { route: self.label.route.clone() }).inc();
    }

    /// Counts messages that this end gave up by rule, under a stable short reason such as `qos0_at_limit`.
    pub fn dropped(&self, reason: &'static str, count: u64) {
        let label = ReasonLabel { route: self.label.route.clone(), reason: reason.to_owned() };
        self.families.dropped.get_or_create(&label).inc_by(count);
    }
}
