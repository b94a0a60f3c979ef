//! MQTT 3.1.1: everything that a login can need at once, and a bridge that is killed with QoS 2 under way.

use std::{collections::BTreeSet, time::Duration};

use rumqttc_v5::mqttbytes::QoS;

use super::{PATIENCE, SIZE, counted, servers};
use crate::servers::{
    bridge::{Bridge, there_and_back},
    mosquitto::{Mosquitto, Options},
    mqtt::{Client, Login, PublishLoad, Publisher},
};

/// Waits until both sessions of the bridge have said this of themselves.
async fn both_say(watcher: &mut Client, state: &str) {
    let mut said = BTreeSet::new();
    while said.len() < 2 {
        let publish = watcher.next().await;
        assert_eq!(publish.payload, state.as_bytes());
        said.insert(String::from_utf8(publish.topic.to_vec()).unwrap());
    }
    assert_eq!(said.into_iter().collect::<Vec<_>>(), ["bridges/safe-safe-down-out", "bridges/safe-safe-up"]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs servers: scripts/test runs it"]
async fn a_bridge_logs_in_over_a_secure_web_socket_with_certificate_password_and_will() {
    let user = |name: &str| (name.to_owned(), format!("{name}-password"));
    let options = Options {
        users: vec![user("bridge"), user("device")],
        tls: true,
        client_certificates: true,
        ..Options::default()
    };
    let (mosquitto, (_, rocketmq)) = tokio::join!(Mosquitto::start(&options), servers());
    rocketmq.create_topic("safe", 1).await;
    let made = mosquitto.certificates.as_ref().unwrap();
    let settings = format!(
        "[mqtt.edge]\nurl = \"wss://localhost:{}/mqtt\"\nversion = \"3.1.1\"\nclient_id = \"safe\"\n\
         username = \"bridge\"\npassword = {{ env = \"EDGE\" }}\nwill.topic = \"bridges/{{client_id}}\"\n\
         tls = {{ ca = {:?}, certificate = {:?}, key = {:?} }}\n\n[rocketmq.main]\nname_servers = {:?}\n",
        mosquitto.secure_ws_port,
        made.authority,
        made.client,
        made.client_key,
        rocketmq.servers()
    );
    let login = |name: &str| Login { user: Some(user("device")), ..Login::new(mosquitto.port, name) };
    let mut watcher = Client::connect(&login("watcher")).await;
    watcher.subscribe("bridges/+", QoS::AtLeastOnce).await;
    let mut device = Client::connect(&login("device")).await;
    device.subscribe("safe-back/#", QoS::AtLeastOnce).await;
    let mut bridge = Bridge::new(&settings, &there_and_back("safe"));
    bridge.set("EDGE", &user("bridge").1);
    bridge.run();
    both_say(&mut watcher, "online").await;
    bridge.ready().await;
    device.publish("safe/a", QoS::AtLeastOnce, "1").await;
    let back = device.next().await;
    assert_eq!((&back.topic[..], &back.payload[..]), (&b"safe-back/a"[..], &b"1"[..]));

    bridge.kill();
    both_say(&mut watcher, "offline").await;
    device.publish("safe/b", QoS::AtLeastOnce, "2").await;
    bridge.run();
    both_say(&mut watcher, "online").await;
    let bodies: BTreeSet<_> = rocketmq.reader("safe").take(2, PATIENCE).await.into_iter().map(|m| m.body).collect();
    assert!(bodies.contains(&b"2"[..]), "the session has kept it");
    assert!(bridge.terminate(PATIENCE).success());
    both_say(&mut watcher, "offline").await;
}

const COUNT: u64 = 4_000;
const KEYS: u64 = 100;

/// The first route publishes at QoS 2 what the second reads at QoS 2.
fn twice(name: &str, broker: &str) -> String {
    format!(
        r#"
        [[route]]
        name = "{name}"
        from = {{ mqtt = "{name}/{{id}}", broker = "{broker}" }}
        to = {{ mqtt = "{name}-over/{{id}}", broker = "{broker}", qos = 2 }}

        [[route]]
        name = "{name}-over"
        from = {{ mqtt = "{name}-over/#", broker = "{broker}", qos = 2 }}
        to.rocketmq = "{name}"
        "#
    )
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs servers: scripts/test runs it"]
async fn a_killed_bridge_loses_nothing_of_qos_2_over_either_version() {
    let (mosquitto, rocketmq) = servers().await;
    let settings = format!(
        "[mqtt.new]\nurl = \"{0}\"\nclient_id = \"5\"\n[mqtt.old]\nurl = \"{0}\"\nclient_id = \"3\"\n\
         version = \"3.1.1\"\n[rocketmq.main]\nname_servers = {1:?}\n",
        mosquitto.url(),
        rocketmq.servers()
    );
    let names = ["twice-new", "twice-old"];
    for name in names {
        rocketmq.create_topic(name, 4).await;
    }
    let mut bridge = Bridge::start(&settings, &(twice(names[0], "new") + &twice(names[1], "old"))).await;
    let devices = names.map(|name| {
        let load = PublishLoad { topic: format!("{name}/{{key}}"), count: COUNT, keys: KEYS, size: SIZE, rate: 600 };
        Publisher::start(Login::new(mosquitto.port, name), load)
    });
    // Mosquitto forgets what is over its limit of 20 in flight, and over MQTT 3.1.1 does not say so.
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(1_000 + fastrand::u64(..500))).await;
        for name in names {
            let label = format!("route=\"{name}-over\"");
            bridge.metric_reaches("rocketbridge_stored_total", &[&label], 100.0, PATIENCE).await;
        }
        bridge.kill();
        bridge.run();
    }
    for (name, device) in names.into_iter().zip(devices) {
        tokio::time::timeout(2 * PATIENCE, device.finished()).await.expect("the device is done");
        assert_eq!(device.unrouted(), 0);
        let report = counted(rocketmq, name, COUNT, KEYS).await;
        report.tell(&format!("3 kills of rocketbridge with QoS 2, {name}"));
        report.must_be_whole(name);
    }
}
