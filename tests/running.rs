//! `rocketbridge run` as a person runs it: what it shows, what changes while it runs, how it starts and how it ends.

mod fields;
mod loops;
mod mqtt_3;
mod reload;
mod replicas;
mod stalls;
mod start;
mod stopping;

use std::time::Duration;

use crate::servers::{
    bridge::{Bridge, settings_at},
    count::{Report, Tally},
    eventually,
    judge::{Load, Producing},
    mosquitto::Mosquitto,
    mqtt::{Login, PublishLoad, Publisher, Subscriber},
    rocketmq::RocketMq,
};

const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes of a numbered message.
const SIZE: usize = 64;

/// The servers that these tests share: each uses topics and client ids of its own.
async fn servers() -> (&'static Mosquitto, &'static RocketMq) {
    (Mosquitto::shared().await, RocketMq::shared().await)
}

/// Settings for both, where the bridge's client ids start with `client_id`; `more` stands before them.
fn settings(more: &str, client_id: &str, mosquitto: &Mosquitto, rocketmq: &RocketMq) -> String {
    let brokers = settings_at(mosquitto.port, &rocketmq.servers());
    format!("{more}\n{}", brokers.replace("[mqtt.edge]", &format!("[mqtt.edge]\nclient_id = \"{client_id}\"")))
}

/// Has a device publish numbered messages to `topic/k0`, `topic/k1` and so on, until the broker has them all.
async fn publish(mosquitto: &Mosquitto, topic: &str, count: u64, keys: u64) {
    let load = PublishLoad { topic: format!("{topic}/{{key}}"), count, keys, size: SIZE, rate: 0 };
    let publisher = Publisher::start(Login::new(mosquitto.port, &format!("{topic}-device")), load);
    tokio::time::timeout(PATIENCE, publisher.finished()).await.expect("the broker takes what a device publishes");
    assert_eq!(publisher.unrouted(), 0, "somebody subscribes to {topic}");
}

/// Waits until a RocketMQ topic holds all numbered messages, and in order.
async fn holds(rocketmq: &RocketMq, topic: &str, count: u64, keys: u64) {
    counted(rocketmq, topic, count, keys).await.must_be_whole(topic);
}

/// What a RocketMQ topic holds of numbered messages, once that is all or nothing more is to be expected.
async fn counted(rocketmq: &RocketMq, topic: &str, count: u64, keys: u64) -> Report {
    let (mut reader, mut tally) = (rocketmq.reader(topic), Tally::default());
    let complete = async {
        while tally.distinct() < count {
            if reader.count(&mut tally).await == 0 {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    };
    let _ = tokio::time::timeout(3 * PATIENCE, complete).await;
    tally.report(count, keys)
}

/// Waits until a subscriber has all numbered messages, and in order.
async fn arrives(subscriber: &Subscriber, what: &str, count: u64, keys: u64) {
    let complete = async {
        while subscriber.tally().distinct() < count {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let _ = tokio::time::timeout(3 * PATIENCE, complete).await;
    let report = subscriber.tally().report(count, keys);
    report.tell(what);
    report.must_be_whole(what);
}

/// Begins to send numbered messages to a RocketMQ topic, with `/k0`, `/k1` and so on as subtopics.
fn produce(rocketmq: &RocketMq, topic: &str, count: u64, keys: u64, rate: u64) -> Producing {
    let (topic, second) = (topic.to_owned(), Some("/{key}".to_owned()));
    rocketmq.produce(&Load { topic, count, keys, size: SIZE, batch: 8, rate, tag: None, second })
}

/// The lines of the log that hold all of some words.
fn lines(bridge: &Bridge, words: &[&str]) -> usize {
    bridge.log().lines().filter(|line| words.iter().all(|word| line.contains(word))).count()
}

/// Waits until the log has this many lines that hold all of some words.
async fn logged(bridge: &Bridge, words: &[&str], count: usize) {
    eventually(&format!("{count} log lines with {words:?}"), PATIENCE, || async {
        (lines(bridge, words) >= count).then_some(())
    })
    .await;
}

/// Waits until `/ready` has a status and an answer that holds all of some words.
async fn ready_says(bridge: &Bridge, status: u16, words: &[&str]) {
    eventually(&format!("/ready says {status} and {words:?}"), PATIENCE, || async {
        let (told, body) = bridge.get("/ready").await.ok()?;
        (told == status && words.iter().all(|word| body.contains(word))).then_some(())
    })
    .await;
}
