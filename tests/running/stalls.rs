//! What cannot be sent now waits, shows with its reason, and goes on by itself; other routes do not notice.

use std::fs;

use rumqttc_v5::mqttbytes::QoS;

use super::{PATIENCE, holds, lines, logged, publish, ready_says, servers, settings};
use crate::servers::{
    bridge::Bridge,
    mqtt::{Client, Login},
};

const STALLED: &str = "rocketbridge_stalled";

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs servers: scripts/test runs it"]
async fn a_missing_topic_stalls_its_route_alone_until_it_is_created() {
    let (mosquitto, rocketmq) = servers().await;
    rocketmq.create_topic("flowing", 4).await;
    let mapping = r#"
        [[route]]
        name = "waiting"
        from.mqtt = "waiting/#"
        to.rocketmq = "waiting"

        [[route]]
        name = "flowing"
        from.mqtt = "flowing/#"
        to.rocketmq = "flowing"
    "#;
    let mut bridge = Bridge::start(&settings("", "stalls", mosquitto, rocketmq), mapping).await;
    publish(mosquitto, "waiting", 500, 20).await;
    bridge.metric_reaches(STALLED, &["waiting"], 1.0, PATIENCE).await;
    ready_says(&bridge, 503, &["topic waiting does not exist", r#""route":"flowing","ready":true"#]).await;
    publish(mosquitto, "flowing", 500, 20).await;
    holds(rocketmq, "flowing", 500, 20).await;
    assert_eq!(bridge.metric(STALLED, &["flowing"]).await, Some(0.0));
    assert_eq!(lines(&bridge, &["stalled route=waiting", "does not exist"]), 1);

    rocketmq.create_topic("waiting", 4).await;
    holds(rocketmq, "waiting", 500, 20).await;
    logged(&bridge, &["flows again route=waiting"], 1).await;
    bridge.ready().await;
    assert_eq!(bridge.metric(STALLED, &[]).await, Some(0.0));
    let said = ["stalled route", "flows again route"].map(|words| lines(&bridge, &[words]));
    assert_eq!(said, [1, 1], "each is said once:\n{}", bridge.log());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs servers: scripts/test runs it"]
async fn a_refusal_that_shall_stall_shows_its_reason_until_the_mapping_is_mended() {
    let (mosquitto, rocketmq) = servers().await;
    rocketmq.create_topic("strict", 1).await;
    let mapping = r#"
        [[route]]
        name = "strict"
        from.mqtt = "strict/#"
        to.rocketmq = "strict"
        to.key = "{property.serial}"
        on_refuse = "stall"
    "#;
    // What cannot drain holds up the mended mapping for so long.
    let settings = settings("stop_deadline = \"1s\"", "refusal-stalls", mosquitto, rocketmq);
    let mut bridge = Bridge::start(&settings, mapping).await;
    publish(mosquitto, "strict", 50, 5).await;
    ready_says(&bridge, 503, &[r#""refusal":"#, "value_missing", "serial"]).await;
    bridge.metric_reaches(STALLED, &["strict"], 1.0, PATIENCE).await;
    assert_eq!(lines(&bridge, &["stalled route=strict", "value_missing"]), 1);
    assert_eq!(rocketmq.stored("strict").await, Some(0), "nothing goes past it");

    bridge.map(&mapping.replace("to.key", "#"));
    holds(rocketmq, "strict", 50, 5).await;
    bridge.ready().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs servers: scripts/test runs it"]
async fn a_full_disk_or_a_missing_park_topic_stalls_until_parking_works() {
    let (mosquitto, rocketmq) = servers().await;
    rocketmq.create_topic("parks", 1).await;
    let mapping = r#"
        [[route]]
        name = "to-disk"
        from.mqtt = "to-disk/#"
        to.rocketmq = "parks"
        to.key = "{property.serial}"

        [[route]]
        name = "to-topic"
        from.mqtt = "to-topic/#"
        to.rocketmq = "parks"
        to.key = "{property.serial}"
        park.rocketmq = "put-aside"
    "#;
    let mut bridge = Bridge::new(&settings("", "parking-stalls", mosquitto, rocketmq), mapping);
    let parked = bridge.folder.join("data/parked");
    fs::create_dir_all(&parked).unwrap();
    let file = parked.join("to-disk.jsonl");
    // Its every write fails as on a full disk.
    std::os::unix::fs::symlink("/dev/full", &file).unwrap();
    bridge.run();
    bridge.ready().await;

    let mut device = Client::connect(&Login::new(mosquitto.port, "parking-stalls-device")).await;
    let routes = ["to-disk", "to-topic"];
    for route in routes {
        device.publish(&format!("{route}/a"), QoS::AtLeastOnce, route).await;
    }
    ready_says(&bridge, 503, &["No space left on device", "topic put-aside does not exist"]).await;
    for route in routes {
        bridge.metric_reaches(STALLED, &[route], 1.0, PATIENCE).await;
    }
    fs::remove_file(&file).unwrap();
    rocketmq.create_topic("put-aside", 1).await;
    for route in routes {
        bridge.metric_reaches("rocketbridge_parked_total", &[route], 1.0, PATIENCE).await;
        logged(&bridge, &["flows again", &format!("route={route}")], 1).await;
    }
    bridge.ready().await;
    let listed = String::from_utf8(bridge.command(&["parked", "list"]).stdout).unwrap();
    assert!(["to-disk/a", "to-topic/a", "2 parked"].iter().all(|words| listed.contains(words)), "{listed}");
}
