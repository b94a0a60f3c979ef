//! The delivery contract, held between a source and a sink that are only channels.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::{sync::watch, task::JoinHandle};

use super::*;
use crate::{
    delivery::{SinkLink, SourceLink, sink_link, source_link},
    diagnostic::Faults,
    mapping::{MappingFile, Route, fixtures},
    message::Topic,
    parking::Refused,
    settings::{self, Environment, Secret},
    telemetry::Telemetry,
};

const SETTINGS: &str =
    "[mqtt.edge]\nurl = \"mqtt://127.0.0.1\"\n[rocketmq.main]\nname_servers = [\"127.0.0.1:9876\"]\n";

/// A route that refuses what lacks the user property `id`.
fn route(more: &str) -> Route {
    let faults = Faults::default();
    let settings = settings::load(Path::new("s.toml"), SETTINGS, &Environment::default(), &faults);
    let text = format!(
        "[[route]]\nname = \"r\"\nfrom.mqtt = \"up/#\"\nto.rocketmq = \"up\"\nto.key = \"{{property.id}}\"\n{more}\n"
    );
    let file = MappingFile { path: "m.toml".into(), text };
    let mapping = mapping::load(&[file], &settings, &Secret::new("key"), &faults);
    assert!(!faults.has_errors(), "{}", faults.into_report().render(false));
    mapping.routes.into_iter().next().expect("one route")
}

fn delivery(ticket: Ticket, has_id: bool) -> Delivery {
    let mut message = Message::new(Topic::from_mqtt("up/a"), "x");
    if has_id {
        message.user_properties.push(("id".into(), "7".into()));
    }
    Delivery { ticket, message, suspected_duplicate: false, packet_id: None, unreadable: None }
}

/// The far sides of a running route.
struct Far {
    source: SourceLink,
    sink: SinkLink,
    refused: tokio::sync::mpsc::UnboundedReceiver<Vec<Refused>>,
    parked: tokio::sync::mpsc::UnboundedSender<Vec<Ticket>>,
    orders: watch::Sender<Order>,
    route: JoinHandle<Ended>,
    telemetry: Arc<RouteTelemetry>,
}

fn run_route(route: Route, messages: usize) -> Far {
    run_route_that_knows(route, messages, Known::default())
}

fn run_route_that_knows(route: Route, messages: usize, known: Known) -> Far {
    let telemetry = Arc::new(Telemetry::default().route("r", "edge", "main", "file"));
    let (source, source_handle) = source_link(telemetry.source.clone());
    let (sink, sink_handle) = sink_link(telemetry.sink.clone());
    let (refused_tx, refused) = tokio::sync::mpsc::unbounded_channel();
    let (parked, parked_rx) = tokio::sync::mpsc::unbounded_channel();
    let park = ParkHandle { refused: refused_tx, parked: parked_rx };
    let (orders, told) = watch::channel(Order::Run);
    let limits = Limits { messages, bytes: usize::MAX };
    let shown = telemetry.clone();
    let task = tokio::spawn(async move {
        let mut ends = Ends { source: source_handle, sink: sink_handle, park };
        run(&route, limits, &shown, Some(&known), &mut ends, told).await
    });
    Far { source, sink, refused, parked, orders, route: task, telemetry }
}

impl Far {
    async fn deliver(&self, batch: Vec<Delivery>) {
        self.source.deliveries.send(batch).await.unwrap();
    }

    async fn arrives(&mut self) -> Vec<Ticket> {
        self.sink.outgoing.recv().await.unwrap().iter().map(|outgoing| outgoing.ticket).collect()
    }

    fn settle(&self, tickets: &[Ticket], outcome: &Outcome) {
        let settled = tickets.iter().map(|ticket| Settled { ticket: *ticket, outcome: outcome.clone() });
        self.sink.settled.send(settled.collect()).unwrap();
    }

    async fn acknowledged(&mut self) -> Vec<Ticket> {
        self.source.settled.recv().await.unwrap()
    }

    /// What is acknowledged once the route has had every occasion to.
    async fn acknowledged_by_now(&mut self) -> Vec<Ticket> {
        tokio::time::sleep(Duration::from_millis(30)).await;
        self.source.settled.try_recv().unwrap_or_default()
    }
}

#[tokio::test]
async fn nothing_is_acknowledged_before_the_sink_has_confirmed_it() {
    let mut far = run_route(route(""), 10);
    far.deliver(vec![delivery(0, true), delivery(1, true), delivery(2, true)]).await;
    assert_eq!(far.arrives().await, [0, 1, 2]);
    assert!(far.acknowledged_by_now().await.is_empty());
    far.settle(&[1], &Outcome::Stored);
    assert_eq!(far.acknowledged().await, [1]);
    far.settle(&[0, 2, 2], &Outcome::Stored);
    assert_eq!(far.acknowledged().await, [0, 2], "and once only");
}

#[tokio::test]
async fn a_refused_message_is_acknowledged_once_it_is_parked() {
    let mut far = run_route(route(""), 10);
    far.deliver(vec![delivery(0, false), delivery(1, true)]).await;
    assert_eq!(far.arrives().await, [1]);
    far.settle(&[1], &Outcome::Refused(Refusal::new("body_too_large", "too large")));
    let mut kinds = Vec::new();
    for _ in 0..2 {
        let refused = far.refused.recv().await.unwrap();
        kinds.extend(refused.iter().map(|(ticket, record)| (*ticket, record.kind.clone(), record.topic())));
    }
    let up = || "up/a".to_owned();
    assert_eq!(kinds, [(0, "value_missing".to_owned(), up()), (1, "body_too_large".to_owned(), up())]);
    assert!(far.acknowledged_by_now().await.is_empty());
    far.parked.send(vec![1, 0]).unwrap();
    assert_eq!(far.acknowledged().await, [1, 0]);
}

#[tokio::test]
async fn a_full_window_holds_the_source_back() {
    let mut far = run_route(route(""), 2);
    far.deliver(vec![delivery(0, true), delivery(1, true)]).await;
    far.deliver(vec![delivery(2, true)]).await;
    assert_eq!(far.arrives().await, [0, 1]);
    tokio::time::sleep(Duration::from_millis(30)).await;
    assert!(far.sink.outgoing.try_recv().is_err());
    far.settle(&[0], &Outcome::Stored);
    assert_eq!(far.arrives().await, [2]);
}

#[tokio::test]
async fn a_drain_reads_no_more_and_ends_when_all_is_settled() {
    let mut far = run_route(route(""), 10);
    far.deliver(vec![delivery(0, true)]).await;
    assert_eq!(far.arrives().await, [0]);
    far.orders.send_replace(Order::Drain);
    far.source.deliveries.closed().await;
    far.settle(&[0], &Outcome::Stored);
    assert_eq!(far.acknowledged().await, [0]);
    assert_eq!(far.route.await.unwrap(), Ended::Settled);
}

#[tokio::test]
async fn an_abandoned_route_tells_how_much_it_leaves() {
    let mut far = run_route(route(""), 10);
    far.deliver(vec![delivery(0, true), delivery(1, true)]).await;
    assert_eq!(far.arrives().await, [0, 1]);
    far.orders.send_replace(Order::Drain);
    far.orders.send_replace(Order::Abandon);
    assert_eq!(far.route.await.unwrap(), Ended::Left(2));
    assert!(far.source.settled.recv().await.is_none(), "nothing is acknowledged");
}

#[tokio::test]
async fn a_lost_sink_breaks_the_route_and_acknowledges_nothing() {
    let far = run_route(route(""), 10);
    far.deliver(vec![delivery(0, true)]).await;
    drop(far.sink);
    let Far { mut source, route, .. } = far;
    assert_eq!(route.await.unwrap(), Ended::Broken("sink"));
    assert!(source.settled.recv().await.is_none());
}

#[tokio::test]
async fn told_to_stall_it_reads_no_more_after_a_refusal() {
    let mut far = run_route(route("on_refuse = \"stall\""), 10);
    far.deliver(vec![delivery(0, false), delivery(1, true)]).await;
    assert_eq!(far.arrives().await, [1], "what was read with it goes on");
    far.settle(&[1], &Outcome::Stored);
    assert_eq!(far.acknowledged().await, [1]);
    far.deliver(vec![delivery(2, true)]).await;
    tokio::time::sleep(Duration::from_millis(30)).await;
    assert!(far.sink.outgoing.try_recv().is_err() && far.source.settled.try_recv().is_err());
}

#[tokio::test]
async fn told_to_drop_it_acknowledges_what_was_refused_or_expired() {
    let mut far = run_route(route("on_refuse = \"drop\""), 10);
    far.deliver(vec![delivery(0, false), delivery(1, true)]).await;
    assert_eq!(far.acknowledged().await, [0]);
    assert_eq!(far.arrives().await, [1]);
    far.settle(&[1], &Outcome::Expired);
    assert_eq!(far.acknowledged().await, [1]);
}

/// For as long as a stall takes to show: messages that are refused and parked at once.
async fn parks_on(far: &mut Far, first: Ticket, by_sink: bool) {
    let end = Instant::now() + STALL + 3 * TICK;
    for ticket in first.. {
        if Instant::now() >= end {
            return;
        }
        far.deliver(vec![delivery(ticket, by_sink)]).await;
        if by_sink {
            assert_eq!(far.arrives().await, [ticket]);
            far.settle(&[ticket], &Outcome::Refused(Refusal::new("body_too_large", "too large")));
        }
        let refused = far.refused.recv().await.unwrap();
        far.parked.send(refused.into_iter().map(|(ticket, _)| ticket).collect()).unwrap();
        assert_eq!(far.acknowledged().await, [ticket]);
        tokio::time::sleep(TICK / 5).await;
    }
}

#[tokio::test]
async fn a_sink_that_confirms_nothing_is_a_stall_though_messages_are_parked_meanwhile() {
    let mut far = run_route(route(""), 10);
    far.deliver(vec![delivery(0, true)]).await;
    assert_eq!(far.arrives().await, [0]);
    parks_on(&mut far, 1, false).await;
    assert_eq!(far.telemetry.stalled.get(), 1);
    far.settle(&[0], &Outcome::Stored);
    assert_eq!(far.acknowledged().await, [0]);
    tokio::time::sleep(2 * TICK).await;
    assert_eq!(far.telemetry.stalled.get(), 0);
}

#[tokio::test]
async fn parking_that_takes_nothing_is_a_stall_though_the_sink_goes_on() {
    let mut far = run_route(route(""), 10);
    far.deliver(vec![delivery(0, false)]).await;
    let end = Instant::now() + STALL + 3 * TICK;
    for ticket in 1.. {
        if Instant::now() >= end {
            break;
        }
        far.deliver(vec![delivery(ticket, true)]).await;
        assert_eq!(far.arrives().await, [ticket]);
        far.settle(&[ticket], &Outcome::Stored);
        assert_eq!(far.acknowledged().await, [ticket]);
        tokio::time::sleep(TICK / 5).await;
    }
    assert_eq!(far.telemetry.stalled.get(), 1);
    far.parked.send(vec![0]).unwrap();
    assert_eq!(far.acknowledged().await, [0]);
    tokio::time::sleep(2 * TICK).await;
    assert_eq!(far.telemetry.stalled.get(), 0);
}

#[tokio::test]
async fn a_route_all_of_whose_messages_are_refused_and_parked_is_not_stalled() {
    let mut far = run_route(route(""), 10);
    parks_on(&mut far, 0, true).await;
    assert_eq!(far.telemetry.stalled.get(), 0);
}

/// Clients whose ids end in `off` are offline, and those whose ids end in `late` until it is said that they are not.
#[derive(Clone, Default)]
struct Known {
    has_come: Arc<AtomicBool>,
}

impl Absences for Known {
    fn is_offline(&self, client_id: &str) -> bool {
        client_id.ends_with("off") || (client_id.ends_with("late") && !self.has_come.load(Ordering::Relaxed))
    }
}

/// A route from RocketMQ, and a message for it.
fn down(known: &Known) -> Far {
    let down = fixtures::route("r", "main!up", "edge:{topic}");
    run_route_that_knows(Route { drops_offline: true, ..down }, 20, known.clone())
}

fn to(ticket: Ticket, second: &str, clean_session: Option<bool>) -> Delivery {
    let mut delivery = delivery(ticket, true);
    delivery.message.topic = Topic::from_mqtt(format!("up/{second}"));
    delivery.message.clean_session = clean_session;
    delivery
}

#[tokio::test]
async fn what_is_for_a_client_that_stays_offline_is_dropped_unless_it_is_to_be_kept() {
    let mut far = down(&Known::default());
    let kept = [("p2p/G@@@on", None), ("p2p/G@@@who", None), ("p2p/G@@@off", Some(false)), ("live/p2p/G@@@off", None)];
    let dropped = [("p2p/G@@@off", None), ("p2p/G@@@off", Some(true))];
    let batch = (0..).zip(kept.iter().chain(&dropped)).map(|(ticket, (second, clean))| to(ticket, second, *clean));
    let began = Instant::now();
    far.deliver(batch.collect()).await;
    assert_eq!(far.arrives().await, [0, 1, 2, 3]);
    assert_eq!(far.acknowledged().await, [4, 5]);
    assert!(began.elapsed() >= held::WAIT, "after {:?}", began.elapsed());
    assert_eq!(far.telemetry.stalled.get(), 0);
}

#[tokio::test]
async fn what_is_for_a_client_whose_coming_is_told_late_is_sent_in_order_and_holds_up_nobody_else() {
    let known = Known::default();
    let mut far = down(&known);
    far.deliver(vec![to(0, "p2p/G@@@late", None), to(1, "p2p/G@@@late", Some(false)), to(2, "p2p/G@@@on", None)]).await;
    assert_eq!(far.arrives().await, [2]);
    assert!(far.acknowledged_by_now().await.is_empty());
    known.has_come.store(true, Ordering::Relaxed);
    far.deliver(vec![to(3, "p2p/G@@@late", None)]).await;
    let mut arrived = Vec::new();
    while arrived.len() < 3 {
        arrived.extend(far.arrives().await);
    }
    assert_eq!(arrived, [0, 1, 3]);
    far.settle(&[0, 1, 2, 3], &Outcome::Stored);
    assert_eq!(far.acknowledged().await, [0, 1, 2, 3]);
}
