//! Keeps the tokens of this replica: tells the others of what is new, hears what they tell, and cuts clients.
//!
//! It must never call something told before RocketMQ has it. What it cannot do now it does later: the metrics show it.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, oneshot},
    time::{MissedTickBehavior, interval, sleep},
};
use tracing::{info, warn};

use super::thread;
use crate::{
    clock::epoch_millis,
    delivery::Tailed,
    rocketmq::{sink::post::Poster, tail},
    settings::{Settings, TokenTopic},
    telemetry::Telemetry,
    tokens::{Figures, Tokens, cutter, message},
};

/// The broadcast group in which all replicas read, and the group that they write as.
const GROUP: &str = "GID_rocketbridge_tokens";
/// Pieces of the topic that may wait to be taken in.
const WAITING: usize = 16;
const TICK: Duration = Duration::from_secs(1);
/// Between writes of who has logged in.
const SAVE: Duration = Duration::from_millis(200);
/// Between tries to tell the others.
const PAUSE: Duration = Duration::from_millis(500);
/// The longest between looks for what is to be told again.
const LOOK: Duration = Duration::from_secs(30);

/// Keeps the tokens, on a thread of its own, until what is returned is dropped.
pub fn keep(tokens: Arc<Tokens>, settings: Arc<Settings>, telemetry: Telemetry) -> Kept {
    let (stop, stopped) = oneshot::channel::<()>();
    let topic = settings.lmq.tokens.as_ref().and_then(|tokens| tokens.topic.clone());
    let work = async move {
        let shared = async {
            match &topic {
                Some(topic) => drop(tokio::join!(tell(&tokens, topic), hear(&tokens, topic))),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = stopped => {}
            () = shared => {}
            () = look_after(&tokens, &telemetry, topic.is_some()) => {}
            () = cutter::run(tokens.clone(), settings.mqtt.clone(), telemetry.clone(), epoch_millis) => {}
        }
    };
    let _ends_with_its_task = thread::start("tokens", work);
    Kept { _stop: stop }
}

/// Dropped, it ends the keeping.
#[derive(Debug)]
pub struct Kept {
    _stop: oneshot::Sender<()>,
}

/// Tells the others of what they do not know, or were told long ago.
async fn tell(tokens: &Tokens, TokenTopic { cluster, topic }: &TokenTopic) {
    let mut poster = Poster::new(cluster.clone(), GROUP, topic);
    let mut trouble = Trouble::new("other replicas are not told of tokens: what is revoked here counts there");
    loop {
        let done = match tokens.to_tell(epoch_millis()).await {
            Ok(Some((body, entries))) => match poster.post(&message(topic, body)).await {
                Ok(()) => tokens.told(entries, epoch_millis()).await.map(|()| true).map_err(|error| error.to_string()),
                Err(reason) => Err(reason),
            },
            Ok(None) => Ok(false),
            Err(error) => Err(error.to_string()),
        };
        match done {
            Ok(true) => trouble.over(),
            Ok(false) => tokens.wait_for_news(LOOK).await,
            Err(reason) => {
                trouble.is(&reason);
                sleep(PAUSE).await;
            }
        }
    }
}

/// Hears what the others tell.
async fn hear(tokens: &Tokens, TokenTopic { cluster, topic }: &TokenTopic) {
    let (told, mut heard) = mpsc::channel(WAITING);
    let from = tail::From {
        cluster: cluster.clone(),
        topic: topic.clone(),
        group: GROUP.to_owned(),
        positions: tokens.positions(),
    };
    let mut trouble =
        Trouble::new("what other replicas tell of tokens cannot be read: what is revoked there counts here");
    let mut faulty = BTreeSet::new();
    let take = async {
        while let Some(tailed) = heard.recv().await {
            match &tailed {
                Tailed::Fault { queue, reason } => {
                    faulty.insert(queue.clone());
                    trouble.is(reason);
                }
                Tailed::Queues(_) => drop(faulty.remove(&None)),
                Tailed::Read { queue, .. } | Tailed::AtEnd(queue) | Tailed::Well(queue) => {
                    faulty.remove(&Some(queue.clone()));
                }
            }
            if faulty.is_empty() {
                trouble.over();
            }
            match tokens.tailed(tailed, epoch_millis()).await {
                Ok(bad) => bad.iter().for_each(|error| warn!(topic, %error, "a message there is passed over")),
                Err(error) => warn!(topic, %error, "what was read there is read again after a restart"),
            }
        }
    };
    tokio::join!(tail::run(from, told), take);
}

async fn look_after(tokens: &Tokens, telemetry: &Telemetry, shared: bool) {
    let (mut tick, mut save) = (interval(TICK), interval(SAVE));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    save.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        // The store itself says what is wrong.
        tokio::select! {
            _ = tick.tick() => {}
            _ = save.tick() => {
                let _said = tokens.save().await;
                continue;
            }
        }
        if let Ok(Figures { known, untold, clients, behind }) = tokens.tick(epoch_millis()).await {
            telemetry.tokens(known, if shared { untold } else { 0 }, clients, behind);
        }
    }
}

/// Says once what is wrong, by the first reason, and once that it is over.
struct Trouble {
    what: &'static str,
    said: bool,
}

impl Trouble {
    fn new(what: &'static str) -> Self {
        Self { what, said: false }
    }

    fn is(&mut self, reason: &str) {
        if !std::mem::replace(&mut self.said, true) {
            warn!(reason, "{}", self.what);
        }
    }

    fn over(&mut self) {
        if std::mem::take(&mut self.said) {
            info!("replicas tell each other of tokens again");
        }
    }
}
