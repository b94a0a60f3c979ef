//! Keeps the tokens of this replica: tells the others of what is new, hears what they tell, and cuts clients.
//!
//! It must never call something told before RocketMQ has it. What it cannot do now it does later: the metrics show it.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, oneshot},
    time::{MissedTickBehavior, interval, sleep, timeout},
};
use tracing::warn;

use super::{
    thread,
    trouble::{TailTrouble, Trouble},
};
use crate::{
    clock::epoch_millis,
    rocketmq::{sink::post::Poster, tail},
    settings::{Settings, TokenTopic},
    telemetry::Telemetry,
    tokens::{Figures, Tokens, cutter, reading::Piece, record::message},
};

/// The broadcast group in which all replicas read, and the group that they write as.
const GROUP: &str = "GID_rocketbridge_tokens";
/// Pieces of the topic that may wait to be taken in.
const WAITING: usize = 16;
/// Pieces that count already and may wait for the disk.
const UNSTORED: usize = 64;
const TICK: Duration = Duration::from_secs(1);
/// Between writes of who has logged in.
const SAVE: Duration = Duration::from_millis(200);
/// How long the disk has at the end.
const TO_STOP: Duration = Duration::from_secs(5);
/// Between tries to tell the others, or to store what they tell.
const PAUSE: Duration = Duration::from_millis(500);
/// The longest between looks for what is to be told again.
const LOOK: Duration = Duration::from_secs(30);
/// What is said when they hear of each other again.
const OVER: &str = "replicas tell each other of tokens again";

/// Keeps the tokens, on a thread of its own.
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
            () = shared => {}
            () = look_after(&tokens, &telemetry, topic.is_some(), stopped) => {}
            () = cutter::run(tokens.clone(), settings.mqtt.clone(), telemetry.clone(), epoch_millis) => {}
        }
    };
    Kept { stop, ended: thread::start("tokens", work) }
}

/// The keeping.
#[derive(Debug)]
pub struct Kept {
    stop: oneshot::Sender<()>,
    ended: oneshot::Receiver<()>,
}

impl Kept {
    /// Ends it, and waits until all is written down.
    pub async fn stop(self) {
        drop(self.stop);
        if timeout(TO_STOP, self.ended).await.is_err() {
            warn!("who has logged in with a token is not written down in time: those clients may stay when it ends");
        }
    }
}

/// Tells the others of what they do not know, or were told long ago.
async fn tell(tokens: &Tokens, TokenTopic { cluster, topic }: &TokenTopic) {
    let mut poster = Poster::new(cluster.clone(), GROUP, topic);
    let mut trouble =
        Trouble::new(topic, "other replicas are not told of tokens: what is revoked here counts there", OVER);
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
    let unheard = "what other replicas tell of tokens cannot be read: what is revoked there counts here";
    let mut trouble = TailTrouble::new(Trouble::new(topic, unheard, OVER));
    let (pieces, unstored) = mpsc::channel(UNSTORED);
    let take = async move {
        while let Some(tailed) = heard.recv().await {
            trouble.take(&tailed);
            let (piece, bad) = tokens.tailed(tailed, epoch_millis());
            for error in bad {
                warn!(topic, %error, "a message there is passed over");
            }
            if let Some(piece) = piece
                && pieces.send(piece).await.is_err()
            {
                return;
            }
        }
    };
    tokio::join!(tail::run(from, told), take, store(tokens, unstored));
}

/// Stores what was heard, in order, each until it is stored: the place of the next must not be written before.
async fn store(tokens: &Tokens, mut heard: mpsc::Receiver<Piece>) {
    while let Some(piece) = heard.recv().await {
        // The store itself says what is wrong.
        while tokens.keep(&piece, epoch_millis()).await.is_err() {
            sleep(PAUSE).await;
        }
    }
}

/// Ends once it is stopped and all is written down.
async fn look_after(tokens: &Tokens, telemetry: &Telemetry, shared: bool, mut stopped: oneshot::Receiver<()>) {
    let (mut tick, mut save) = (interval(TICK), interval(SAVE));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    save.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        // The store itself says what is wrong.
        tokio::select! {
            _ = &mut stopped => break,
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
    while tokens.save().await.is_ok_and(|more| more) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        delivery::Tailed,
        lmq::{
            token::{Invalid, Kind},
            token_request::Apply,
        },
        message::Queue,
        tokens::{
            sessions::{Client, Held},
            store::{Store, tests::Floppy},
        },
    };

    const TOPIC: &str = "topic = \"t\"\n";

    fn settings(topic: &str) -> Arc<Settings> {
        let text = format!(
            "[rocketmq.main]\nname_servers = \"ns\"\n[lmq.tokens]\nsecret = \"a secret that all replicas share\"\n{topic}"
        );
        let faults = crate::diagnostic::Faults::default();
        let path = std::path::Path::new("x.toml");
        Arc::new(crate::settings::load(path, &text, &crate::settings::Environment::default(), &faults))
    }

    /// A replica, and a handle to close its store by.
    fn replica(disk: &Floppy, topic: &str) -> (Arc<Tokens>, Store) {
        let (store, known) = disk.open();
        let service = settings(topic).lmq.tokens.clone().unwrap();
        (Arc::new(Tokens::kept_in(store.clone(), known, &service, epoch_millis())), store)
    }

    async fn apply(tokens: &Tokens) -> String {
        let (instance, resources, expires) = (String::new(), vec!["a".to_owned()], epoch_millis() + 600_000);
        tokens.apply("YYYYY", Apply { instance, resources, read: true, write: true, expires }, 1).await.unwrap()
    }

    #[tokio::test]
    async fn what_could_not_be_stored_is_stored_before_what_follows() {
        let (disk, (other, _)) = (Floppy::default(), replica(&Floppy::default(), TOPIC));
        let queue = Queue { broker: "broker-0".into(), id: 0 };
        let (one, open) = replica(&disk, TOPIC);
        let (pieces, heard) = mpsc::channel(UNSTORED);
        let mut revoked = Vec::new();
        disk.fill(true);
        for next in 1..=2 {
            let token = apply(&other).await;
            other.revoke(other.of("YYYYY", &token, 0).unwrap()).await.unwrap();
            let (body, told) = other.to_tell(1).await.unwrap().unwrap();
            other.told(told, 1).await.unwrap();
            let read = Tailed::Read { queue: queue.clone(), messages: vec![message("t", body)], next, lost: false };
            pieces.send(one.tailed(read, epoch_millis()).0.unwrap()).await.unwrap();
            assert_eq!(one.check(&token, epoch_millis()), Err(Invalid::Revoked), "it counts before it is stored");
            revoked.push(token);
        }
        let storing = tokio::spawn({
            let one = one.clone();
            async move { store(&one, heard).await }
        });
        // The disk refuses the first, and has room again before the second.
        sleep(PAUSE / 2).await;
        disk.fill(false);
        drop(pieces);
        storing.await.unwrap();
        drop(one);
        open.close().await;
        let (one, _) = replica(&disk, TOPIC);
        assert_eq!(one.positions(), [(queue, 2)].into());
        for token in revoked {
            assert_eq!(one.check(&token, epoch_millis()), Err(Invalid::Revoked));
        }
    }

    #[tokio::test]
    async fn who_logs_in_just_before_the_end_is_written_down() {
        let disk = Floppy::default();
        let (tokens, open) = replica(&disk, "");
        let token = apply(&tokens).await;
        let kept = keep(tokens.clone(), settings(""), Telemetry::default());
        let grant = tokens.check(&token, epoch_millis()).unwrap();
        let held = [Held { kind: Kind::Read, grant: Arc::new(grant) }];
        let client = |number: usize| Client { broker: "edge".into(), client_id: number.to_string().into() };
        // More than are written down at a time.
        for number in 0..5_000 {
            tokens.logged_in(&client(number), crate::presence::adapter::Adapter::Rmqtt, &held, epoch_millis());
        }
        kept.stop().await;
        drop(tokens);
        open.close().await;
        let (tokens, _) = replica(&disk, "");
        assert!((0..5_000).all(|number| tokens.held(&client(number), epoch_millis()).is_ok()));
    }
}
