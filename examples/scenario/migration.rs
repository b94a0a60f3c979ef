//! From a hosted LMQ to a broker of one's own, group by group. A second Mosquitto stands in for the hosted endpoint.

use rumqttc_v5::mqttbytes::QoS;

use crate::{
    PATIENCE, QUIET, broker, hears, receives, say, send,
    servers::{
        bridge::Bridge,
        judge::Consumer,
        mosquitto::Mosquitto,
        mqtt::{Client, Login},
        rocketmq::RocketMq,
    },
    step,
};

const JOINED: &str = "scenarios/migration/1-joined/rocketbridge.toml";
const MOVED: &str = "scenarios/migration/2-moved/rocketbridge.toml";
const EAST: &str = "GID_east@@@m1";
const WEST: &str = "GID_west@@@m2";

async fn device(broker: &Mosquitto, id: &'static str) -> Client {
    let mut client = Client::connect(&Login::new(broker.port, id)).await;
    client.subscribe(&format!("ACE_cmd/p2p/{id}"), QoS::AtLeastOnce).await;
    client
}

/// Each device publishes a reading, which the back end finds once, and receives a command, which only it receives.
async fn works(rocketmq: &RocketMq, readings: &mut Consumer, devices: &mut [(&str, &mut Client)], round: &str) {
    for (id, device) in devices.iter_mut() {
        let machine = id.rsplit('@').next().unwrap_or_default();
        let reading = format!("{machine} in {round}");
        device.publish(&format!("ACE/up/{machine}"), QoS::AtLeastOnce, reading.clone()).await;
        let stored =
            tokio::time::timeout(PATIENCE, readings.next()).await.expect("a reading comes").expect("a reading");
        assert_eq!(String::from_utf8_lossy(&stored.body), reading);
        say("back end", &format!("reads    {reading}"));
        send(rocketmq, "ACE_cmd", &format!("/p2p/{id}"), round).await;
        receives(device, id, round).await;
    }
    for (id, device) in devices.iter_mut() {
        assert_eq!(hears(device, QUIET).await, None, "{id}");
    }
    assert!(tokio::time::timeout(QUIET, readings.next()).await.is_err(), "a reading came twice");
}

pub(crate) async fn play(rocketmq: &RocketMq) {
    let (hosted, own) = (broker(&[]).await, broker(&[]).await);
    for topic in ["ACE", "ACE_cmd"] {
        rocketmq.create_topic(topic, 4).await;
    }
    let mut readings = rocketmq.consume("ACE", "GID_back_end").await;
    let mut bridge = Bridge::of(JOINED, &[("HOSTED", &hosted), ("OWN", &own)], rocketmq);
    bridge.set("HOSTED_SECRET", "secret");
    bridge.run();
    bridge.ready().await;

    step("both sides are joined; all devices are on the hosted one");
    let (mut east, mut west) = (device(&hosted, EAST).await, device(&hosted, WEST).await);
    works(rocketmq, &mut readings, &mut [(EAST, &mut east), (WEST, &mut west)], "step 1").await;

    step("the group GID_east moves: its devices change their address");
    drop(east);
    let mut east = device(&own, EAST).await;
    works(rocketmq, &mut readings, &mut [(EAST, &mut east), (WEST, &mut west)], "step 2").await;

    step("the group GID_west moves, and the hosted side is left");
    drop(west);
    let mut west = device(&own, WEST).await;
    bridge.terminate(PATIENCE);
    for route in ["up-hosted", "down-hosted"] {
        let retired = bridge.command(&["retire", route]);
        assert!(retired.status.success(), "{}", String::from_utf8_lossy(&retired.stderr));
        say("operator", &format!("retires  {route}"));
    }
    drop(hosted);
    bridge.change(MOVED);
    bridge.unset("ROCKETBRIDGE__MQTT__HOSTED__URL");
    bridge.run();
    bridge.ready().await;
    works(rocketmq, &mut readings, &mut [(EAST, &mut east), (WEST, &mut west)], "step 3").await;
    readings.stop().await;
    bridge.terminate(PATIENCE);
}
