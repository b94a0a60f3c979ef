//! Small and quick to recover: starting, idling, standing still, going on, stopping, and building.

use std::{
    fmt,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

use crate::{
    latency::{Producer, Publisher},
    mqtt::{self, Subscriber},
    process::{Subject, children_cpu, usage},
    rocketmq::Broker,
    world::{PAYLOAD, QUEUES, Way, World, device_topic, route},
};

/// Nothing here takes longer, unless something is broken.
const LIMIT: Duration = Duration::from_secs(60);

/// From the start of the process to the first message on the far side, with one waiting and warm brokers.
pub(crate) fn start(world: &World, way: Way) -> Result<Duration> {
    let (topic, id) = (world.name("start"), world.name("bench-start-"));
    let mut broker = Broker::connect(world.rocketmq.address())?;
    broker.create_topic(&topic, QUEUES)?;
    broker.create_group(&id)?;
    let mqtt = world.mosquitto.address();
    let command = || world.rocketbridge(&world.mosquitto, "5", &[route(way, &topic, &id)]);
    let log = world.dir.join(format!("{id}.log"));
    match way {
        Way::Up => {
            mqtt::leave_session(mqtt, &id, &format!("{topic}/#"), mqtt::WINDOW)?;
            mqtt::publish_all(mqtt, "bench-load", 1, 1, |i| device_topic(&topic, i), &[b'x'; PAYLOAD])?;
            let mut command = command()?;
            let began = Instant::now();
            let mut subject = Subject::start(&mut command, &log)?;
            let took = until(&mut subject, began, || Ok(broker.stored(&topic, QUEUES)? > 0))?;
            subject.stop()?;
            mqtt::forget_session(mqtt, &id)?;
            Ok(took)
        }
        Way::Down => {
            broker.fill(&topic, QUEUES, 1, &[b'x'; PAYLOAD])?;
            let far = Subscriber::start(mqtt, "bench-far", &format!("{topic}/#"), |_| {})?;
            let mut command = command()?;
            let began = Instant::now();
            let mut subject = Subject::start(&mut command, &log)?;
            let took = until(&mut subject, began, || Ok(far.count() > 0))?;
            subject.stop()?;
            Ok(took)
        }
    }
}

fn until(subject: &mut Subject, began: Instant, mut done: impl FnMut() -> Result<bool>) -> Result<Duration> {
    while !done()? {
        subject.must_run()?;
        ensure!(began.elapsed() < LIMIT, "nothing happened within {LIMIT:?}");
        thread::sleep(Duration::from_millis(1));
    }
    Ok(began.elapsed())
}

/// One rocketbridge with a route each way.
struct Pair {
    up: String,
    down: String,
    session: String,
    subject: Subject,
    far: Subscriber,
    broker: Broker,
}

impl Pair {
    fn start(world: &World) -> Result<Self> {
        let (up, down) = (world.name("both-up"), world.name("both-down"));
        let (session, group) = (world.name("bench-both-"), world.name("bench-both-"));
        let mut broker = Broker::connect(world.rocketmq.address())?;
        broker.create_topic(&up, QUEUES)?;
        broker.create_topic(&down, QUEUES)?;
        broker.create_group(&group)?;
        let mqtt = world.mosquitto.address();
        mqtt::leave_session(mqtt, &session, &format!("{up}/#"), mqtt::WINDOW)?;
        let far = Subscriber::start(mqtt, "bench-far", &format!("{down}/#"), |_| {})?;
        let routes = [route(Way::Up, &up, &session), route(Way::Down, &down, &group)];
        let mut command = world.rocketbridge(&world.mosquitto, "5", &routes)?;
        let subject = Subject::start(&mut command, &world.dir.join(format!("{session}.log")))?;
        let mut pair = Self { up, down, session, subject, far, broker };
        pair.probe(world)?;
        Ok(pair)
    }

    /// One message each way, so that both routes are known to work.
    fn probe(&mut self, world: &World) -> Result<()> {
        let before = (self.broker.stored(&self.up, QUEUES)?, self.far.count());
        let body = [b'x'; PAYLOAD];
        mqtt::publish_all(world.mosquitto.address(), "bench-load", 1, 1, |i| device_topic(&self.up, i), &body)?;
        self.broker.fill(&self.down, QUEUES, 1, &body)?;
        let Self { up, subject, far, broker, .. } = self;
        until(subject, Instant::now(), || Ok(broker.stored(up, QUEUES)? > before.0 && far.count() > before.1))?;
        Ok(())
    }

    fn stop(mut self, world: &World) -> Result<Duration> {
        let took = self.subject.stop()?;
        mqtt::forget_session(world.mosquitto.address(), &self.session)?;
        Ok(took)
    }
}

/// What it costs while nothing happens.
pub(crate) struct Idle {
    /// Memory at the end, in MB.
    pub(crate) resident: f64,
    /// Per cent of one core.
    pub(crate) cpu: f64,
    /// From SIGTERM to the end of the process.
    pub(crate) stop: Duration,
}

/// Idles with a route each way, then stops with nothing in flight.
pub(crate) fn idle(world: &World, time: Duration) -> Result<Idle> {
    let pair = Pair::start(world)?;
    thread::sleep(Duration::from_secs(5));
    let before = usage(pair.subject.pid())?;
    thread::sleep(time);
    let after = usage(pair.subject.pid())?;
    let cpu = after.cpu.saturating_sub(before.cpu).as_secs_f64() / time.as_secs_f64() * 100.0;
    Ok(Idle { resident: after.resident_mb(), cpu, stop: pair.stop(world)? })
}

/// Memory while a far broker is away under load, in MB.
pub(crate) struct Stall {
    /// Under load, before the broker was killed.
    pub(crate) before: f64,
    /// Five seconds after it was killed.
    pub(crate) early: f64,
    /// The most in all of the outage.
    pub(crate) most: f64,
}

impl Stall {
    /// Watches a process from just after the kill for `time`.
    fn watch(pid: u32, before: f64, time: Duration) -> Result<Self> {
        let began = Instant::now();
        let (mut early, mut most) = (before, before);
        while began.elapsed() < time {
            thread::sleep(Duration::from_millis(100));
            let now = usage(pid)?.resident_mb();
            most = most.max(now);
            if began.elapsed() < Duration::from_secs(5) {
                early = early.max(now);
            }
        }
        Ok(Self { before, early, most })
    }
}

impl fmt::Display for Stall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { before, early, most } = self;
        write!(f, "{before:.1} MB before, {early:.1} in the first 5 s without the broker, {most:.1} at most")
    }
}

/// What an outage of the RocketMQ broker does to it.
pub(crate) struct Outage {
    pub(crate) stall: Stall,
    /// From the broker's return to the first message stored.
    pub(crate) sends: Duration,
    /// From the broker's return, when a message was sent, to its arrival over MQTT.
    pub(crate) reads: Duration,
    /// Messages published, all of which were stored in the end.
    pub(crate) messages: u64,
}

impl fmt::Display for Outage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { stall, sends, reads, messages } = self;
        write!(f, "{messages} messages, sends go on after {sends:.0?}, reads after {reads:.0?}; {stall}")
    }
}

/// What an outage of Mosquitto does to it while RocketMQ is read.
pub(crate) struct FarOutage {
    pub(crate) stall: Stall,
    /// From Mosquitto's return to the first message that arrives over it.
    pub(crate) publishes: Duration,
    /// Messages sent.
    pub(crate) messages: u64,
}

impl fmt::Display for FarOutage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { stall, publishes, messages } = self;
        write!(f, "{messages} messages, publishes go on after {publishes:.0?}; {stall}")
    }
}

/// Messages per second while a broker is away.
const LOAD: u32 = 5000;

/// Kills the RocketMQ broker under load, lets the load go on, and brings the broker back.
pub(crate) fn outage(world: &mut World, time: Duration) -> Result<Outage> {
    let mut pair = Pair::start(world)?;
    let stored = pair.broker.stored(&pair.up, QUEUES)?;
    let publisher = Pressure::publish(world, &pair.up)?;
    thread::sleep(Duration::from_secs(5));
    let before = usage(pair.subject.pid())?.resident_mb();
    world.rocketmq.kill();
    let stall = Stall::watch(pair.subject.pid(), before, time)?;
    world.rocketmq.restart()?;
    let (mut broker, first) = returned(world, &pair.up)?;
    let back = Instant::now();
    Producer::connect(world.rocketmq.address(), &pair.down)?.post(0, &[b'x'; PAYLOAD])?;
    let (count, mut sends, mut reads) = (pair.far.count(), None, None);
    while sends.is_none() || reads.is_none() {
        if sends.is_none() && broker.stored(&pair.up, QUEUES)? > first {
            sends = Some(back.elapsed());
        }
        if reads.is_none() && pair.far.count() > count {
            reads = Some(back.elapsed());
        }
        pair.subject.must_run()?;
        ensure!(back.elapsed() < LIMIT, "not resumed after {LIMIT:?}: sends {sends:?}, reads {reads:?}");
        thread::sleep(Duration::from_millis(2));
    }
    let messages = publisher.stop()?;
    until(&mut pair.subject, Instant::now(), || Ok(broker.stored(&pair.up, QUEUES)? >= stored + messages))?;
    pair.stop(world)?;
    Ok(Outage { stall, sends: sends.context("no sends")?, reads: reads.context("no reads")?, messages })
}

/// Kills Mosquitto while a loaded topic is read, lets the load go on, and brings Mosquitto back.
pub(crate) fn far_outage(world: &mut World, time: Duration) -> Result<FarOutage> {
    let mut pair = Pair::start(world)?;
    let producer = Pressure::produce(world, &pair.down)?;
    thread::sleep(Duration::from_secs(5));
    let before = usage(pair.subject.pid())?.resident_mb();
    world.mosquitto.kill();
    let stall = Stall::watch(pair.subject.pid(), before, time)?;
    world.mosquitto.restart()?;
    let back = Instant::now();
    pair.far = Subscriber::start(world.mosquitto.address(), "bench-far", &format!("{}/#", pair.down), |_| {})?;
    until(&mut pair.subject, back, || Ok(pair.far.count() > 0))?;
    let publishes = back.elapsed();
    let messages = producer.stop()?;
    pair.stop(world)?;
    Ok(FarOutage { stall, publishes, messages })
}

/// Waits until the broker answers, and says what it holds by then.
fn returned(world: &World, topic: &str) -> Result<(Broker, u64)> {
    let began = Instant::now();
    loop {
        let answer = Broker::connect(world.rocketmq.address()).and_then(|mut b| {
            let stored = b.stored(topic, QUEUES)?;
            Ok((b, stored))
        });
        match answer {
            Ok(answer) => return Ok(answer),
            Err(e) => ensure!(began.elapsed() < LIMIT, "the broker does not return: {e:#}"),
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// A steady load from a thread of its own.
struct Pressure {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<u64>>,
}

impl Pressure {
    /// Devices that publish.
    fn publish(world: &World, topic: &str) -> Result<Self> {
        let (mut near, topic) = (Publisher::connect(world.mosquitto.address())?, topic.to_owned());
        Ok(Self::start(1, move |number| match number {
            Some(number) => near.publish(&device_topic(&topic, number), &[b'x'; PAYLOAD]).map(|()| 0),
            None => near.finish(),
        }))
    }

    /// A back end that sends in batches: alone, each would cost the broker half a millisecond.
    fn produce(world: &World, topic: &str) -> Result<Self> {
        const BATCH: u32 = 100;
        let (mut near, topic, mut sent) = (Broker::connect(world.rocketmq.address())?, topic.to_owned(), 0);
        Ok(Self::start(BATCH, move |number| {
            if number.is_some() {
                near.fill(&topic, QUEUES, BATCH.into(), &[b'x'; PAYLOAD])?;
                sent += u64::from(BATCH);
            }
            Ok(sent)
        }))
    }

    /// Has `messages` at a time sent, again and again; `None` is for the last time, and how many it were is asked.
    fn start(messages: u32, mut send: impl FnMut(Option<u64>) -> Result<u64> + Send + 'static) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = thread::spawn(move || {
            let began = Instant::now();
            for turn in 0.. {
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                let due = began + Duration::from_secs(1) * messages / LOAD * turn;
                thread::sleep(due.saturating_duration_since(Instant::now()));
                send(Some(turn.into()))?;
            }
            send(None)
        });
        Self { stop, thread }
    }

    fn stop(self) -> Result<u64> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow::anyhow!("the load panicked"))?
    }
}

/// CPU of a clean release build.
pub(crate) fn build(world: &World) -> Result<Duration> {
    let before = children_cpu()?;
    let target = world.dir.join("clean-build");
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--release", "--bin", "rocketbridge", "--target-dir"]).arg(target);
    let status = cargo.stdin(Stdio::null()).status().context("starting cargo")?;
    ensure!(status.success(), "the build failed");
    Ok(children_cpu()?.saturating_sub(before))
}
