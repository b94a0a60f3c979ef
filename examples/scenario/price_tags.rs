//! Retail price tags: one message to all of a shop, and a receipt of each.

use std::collections::BTreeSet;

use rumqttc_v5::mqttbytes::QoS;

use crate::{
    PATIENCE, QUIET, broker, hears, say, send,
    servers::{
        bridge::Bridge,
        mqtt::{Client, Login},
        rocketmq::RocketMq,
    },
};

const SHOPS: [&str; 2] = ["shop1", "shop2"];
const TAGS: usize = 20;

pub(crate) async fn play(rocketmq: &RocketMq) {
    let mosquitto = broker(&[]).await;
    for topic in ["prices", "receipts"] {
        rocketmq.create_topic(topic, 4).await;
    }
    // The office of one shop reads its own receipts.
    let mut receipts = rocketmq.consume_tags("receipts", "GID_office", "shop1").await;
    let mut bridge = Bridge::of("scenarios/price-tags/rocketbridge.toml", &[("EDGE", &mosquitto)], rocketmq);
    bridge.run();
    bridge.ready().await;
    let mut shops = Vec::new();
    for shop in SHOPS {
        let mut tags = Vec::new();
        for number in 0..TAGS {
            let mut tag = Client::connect(&Login::new(mosquitto.port, &format!("GID_{shop}@@@t{number:02}"))).await;
            tag.subscribe(&format!("prices/{shop}/#"), QoS::AtLeastOnce).await;
            tags.push(tag);
        }
        say(shop, &format!("{TAGS} price tags are lit"));
        shops.push(tags);
    }
    let [first, second] = &mut shops[..] else { unreachable!("two shops") };
    send(rocketmq, "prices", "/shop1/milk", "0.99").await;
    for (number, tag) in first.iter_mut().enumerate() {
        assert_eq!(hears(tag, PATIENCE).await.as_deref(), Some("0.99"));
        tag.publish(&format!("receipts/shop1/t{number:02}"), QoS::AtLeastOnce, "milk 0.99").await;
    }
    say("shop1", &format!("{TAGS} price tags show 0.99"));
    assert_eq!(hears(&mut second[0], QUIET).await, None, "the other shop's price did not change");
    say("shop2", "shows what it showed");
    let mut seen = BTreeSet::new();
    while seen.len() < TAGS {
        let receipt =
            tokio::time::timeout(PATIENCE, receipts.next()).await.expect("a receipt comes").expect("a receipt");
        assert_eq!((receipt.tag.as_deref(), receipt.body.as_slice()), (Some("shop1"), b"milk 0.99".as_slice()));
        seen.insert(receipt.keys);
    }
    say("office", &format!("has {TAGS} receipts of shop1"));
    receipts.stop().await;
    bridge.terminate(PATIENCE);
}
