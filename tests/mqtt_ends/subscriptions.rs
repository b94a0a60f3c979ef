//! What a source subscribes to, and what the broker sends it for that.

use std::{fs, sync::Arc, time::Duration};

use rocketbridge::{message::Qos, settings::MqttVersion};
use rumqttc_v5::mqttbytes::QoS;

use super::{
    VERSIONS,
    ends::{Reader, broker, says},
};
use crate::servers::{
    eventually, folder,
    mosquitto::{Mosquitto, Options, Subscriptions},
    mqtt::{Client, Login},
    proxy::Proxy,
};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs servers: scripts/test runs it"]
async fn retained_messages_come_once_per_session() {
    for version in VERSIONS {
        let mosquitto = Mosquitto::start(&Options::default()).await;
        let mut device = Client::connect(&Login::new(mosquitto.port, "device")).await;
        device.publish_with("t/kept", QoS::AtLeastOnce, "kept", true, None).await;
        let proxy = Proxy::start(mosquitto.port).await;
        let settings = Arc::new(broker(proxy.port, version));
        let mut reader = Reader::start(&settings, "reader", &["t/#"], Qos::AtLeastOnce);
        assert_eq!(reader.read().await.payload, "kept");
        device.publish("t/live", QoS::AtLeastOnce, "1").await;
        assert_eq!(reader.read().await.payload, "1");
        // Long enough for the set to have come whole.
        tokio::time::sleep(Duration::from_secs(6)).await;
        proxy.cut();
        device.publish("t/live", QoS::AtLeastOnce, "2").await;
        assert_eq!(reader.read().await.payload, "2", "{version:?}");
        if version == MqttVersion::V4 {
            eventually("the skipped copy is counted", Duration::from_secs(20), || async {
                reader.telemetry.encode().contains("reason=\"retained_copy\"} 1").then_some(())
            })
            .await;
        }
        reader.stop().await;
        let mut reader = Reader::start(&settings, "reader", &["t/#"], Qos::AtLeastOnce);
        if version == MqttVersion::V4 {
            assert_eq!(reader.read().await.payload, "kept", "a new process cannot know what the other has had");
        }
        reader.is_up().await;
        reader.stays_quiet().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs servers: scripts/test runs it"]
async fn a_filter_that_was_narrowed_gives_what_waited_for_it_once_and_then_no_more() {
    for version in VERSIONS {
        let mosquitto = Mosquitto::start(&Options::default()).await;
        let settings = Arc::new(broker(mosquitto.port, version));
        let mut device = Client::connect(&Login::new(mosquitto.port, "device")).await;
        let data_dir = folder("narrowed");
        let start = |filter| Reader::start_in(&data_dir, &settings, "reader", &[filter], Qos::AtLeastOnce);
        let reader = start("t/#");
        reader.is_up().await;
        reader.stop().await;
        device.publish("t/b", QoS::AtLeastOnce, "waited").await;
        let mut reader = start("t/a/#");
        assert_eq!(reader.read().await.payload, "waited");
        let known = data_dir.join("subscriptions/edge.reader.json");
        eventually("the old filter is gone", Duration::from_secs(20), || async {
            (fs::read_to_string(&known).ok()? == "[\"t/a/#\"]").then_some(())
        })
        .await;
        device.publish("t/b", QoS::AtLeastOnce, "unwanted").await;
        device.publish("t/a/x", QoS::AtLeastOnce, "wanted").await;
        assert_eq!(reader.read().await.payload, "wanted");
        reader.stays_quiet().await;
        reader.stop().await;
        let mut reader = start("t/a/#");
        reader.is_up().await;
        reader.stays_quiet().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs servers: scripts/test runs it"]
async fn on_3_1_1_a_message_over_the_limit_stalls_its_route_and_comes_once_the_limit_is_raised() {
    let mosquitto = Mosquitto::start(&Options::default()).await;
    let mut device = Client::connect(&Login::new(mosquitto.port, "device")).await;
    let mut settings = broker(mosquitto.port, MqttVersion::V4);
    let mut reader = Reader::start(&Arc::new(settings.clone()), "reader", &["t/#"], Qos::AtLeastOnce);
    reader.is_up().await;
    for (topic, size) in [("t/before", 10), ("t/large", 3 << 20), ("t/after", 10)] {
        device.publish(topic, QoS::AtLeastOnce, vec![b'x'; size]).await;
    }
    assert_eq!(reader.read().await.topic.as_str(), "t/before");
    says(&reader.state, "\"t/large\", more than the 1048576").await;
    reader.stays_quiet().await;
    reader.stop().await;
    settings.max_packet = 4 << 20;
    let mut reader = Reader::start(&Arc::new(settings), "reader", &["t/#"], Qos::AtLeastOnce);
    assert_eq!(reader.read().await.payload.len(), 3 << 20);
    assert_eq!(reader.read().await.topic.as_str(), "t/after");
    reader.stays_quiet().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs servers: scripts/test runs it"]
async fn overlapping_filters_give_each_message_once() {
    let mosquitto = Mosquitto::start(&Options::default()).await;
    let settings = Arc::new(broker(mosquitto.port, MqttVersion::V5));
    let mut reader = Reader::start(&settings, "reader", &["t/+", "t/#", "t/a"], Qos::AtLeastOnce);
    reader.is_up().await;
    let mut device = Client::connect(&Login::new(mosquitto.port, "device")).await;
    for (topic, text) in [("t/a", "1"), ("t/a/b", "2"), ("t/b", "3")] {
        device.publish(topic, QoS::AtLeastOnce, text).await;
        assert_eq!(reader.read().await.payload, text);
    }
    reader.stays_quiet().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs servers: scripts/test runs it"]
async fn a_refused_subscription_shows_and_is_asked_for_again() {
    let subscriptions = Subscriptions::refused();
    for version in VERSIONS {
        subscriptions.allow(false);
        let mut mosquitto = Mosquitto::start(&Options { lines: subscriptions.lines(), ..Options::default() }).await;
        let settings = Arc::new(broker(mosquitto.port, version));
        let mut reader = Reader::start(&settings, "reader", &["t/#"], Qos::AtLeastOnce);
        says(&reader.state, "the subscription to \"t/#\" is refused").await;
        mosquitto.terminate();
        subscriptions.allow(true);
        mosquitto.restart().await;
        reader.is_up().await;
        let mut device = Client::connect(&Login::new(mosquitto.port, "device")).await;
        device.publish("t/a", QoS::AtLeastOnce, "let in").await;
        assert_eq!(reader.read().await.payload, "let in");
        reader.stop().await;
    }
}
