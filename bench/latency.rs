//! How long a message takes at 1,000 a second: over each broker alone, and from end to end.

use std::{
    fmt,
    net::SocketAddr,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};

use crate::{
    mqtt::{self, Client, Packet, Subscriber},
    process::Subject,
    rocketmq::{Broker, Consumer},
    world::{Kind, PAYLOAD, QUEUES, Way, World, device_topic},
};

const RATE: u32 = 1000;
/// Sent before anything is recorded, so that both brokers and the carrier run warm.
const WARM_UP: Duration = Duration::from_secs(3);
/// A message that takes longer is lost, as far as this measures. The Java client may deal out queues after 20 s only.
const LATE: Duration = Duration::from_secs(60);

/// What a person feels, in milliseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Latency {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
}

impl fmt::Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p50 {:.2} ms, p99 {:.2} ms", self.p50, self.p99)
    }
}

/// Publisher to subscriber, over Mosquitto alone.
pub(crate) fn mqtt_leg(world: &World, time: Duration) -> Result<Latency> {
    let (address, topic) = (world.mosquitto.address(), world.name("leg"));
    let clock = Clock::default();
    let _far = clock.subscriber(address, &topic)?;
    let mut near = Publisher::connect(address)?;
    clock.measure(time, |i, body| near.publish(&device_topic(&topic, i), body))
}

/// Producer to long-polling consumer, over RocketMQ alone.
pub(crate) fn rocketmq_leg(world: &World, time: Duration) -> Result<Latency> {
    let (address, topic) = (world.rocketmq.address(), world.name("leg"));
    Broker::connect(address)?.create_topic(&topic, QUEUES)?;
    let clock = Clock::default();
    let far = clock.consumer(address, &topic)?;
    let mut near = Producer::connect(address, &topic)?;
    let latency = clock.measure(time, |i, body| near.post(i, body))?;
    ensure!(far.is_alive(), "the consumer failed");
    Ok(latency)
}

/// From end to end, over a carrier.
pub(crate) fn end_to_end(world: &World, kind: Kind, way: Way, time: Duration) -> Result<Latency> {
    let (topic, id) = (world.name("latency"), world.name("bench-latency-"));
    let mut broker = Broker::connect(world.rocketmq.address())?;
    broker.create_topic(&topic, QUEUES)?;
    broker.create_group(&id)?;
    let mqtt = world.mosquitto.address();
    let clock = Clock::default();
    let start = || world.carry(kind, way, &topic, &id, 0);
    let mut subject: Subject;
    let latency = match way {
        Way::Up => {
            mqtt::leave_session(mqtt, &id, &format!("{topic}/#"), mqtt::WINDOW)?;
            let _far = clock.consumer(world.rocketmq.address(), &topic)?;
            subject = start()?;
            let mut near = Publisher::connect(mqtt)?;
            clock.measure(time, |i, body| near.publish(&device_topic(&topic, i), body))?
        }
        Way::Down => {
            let _far = clock.subscriber(mqtt, &topic)?;
            subject = start()?;
            let mut near = Producer::connect(world.rocketmq.address(), &topic)?;
            clock.measure(time, |i, body| near.post(i, body))?
        }
    };
    subject.must_run()?;
    subject.stop()?;
    if way == Way::Up {
        mqtt::forget_session(mqtt, &id)?;
    }
    Ok(latency)
}

/// Stamps what is sent and collects what arrives.
#[derive(Clone, Default)]
struct Clock {
    seen: Arc<Mutex<Vec<Duration>>>,
    arrived: Arc<AtomicU64>,
}

fn now() -> Duration {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed()
}

impl Clock {
    fn arrive(&self, body: &[u8]) {
        self.arrived.fetch_add(1, Ordering::Relaxed);
        let Some(stamp) = body.first_chunk::<8>() else { return };
        let sent = Duration::from_nanos(u64::from_be_bytes(*stamp));
        // What was sent before recording began is marked by a zero.
        if !sent.is_zero() {
            self.seen.lock().unwrap_or_else(PoisonError::into_inner).push(now().saturating_sub(sent));
        }
    }

    fn subscriber(&self, address: SocketAddr, topic: &str) -> Result<Subscriber> {
        let clock = self.clone();
        Subscriber::start(address, "bench-far", &format!("{topic}/#"), move |body| clock.arrive(body))
    }

    fn consumer(&self, address: SocketAddr, topic: &str) -> Result<Consumer> {
        let clock = self.clone();
        Consumer::start(address, "bench-far", topic, QUEUES, move |body| clock.arrive(body))
    }

    /// Sends for `time` at the set rate, after a warm-up, and waits for the last to arrive.
    fn measure(&self, time: Duration, mut send: impl FnMut(u64, &[u8]) -> Result<()>) -> Result<Latency> {
        let mut body = [b'x'; PAYLOAD];
        let stamp = |body: &mut [u8; PAYLOAD], at: Duration| {
            let nanos = u64::try_from(at.as_nanos()).unwrap_or(u64::MAX);
            body[..8].copy_from_slice(&nanos.to_be_bytes());
        };
        stamp(&mut body, Duration::ZERO);
        // The first message wakes everybody up; the rest waits until it has gone all the way.
        send(0, &body)?;
        let began = Instant::now();
        while self.arrived.load(Ordering::Relaxed) == 0 {
            ensure!(began.elapsed() < LATE, "the first message did not arrive");
            thread::sleep(Duration::from_millis(1));
        }
        let (began, total, mut expected) = (Instant::now(), WARM_UP + time, 0);
        for i in 1.. {
            let due = Duration::from_secs(1) / RATE * i;
            if due > total {
                break;
            }
            thread::sleep((began + due).saturating_duration_since(Instant::now()));
            let recorded = due > WARM_UP;
            stamp(&mut body, if recorded { now() } else { Duration::ZERO });
            expected += usize::from(recorded);
            send(u64::from(i), &body)?;
        }
        self.collect(expected)
    }

    fn collect(&self, expected: usize) -> Result<Latency> {
        let began = Instant::now();
        loop {
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            if seen.len() >= expected {
                seen.sort_unstable();
                let at = |percent: usize| seen[(seen.len() - 1) * percent / 100].as_secs_f64() * 1e3;
                return Ok(Latency { p50: at(50), p99: at(99) });
            }
            ensure!(began.elapsed() < LATE, "{} of {expected} messages arrived", seen.len());
            drop(seen);
            thread::sleep(Duration::from_millis(5));
        }
    }
}

/// A paced publisher. Its PUBACKs are read by a thread of their own.
pub(crate) struct Publisher {
    client: Client,
    sent: u64,
    acknowledged: Arc<AtomicU64>,
}

impl Publisher {
    pub(crate) fn connect(address: SocketAddr) -> Result<Self> {
        let (mut reader, _) = Client::connect(address, "bench-near", true, mqtt::WINDOW)?;
        let writer = reader.writer()?;
        let acknowledged = Arc::new(AtomicU64::new(0));
        let count = acknowledged.clone();
        thread::spawn(move || {
            let mut heard = |packet: Packet<'_>, _: &mut Vec<u8>| {
                if matches!(packet, Packet::PubAck { .. }) {
                    count.fetch_add(1, Ordering::Relaxed);
                }
            };
            while reader.read(&mut heard).is_ok() {}
        });
        Ok(Self { client: writer, sent: 0, acknowledged })
    }

    pub(crate) fn publish(&mut self, topic: &str, body: &[u8]) -> Result<()> {
        self.sent += 1;
        self.client.publish(topic, body);
        self.client.flush()
    }

    /// Waits until Mosquitto has all of it, and says how much that is.
    pub(crate) fn finish(&self) -> Result<u64> {
        let began = Instant::now();
        while self.acknowledged.load(Ordering::Relaxed) < self.sent {
            ensure!(began.elapsed() < LATE, "Mosquitto does not acknowledge the load");
            thread::sleep(Duration::from_millis(5));
        }
        Ok(self.sent)
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.client.close();
    }
}

/// A paced producer of single messages. Answers are read by a thread of their own.
pub(crate) struct Producer {
    broker: Broker,
    topic: String,
}

impl Producer {
    pub(crate) fn connect(address: SocketAddr, topic: &str) -> Result<Self> {
        let broker = Broker::connect(address)?;
        let mut reader = broker.reader()?;
        thread::spawn(move || while reader.posted().is_ok() {});
        Ok(Self { broker, topic: topic.to_owned() })
    }

    pub(crate) fn post(&mut self, number: u64, body: &[u8]) -> Result<()> {
        self.broker.post(&self.topic, number % QUEUES as u64, number, body)
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        self.broker.close();
    }
}
