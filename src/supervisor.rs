//! Starts, reloads and stops routes.
//!
//! A route that breaks is started again; the others do not notice. A stop first drains every route, then, at the
//! deadline, names what it has to leave. It must never decide what becomes of a message.

mod absences;
mod events;
mod presence;
pub mod replay;
mod task;
mod thread;
pub mod tokens;
mod trouble;

use std::{collections::BTreeMap, future::Future, sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, oneshot, watch},
    task::{JoinHandle, JoinSet},
    time::{Instant, timeout, timeout_at},
};
use tracing::{info, warn};

pub use self::absences::StatusRoutes;
use crate::{
    mapping::{From, FromEvents, Route, To, Via},
    mqtt,
    presence::{arrivals::Arrivals, board::Board, webhook::Doors},
    route::{Ended, Order},
    settings::{CurrentCredentials, Settings},
    status::Status,
    telemetry::{RouteTelemetry, Telemetry},
};

/// A route that had to be left at the deadline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftBehind {
    /// The route.
    pub route: String,
    /// Messages in flight. Their source hands them on again at the next start: duplicates may follow, no loss.
    pub messages: usize,
}

/// All running routes.
#[derive(Debug)]
pub struct Supervisor {
    settings: Arc<Settings>,
    telemetry: Telemetry,
    status: Status,
    routes: BTreeMap<String, RouteTask>,
    /// Routes that were told to end, each with a deadline of its own.
    ending: JoinSet<Option<LeftBehind>>,
    /// Sees what the MQTT brokers of the routes drop.
    watches: BTreeMap<String, JoinHandle<()>>,
    /// What routes share.
    shared: Shared,
    /// Keeps the board, where somebody asks; is told which routes run.
    keeper: Option<Keeper>,
}

/// What all routes have in common with each other and with who asks.
#[derive(Debug, Clone)]
pub struct Shared {
    /// Where brokers post what happens to their clients.
    pub doors: Doors,
    /// Who may ask, and for what.
    pub credentials: CurrentCredentials,
    /// Which status routes have told what was missed before.
    pub arrivals: Arrivals,
    /// Who is online, as far as it is kept.
    pub board: Arc<Board>,
    /// Which of the routes tell of clients.
    pub statuses: StatusRoutes,
}

/// What keeps the board, and how it is told which routes run.
type Keeper = (mpsc::Sender<Vec<Arc<Route>>>, oneshot::Receiver<()>);

#[derive(Debug)]
struct RouteTask {
    route: Arc<Route>,
    telemetry: Arc<RouteTelemetry>,
    orders: watch::Sender<Order>,
    task: JoinHandle<Ended>,
}

impl Supervisor {
    /// A supervisor without routes. The board is kept up to date where somebody may ask: over HTTP, or a route.
    pub fn new(settings: Arc<Settings>, telemetry: Telemetry, status: Status, shared: Shared) -> Self {
        Self {
            settings,
            telemetry,
            status,
            routes: BTreeMap::new(),
            ending: JoinSet::new(),
            watches: BTreeMap::new(),
            shared,
            keeper: None,
        }
    }

    /// Has the board kept, once there is somebody to ask.
    fn keep_board(&mut self) {
        let asks = |task: &RouteTask| task.route.drops_offline;
        if self.keeper.is_none() && (self.settings.http.lmq.is_some() || self.routes.values().any(asks)) {
            let (routes, changes) = mpsc::channel(1);
            let (shared, settings, telemetry) = (self.shared.clone(), self.settings.clone(), self.telemetry.clone());
            // Whoever asks must not wait while thousands of notices are read.
            self.keeper =
                Some((routes, thread::start("presence", presence::keep(shared, settings, telemetry, changes))));
        }
    }

    /// Runs the routes until `shutdown`, taking new sets of routes as they come.
    pub async fn run(
        mut self,
        routes: Vec<Route>,
        mut reloads: mpsc::Receiver<Vec<Route>>,
        shutdown: impl Future<Output = ()>,
    ) -> Vec<LeftBehind> {
        tokio::pin!(shutdown);
        let mut wanted = Some(routes);
        while let Some(routes) = wanted {
            if !self.replace(routes, &mut shutdown).await {
                break;
            }
            wanted = tokio::select! {
                () = &mut shutdown => None,
                Some(routes) = reloads.recv() => Some(routes),
            };
        }
        self.watches.values().for_each(JoinHandle::abort);
        for task in std::mem::take(&mut self.routes).into_values() {
            self.end(task);
        }
        let mut left = Vec::new();
        while let Some(ended) = self.ending.join_next().await {
            left.extend(ended.ok().flatten());
        }
        if let Some((routes, keep)) = self.keeper.take() {
            drop(routes);
            if timeout(presence::LAST_SNAPSHOT, keep).await.is_err() {
                warn!("the last snapshot of presence was not written in time");
            }
        }
        left
    }

    /// Brings the running routes to a new set. Those that did not change are not touched. False when `shutdown` came
    /// before the old ones had ended: nothing new is started then, and the stop takes no longer for them.
    async fn replace(&mut self, routes: Vec<Route>, shutdown: &mut (impl Future<Output = ()> + Unpin)) -> bool {
        let mut fresh: BTreeMap<String, Route> = routes.into_iter().map(|route| (route.name.clone(), route)).collect();
        let unchanged = |task: &RouteTask| fresh.get(&task.route.name).is_some_and(|route| same(route, &task.route));
        let (kept, ended): (BTreeMap<_, _>, BTreeMap<_, _>) =
            std::mem::take(&mut self.routes).into_iter().partition(|(_, task)| unchanged(task));
        self.routes = kept;
        for task in ended.values().filter(|task| !fresh.contains_key(&task.route.name)) {
            warn!(route = %task.route.name, stays_behind = %memory(&task.route),
                "removed; `rocketbridge retire {}` with the old mapping ends what stays behind on the broker", task.route.name);
        }
        fresh.retain(|name, _| !self.routes.contains_key(name));
        for task in ended.into_values() {
            self.end(task);
        }
        loop {
            tokio::select! {
                () = &mut *shutdown => return false,
                ended = self.ending.join_next() => match ended {
                    None => break,
                    Some(Ok(Some(LeftBehind { route, messages }))) => {
                        warn!(route, messages, "ended with messages in flight: duplicates may follow");
                    }
                    Some(_) => {}
                },
            }
        }
        for route in fresh.into_values() {
            self.start(route);
        }
        self.watch_brokers();
        self.keep_board();
        if let Some((routes, _)) = &self.keeper {
            let _ended = routes.send(self.routes.values().map(|task| task.route.clone()).collect()).await;
        }
        self.shared.statuses.set(self.routes.values().map(|task| (task.route.clone(), task.telemetry.clone())));
        self.status.set(self.routes.values().map(|task| (task.route.name.clone(), task.telemetry.clone())).collect());
        true
    }

    /// Watches each MQTT broker that a route reads, and no other.
    fn watch_brokers(&mut self) {
        let mut read: BTreeMap<_, _> = self
            .routes
            .values()
            .filter_map(|task| task.route.from.session())
            .map(|session| (session.broker.name.clone(), session.broker.clone()))
            .collect();
        self.watches.retain(|name, watch| {
            let wanted = read.remove(name).is_some();
            if !wanted {
                watch.abort();
            }
            wanted
        });
        for (name, broker) in read {
            let telemetry = self.telemetry.broker(&name);
            self.watches.insert(name, tokio::spawn(mqtt::watch::run(broker, telemetry)));
        }
    }

    fn start(&mut self, route: Route) {
        info!(route = %route.name, from = %from(&route), to = %to(&route), "joins");
        let route = Arc::new(route);
        let telemetry = Arc::new(self.telemetry.route(
            &route.name,
            route.from.broker_name(),
            route.to.broker_name(),
            route.park.broker_name(),
        ));
        let (orders, told) = watch::channel(Order::Run);
        let (settings, shared) = (self.settings.clone(), self.shared.clone());
        let task = tokio::spawn(task::run(route.clone(), settings, telemetry.clone(), shared, told));
        self.routes.insert(route.name.clone(), RouteTask { route, telemetry, orders, task });
    }

    /// Has a route drain. [`Self::ending`] tells when it has ended.
    fn end(&mut self, mut task: RouteTask) {
        let (deadline, telemetry) = (self.settings.stop_deadline, self.telemetry.clone());
        self.ending.spawn(async move {
            let left = task.end(deadline).await;
            telemetry.remove(&task.telemetry);
            left.map(|messages| LeftBehind { route: task.route.name.clone(), messages })
        });
    }
}

impl RouteTask {
    /// Drains the route, and abandons what has not drained when three quarters of the time are over. Gives how many
    /// messages it left, if it did.
    async fn end(&mut self, deadline: Duration) -> Option<usize> {
        let begin = Instant::now();
        self.orders.send_replace(Order::Drain);
        let ended = match timeout_at(begin + deadline * 3 / 4, &mut self.task).await {
            Ok(ended) => ended,
            Err(_) => {
                self.orders.send_replace(Order::Abandon);
                timeout_at(begin + deadline, &mut self.task).await.unwrap_or_else(|_| {
                    self.task.abort();
                    Ok(Ended::Left(self.telemetry.in_flight()))
                })
            }
        };
        if let Ok(Ended::Left(messages)) = ended { Some(messages) } else { None }
    }
}

/// Whether two routes do the same. Where they stand in their files does not matter.
fn same(one: &Route, other: &Route) -> bool {
    let parts = |route: &Route| {
        format!(
            "{:?}",
            (&route.from, &route.to, &route.drops_offline, &route.on_refuse, &route.park, &route.translation)
        )
    };
    parts(one) == parts(other)
}

fn from(route: &Route) -> String {
    match &route.from {
        From::Mqtt(from) => format!("{} {}", from.broker.url, from.filters.join(", ")),
        From::RocketMq(from) => format!("rocketmq {} topic {}", from.cluster.name_servers.join(","), from.topic),
        From::Events(FromEvents { adapter, via: Via::Mqtt(session), .. }) => {
            format!("clients of {} ({})", session.broker.url, adapter.name())
        }
        From::Events(FromEvents { adapter, via: Via::Webhook, .. }) => {
            format!("clients, by webhook ({})", adapter.name())
        }
    }
}

fn to(route: &Route) -> String {
    match &route.to {
        To::Mqtt { broker, .. } => broker.url.to_string(),
        To::RocketMq { cluster } => format!("rocketmq {}", cluster.name_servers.join(",")),
    }
}

/// What the source's broker remembers for a route.
fn memory(route: &Route) -> String {
    match &route.from {
        From::RocketMq(from) => format!("consumer group {} on {}", from.group, from.cluster.name),
        from => from.session().map_or_else(
            || "nothing".to_owned(),
            |session| format!("MQTT session {} on {}", session.client_id, session.broker.name),
        ),
    }
}
