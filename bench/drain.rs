//! How fast each carrier moves what waits for it, and at what cost.

use std::{
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

use crate::{
    brokers::Mosquitto,
    mqtt::{self, Client, Packet, Subscriber},
    process::{Flow, Subject, usage, watch},
    rocketmq::Broker,
    world::{Kind, PAYLOAD, QUEUES, Way, World, device_topic, route},
};

/// No drain here takes longer, unless something is broken.
const LIMIT: Duration = Duration::from_secs(180);

/// Lets one carrier drain `messages`.
pub(crate) fn drain(world: &World, kind: Kind, way: Way, messages: u64) -> Result<Flow> {
    match way {
        Way::Up => up(world, kind, messages),
        Way::Down => down(world, kind, messages),
    }
}

fn up(world: &World, kind: Kind, messages: u64) -> Result<Flow> {
    let (topic, id) = (world.name("up"), world.name("bench-up-"));
    let mqtt = world.mosquitto.address();
    let mut broker = Broker::connect(world.rocketmq.address())?;
    broker.create_topic(&topic, QUEUES)?;
    mqtt::leave_session(mqtt, &id, &format!("{topic}/#"), mqtt::WINDOW)?;
    mqtt::publish_all(mqtt, "bench-load", mqtt::WINDOW, messages, |i| device_topic(&topic, i), &[b'x'; PAYLOAD])?;
    let mut subject = world.carry(kind, Way::Up, &topic, &id, messages)?;
    let flow = if kind == Kind::Bare {
        subject.wait(LIMIT)?;
        Flow::parse(&subject.said()?)?
    } else {
        watched(&mut subject, messages, || broker.stored(&topic, QUEUES))?
    };
    end(subject)?;
    mqtt::forget_session(mqtt, &id)?;
    Ok(flow)
}

fn down(world: &World, kind: Kind, messages: u64) -> Result<Flow> {
    let (topic, id) = (world.name("down"), world.name("bench-down-"));
    let mut broker = Broker::connect(world.rocketmq.address())?;
    broker.create_topic(&topic, QUEUES)?;
    if kind != Kind::Bare {
        broker.create_group(&id)?;
        broker.fill(&topic, QUEUES, messages, &[b'x'; PAYLOAD])?;
    }
    let far = Subscriber::start(world.mosquitto.address(), "bench-far", &format!("{topic}/#"), |_| {})?;
    let mut subject = world.carry(kind, Way::Down, &topic, &id, messages)?;
    let flow = watched(&mut subject, messages, || Ok(far.count()))?;
    end(subject)?;
    Ok(flow)
}

/// Mosquitto as it comes, with its window of 20, and a topic of 4 queues.
pub(crate) fn small_window(world: &World, messages: u64) -> Result<Flow> {
    const FEW: usize = 4;
    let mosquitto = Mosquitto::start(true)?;
    let (topic, id) = (world.name("up"), world.name("bench-up-"));
    let mut broker = Broker::connect(world.rocketmq.address())?;
    broker.create_topic(&topic, FEW)?;
    mqtt::leave_session(mosquitto.address(), &id, &format!("{topic}/#"), 20)?;
    // The load keeps to the same window.
    mqtt::publish_all(mosquitto.address(), "bench-load", 20, messages, |i| device_topic(&topic, i), &[b'x'; PAYLOAD])?;
    // A client of MQTT 5 says a window of its own, which Mosquitto takes; one of 3.1.1 keeps Mosquitto's.
    let mut command = world.rocketbridge(&mosquitto, "3.1.1", &[route(Way::Up, &topic, &id)])?;
    let mut subject = Subject::start(&mut command, &world.dir.join(format!("{id}.log")))?;
    let flow = watched(&mut subject, messages, || broker.stored(&topic, FEW))?;
    end(subject)?;
    Ok(flow)
}

fn watched(subject: &mut Subject, messages: u64, moved: impl FnMut() -> Result<u64>) -> Result<Flow> {
    let flow = watch(subject.pid(), messages, LIMIT, moved);
    subject.must_run()?;
    flow
}

fn end(mut subject: Subject) -> Result<()> {
    // Bare carriers end by themselves.
    if subject.must_run().is_ok() { subject.stop().map(drop) } else { Ok(()) }
}

/// The bare subscriber: takes what waits in its session and acknowledges it, nothing else.
pub(crate) fn bare_subscriber(address: SocketAddr, id: &str, messages: u64) -> Result<Flow> {
    let (mut client, present) = Client::connect(address, id, false, mqtt::WINDOW)?;
    ensure!(present, "Mosquitto has no session of {id}");
    client.patience(Duration::from_secs(20))?;
    let (me, mut count, mut start) = (std::process::id(), 0, None);
    while count < messages {
        client.read(|p, out| {
            if let Packet::Publish { id, .. } = p {
                count += 1;
                mqtt::acknowledge(out, id);
            }
        })?;
        client.flush()?;
        if start.is_none() && count >= messages / 10 {
            start = Some((Instant::now(), count, usage(me)?));
        }
    }
    let (at, from, before) = start.context("no messages")?;
    Ok(Flow::between(messages - from, at.elapsed(), before, usage(me)?))
}

/// The bare publisher: keeps its window full, nothing else. Lives on until it is stopped, to be read out.
pub(crate) fn bare_publisher(address: SocketAddr, topic: &str, id: &str, messages: u64) -> Result<()> {
    mqtt::publish_all(address, id, mqtt::WINDOW, messages, |i| format!("{topic}/d{i}/down"), &[b'x'; PAYLOAD])?;
    loop {
        thread::park();
    }
}
