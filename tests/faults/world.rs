//! Both brokers, a bridge with a route for each combination of ends, and a load on each route.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use rumqttc_v5::{Packet, PubAckReason, mqttbytes::QoS};

use super::{form, seconds};
use crate::servers::{
    bridge::{Bridge, settings_at},
    count::{PROBE, Report, Tally},
    eventually,
    judge::{Load, Producing},
    mosquitto::{Mosquitto, Options as MosquittoOptions},
    mqtt::{Client, Login, PublishLoad, Publisher, Subscriber},
    proxy::Proxy,
    rocketmq::{Options as RocketMqOptions, RocketMq},
};

const KEYS: u64 = 100;
/// Bytes of a message.
const SIZE: usize = 64;
/// How long nothing may arrive before what is missing counts as lost.
const PATIENCE: Duration = Duration::from_secs(90);

const ROUTES: &str = r#"
[[route]]
name = "up"
from.mqtt = "up/#"
to.rocketmq = "up"

[[route]]
name = "down"
from.rocketmq = "down"
from.start = "first"
to.mqtt = "{topic}{subtopic}"

[[route]]
name = "across"
from.mqtt = "across/{id}"
to.mqtt = "copy/{id}"

[[route]]
name = "through"
from.rocketmq = "through"
from.start = "first"
to.rocketmq = "through_out"
"#;

/// Everything of one run.
pub(super) struct World {
    pub(super) mosquitto: Mosquitto,
    pub(super) rocketmq: RocketMq,
    /// Between the bridge and Mosquitto; the loads go straight.
    pub(super) proxy: Proxy,
    pub(super) bridge: Bridge,
    up: Publisher,
    down: Producing,
    across: Publisher,
    through: Producing,
    down_count: Subscriber,
    across_count: Subscriber,
    size: Size,
}

/// How many messages the routes carry.
#[derive(Debug, Clone, Copy)]
struct Size {
    /// MQTT to RocketMQ and back, each.
    main: u64,
    /// MQTT to MQTT and RocketMQ to RocketMQ, each.
    side: u64,
}

impl World {
    /// Starts everything; the main loads last about `lasting` seconds if nothing holds them up.
    pub(super) async fn start(options: &RocketMqOptions, lasting: u64) -> Self {
        let size = Size { main: form(6_000, 100_000), side: form(1_000, 10_000) };
        let limitless = MosquittoOptions::default();
        let (mosquitto, rocketmq) = tokio::join!(Mosquitto::start(&limitless), RocketMq::start(options));
        for topic in ["up", "down", "through", "through_out"] {
            rocketmq.create_topic(topic, 4).await;
        }
        let proxy = Proxy::start(mosquitto.port).await;
        // Where one of several brokers dies, the short form does not wait for it as long as others would.
        let grace = if options.brokers > 1 { form("lane_grace = \"5s\"\n", "") } else { "" };
        let bridge = Bridge::start(&(settings_at(proxy.port, &rocketmq.servers()) + grace), ROUTES).await;
        let down_count = Subscriber::start(Login::new(mosquitto.port, "count-down"), "down/#").await;
        let across_count = Subscriber::start(Login::new(mosquitto.port, "count-across"), "copy/#").await;
        // A publish that nobody has subscribed to is lost without a fault.
        open(&mosquitto).await;

        let publish = |topic: &str, count| {
            let load = PublishLoad { topic: topic.into(), count, keys: KEYS, size: SIZE, rate: count / lasting };
            Publisher::start(Login::new(mosquitto.port, topic), load)
        };
        let produce = |topic: &str, count| {
            let (topic, second) = (topic.to_owned(), Some("/{key}".to_owned()));
            let rate = count / lasting;
            rocketmq.produce(&Load { topic, count, keys: KEYS, size: SIZE, batch: 8, rate, tag: None, second })
        };
        let (up, across) = (publish("up/{key}", size.main), publish("across/{key}", size.side));
        let (down, through) = (produce("down", size.main), produce("through", size.side));
        let world =
            Self { mosquitto, rocketmq, proxy, bridge, up, down, across, through, down_count, across_count, size };
        // Faults begin under load.
        world.carried(size.main / 20).await;
        world
    }

    /// Waits until the bridge has carried this many more messages of the main routes, or has no more to carry.
    pub(super) async fn carried(&self, more: u64) {
        let began = eventually("messages can be counted", PATIENCE, || self.main_routes()).await;
        let goal = (began + more).min(2 * self.size.main);
        eventually("the load goes on", PATIENCE, || async { (self.main_routes().await? >= goal).then_some(()) }).await;
    }

    async fn main_routes(&self) -> Option<u64> {
        Some(self.rocketmq.stored("up").await? + self.down_count.tally().distinct())
    }

    /// Waits until all that devices publish has found its way to the other side.
    pub(super) async fn devices_done(&self) {
        self.up.finished().await;
        self.across.finished().await;
        let waiting = [r#"route="up""#];
        let published = f64::from(u32::try_from(self.size.main).expect("loads are small"));
        eventually("the bridge has stored what devices published", PATIENCE, || async {
            let stored = self.bridge.metric("rocketbridge_stored_total", &waiting).await?;
            let in_flight = self.bridge.metric("rocketbridge_in_flight", &waiting).await?;
            (stored >= published && in_flight <= 0.0).then_some(())
        })
        .await;
    }

    /// Devices publish nothing new, and have what they published acknowledged.
    pub(super) async fn pause_devices(&self) {
        tokio::join!(self.up.pause(), self.across.pause());
    }

    pub(super) fn resume_devices(&self) {
        self.up.resume();
        self.across.resume();
    }

    /// With the devices paused: waits until all that Mosquitto holds for the bridge has left it.
    pub(super) async fn drained(&self) {
        let (up, across) = (self.up.acknowledged(), self.across.acknowledged());
        topic_count(&self.rocketmq, "up", up).await;
        eventually("across has drained", PATIENCE, || async {
            (self.across_count.tally().distinct() >= across).then_some(())
        })
        .await;
    }

    /// With the bridge stalled: waits until Mosquitto has handed on all that it took.
    pub(super) async fn quiet(&self) {
        let arrivals = || self.down_count.tally().arrivals + self.across_count.tally().arrivals;
        let mut before = u64::MAX;
        while arrivals() != before {
            before = arrivals();
            // Long enough for a Mosquitto on a busy machine to read what has reached its sockets.
            seconds(2.0).await;
        }
    }

    /// Waits until both counting subscribers have connected again.
    pub(super) async fn subscribers_return(&self, before: (u64, u64)) {
        tokio::join!(self.down_count.subscribed(before.0 + 1), self.across_count.subscribed(before.1 + 1));
    }

    /// How often the counting subscribers have connected.
    pub(super) fn subscriptions(&self) -> (u64, u64) {
        (self.down_count.subscriptions(), self.across_count.subscriptions())
    }

    /// Waits until publishes find the bridge subscribed.
    pub(super) async fn open(&self) {
        open(&self.mosquitto).await;
    }

    /// Waits for the last message of each route and gives the verdict. Where `keys_moved` to other queues, the order
    /// of a key is that of each queue it went through.
    pub(super) async fn verdict(self, run: &str, keys_moved: bool) {
        let Self { rocketmq, up, down, across, through, down_count, across_count, size, .. } = &self;
        assert_eq!((up.unrouted(), across.unrouted()), (0, 0), "{run}: published before anyone subscribed");
        up.finished().await;
        across.finished().await;
        down.finished().await;
        through.finished().await;

        let up = topic_count(rocketmq, "up", size.main).await;
        subscriber_count(down_count, size.main).await;
        subscriber_count(across_count, size.side).await;
        let through = topic_count(rocketmq, "through_out", size.side).await;

        let reports = [
            ("MQTT to RocketMQ", up.report(size.main, keys_moved)),
            ("RocketMQ to MQTT", down_count.tally().report(size.main, KEYS)),
            ("MQTT to MQTT", across_count.tally().report(size.side, KEYS)),
            ("RocketMQ to RocketMQ", through.report(size.side, keys_moved)),
        ];
        for (route, report) in &reports {
            report.tell(&format!("{run}, {route}"));
        }
        for (route, report) in &reports {
            report.must_be_whole(&format!("{run}, {route}"));
        }
    }
}

/// What a topic holds.
#[derive(Debug, Default)]
struct TopicCount {
    all: Tally,
    queues: BTreeMap<String, Tally>,
}

impl TopicCount {
    /// Where `keys_moved`, the order of a key is that of each queue it went through.
    fn report(&self, sent: u64, keys_moved: bool) -> Report {
        let mut report = self.all.report(sent, KEYS);
        if keys_moved {
            report.out_of_order = self.queues.values().map(|queue| queue.report(0, KEYS).out_of_order).sum();
        }
        report
    }
}

/// Reads a topic from its beginning until it holds this many different messages, or nothing new comes.
async fn topic_count(rocketmq: &RocketMq, topic: &str, distinct: u64) -> TopicCount {
    let mut reader = rocketmq.reader(topic);
    let mut count = TopicCount::default();
    let mut last = Instant::now();
    while count.all.distinct() < distinct && last.elapsed() < PATIENCE {
        let new = reader.poll().await;
        for message in &new {
            count.all.arrived(&message.body);
            count.queues.entry(message.queue.clone()).or_default().arrived(&message.body);
        }
        if new.is_empty() {
            seconds(0.1).await;
        } else {
            last = Instant::now();
        }
    }
    count
}

/// Waits until a subscriber has this many different messages, or nothing new comes.
async fn subscriber_count(subscriber: &Subscriber, distinct: u64) {
    let mut last = (0, Instant::now());
    while subscriber.tally().distinct() < distinct && last.1.elapsed() < PATIENCE {
        let arrivals = subscriber.tally().arrivals;
        if arrivals != last.0 {
            last = (arrivals, Instant::now());
        }
        seconds(0.1).await;
    }
}

/// Publishes probes until the broker says that somebody has subscribed.
async fn open(mosquitto: &Mosquitto) {
    let mut prober = Client::connect(&Login::new(mosquitto.port, "prober")).await;
    for topic in ["up/probe", "across/probe"] {
        let began = Instant::now();
        loop {
            match prober.publish(topic, QoS::AtLeastOnce, PROBE).await {
                Some(Packet::PubAck(answer)) if answer.reason == PubAckReason::Success => break,
                _ => assert!(began.elapsed() < PATIENCE, "nobody subscribes to {topic}"),
            }
            seconds(0.05).await;
        }
    }
}
