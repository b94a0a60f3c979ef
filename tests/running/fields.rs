//! All that an MQTT 5 publish can say goes into RocketMQ and comes back.

use rumqttc_v5::mqttbytes::{QoS, v5::PublishProperties};

use super::{PATIENCE, servers, settings};
use crate::servers::{
    bridge::{Bridge, there_and_back},
    mqtt::{Client, Login},
};

/// A route beside those there and back, whose mapping says how to publish.
const BY_MAPPING: &str = r#"
[[route]]
name = "fields-by-mapping"
from.rocketmq = "fields"
from.start = "first"
to.mqtt = "fields-by-mapping{subtopic}"
to.qos = 1
to.retain = true
"#;

const MARK: &str = "rocketbridge-mark";
const EXPIRY: u32 = 1000;

fn properties(is_text: bool) -> PublishProperties {
    let user = [("b", "2"), ("a", "1"), ("b", ""), ("mqttSecondTopic", "/forged"), ("__SHARDINGKEY", "forged")];
    PublishProperties {
        payload_format_indicator: Some(u8::from(is_text)),
        message_expiry_interval: Some(EXPIRY),
        response_topic: Some("answers/1".into()),
        correlation_data: Some(vec![0, 1, 2, 255].into()),
        content_type: Some("application/x-all".into()),
        user_properties: user.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
        ..PublishProperties::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs servers: scripts/test runs it"]
async fn every_field_of_mqtt_5_goes_through_rocketmq_and_comes_back() {
    let (mosquitto, rocketmq) = servers().await;
    rocketmq.create_topic("fields", 1).await;
    let mapping =
        there_and_back("fields").replace("from.mqtt = \"fields/#\"", "from.mqtt = \"fields/#\"\nfrom.qos = 2");
    let bridge = Bridge::start(&settings("", "fields", mosquitto, rocketmq), &(mapping + BY_MAPPING)).await;
    let mut device = Client::connect(&Login::new(mosquitto.port, "fields-device")).await;
    device.subscribe("fields-back/#", QoS::ExactlyOnce).await;
    let all_bytes: Vec<u8> = (0..=255).collect();
    let cases: [(&str, QoS, &[u8], bool); 4] = [
        ("bytes", QoS::ExactlyOnce, &all_bytes, false),
        ("text", QoS::AtLeastOnce, "so ist es, 是的".as_bytes(), true),
        ("empty", QoS::AtLeastOnce, b"", true),
        ("level/none", QoS::AtMostOnce, b"x", true),
    ];
    for (subtopic, qos, payload, is_text) in cases {
        let retain = qos == QoS::ExactlyOnce;
        let sent = properties(is_text);
        device.publish_with(&format!("fields/{subtopic}"), qos, payload.to_vec(), retain, Some(sent.clone())).await;
        let back = device.next().await;
        assert_eq!(back.topic, format!("fields-back/{subtopic}").as_bytes());
        assert_eq!((back.qos, &back.payload[..]), (qos, payload), "{subtopic}");
        let mut got = back.properties.unwrap();
        got.user_properties.retain(|(name, _)| name != MARK);
        let remains = got.message_expiry_interval.take().unwrap();
        assert!((EXPIRY - 60..=EXPIRY).contains(&remains), "{remains} s remain");
        assert_eq!(got, PublishProperties { message_expiry_interval: None, ..sent }, "{subtopic}");
    }
    for message in rocketmq.reader("fields").take(cases.len(), PATIENCE).await {
        let property = |name: &str| message.properties.get(name).map(String::as_str);
        let qos = property("qoslevel");
        assert_eq!(property("mqttRetain"), (qos == Some("2")).then_some("true"));
        assert_eq!(property("mqtt5ContentType"), Some("application/x-all"));
        assert_eq!((property("a"), property("__SHARDINGKEY")), (Some("1"), None));
    }

    bridge.metric_reaches("rocketbridge_stored_total", &["fields-by-mapping"], 4.0, PATIENCE).await;
    // The broker keeps for whoever comes later what was published with the flag: by the device, or by the mapping.
    let mut late = Client::connect(&Login::new(mosquitto.port, "fields-late")).await;
    late.subscribe("fields-back/#", QoS::ExactlyOnce).await;
    let kept = late.next().await;
    assert_eq!((&kept.topic[..], kept.retain, &kept.payload[..]), (&b"fields-back/bytes"[..], true, &all_bytes[..]));
    late.subscribe("fields-by-mapping/#", QoS::ExactlyOnce).await;
    let mut by_mapping = Vec::new();
    for _ in 0..3 {
        let kept = late.next().await;
        assert_eq!((kept.retain, kept.qos), (true, QoS::AtLeastOnce));
        by_mapping.push(String::from_utf8(kept.topic.to_vec()).unwrap());
    }
    by_mapping.sort();
    assert_eq!(by_mapping, ["bytes", "level/none", "text"].map(|subtopic| format!("fields-by-mapping/{subtopic}")));
}
