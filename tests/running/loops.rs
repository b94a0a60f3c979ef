//! Routes both ways over one topic: what crosses never comes back, and where no mark can cross, at most once.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use rumqttc_v5::mqttbytes::QoS;

use super::{PATIENCE, servers};
use crate::servers::{
    bridge::Bridge,
    judge::Send,
    mqtt::{Client, Login},
    rocketmq::RocketMq,
};

/// Longer than an echo would need.
const QUIET: Duration = Duration::from_secs(1);

fn both_ways(topic: &str, broker: &str) -> String {
    format!(
        r#"
        [[route]]
        name = "{topic}-up"
        from = {{ mqtt = "{topic}/#", broker = "{broker}" }}
        to.rocketmq = "{topic}"

        [[route]]
        name = "{topic}-down"
        from = {{ rocketmq = "{topic}", start = "first" }}
        to = {{ mqtt = "{topic}{{subtopic}}", broker = "{broker}" }}
        "#
    )
}

/// How often each payload has come, once nothing more comes.
async fn heard(client: &mut Client) -> BTreeMap<String, usize> {
    let mut heard = BTreeMap::new();
    while let Some(publish) = client.next_within(QUIET).await {
        *heard.entry(String::from_utf8(publish.payload.to_vec()).unwrap()).or_default() += 1;
    }
    heard
}

/// How often a topic holds each body.
async fn stored(rocketmq: &RocketMq, topic: &str) -> BTreeMap<String, usize> {
    let (mut reader, began, mut stored) = (rocketmq.reader(topic), Instant::now(), BTreeMap::new());
    while began.elapsed() < QUIET {
        for message in reader.poll().await {
            *stored.entry(String::from_utf8(message.body).unwrap()).or_default() += 1;
        }
    }
    stored
}

fn counts(each: [(&str, usize); 2]) -> BTreeMap<String, usize> {
    each.into_iter().map(|(payload, count)| (payload.to_owned(), count)).collect()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs servers: scripts/test runs it"]
async fn what_crosses_both_ways_is_there_once_and_over_mqtt_3_at_most_twice() {
    let (mosquitto, rocketmq) = servers().await;
    let settings = format!(
        "[mqtt.new]\nurl = \"{0}\"\nclient_id = \"loops\"\n[mqtt.old]\nurl = \"{0}\"\nclient_id = \"loops-old\"\n\
         version = \"3.1.1\"\n[rocketmq.main]\nname_servers = {1:?}\n",
        mosquitto.url(),
        rocketmq.servers()
    );
    for topic in ["both", "both-old"] {
        rocketmq.create_topic(topic, 2).await;
    }
    let bridge = Bridge::start(&settings, &(both_ways("both", "new") + &both_ways("both-old", "old"))).await;
    let mut device = Client::connect(&Login::new(mosquitto.port, "loops-device")).await;
    for topic in ["both", "both-old"] {
        device.subscribe(&format!("{topic}/#"), QoS::AtLeastOnce).await;
        device.publish(&format!("{topic}/a"), QoS::AtLeastOnce, "of MQTT").await;
        let properties = [("mqttSecondTopic", "/b")];
        rocketmq.send(&Send { topic, body: b"of RocketMQ", properties: &properties, ..Send::default() }).await;
    }
    let dropped = "rocketbridge_dropped_total";
    for (route, echoes) in [("both-up", 1.0), ("both-down", 1.0), ("both-old-down", 2.0)] {
        let labels = [format!("route=\"{route}\""), "reason=\"echo\"".to_owned()];
        bridge.metric_reaches(dropped, &[&labels[0], &labels[1]], echoes, PATIENCE).await;
    }
    let once = counts([("of MQTT", 1), ("of RocketMQ", 1)]);
    assert_eq!(stored(rocketmq, "both").await, once);
    // No mark comes back over MQTT 3.1.1: what entered RocketMQ there is stored once more, and goes no further.
    assert_eq!(stored(rocketmq, "both-old").await, counts([("of MQTT", 1), ("of RocketMQ", 2)]));
    assert_eq!(heard(&mut device).await, counts([("of MQTT", 2), ("of RocketMQ", 2)]), "once on each of two topics");
    assert_eq!(bridge.metric(dropped, &[]).await, Some(4.0));
}
