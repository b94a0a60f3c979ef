//! One route's tasks: its two ends, its parking, and the route between them; started again when one breaks.

use std::{path::Path, sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{sleep, timeout},
};
use tracing::{error, warn};

use super::{Shared, absences::OfBroker, events, thread::on_its_own};
use crate::{
    data_dir,
    delivery::{SinkHandle, SinkLink, SourceHandle, SourceLink, sink_link, source_link},
    mapping::{From, Park, Route, To},
    mqtt,
    parking::{self, ParkHandle, ParkTopic, ParkedFile, park_link},
    presence::ask::Absences,
    rocketmq,
    route::{self, Ended, Ends, Order},
    settings::Settings,
    telemetry::{EndState, RouteTelemetry},
};

/// How long the ends may take to commit, say goodbye and close once a route has ended.
pub(super) const CLOSE: Duration = Duration::from_secs(4);
/// How soon a broken route is started again, doubling up to the second figure.
const RESTART: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// What a route runs for.
#[derive(Clone, Copy)]
pub(super) enum Purpose<'a> {
    /// As long as the bridge does, with what it knows of the clients that it sends to.
    Work(Option<&'a dyn Absences>),
    /// To send what was parked, perhaps beside a bridge that runs the same route.
    Replay,
}

/// Runs a route until it is told to end, each time on a thread of its own.
pub(super) async fn run(
    route: Arc<Route>,
    settings: Arc<Settings>,
    telemetry: Arc<RouteTelemetry>,
    shared: Shared,
    orders: watch::Receiver<Order>,
) -> Ended {
    let name = route.name.clone();
    let told = orders.clone();
    let work = move || {
        let (route, settings, telemetry, told) = (route.clone(), settings.clone(), telemetry.clone(), told.clone());
        let shared = shared.clone();
        async move {
            let source = |link| spawn_source(route.clone(), &settings, &shared, link);
            let absences = match &route.to {
                To::Mqtt { broker, .. } => Some(OfBroker { broker, board: &shared.board, statuses: &shared.statuses }),
                To::RocketMq { .. } => None,
            };
            let absences = absences.as_ref().map(|clients| clients as &dyn Absences);
            run_once(&route, Purpose::Work(absences), &settings, &telemetry, told, source).await
        }
    };
    again_and_again(&name, orders, work).await
}

/// Does a route's work, and does it again when it breaks, until it is told to end.
async fn again_and_again<F>(
    route: &str,
    mut orders: watch::Receiver<Order>,
    work: impl Fn() -> F + Clone + Send + 'static,
) -> Ended
where
    F: Future<Output = Ended> + Send,
{
    let mut pause = RESTART.0;
    loop {
        let ended = on_its_own(route, work.clone()).await;
        let end = match ended {
            Ended::Broken(end) => end,
            Ended::Settled if *orders.borrow() == Order::Run => "source",
            Ended::Settled | Ended::Left(_) => return ended,
        };
        error!(route, end, pause_s = pause.as_secs(), "broke by a fault of this program; starts again");
        tokio::select! {
            () = sleep(pause) => {}
            _ = orders.changed() => return Ended::Left(0),
        }
        pause = (pause * 2).min(RESTART.1);
    }
}

/// Runs a route once, from whatever source it is given, and closes its ends.
pub(super) async fn run_once(
    route: &Arc<Route>,
    purpose: Purpose<'_>,
    settings: &Settings,
    telemetry: &RouteTelemetry,
    orders: watch::Receiver<Order>,
    source: impl FnOnce(SourceLink) -> JoinHandle<()>,
) -> Ended {
    let (source_link, source_handle) = source_link(telemetry.source.clone());
    let (replays, absences) = match purpose {
        Purpose::Work(absences) => (false, absences),
        Purpose::Replay => (true, None),
    };
    let (sink, sink_task) = spawn_sink(route, replays, settings, telemetry.sink.clone());
    let (park, mut tasks) = spawn_parking(route, settings, telemetry.park.clone());
    tasks.push(sink_task);
    tasks.push(source(source_link));
    let mut ends = Ends { source: source_handle, sink, park };
    let ended = route::run(route, settings.limits, telemetry, absences, &mut ends, orders).await;
    close(ends, tasks, &route.name).await;
    ended
}

/// Closes the links, which ends the tasks; one that hangs is ended for it.
async fn close(ends: Ends, tasks: Vec<JoinHandle<()>>, route: &str) {
    let Ends { source: SourceHandle { deliveries, settled }, sink: SinkHandle { outgoing, settled: outcomes }, park } =
        ends;
    let ParkHandle { refused, parked } = park;
    drop((deliveries, settled, outgoing, outcomes, refused, parked));
    for mut task in tasks {
        match timeout(CLOSE, &mut task).await {
            Ok(Ok(())) => {}
            Ok(Err(panic)) => error!(route, %panic, "a task panicked"),
            Err(_) => task.abort(),
        }
    }
}

fn spawn_source(route: Arc<Route>, settings: &Arc<Settings>, shared: &Shared, link: SourceLink) -> JoinHandle<()> {
    let (settings, shared) = (settings.clone(), shared.clone());
    tokio::spawn(async move {
        match &route.from {
            From::Mqtt(from) => {
                mqtt::source::run(from.clone(), &route.name, settings.limits, &settings.data_dir, link).await;
            }
            From::RocketMq(from) => {
                let id = format!("{}@{}", route.name, instance(&settings.data_dir));
                rocketmq::source::run(from.clone(), id, settings.limits, link).await;
            }
            From::Events(from) => Box::pin(events::run(from, &route.name, &settings, &shared, link)).await,
        }
    })
}

/// What tells this bridge from its replicas, also after a restart.
fn instance(data_dir: &Path) -> String {
    data_dir::instance(data_dir).unwrap_or_else(|error| {
        warn!(%error, "after a kill, queues of RocketMQ may stay locked for a minute");
        format!("{:016x}", fastrand::u64(..))
    })
}

fn spawn_sink(
    route: &Arc<Route>,
    replays: bool,
    settings: &Settings,
    state: Arc<EndState>,
) -> (SinkHandle, JoinHandle<()>) {
    let (link, handle) = sink_link(state);
    let (route, limits) = (route.clone(), settings.limits);
    let task = tokio::spawn(async move {
        match (&route.to, replays) {
            (To::Mqtt { broker, client_id }, false) => {
                mqtt::sink::run(broker.clone(), client_id, limits, link).await;
            }
            (To::Mqtt { broker, .. }, true) => {
                mqtt::sink::replay(broker.clone(), &route.name, limits, link).await;
            }
            (To::RocketMq { cluster }, _) => rocketmq::sink::run(cluster.clone(), &route.name, limits, link).await,
        }
    });
    (handle, task)
}

fn spawn_parking(route: &Route, settings: &Settings, state: Arc<EndState>) -> (ParkHandle, Vec<JoinHandle<()>>) {
    let (link, handle) = park_link(state.clone());
    let file = ParkedFile::new(&settings.data_dir, &route.name);
    let mut tasks = Vec::new();
    let topic = match &route.park {
        Park::File => None,
        Park::RocketMq { cluster, topic } => {
            let (link, sink): (SinkLink, SinkHandle) = sink_link(state);
            let (cluster, name, limits) = (cluster.clone(), format!("{}-park", route.name), settings.limits);
            tasks.push(tokio::spawn(async move { rocketmq::sink::run(cluster, &name, limits, link).await }));
            Some(ParkTopic { sink, topic: topic.clone() })
        }
    };
    tasks.insert(0, tokio::spawn(parking::run(file, topic, link)));
    (handle, tasks)
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;
    use crate::{
        delivery::{Delivery, Outcome, Settled, Ticket},
        mapping::fixtures,
        message::{Message, Topic},
        settings::Limits,
        telemetry::Telemetry,
    };

    fn delivery(ticket: Ticket, payload: &'static str) -> Delivery {
        let message = Message::new(Topic::from_mqtt("up/a"), payload);
        Delivery { ticket, message, suspected_duplicate: false, packet_id: None, unreadable: None }
    }

    /// What a route has passed to its sink.
    async fn passed(sink: &mut SinkLink) -> Vec<(Ticket, Vec<u8>)> {
        let batch = sink.outgoing.recv().await.expect("a running route");
        batch.iter().map(|outgoing| (outgoing.ticket, outgoing.message.payload.to_vec())).collect()
    }

    #[tokio::test]
    async fn a_panic_costs_duplicates_never_a_loss() {
        let (orders, told) = watch::channel(Order::Run);
        let (begins, mut runs) = mpsc::unbounded_channel();
        let for_route = told.clone();
        let work = move || {
            let (begins, told) = (begins.clone(), for_route.clone());
            async move {
                let route = fixtures::route("r", "edge:up/#", "main!up");
                let telemetry = Telemetry::default().route("r", "edge", "main", "file");
                let (source, source_handle) = source_link(telemetry.source.clone());
                let (sink, sink_handle) = sink_link(telemetry.sink.clone());
                let (parking, park) = park_link(telemetry.park.clone());
                begins.send((source, sink, parking)).expect("the test listens");
                let limits = Limits { messages: 10, bytes: usize::MAX };
                let mut ends = Ends { source: source_handle, sink: sink_handle, park };
                route::run(&route, limits, &telemetry, None, &mut ends, told).await
            }
        };
        let running = tokio::spawn(again_and_again("r", told, work));

        let (mut source, mut sink, _parking) = runs.recv().await.unwrap();
        source.deliveries.send(vec![delivery(0, "first"), delivery(1, "second")]).await.unwrap();
        assert_eq!(passed(&mut sink).await, [(0, b"first".to_vec()), (1, b"second".to_vec())]);
        sink.settled.send(vec![Settled { ticket: 0, outcome: Outcome::Stored }]).unwrap();
        assert_eq!(source.settled.recv().await.unwrap(), [0]);
        // No source does that: the route panics over it, with a message in flight.
        source.deliveries.send(vec![delivery(1, "a ticket of old")]).await.unwrap();
        assert_eq!(source.settled.recv().await, None, "what was in flight is never acknowledged");

        // So its broker hands it on again, and it goes its way as if nothing had been.
        let (mut source, mut sink, _parking) = runs.recv().await.unwrap();
        source.deliveries.send(vec![delivery(0, "second")]).await.unwrap();
        assert_eq!(passed(&mut sink).await, [(0, b"second".to_vec())]);
        sink.settled.send(vec![Settled { ticket: 0, outcome: Outcome::Stored }]).unwrap();
        assert_eq!(source.settled.recv().await.unwrap(), [0]);
        orders.send_replace(Order::Drain);
        source.deliveries.closed().await;
        drop(source);
        assert_eq!(running.await.unwrap(), Ended::Settled);
    }
}
