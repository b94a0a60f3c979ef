//! Tells clients that their tokens end, and cuts those whose tokens have ended, through their brokers' own interfaces.
//!
//! It must never cut a client that has logged in again meanwhile, nor one that is not connected: brokers would end its
//! session, with all that waits for it (LMQ-6), and it has to log in again anyway. Where a broker has no interface, or does not answer, the
//! client is refused at its next packet, by whoever asks [`Tokens::held`].

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{
        Mutex, OwnedSemaphorePermit, Semaphore,
        mpsc::{self, Receiver, Sender},
    },
    task::JoinSet,
    time::{sleep, timeout},
};
use tracing::{debug, warn};

use super::{
    Tokens,
    sessions::{Due, Event, Outcome},
};
use crate::{
    lmq::token::system_topics::Notice,
    presence::api::{
        ApiError,
        order::{self, Order},
    },
    settings::{BrokerApi, MqttBroker},
    telemetry::Telemetry,
};

/// Requests at a time to the interface of one broker.
const TOGETHER: usize = 16;
/// Clients of one broker that may wait to be told, and to be cut.
const WAITING: usize = 1_000_000;
/// How long its broker has to tell a client before it is cut, and the client to read what it is told.
const TO_TELL: Duration = Duration::from_secs(2);
const TO_READ: Duration = Duration::from_millis(500);

/// Brokers by name.
pub type Brokers = BTreeMap<String, Arc<MqttBroker>>;

/// Works until its task is ended.
pub async fn run(tokens: Arc<Tokens>, brokers: Brokers, telemetry: Telemetry, now: fn() -> u64) {
    let (mut queues, mut desks) = (BTreeMap::new(), JoinSet::new());
    for (name, broker) in brokers {
        let Some(api) = broker.api.clone() else { continue };
        let (ended, to_cut) = mpsc::channel(WAITING);
        let (expiring, to_tell) = mpsc::channel(WAITING);
        let desk = Desk::new(tokens.clone(), telemetry.clone(), api, now);
        desks.spawn(Arc::new(desk).serve(to_cut, to_tell));
        queues.insert(name, Queues { ended, expiring });
    }
    loop {
        for due in tokens.due(now).await {
            if let Some(queues) = queues.get(&*due.client.broker) {
                if let Err(due) = queues.push(due) {
                    tokens.tried(&due, Outcome::Failed, now());
                }
            } else {
                let Due { client, event, .. } = &due;
                debug!(broker = %client.broker, client_id = %client.client_id, ?event, "it is not told: its broker has no `api`");
                tokens.tried(&due, Outcome::Settled, now());
            }
        }
    }
}

/// Who waits at a broker's interface.
struct Queues {
    ended: Sender<Due>,
    expiring: Sender<Due>,
}

impl Queues {
    /// Gives it back where there is no room.
    fn push(&self, due: Due) -> Result<(), Due> {
        let queue = if matches!(due.event, Event::Ended(_)) { &self.ended } else { &self.expiring };
        queue.try_send(due).map_err(mpsc::error::TrySendError::into_inner)
    }
}

/// Where clients of one broker are told and cut. Others do not wait for it.
struct Desk {
    tokens: Arc<Tokens>,
    telemetry: Telemetry,
    api: BrokerApi,
    now: fn() -> u64,
    places: Arc<Semaphore>,
    turn: Mutex<()>,
    /// It did not do what it was told last.
    failing: AtomicBool,
}

impl Desk {
    fn new(tokens: Arc<Tokens>, telemetry: Telemetry, api: BrokerApi, now: fn() -> u64) -> Self {
        let (places, turn, failing) = (Arc::new(Semaphore::new(TOGETHER)), Mutex::default(), AtomicBool::default());
        Self { tokens, telemetry, api, now, places, turn, failing }
    }

    async fn serve(self: Arc<Self>, mut to_cut: Receiver<Due>, mut to_tell: Receiver<Due>) {
        let mut tasks = JoinSet::new();
        while let Ok(place) = self.places.clone().acquire_owned().await {
            let due = tokio::select! {
                biased;
                Some(due) = to_cut.recv() => due,
                Some(due) = to_tell.recv() => due,
                else => return,
            };
            if self.tokens.is_wanted(&due) {
                let desk = self.clone();
                tasks.spawn(async move { desk.see_to(&due, place).await });
            }
            while tasks.try_join_next().is_some() {}
        }
    }

    async fn see_to(&self, due: &Due, place: OwnedSemaphorePermit) {
        match due.event {
            Event::Expires(time) => {
                let told = self.tell(due, Notice::Expires { time, kind: due.kind }).await;
                Self::note(due, told);
            }
            Event::Ended(why) => {
                let outcome = self.end(due, Notice::Ended { why, kind: due.kind }, place).await;
                let outcome = outcome.unwrap_or_else(|error| self.failed(due, &error));
                self.tokens.tried(due, outcome, (self.now)());
            }
        }
    }

    /// Tells a client and cuts it, if it is connected.
    async fn end(&self, due: &Due, notice: Notice, place: OwnedSemaphorePermit) -> Result<Outcome, ApiError> {
        let Due { client, adapter, .. } = due;
        if !order::is_connected(&self.api, *adapter, &client.client_id).await? {
            return Ok(Outcome::Absent);
        }
        // What is begun and not taken back ends with the client's session.
        let told = timeout(TO_TELL, self.tell(due, notice)).await.unwrap_or(Err(ApiError::Late(TO_TELL)));
        Self::note(due, told);
        drop(place);
        sleep(TO_READ).await;
        let _place = self.places.acquire().await;
        if !self.tokens.is_wanted(due) {
            return Ok(Outcome::Settled);
        }
        match order::give(&self.api, *adapter, &client.client_id, &Order::Cut).await {
            Ok(()) => {
                self.failing.store(false, Ordering::Relaxed);
                self.telemetry.token_cut(&client.broker, true);
                Ok(Outcome::Settled)
            }
            // It was there a moment ago.
            Err(ApiError::Unknown) => Ok(Outcome::Failed),
            Err(error) => Err(error),
        }
    }

    async fn tell(&self, due: &Due, notice: Notice) -> Result<(), ApiError> {
        let Due { client, adapter, .. } = due;
        let _turn = if order::in_turn(*adapter) { Some(self.turn.lock().await) } else { None };
        let (topic, payload) = (notice.topic(), notice.payload());
        order::give(&self.api, *adapter, &client.client_id, &Order::Tell { topic, payload: &payload }).await
    }

    fn note(Due { client, .. }: &Due, told: Result<(), ApiError>) {
        if let Err(error) = told {
            debug!(broker = %client.broker, client_id = %client.client_id, %error, "it is not told that its token ends");
        }
    }

    fn failed(&self, Due { client, .. }: &Due, error: &ApiError) -> Outcome {
        if matches!(error, ApiError::NoOrders) {
            return Outcome::Settled;
        }
        self.telemetry.token_cut(&client.broker, false);
        // Once, however many clients there are.
        if !self.failing.swap(true, Ordering::Relaxed) {
            warn!(broker = %client.broker, client_id = %client.client_id, %error,
                "its token has ended, and its broker does not cut it: it is refused at its next packet, as all others, and tried again");
        }
        Outcome::Failed
    }
}

#[cfg(test)]
mod tests;
