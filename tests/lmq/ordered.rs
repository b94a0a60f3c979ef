//! Ordered messages (LMQ-10): what brokers do with `$SYS/enableOrderMsg`, and how the bridge learns who published. The rows
//! of the table in docs/lmq.md that are called tried are here.

use std::time::Duration;

use bytes::BytesMut;
use rumqttc_v4 as r4;
use rumqttc_v5::{Packet, PubAckReason, PublishProperties, QoS};

use crate::servers::{
    bridge::{Bridge, settings_at},
    device::{Arrival, Device, Version},
    judge::Stored,
    mosquitto::{self, Mosquitto},
    mqtt::{Client, Login},
    rmqtt::{self, Rmqtt},
    rocketmq::RocketMq,
};

const LONG: Duration = Duration::from_secs(20);
const SWITCH: (&str, &str) = ("$SYS/enableOrderMsg", "{\"order\":\"true\"}");
const ONE: &str = "GID_ord@@@1";
const TWO: &str = "GID_ord@@@2";

/// Publishes the switch at QoS 1 over 3.1.1, as devices do: it is acknowledged. Whether the device may stay.
async fn may_stay(port: u16) -> bool {
    let mut device = Device::connect(&Arrival { version: Version::V3, ..Arrival::new(port, ONE) }).await;
    let mut publish = r4::Publish::new(SWITCH.0, r4::QoS::AtLeastOnce, SWITCH.1);
    publish.pkid = 7;
    let mut packet = BytesMut::new();
    publish.write(&mut packet).unwrap();
    device.send(&packet).await;
    let answer = tokio::time::timeout(LONG, device.receive()).await.expect("an answer").expect("a PUBACK");
    assert_eq!(answer.as_ref(), [0x40, 2, 0, 7]);
    tokio::time::timeout(Duration::from_secs(1), device.receive()).await.is_err()
}

/// Mosquitto with a limit instead of `max_queued_messages 0`, with which it closes the connection of whoever publishes
/// what it may not.
fn limited() -> Vec<String> {
    vec!["max_queued_messages 1000000".to_owned()]
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs servers: scripts/test runs it"]
async fn the_switch_is_taken_by_rmqtt_and_passed_over_by_a_mosquitto_with_a_limit() {
    let (rmqtt, limited) = (rmqtt::Options::default(), mosquitto::Options { lines: limited(), ..Default::default() });
    let (rmqtt, limited) = tokio::join!(Rmqtt::start(&rmqtt), Mosquitto::start(&limited));
    assert!(may_stay(rmqtt.port).await && may_stay(limited.port).await);
    assert!(!may_stay(Mosquitto::shared().await.port).await, "without a limit it closes");
    for (port, taken) in [(rmqtt.port, true), (limited.port, false)] {
        let mut device = Client::connect(&Login::new(port, TWO)).await;
        let answer = device.publish(SWITCH.0, QoS::AtLeastOnce, SWITCH.1).await;
        let Some(Packet::PubAck(answer)) = answer else { panic!("{answer:?}") };
        assert_eq!(answer.reason != PubAckReason::NotAuthorized, taken, "{answer:?}");
        device.publish("any/topic", QoS::AtLeastOnce, "it is still there").await;
    }
}

/// Routes whose messages are in order for each client: by a capture of the topic, by a user property; and for all of a
/// parent topic, where the client is not known.
fn mapping(name: &str) -> String {
    format!(
        "[[route]]\nname = \"{name}c\"\nfrom.mqtt = \"{name}c/{{sender}}/#\"\nto.rocketmq = \"{name}c\"\n\
         to.client_id = \"{{sender}}\"\norder_by = \"{{client_id}}\"\n\
         [[route]]\nname = \"{name}u\"\nfrom.mqtt = \"{name}u/#\"\nto.rocketmq = \"{name}u\"\n\
         to.client_id = \"{{property.clientId}}\"\norder_by = \"{{client_id}}\"\n\
         [[route]]\nname = \"{name}p\"\nfrom.mqtt = \"{name}p/#\"\nto.rocketmq = \"{name}p\"\norder_by = \"{{parent}}\"\n"
    )
}

async fn start(name: &str, port: u16) -> (&'static RocketMq, Bridge) {
    let rocketmq = RocketMq::shared().await;
    for kind in ["c", "u", "p"] {
        rocketmq.create_topic(&format!("{name}{kind}"), 8).await;
    }
    let settings = settings_at(port, &rocketmq.servers())
        .replace("\n\n", "\nclient_id = \"bridge\"\nusername = \"bridge\"\npassword = { env = \"PASSWORD\" }\n\n");
    let mut bridge = Bridge::new(&settings, &mapping(name));
    bridge.set("PASSWORD", "secret");
    bridge.run();
    bridge.ready().await;
    (rocketmq, bridge)
}

fn login(port: u16, client_id: &str) -> Login {
    Login { user: Some(("device".to_owned(), "secret".to_owned())), ..Login::new(port, client_id) }
}

/// The messages are in one queue, in order, and of this client.
fn in_one_queue(stored: &[Stored], client_id: Option<&str>) {
    let bodies: Vec<String> = stored.iter().map(|stored| String::from_utf8_lossy(&stored.body).into_owned()).collect();
    assert_eq!(bodies, (0..stored.len()).map(|number| number.to_string()).collect::<Vec<_>>());
    assert!(stored.iter().all(|other| other.queue == stored[0].queue), "several queues");
    for stored in stored {
        assert_eq!(stored.properties.get("clientId").map(String::as_str), client_id);
    }
}

/// A device's messages over many subtopics. One that it publishes under another's name does not get through.
async fn captured(rocketmq: &RocketMq, name: &str, device: &mut Client) {
    let topic = format!("{name}c");
    for number in 0..20 {
        device.publish(&format!("{topic}/{ONE}/{number}"), QoS::AtLeastOnce, number.to_string()).await;
    }
    in_one_queue(&rocketmq.reader(&topic).take(20, LONG).await, Some(ONE));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs servers: scripts/test runs it"]
async fn on_mosquitto_the_topic_or_a_user_property_tells_the_client_and_the_acl_vouches_for_the_topic() {
    let name = "Om";
    let users = ["bridge", "device"].map(|name| (name.to_owned(), "secret".to_owned())).to_vec();
    // As in docs/lmq.md.
    let acl = format!(
        "user bridge\ntopic readwrite #\n\npattern write {name}c/%c/#\npattern write {name}u/#\npattern write {name}p/#\n"
    );
    let options = mosquitto::Options { users, acl: Some(acl), lines: limited(), ..Default::default() };
    let mosquitto = Mosquitto::start(&options).await;
    let (rocketmq, _bridge) = start(name, mosquitto.port).await;
    let mut device = Client::connect(&login(mosquitto.port, ONE)).await;
    let forged = device.publish(&format!("{name}c/{TWO}/x"), QoS::AtLeastOnce, "forged").await;
    assert!(matches!(&forged, Some(Packet::PubAck(ack)) if ack.reason == PubAckReason::NotAuthorized), "{forged:?}");
    captured(rocketmq, name, &mut device).await;

    for number in 0..20 {
        let user_properties = vec![("clientId".to_owned(), ONE.to_owned())];
        let properties = PublishProperties { user_properties, ..PublishProperties::default() };
        let topic = format!("{name}u/{number}");
        device.publish_with(&topic, QoS::AtLeastOnce, number.to_string(), false, Some(properties)).await;
        device.publish(&format!("{name}p/{number}"), QoS::AtLeastOnce, number.to_string()).await;
    }
    in_one_queue(&rocketmq.reader(&format!("{name}u")).take(20, LONG).await, Some(ONE));
    in_one_queue(&rocketmq.reader(&format!("{name}p")).take(20, LONG).await, None);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs servers: scripts/test runs it"]
async fn on_rmqtt_the_topic_tells_the_client_and_the_acl_vouches_for_it() {
    let name = "Or";
    // As in docs/lmq.md.
    let acl = format!(
        "disconnect_if_pub_rejected = false\nrules = [\n    [\"allow\", {{ user = \"bridge\" }}],\n    \
         [\"allow\", \"all\", \"publish\", [\"{name}c/%c/#\", \"$SYS/enableOrderMsg\"]],\n    \
         [\"deny\", \"all\", \"pubsub\", [\"#\", \"$SYS/#\"]],\n    [\"allow\", \"all\"],\n]\n"
    );
    let options = rmqtt::Options { plugins: vec![("rmqtt-acl", acl)], ..rmqtt::Options::default() };
    let rmqtt = Rmqtt::start(&options).await;
    let (rocketmq, _bridge) = start(name, rmqtt.port).await;
    let mut device = Client::connect(&login(rmqtt.port, ONE)).await;
    device.publish(SWITCH.0, QoS::AtLeastOnce, SWITCH.1).await;
    device.publish(&format!("{name}c/{TWO}/x"), QoS::AtLeastOnce, "forged").await;
    captured(rocketmq, name, &mut device).await;
}
