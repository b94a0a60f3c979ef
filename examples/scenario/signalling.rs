//! Audio and video signalling: persistent sessions, and a back end that sees all.

use rumqttc_v5::mqttbytes::QoS;

use crate::{
    PATIENCE, broker, receives, say, send,
    servers::{
        bridge::Bridge,
        mqtt::{Client, Login},
        rocketmq::RocketMq,
    },
    step,
};

const ANN: &str = "GID_call@@@ann";
const BOB: &str = "GID_call@@@bob";

async fn signals(from: &mut Client, who: &str, to: &str, what: &str) {
    say(who, &format!("sends    {what} to {to}"));
    from.publish(&format!("signal/p2p/{to}"), QoS::AtLeastOnce, what.to_owned()).await;
}

pub(crate) async fn play(rocketmq: &RocketMq) {
    let mosquitto = broker(&[]).await;
    for topic in ["signal", "signal_service"] {
        rocketmq.create_topic(topic, 4).await;
    }
    let mut bridge = Bridge::of("scenarios/signalling/rocketbridge.toml", &[("EDGE", &mosquitto)], rocketmq);
    bridge.run();
    bridge.ready().await;
    let mut ann = Client::connect(&Login::new(mosquitto.port, ANN)).await;
    ann.subscribe(&format!("signal/p2p/{ANN}"), QoS::AtLeastOnce).await;
    let mut bob = Client::connect(&Login::new(mosquitto.port, BOB)).await;
    bob.subscribe(&format!("signal/p2p/{BOB}"), QoS::AtLeastOnce).await;
    step("Bob is in a lift");
    drop(bob);
    signals(&mut ann, "Ann", BOB, "invite").await;
    let mut record = rocketmq.reader("signal");
    let seen = record.take(1, PATIENCE).await;
    assert_eq!(seen[0].body, b"invite");
    send(rocketmq, "signal_service", &format!("/p2p/{BOB}"), "you missed a call").await;
    let seen = record.take(1, PATIENCE).await;
    assert_eq!(seen[0].body, b"you missed a call");

    step("Bob is back");
    let mut bob = Client::connect(&Login::new(mosquitto.port, BOB).resume()).await;
    receives(&mut bob, "Bob", "invite").await;
    receives(&mut bob, "Bob", "you missed a call").await;
    signals(&mut bob, "Bob", ANN, "accept").await;
    receives(&mut ann, "Ann", "accept").await;
    signals(&mut ann, "Ann", BOB, "candidate 1").await;
    signals(&mut ann, "Ann", BOB, "candidate 2").await;
    receives(&mut bob, "Bob", "candidate 1").await;
    receives(&mut bob, "Bob", "candidate 2").await;
    let seen = record.take(3, PATIENCE).await;
    let to_bob = seen.iter().filter(|signal| signal.keys.as_deref() == Some(BOB)).map(|signal| signal.body.clone());
    assert_eq!(to_bob.collect::<Vec<_>>(), [b"candidate 1".to_vec(), b"candidate 2".to_vec()]);
    say("back end", "has all five signals and its own word on record");
    bridge.terminate(PATIENCE);
}
