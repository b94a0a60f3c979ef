//! Point to point (LMQ-5) on real brokers: from RocketMQ and from MQTT, to the one client that is meant, with the
//! examples of docs/lmq.md.

use std::time::{Duration, Instant};

use rumqttc_v5::{QoS, SubscribeReasonCode};

use crate::servers::{
    bridge::Bridge,
    eventually,
    judge::Send,
    mosquitto::{Mosquitto, Options},
    mqtt::{Client, Login},
    rmqtt::{self, Rmqtt},
    rocketmq::RocketMq,
};

const QUIET: Duration = Duration::from_millis(500);
const LONG: Duration = Duration::from_secs(20);
/// By then it is known that a client has left, on a machine that is busy with all other tests.
const LATEST: Duration = Duration::from_secs(60);

const ONE: &str = "GID_p2p@@@1";
const TWO: &str = "GID_p2p@@@2";

fn user(port: u16, client_id: &str, name: &str) -> Login {
    Login { user: Some((name.to_owned(), "secret".to_owned())), ..Login::new(port, client_id) }
}

fn settings(port: u16, rocketmq: &RocketMq) -> String {
    let servers = rocketmq.servers();
    format!(
        "[mqtt.edge]\nurl = \"mqtt://127.0.0.1:{port}\"\nusername = \"bridge\"\npassword = {{ env = \"PASSWORD\" }}\n\
         [rocketmq.main]\nname_servers = {servers:?}\n"
    )
}

/// Both ways over one topic.
fn mapping(topic: &str) -> String {
    format!(
        "[[route]]\nname = \"{topic}-up\"\nfrom.mqtt = \"{topic}/#\"\nto.rocketmq = \"{topic}\"\n\
         [[route]]\nname = \"{topic}-down\"\nfrom.rocketmq = \"{topic}\"\nfrom.start = \"first\"\nto.mqtt = \"{topic}{{subtopic}}\"\n"
    )
}

async fn bridge(port: u16, rocketmq: &RocketMq, topic: &str) -> Bridge {
    rocketmq.create_topic(topic, 4).await;
    let mut bridge = Bridge::new(&settings(port, rocketmq), &mapping(topic));
    bridge.set("PASSWORD", "secret");
    bridge.run();
    bridge.ready().await;
    bridge
}

/// Only the target gets what is for it: from RocketMQ with and without the slash, and from another device. A back end
/// finds what devices send each other, and what `p2p` does not make point to point goes to all.
async fn only_the_target(rocketmq: &RocketMq, topic: &str, one: &mut Client, two: &mut Client) {
    for (second, body) in [(format!("/p2p/{ONE}"), "with"), (format!("p2p/{ONE}"), "without")] {
        let properties = [("mqttSecondTopic", second.as_str())];
        rocketmq.send(&Send { topic, body: body.as_bytes(), properties: &properties, ..Send::default() }).await;
        let arrived = one.next().await;
        assert_eq!(arrived.payload.as_ref(), body.as_bytes());
        assert_eq!(arrived.topic.as_ref(), format!("{topic}/p2p/{ONE}").as_bytes());
    }
    one.publish(&format!("{topic}/p2p/{TWO}"), QoS::AtLeastOnce, "to two").await;
    assert_eq!(two.next().await.payload.as_ref(), b"to two");
    assert!(one.next_within(QUIET).await.is_none() && two.next_within(QUIET).await.is_none());
    let stored = rocketmq.reader(topic).take(3, LONG).await;
    let second = |body: &[u8]| {
        let found = stored.iter().find(|stored| stored.body == body).unwrap();
        found.properties["mqttSecondTopic"].clone()
    };
    assert_eq!(second(b"to two"), format!("/p2p/{TWO}"));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs servers: scripts/test runs it"]
async fn on_mosquitto_a_pattern_lets_each_device_read_its_own_topic() {
    let topic = "P2Pm";
    let users = ["bridge", "device"].map(|name| (name.to_owned(), "secret".to_owned())).to_vec();
    // As in docs/lmq.md.
    let acl = format!("user bridge\ntopic readwrite #\n\npattern write {topic}/#\npattern read {topic}/p2p/%c\n");
    let mosquitto = Mosquitto::start(&Options { users, acl: Some(acl), ..Options::default() }).await;
    let rocketmq = RocketMq::shared().await;
    let _bridge = bridge(mosquitto.port, rocketmq, topic).await;
    let mut one = Client::connect(&user(mosquitto.port, ONE, "device")).await;
    let mut two = Client::connect(&user(mosquitto.port, TWO, "device")).await;
    one.subscribe(&format!("{topic}/p2p/{ONE}"), QoS::AtLeastOnce).await;
    two.subscribe(&format!("{topic}/p2p/{TWO}"), QoS::AtLeastOnce).await;
    // It may ask for what is another's, and gets nothing of it.
    two.subscribe(&format!("{topic}/p2p/{ONE}"), QoS::AtLeastOnce).await;
    only_the_target(rocketmq, topic, &mut one, &mut two).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs servers: scripts/test runs it"]
async fn on_rmqtt_an_acl_lets_each_device_read_its_own_topic() {
    let topic = "P2Pr";
    // As in docs/lmq.md.
    let acl = format!(
        "rules = [\n    [\"allow\", {{ user = \"bridge\" }}],\n    [\"allow\", \"all\", \"publish\", [\"{topic}/#\"]],\n    \
         [\"allow\", \"all\", \"subscribe\", [\"{topic}/p2p/%c\"]],\n    [\"deny\", \"all\", \"pubsub\", [\"#\"]],\n    \
         [\"allow\", \"all\"],\n]\n"
    );
    let plugins = vec![("rmqtt-acl", acl)];
    let rmqtt = Rmqtt::start(&rmqtt::Options { plugins, ..rmqtt::Options::default() }).await;
    let rocketmq = RocketMq::shared().await;
    let _bridge = bridge(rmqtt.port, rocketmq, topic).await;
    let mut one = Client::connect(&user(rmqtt.port, ONE, "device")).await;
    let mut two = Client::connect(&user(rmqtt.port, TWO, "device")).await;
    let refused = two.subscribe(&format!("{topic}/p2p/{ONE}"), QoS::AtLeastOnce).await;
    assert_eq!(refused, SubscribeReasonCode::Unspecified, "its own alone");
    for (client, id) in [(&mut one, ONE), (&mut two, TWO)] {
        let own = format!("{topic}/p2p/{id}");
        let since = Instant::now();
        // RMQTT fills in `%c` beside letting a client in, and may refuse one that is quick.
        while client.subscribe(&own, QoS::AtLeastOnce).await != SubscribeReasonCode::Success(QoS::AtLeastOnce) {
            assert!(since.elapsed() < LONG, "{id} may not subscribe to its own topic");
        }
    }
    only_the_target(rocketmq, topic, &mut one, &mut two).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs servers: scripts/test runs it"]
async fn an_offline_target_gets_later_only_what_is_said_to_be_kept() {
    let topic = "P2Po";
    let lines = vec!["log_dest topic".to_owned(), "connection_messages true".to_owned()];
    let mosquitto = Mosquitto::start(&Options { lines, ..Options::default() }).await;
    let rocketmq = RocketMq::shared().await;
    rocketmq.create_topic(topic, 4).await;
    rocketmq.create_topic("GID_p2p_MQTT", 4).await;
    let settings =
        crate::servers::bridge::settings(&mosquitto, rocketmq) + "[lmq]\ncredentials = \"credentials.toml\"\n";
    let mapping = format!(
        "[[status]]\nname = \"who\"\nfrom.events = \"mosquitto\"\n\
         [[route]]\nname = \"{topic}-down\"\nfrom.rocketmq = \"{topic}\"\nto.mqtt = \"{topic}{{subtopic}}\"\n\
         to.offline = \"drop\"\n"
    );
    let mut bridge = Bridge::new(&settings, &mapping);
    bridge.credentials("[[access_key]]\nid = \"AK\"\nsecret = { env = \"SECRET\" }\ngroups = \"GID_p2p\"\n");
    bridge.set("SECRET", "secret");
    bridge.run();
    bridge.ready().await;
    // Mosquitto's log has whole seconds: what happens in the one in which the bridge began may have been missed.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let own = format!("{topic}/p2p/{ONE}");
    let mut device = Client::connect(&Login::new(mosquitto.port, ONE)).await;
    device.subscribe(&own, QoS::AtLeastOnce).await;
    let send = async |body: &str, flag: Option<&str>| {
        let second = format!("/p2p/{ONE}");
        let mut properties = vec![("mqttSecondTopic", second.as_str())];
        properties.extend(flag.map(|flag| ("cleansessionflag", flag)));
        rocketmq.send(&Send { topic, body: body.as_bytes(), properties: &properties, ..Send::default() }).await;
    };
    send("online", None).await;
    assert_eq!(device.next().await.payload.as_ref(), b"online");

    drop(device);
    let labels = [&*format!("route=\"{topic}-down\""), "reason=\"offline_client\""];
    // Its leave is known some moments later; until then it is sent, and kept.
    let mut early = 0;
    let since = Instant::now();
    while bridge.metric("rocketbridge_dropped_total", &labels).await.is_none() {
        send("missed", None).await;
        early += 1;
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(since.elapsed() < LATEST, "never known to be offline\n{}", bridge.log());
    }
    send("missed for sure", Some("true")).await;
    send("kept", Some("false")).await;
    eventually("both were read", LONG, || async {
        (rocketmq.behind(&format!("GID_rocketbridge_{topic}-down"), topic).await == Ok(0)).then_some(())
    })
    .await;
    let mut device = Client::connect(&Login::new(mosquitto.port, ONE).resume()).await;
    loop {
        let payload = device.next().await.payload;
        match payload.as_ref() {
            b"missed" => early -= 1,
            other => {
                assert_eq!(other, b"kept");
                break;
            }
        }
    }
    assert!(early > 0, "at least the last was dropped");
    assert!(device.next_within(QUIET).await.is_none());
}
