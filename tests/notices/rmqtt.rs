//! RMQTT's clients.

use super::{Arrival, BackEnd, Device, bridge, come_and_go, every_channel_is_told_once, rocketmq, said_so};
use crate::servers::rmqtt::{Options, Rmqtt};

const ID: &str = "GID_dev@@@taken";

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs servers: scripts/test runs it"]
async fn every_way_to_come_and_go_gives_the_notices_of_the_contract() {
    let options = Options::default();
    let (mut rmqtt, rocketmq) = tokio::join!(Rmqtt::start(&options), rocketmq());
    let _bridge = bridge(rmqtt.port, &rocketmq, "rmqtt", "2s").await;
    let mut back_end = BackEnd::of(&rocketmq).await;
    come_and_go(&mut back_end, &Arrival::new(rmqtt.port, ""), "").await;

    let first = Device::connect(&Arrival::new(rmqtt.port, ID)).await;
    let old = back_end.came(ID, &first.address.to_string()).await;
    let second = Device::connect(&Arrival::new(rmqtt.port, ID)).await;
    // It tells the two in any order; the bridge does not.
    back_end.gone(ID, &old).await;
    let new = back_end.came(ID, &second.address.to_string()).await;

    // It says nothing of those that it takes with it.
    rmqtt.kill();
    back_end.gone(ID, &new).await;
    drop((first, second));
    every_channel_is_told_once(&rocketmq, said_so, &[]).await;
}
