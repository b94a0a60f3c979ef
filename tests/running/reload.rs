//! Mapping files change while the bridge runs: what did not change is not touched, and a fault changes nothing.

use std::fs;

use rumqttc_v5::mqttbytes::QoS;

use super::{PATIENCE, lines, logged, servers, settings};
use crate::servers::{
    bridge::Bridge,
    mosquitto::Mosquitto,
    mqtt::{Client, Login},
};

fn route(name: &str, more: &str) -> String {
    format!("[[route]]\nname = \"{name}\"\nfrom.mqtt = \"{name}/#\"\nto.rocketmq = \"reloaded\"\n{more}\n")
}

/// How often a client has connected, as the broker saw it.
fn connects(mosquitto: &Mosquitto, client_id: &str) -> usize {
    mosquitto.log().lines().filter(|line| line.contains(&format!(" as {client_id} "))).count()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs servers: scripts/test runs it"]
async fn a_changed_file_changes_its_routes_alone_and_a_bad_one_nothing() {
    let (mosquitto, rocketmq) = servers().await;
    rocketmq.create_topic("reloaded", 1).await;
    let mut bridge = Bridge::new(&settings("", "reload", mosquitto, rocketmq), &route("steady", ""));
    let other = bridge.folder.join("mappings/other.toml");
    fs::write(&other, route("changing", "to.tag = \"before\"")).unwrap();
    bridge.run();
    bridge.ready().await;
    let mut device = Client::connect(&Login::new(mosquitto.port, "reload-device")).await;
    let mut reader = rocketmq.reader("reloaded");
    let mut tag_of = async |topic: &str| {
        device.publish(topic, QoS::AtLeastOnce, "x").await;
        reader.take(1, PATIENCE).await[0].tag.clone().unwrap_or_default()
    };
    assert_eq!(tag_of("changing/a").await, "before");

    fs::write(&other, route("changing", "to.tag = \"after\"\norder_by = \"none\"")).unwrap();
    logged(&bridge, &["joins route=changing"], 2).await;
    bridge.ready().await;
    assert_eq!(tag_of("changing/a").await, "after");

    let bad = route("changing", "to.tagg = \"bad\"");
    fs::write(&other, &bad).unwrap();
    let fault = format!("other.toml:{}", 1 + bad.lines().position(|line| line.contains("tagg")).unwrap());
    logged(&bridge, &["mapping files have faults, nothing changes"], 1).await;
    logged(&bridge, &[&fault], 1).await;
    assert!(bridge.log().contains("did you mean") && bridge.get("/ready").await.unwrap().0 == 200, "{}", bridge.log());
    assert_eq!(tag_of("changing/a").await, "after");
    assert_eq!(tag_of("steady/a").await, "");

    // The file is mended to what runs, so nothing is to be done, now or at a signal.
    fs::write(&other, route("changing", "to.tag = \"after\"\norder_by = \"none\"")).unwrap();
    logged(&bridge, &["mapping files read again"], 2).await;
    bridge.running().signal("HUP");
    logged(&bridge, &["mapping files read again"], 3).await;
    assert_eq!(lines(&bridge, &["joins route=changing"]), 2);

    fs::remove_file(&other).unwrap();
    let removed = ["removed", "route=changing", "MQTT session reload-changing on edge", "rocketbridge retire changing"];
    logged(&bridge, &removed, 1).await;
    logged(&bridge, &["mapping files read again"], 4).await;
    assert_eq!(tag_of("steady/a").await, "");
    assert_eq!(lines(&bridge, &["joins route=steady"]), 1);
    assert_eq!((connects(mosquitto, "reload-steady"), connects(mosquitto, "reload-changing")), (1, 2));
}
