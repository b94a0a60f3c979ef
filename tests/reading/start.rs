//! Where a group starts, what it commits, and what a message becomes.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use rocketbridge::{mapping::Start, message::Qos, rocketmq::source};
use serde_json::json;

use super::{PATIENCE, Reader, Seen, distinct, from, one_broker, read};
use crate::servers::{
    count::body,
    eventually,
    judge::{Load, Send},
    rocketmq::RocketMq,
};

async fn numbered(rocketmq: &RocketMq, topic: &str, numbers: std::ops::Range<u64>) {
    for number in numbers {
        let body = body(0, number, 32);
        rocketmq.send(&Send { topic, body: &body, queue: Some(0), ..Send::default() }).await;
    }
}

async fn all_committed(rocketmq: &RocketMq, group: &str, topic: &str) {
    eventually("all is committed", PATIENCE, || async { (rocketmq.behind(group, topic).await == Ok(0)).then_some(()) })
        .await;
}

fn first_number(seen: &Mutex<Seen>) -> u64 {
    (0..).find(|number| seen.lock().unwrap().tally.has(0, *number)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs servers: scripts/test runs it"]
async fn a_group_starts_where_it_is_told_and_goes_on_where_it_was() {
    let rocketmq = RocketMq::shared().await;
    rocketmq.create_topic("starts", 2).await;
    numbered(rocketmq, "starts", 0..5).await;

    let seen = Arc::<Mutex<Seen>>::default();
    let last = read(from(rocketmq, "starts", "GID_starts_last", Start::Last), "last", &seen, false);
    last.up().await;
    numbered(rocketmq, "starts", 5..8).await;
    distinct(&seen, 3).await;
    assert_eq!(first_number(&seen), 5);
    assert!(last.stop().await < Duration::from_millis(900), "an idle stop is quick");

    numbered(rocketmq, "starts", 8..10).await;
    let again = read(from(rocketmq, "starts", "GID_starts_last", Start::First), "last", &seen, false);
    distinct(&seen, 5).await;
    all_committed(rocketmq, "GID_starts_last", "starts").await;
    assert_eq!(seen.lock().unwrap().tally.arrivals, 5, "a clean stop leaves nothing to come twice");

    // Queues that are added later are read from their first message, whatever `from.start` says.
    rocketmq.create_topic("starts", 4).await;
    let late = json!({ "topic": "starts", "body": BASE64.encode(body(1, 0, 32)), "properties": {}, "queue": 3 });
    // The producer hears of new queues at its next look at the route.
    eventually("the new queue takes a message", PATIENCE, || async { rocketmq.ask("send", late.clone()).await.ok() })
        .await;
    again.kill();
    let third = read(from(rocketmq, "starts", "GID_starts_last", Start::Last), "last", &seen, false);
    distinct(&seen, 6).await;
    third.stop().await;

    let all = Arc::<Mutex<Seen>>::default();
    let first = read(from(rocketmq, "starts", "GID_starts_first", Start::First), "first", &all, false);
    distinct(&all, 11).await;
    first.stop().await;

    let cluster = from(rocketmq, "starts", "GID_starts_first", Start::First).cluster;
    source::retire(cluster, "GID_starts_first").await.unwrap();
    let anew = Arc::<Mutex<Seen>>::default();
    let reborn = read(from(rocketmq, "starts", "GID_starts_first", Start::First), "first", &anew, false);
    distinct(&anew, 11).await;
    reborn.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs servers: scripts/test runs it"]
async fn a_missing_topic_and_a_missing_name_server_are_waited_for() {
    let mut rocketmq = one_broker().await;
    let seen = Arc::<Mutex<Seen>>::default();
    let reader = read(from(&rocketmq, "later", "GID_later", Start::Last), "later", &seen, false);
    let says = |reader: &Reader| reader.telemetry.source.reason().unwrap_or_default();
    eventually("the missing topic shows", PATIENCE, || async { says(&reader).contains("no such topic").then_some(()) })
        .await;
    rocketmq.create_topic("later", 1).await;
    numbered(&rocketmq, "later", 0..3).await;
    distinct(&seen, 3).await;
    reader.stop().await;

    rocketmq.name_servers[0].kill();
    let reader = read(from(&rocketmq, "later", "GID_later", Start::Last), "later", &seen, false);
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(reader.telemetry.source.reason().is_some());
    rocketmq.name_servers[0].restart().await;
    rocketmq.ready().await;
    let began = std::time::Instant::now();
    reader.up().await;
    assert!(began.elapsed() < Duration::from_secs(5), "reads again after {:?}", began.elapsed());
    numbered(&rocketmq, "later", 3..4).await;
    distinct(&seen, 4).await;
    reader.stop().await;
}

/// As when a whole machine starts: the name server is there first, and knows no broker and no topic.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs servers: scripts/test runs it"]
async fn old_messages_are_no_new_ones_when_the_cluster_starts_with_the_reader() {
    let mut rocketmq = one_broker().await;
    rocketmq.create_topic("boot", 2).await;
    numbered(&rocketmq, "boot", 0..5).await;
    rocketmq.brokers[0].terminate();
    rocketmq.name_servers[0].kill();
    rocketmq.name_servers[0].restart().await;
    let seen = Arc::<Mutex<Seen>>::default();
    let reader = read(from(&rocketmq, "boot", "GID_boot", Start::Last), "boot", &seen, false);
    eventually("the reader has asked", PATIENCE, || async {
        reader.telemetry.source.reason().unwrap_or_default().contains("know no broker").then_some(())
    })
    .await;
    rocketmq.brokers[0].restart().await;
    rocketmq.ready().await;
    reader.up().await;
    numbered(&rocketmq, "boot", 5..8).await;
    distinct(&seen, 3).await;
    assert_eq!(first_number(&seen), 5);
    reader.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs servers: scripts/test runs it"]
async fn messages_of_a_java_producer_come_as_they_were() {
    let rocketmq = RocketMq::shared().await;
    rocketmq.create_topic("as-it-was", 1).await;
    let seen = Arc::<Mutex<Seen>>::default();
    let mut from = from(rocketmq, "as-it-was", "GID_as_it_was", Start::First);
    // The two strings have the same Java hash, by which brokers filter.
    from.tags = vec!["Aa".into(), "urgent".into()];
    let large: Vec<u8> = b"over four kilobytes, so the Java client compresses it. ".repeat(400);
    let properties = [("mqttSecondTopic", "line/7"), ("qoslevel", "2"), ("clientId", "GID_a@@@1"), ("color", "red")];
    for (tag, body) in
        [("BB", b"not for us".to_vec()), ("Aa", large.clone()), ("other", vec![1]), ("urgent", vec![0, 255])]
    {
        let send = Send {
            topic: "as-it-was",
            body: &body,
            tag: Some(tag),
            keys: Some("k1 k2"),
            properties: &properties,
            queue: Some(0),
        };
        rocketmq.send(&send).await;
    }
    let reader = read(from, "as-it-was", &seen, true);
    eventually("both came", PATIENCE, || async { (seen.lock().unwrap().deliveries.len() == 2).then_some(()) }).await;
    reader.stop().await;
    let seen = seen.lock().unwrap();
    let message = &seen.deliveries[0].message;
    assert_eq!((message.topic.as_str(), message.qos), ("as-it-was/line/7", Qos::ExactlyOnce));
    assert_eq!((message.tag.as_deref(), message.keys.as_deref()), (Some("Aa"), Some("k1 k2")));
    assert_eq!(message.client_id.as_deref(), Some("GID_a@@@1"));
    assert_eq!(message.user_properties, [("color".to_owned(), "red".to_owned())]);
    assert_eq!(message.payload, large);
    assert_eq!(&seen.deliveries[1].message.payload[..], [0, 255]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs servers: scripts/test runs it"]
async fn a_backlog_drains_quickly_and_is_committed() {
    let rocketmq = RocketMq::shared().await;
    rocketmq.create_topic("many", 8).await;
    let count = 50_000;
    let load = Load {
        topic: "many".into(),
        count,
        keys: 100,
        size: 256,
        batch: 100,
        rate: 0,
        tag: None,
        second: Some("/{key}".into()),
    };
    rocketmq.produce(&load).finished().await;
    let seen = Arc::<Mutex<Seen>>::default();
    let (began, used) = (std::time::Instant::now(), ticks());
    let reader = read(from(rocketmq, "many", "GID_many", Start::First), "many", &seen, false);
    distinct(&seen, count).await;
    eprintln!("{count} messages drained in {:?}, {} ticks of CPU (10 ms)", began.elapsed(), ticks() - used);
    reader.stop().await;
    assert_eq!(rocketmq.behind("GID_many", "many").await, Ok(0), "a stop commits");
    seen.lock().unwrap().tally.report(count, 100).must_be_whole("a backlog");
}

/// CPU time of this process, in units of 10 ms.
fn ticks() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields = stat.rsplit(')').next().unwrap().split_whitespace();
    fields.skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum()
}
