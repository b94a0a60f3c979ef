//! A stop settles what it can, names what it must leave, and takes no longer than it may.

use std::time::{Duration, Instant};

use super::{PATIENCE, arrives, holds, lines, logged, produce, publish, servers, settings};
use crate::servers::{
    bridge::Bridge,
    eventually,
    mqtt::{Login, Subscriber},
};

const DEADLINE: Duration = Duration::from_secs(3);
/// For a machine that has much else to do.
const LATE: Duration = Duration::from_secs(1);

fn route(name: &str, topic: &str) -> String {
    format!("[[route]]\nname = \"{name}\"\nfrom.mqtt = \"{name}/#\"\nto.rocketmq = \"{topic}\"\n\n")
}

/// Stops the bridge with SIGTERM; how long that took.
fn stop(bridge: &mut Bridge) -> Duration {
    let began = Instant::now();
    let status = bridge.terminate(2 * PATIENCE);
    assert_eq!(status.code(), Some(0), "{}", bridge.log());
    began.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs servers: scripts/test runs it"]
async fn a_stop_with_stalled_routes_keeps_its_deadline_and_loses_nothing() {
    let (mosquitto, rocketmq) = servers().await;
    rocketmq.create_topic("stopped-well", 1).await;
    let stalled = ["stopped-1", "stopped-2", "stopped-3"];
    let mapping = stalled.map(|name| route(name, name)).concat() + &route("stopped-well", "stopped-well");
    let settings = settings(&format!("stop_deadline = \"{}s\"", DEADLINE.as_secs()), "stopping", mosquitto, rocketmq);
    let mut bridge = Bridge::start(&settings, &mapping).await;
    for name in stalled {
        publish(mosquitto, name, 300, 10).await;
        bridge.metric_reaches("rocketbridge_in_flight", &[name], 300.0, PATIENCE).await;
    }
    publish(mosquitto, "stopped-well", 300, 10).await;
    let took = stop(&mut bridge);
    assert!(took < DEADLINE + LATE, "the stop took {took:?}");
    for name in stalled {
        let named = ["left in flight at the deadline", &format!("route={name} "), "messages=300"];
        assert_eq!(lines(&bridge, &named), 1, "{}", bridge.log());
    }
    assert_eq!(lines(&bridge, &["left in flight"]), stalled.len(), "what flows leaves nothing");
    holds(rocketmq, "stopped-well", 300, 10).await;

    for name in stalled {
        rocketmq.create_topic(name, 2).await;
    }
    bridge.run();
    for name in stalled {
        holds(rocketmq, name, 300, 10).await;
    }
    bridge.ready().await;
    bridge.metric_reaches("rocketbridge_stored_total", &[], 900.0, PATIENCE).await;
    let idle = stop(&mut bridge);
    assert!(idle < LATE, "an idle stop took {idle:?}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs servers: scripts/test runs it"]
async fn a_stop_while_a_reload_waits_for_a_stalled_route_takes_no_longer() {
    let (mosquitto, rocketmq) = servers().await;
    let settings = settings(&format!("stop_deadline = \"{}s\"", DEADLINE.as_secs()), "restopped", mosquitto, rocketmq);
    let mapping = route("restopped-1", "restopped-1") + &route("restopped-2", "restopped-2");
    let mut bridge = Bridge::start(&settings, &mapping).await;
    for name in ["restopped-1", "restopped-2"] {
        publish(mosquitto, name, 10, 1).await;
        bridge.metric_reaches("rocketbridge_in_flight", &[name], 10.0, PATIENCE).await;
    }
    bridge.map(&mapping.replace("to.rocketmq = \"restopped-1\"", "to.rocketmq = \"elsewhere\""));
    logged(&bridge, &["mapping files read again"], 1).await;
    tokio::time::sleep(DEADLINE / 6).await;
    let took = stop(&mut bridge);
    assert!(took < DEADLINE, "the stop took {took:?}");
    assert_eq!(lines(&bridge, &["left in flight at the deadline", "messages=10"]), 2, "{}", bridge.log());
    assert_eq!(lines(&bridge, &["joins"]), 2, "nothing new begins");
}

/// A broker keeps a queue for the member that locked it last, for a minute: which is the same one after a restart.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs servers: scripts/test runs it"]
async fn a_bridge_that_was_killed_reads_its_queues_again_at_once() {
    let (mosquitto, rocketmq) = servers().await;
    rocketmq.create_topic("revived", 4).await;
    let count = Subscriber::start(Login::new(mosquitto.port, "revived-count"), "revived/#").await;
    let route = "[[route]]\nname = \"revived\"\nfrom.rocketmq = \"revived\"\nfrom.start = \"first\"\n";
    let mut bridge = Bridge::start(&settings("", "revived", mosquitto, rocketmq), route).await;
    produce(rocketmq, "revived", 100, 10, 0).finished().await;
    arrives(&count, "before the kill", 100, 10).await;
    bridge.kill();
    bridge.run();
    let began = Instant::now();
    // Numbers go on where the same keys begin again: what comes twice is counted once.
    let before = count.tally().arrivals;
    produce(rocketmq, "revived", 100, 10, 0).finished().await;
    eventually("messages come again", PATIENCE, || async { (count.tally().arrivals >= before + 100).then_some(()) })
        .await;
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}
