//! Tells clients that their tokens end, and cuts those whose tokens have ended, through their brokers' own interfaces.
//!
//! It must never cut a client that has logged in again meanwhile. Where a broker has no interface, or does not answer, the
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
    sync::{Mutex, Semaphore},
    task::JoinSet,
    time::{sleep, timeout},
};
use tracing::{debug, warn};

use super::{
    Tokens,
    sessions::{Due, Event},
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

/// Clients that are told or cut at a time.
const TOGETHER: usize = 16;
/// Between tries, and how many there are.
const PAUSE: Duration = Duration::from_secs(1);
const TRIES: u32 = 5;
/// How long its broker has to tell a client before it is cut, and the client to read what it is told.
const TO_TELL: Duration = Duration::from_secs(2);
const TO_READ: Duration = Duration::from_millis(500);

/// Brokers by name.
pub type Brokers = BTreeMap<String, Arc<MqttBroker>>;

/// Works until its task is ended.
pub async fn run(tokens: Arc<Tokens>, brokers: Brokers, telemetry: Telemetry, now: fn() -> u64) {
    let (places, mut tasks) = (Arc::new(Semaphore::new(TOGETHER)), JoinSet::new());
    let interface =
        |(name, broker): (String, Arc<MqttBroker>)| Some((name, Arc::new(Interface::new(broker.api.clone()?))));
    let interfaces: BTreeMap<String, Arc<Interface>> = brokers.into_iter().filter_map(interface).collect();
    loop {
        for due in tokens.due(now).await {
            let Some(interface) = interfaces.get(&*due.client.broker).cloned() else {
                let Due { client, event, .. } = due;
                debug!(broker = %client.broker, client_id = %client.client_id, ?event, "it is not told: its broker has no `api`");
                continue;
            };
            let Ok(place) = places.clone().acquire_owned().await else { return };
            let work = Work { tokens: tokens.clone(), telemetry: telemetry.clone(), interface, due };
            tasks.spawn(async move {
                work.run().await;
                drop(place);
            });
            while tasks.try_join_next().is_some() {}
        }
    }
}

/// A broker's interface.
struct Interface {
    api: BrokerApi,
    turn: Mutex<()>,
    /// It did not do what it was told last.
    failing: AtomicBool,
}

impl Interface {
    fn new(api: BrokerApi) -> Self {
        Self { api, turn: Mutex::default(), failing: AtomicBool::default() }
    }
}

/// What is done about one client.
struct Work {
    tokens: Arc<Tokens>,
    telemetry: Telemetry,
    interface: Arc<Interface>,
    due: Due,
}

impl Work {
    async fn run(&self) {
        let Due { client, kind, event, .. } = &self.due;
        let notice = match event {
            Event::Expires(time) => Notice::Expires { time: *time, kind: *kind },
            Event::Ended(why) => Notice::Ended { why: *why, kind: *kind },
        };
        let told = match event {
            Event::Expires(_) => self.tell(notice).await,
            // What is begun and not taken back ends with the client's session.
            Event::Ended(_) => timeout(TO_TELL, self.tell(notice)).await.unwrap_or(Err(ApiError::Late(TO_TELL))),
        };
        if let Err(error) = told {
            debug!(broker = %client.broker, client_id = %client.client_id, %error, "it is not told that its token ends");
        }
        if matches!(event, Event::Ended(_)) {
            sleep(TO_READ).await;
            self.cut().await;
        }
    }

    async fn tell(&self, notice: Notice) -> Result<(), ApiError> {
        let Due { client, adapter, .. } = &self.due;
        let _turn = if order::in_turn(*adapter) { Some(self.interface.turn.lock().await) } else { None };
        let (topic, payload) = (notice.topic(), notice.payload());
        order::give(&self.interface.api, *adapter, &client.client_id, &Order::Tell { topic, payload: &payload }).await
    }

    /// A client that comes in as its token ends may not be there yet: whoever is not found is looked for again.
    async fn cut(&self) {
        let Due { client, adapter, .. } = &self.due;
        let (mut failure, mut unknown) = (None, 0);
        for attempt in 0..TRIES {
            if self.tokens.is_back(client) {
                return;
            }
            match order::give(&self.interface.api, *adapter, &client.client_id, &Order::Cut).await {
                Ok(()) => {
                    self.interface.failing.store(false, Ordering::Relaxed);
                    return self.telemetry.token_cut(&client.broker, true);
                }
                Err(ApiError::Unknown) if unknown == 1 => return,
                Err(ApiError::Unknown) => unknown += 1,
                Err(error) => failure = Some(error),
            }
            sleep(PAUSE * (1 << attempt)).await;
        }
        self.telemetry.token_cut(&client.broker, false);
        // Once, however many clients there are.
        if let Some(error) = failure
            && !self.interface.failing.swap(true, Ordering::Relaxed)
        {
            warn!(broker = %client.broker, client_id = %client.client_id, %error,
                "its token has ended, and its broker does not cut it: it is refused at its next packet, as all others");
        }
    }
}
