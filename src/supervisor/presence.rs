//! Keeps the board of this replica: reads the topics of notices, and writes down from time to time where it is.
//!
//! It must never hold up a route: notices are read like any other messages, from RocketMQ.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::{
    sync::mpsc,
    task::{JoinSet, spawn_blocking},
    time::{MissedTickBehavior, interval},
};
use tracing::{info, warn};

use super::{
    Shared,
    trouble::{TailTrouble, Trouble},
};
use crate::{
    clock::epoch_millis,
    delivery::Tailed,
    mapping::{From, Route, To, translation::Translated},
    message::{Message, Topic},
    presence::board::{Board, Groups},
    rocketmq::tail,
    settings::{Credentials, RocketMqCluster, Settings},
    telemetry::Telemetry,
};

/// The broadcast group in which all replicas read.
const GROUP: &str = "GID_rocketbridge_presence";
/// Pieces of a topic that may wait to be taken in.
const WAITING: usize = 16;
/// Between snapshots, while something changes.
const SNAPSHOT: Duration = Duration::from_secs(15);
const TICK: Duration = Duration::from_secs(1);
/// How long the last one may take.
pub(super) const LAST_SNAPSHOT: Duration = Duration::from_secs(2);

/// The topics that are read, each on its cluster, with the routes that write there.
type Topics = BTreeMap<String, (Arc<RocketMqCluster>, BTreeSet<String>)>;

/// A piece of a topic, by its name.
type Piece = (String, Tailed);

/// Keeps a board until its task is ended: `routes` are those that run, each time that they change.
pub(super) async fn keep(
    shared: Shared,
    settings: Arc<Settings>,
    telemetry: Telemetry,
    mut routes: mpsc::Receiver<Vec<Arc<Route>>>,
) {
    let (board, mut credentials) = (shared.board.clone(), shared.credentials.clone());
    let path = settings.data_dir.join("presence.snapshot");
    restore(&board, &path);
    let (told, mut heard) = mpsc::channel(WAITING);
    let mut tails = JoinSet::new();
    let (mut read, mut troubles, mut running) = (Topics::new(), BTreeMap::new(), Vec::new());
    let (mut tick, mut snapshot) = (interval(TICK), interval(SNAPSHOT));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    snapshot.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            routes = routes.recv() => {
                let Some(routes) = routes else { break };
                running = routes;
                read = begin(&shared, &running, read, (&mut tails, &mut heard, &told)).await;
            }
            Ok(()) = credentials.changed() => {
                read = begin(&shared, &running, read, (&mut tails, &mut heard, &told)).await;
            }
            Some((topic, tailed)) = heard.recv() => {
                troubles.entry(topic.clone()).or_insert_with(|| trouble(&topic)).take(&tailed);
                board.tailed(&topic, &tailed, epoch_millis());
            }
            _ = tick.tick() => {
                board.tick(epoch_millis());
                telemetry.online(board.clients());
            }
            _ = snapshot.tick() => save(&board, &path).await,
        }
    }
    save(&board, &path).await;
}

/// Reads what is to be read by now, where that is not what is `read` already.
async fn begin(
    shared: &Shared,
    routes: &[Arc<Route>],
    read: Topics,
    (tails, heard, told): (&mut JoinSet<()>, &mut mpsc::Receiver<Piece>, &mpsc::Sender<Piece>),
) -> Topics {
    let Shared { board, credentials, arrivals, .. } = shared;
    let current = credentials.borrow().clone();
    let (groups, topics) = follow(&current, routes);
    board.follow(groups);
    let writers = |topics: &Topics| -> BTreeMap<_, _> {
        topics.iter().map(|(topic, (_, routes))| (topic.clone(), routes.clone())).collect()
    };
    if writers(&topics) != writers(&read) {
        tails.abort_all();
        while tails.join_next().await.is_some() {}
        while heard.try_recv().is_ok() {}
        for (topic, (cluster, routes)) in &topics {
            let (arrivals, routes) = (arrivals.clone(), routes.clone());
            let arrived = async move { arrivals.of_all(&routes).await };
            tail(tails, board, topic, cluster, arrived, told);
        }
    }
    topics
}

/// What is said of reading a topic of notices.
fn trouble(topic: &str) -> TailTrouble {
    TailTrouble::new(Trouble::new(
        topic,
        "notices cannot be read: who is online is unknown unless this is soon over",
        "notices are read again",
    ))
}

/// Reads one topic on, from where the board is. Not before its routes have told what was missed: a topic that was read to
/// its end would say who was online when the last process ended.
fn tail(
    tails: &mut JoinSet<()>,
    board: &Board,
    topic: &str,
    cluster: &Arc<RocketMqCluster>,
    arrived: impl Future<Output = ()> + Send + 'static,
    told: &mpsc::Sender<Piece>,
) {
    let from = tail::From {
        cluster: cluster.clone(),
        topic: topic.to_owned(),
        group: GROUP.to_owned(),
        positions: board.positions(topic),
    };
    let (read, mut pieces) = mpsc::channel(WAITING);
    let (topic, told) = (topic.to_owned(), told.clone());
    tails.spawn(async move {
        arrived.await;
        let forward = async {
            while let Some(tailed) = pieces.recv().await {
                if told.send((topic.clone(), tailed)).await.is_err() {
                    return;
                }
            }
        };
        tokio::join!(tail::run(from, read), forward);
    });
}

/// Where the notices of all groups that may be asked for are.
fn follow(credentials: &Credentials, routes: &[Arc<Route>]) -> (Groups, Topics) {
    let (mut all, mut topics) = (Groups::new(), Topics::new());
    let groups: BTreeSet<String> = credentials.asked_groups().map(str::to_owned).collect();
    for group in groups {
        let mut of_group = BTreeSet::new();
        for route in routes {
            if let (From::Events(_), To::RocketMq { cluster }) = (&route.from, &route.to)
                && let Some(topic) = topic(route, &group)
            {
                topics
                    .entry(topic.clone())
                    .or_insert_with(|| (cluster.clone(), BTreeSet::new()))
                    .1
                    .insert(route.name.clone());
                of_group.insert(topic);
            }
        }
        if !of_group.is_empty() {
            all.insert(group, of_group.into_iter().collect());
        }
    }
    (all, topics)
}

/// The topic of a group's notices.
fn topic(route: &Route, group: &str) -> Option<String> {
    let mut message = Message::new(Topic::from_parts("", ""), "");
    message.client_id = Some(format!("{group}{}", crate::lmq::notice::GROUP_END));
    match route.translation.translate(&message) {
        Ok(Translated::Send { message, .. }) => Some(message.topic.parent().to_owned()),
        Ok(Translated::Echo) | Err(_) => None,
    }
}

fn restore(board: &Board, path: &Path) {
    let restored = match fs::read(path) {
        Ok(bytes) => board.restore(&bytes).map_err(|error| error.to_string()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return,
        Err(error) => Err(error.to_string()),
    };
    match restored {
        Ok(()) => info!(clients = board.clients(), "presence goes on from its snapshot"),
        Err(error) => warn!(file = %path.display(), error, "presence begins anew: the snapshot cannot be used"),
    }
}

async fn save(board: &Arc<Board>, path: &Path) {
    let (board, path, target) = (board.clone(), path.to_owned(), path.display().to_string());
    let saved = spawn_blocking(move || board.snapshot().map_or(Ok(()), |bytes| write(&path, &bytes))).await;
    if let Err(error) = saved.map_err(io::Error::other).flatten() {
        warn!(file = target, %error, "cannot write the snapshot of presence; it is read from RocketMQ at the next start");
    }
}

fn write(path: &PathBuf, bytes: &[u8]) -> io::Result<()> {
    let fresh = path.with_extension("new");
    let mut file = File::create(&fresh)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&fresh, path)
}
