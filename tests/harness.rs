//! The harness does what the tests that use it rely on.

use std::time::Duration;

use rumqttc_v5::mqttbytes::QoS;
use serde_json::json;

use crate::servers::{
    count::Tally,
    eventually,
    judge::{Judge, Load, Send},
    mosquitto::{Mosquitto, Options as MosquittoOptions},
    mqtt::{Client, Login, PublishLoad, Publisher, Subscriber},
    proxy::Proxy,
    rocketmq::{Options as RocketMqOptions, RocketMq},
};

const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs servers: scripts/test runs it"]
async fn rocketmq_holds_what_was_sent_through_the_kill_of_its_broker() {
    let mut rocketmq = RocketMq::start(&RocketMqOptions::default()).await;
    rocketmq.create_topic("orders", 4).await;
    let properties = [("mqttSecondTopic", "/a/b")];
    let body: Vec<u8> = (0..=255).collect();
    let send = Send { topic: "orders", body: &body, tag: Some("t"), properties: &properties, ..Send::default() };
    rocketmq.send(&send).await;
    let mut reader = rocketmq.reader("orders");
    let first = reader.take(1, PATIENCE).await.remove(0);
    assert_eq!((first.body, first.tag.as_deref()), (body, Some("t")));
    assert_eq!(first.properties["mqttSecondTopic"], "/a/b");

    let load = Load {
        topic: "orders".into(),
        count: 5_000,
        keys: 20,
        size: 64,
        batch: 16,
        rate: 0,
        tag: None,
        second: Some("/{key}".into()),
    };
    let producing = rocketmq.produce(&load);
    tokio::time::sleep(Duration::from_millis(300)).await;
    rocketmq.brokers[0].kill();
    rocketmq.brokers[0].restart().await;
    producing.finished().await;
    assert_eq!(producing.stored().await, 5_000);
    let mut tally = Tally::default();
    while tally.distinct() < 5_000 || reader.count(&mut tally).await > 0 {
        reader.count(&mut tally).await;
    }
    tally.report(5_000, 20).must_be_whole("a producer over a killed broker");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs servers: scripts/test runs it"]
async fn numbered_publishes_survive_cuts_restarts_and_a_snapshot() {
    let mut mosquitto = Mosquitto::start(&MosquittoOptions::default()).await;
    let proxy = Proxy::start(mosquitto.port).await;
    let subscriber = Subscriber::start(Login::new(mosquitto.port, "counter"), "up/#").await;
    let load = PublishLoad { topic: "up/{key}".into(), count: 20_000, keys: 20, size: 64, rate: 10_000 };
    let publisher = Publisher::start(Login::new(proxy.port, "device"), load);
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(200)).await;
        proxy.cut();
    }
    mosquitto.terminate();
    mosquitto.restart().await;
    publisher.pause().await;
    mosquitto.snapshot();
    mosquitto.kill();
    mosquitto.restart().await;
    publisher.resume();
    assert_eq!(publisher.unrouted(), 0);
    publisher.finished().await;
    while subscriber.tally().distinct() < 20_000 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(proxy.accepted() >= 4);
    subscriber.tally().report(20_000, 20).must_be_whole("mosquitto alone");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs servers: scripts/test runs it"]
async fn mosquitto_refuses_strangers_and_a_stalled_connection_goes_on() {
    let options = MosquittoOptions {
        users: vec![("bridge".into(), "secret".into())],
        acl: Some("user bridge\ntopic readwrite a/#\n".into()),
        tls: true,
        ..MosquittoOptions::default()
    };
    let mosquitto = Mosquitto::start(&options).await;
    let proxy = Proxy::start(mosquitto.port).await;
    let stranger = Client::connect(&Login::new(mosquitto.port, "stranger")).await;
    assert_ne!(stranger.connack.code as u8, 0);

    let user = Some(("bridge".to_owned(), "secret".to_owned()));
    let mut client = Client::connect(&Login { user, ..Login::new(proxy.port, "bridge") }).await;
    client.subscribe("a/b", QoS::ExactlyOnce).await;
    client.publish("a/b", QoS::ExactlyOnce, "one").await;
    assert_eq!(client.next().await.payload, "one");
    proxy.stall(true);
    let answer = tokio::time::timeout(Duration::from_millis(500), client.publish("a/b", QoS::AtLeastOnce, "two"));
    assert!(answer.await.is_err(), "an answer came through a stalled proxy");
    proxy.stall(false);
    assert_eq!(client.next().await.payload, "two");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs servers: scripts/test runs it"]
async fn a_back_end_takes_messages_of_a_cluster_with_two_brokers_and_two_name_servers() {
    let options = RocketMqOptions { name_servers: 2, brokers: 2, ..RocketMqOptions::default() };
    let rocketmq = RocketMq::start(&options).await;
    rocketmq.create_topic("orders", 2).await;
    for queue in 0..4 {
        rocketmq.send(&Send { topic: "orders", body: b"x", queue: Some(queue), ..Send::default() }).await;
    }
    let mut consumer = rocketmq.consume("orders", "GID_backend").await;
    for _ in 0..4 {
        assert_eq!(tokio::time::timeout(PATIENCE, consumer.next()).await.expect("in time").expect("one").body, b"x");
    }
    consumer.stop().await;
    eventually("the group has committed", PATIENCE, || async {
        (rocketmq.behind("GID_backend", "orders").await == Ok(0)).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs servers: scripts/test runs it"]
async fn a_cluster_behind_a_proxy_with_tls_is_reached_only_through_it() {
    let rocketmq = RocketMq::start(&RocketMqOptions { proxied: true, tls: true, ..RocketMqOptions::default() }).await;
    rocketmq.create_topic("orders", 1).await;
    rocketmq.proxies[0].close(true);
    let send = json!({ "topic": "orders", "body": "" });
    assert!(rocketmq.ask("send", send).await.is_err());
    rocketmq.proxies[0].close(false);
    rocketmq.send(&Send { topic: "orders", body: b"x", ..Send::default() }).await;
    assert!(rocketmq.proxies[0].accepted() > 0);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs servers: scripts/test runs it"]
async fn a_cluster_with_access_control_takes_its_administrator_alone() {
    let rocketmq = RocketMq::start(&RocketMqOptions { acl: true, ..RocketMqOptions::default() }).await;
    rocketmq.create_topic("orders", 1).await;
    rocketmq.send(&Send { topic: "orders", body: b"x", ..Send::default() }).await;
    let stranger = json!({ "topic": "orders", "body": "", "servers": rocketmq.servers().join(";") });
    assert!(Judge::shared().ask("send", stranger).await.is_err());
}
