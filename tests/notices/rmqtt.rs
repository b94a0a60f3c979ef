//! RMQTT's clients.

use super::{Arrival, BackEnd, Device, bridge, come_and_go, every_channel_is_told_once, rocketmq, said_so};
use crate::servers::{
    bridge::{Bridge, settings_at},
    rmqtt::{Options, Rmqtt},
};

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

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs servers: scripts/test runs it"]
async fn the_list_of_clients_tells_what_no_event_has_told() {
    let options = Options::default();
    let (rmqtt, rocketmq) = tokio::join!(Rmqtt::start(&options), rocketmq());
    let device = async |name| Device::connect(&Arrival::new(rmqtt.port, name)).await;
    let [stays, goes, comes] = ["GID_dev@@@stays", "GID_dev@@@goes", "GID_dev@@@comes"];
    let (staying, going) = (device(stays).await, device(goes).await);
    let settings = settings_at(rmqtt.port, &rocketmq.servers());
    let settings = format!("{settings}[mqtt.edge.api]\nurl = \"http://127.0.0.1:{}\"\n", rmqtt.api_port);
    let route = "[[status]]\nname = \"who\"\nfrom.events = \"rmqtt\"\n";
    let mut bridge = Bridge::start(&settings, route).await;
    let checked = bridge.command(&["check", "--connect"]);
    let text = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(checked.status.success() && text.contains(" are listed"), "{text}");
    let mut back_end = BackEnd::of(&rocketmq).await;
    let mut first = [back_end.next().await, back_end.next().await];
    first.sort_by_key(|notice| notice.client_id.clone());
    let [gone, stayed] = first;
    assert_eq!((gone.client_id.as_str(), gone.address), (goes, going.address.to_string()));
    assert_eq!((stayed.client_id.as_str(), stayed.address), (stays, staying.address.to_string()));

    bridge.kill();
    // As a session that the broker has lost: what happens now is told to nobody.
    bridge.set("ROCKETBRIDGE__MQTT__EDGE__CLIENT_ID", "another");
    going.disconnect().await;
    let coming = device(comes).await;
    bridge.run();
    let mut second = [back_end.next().await, back_end.next().await];
    second.sort_by_key(|notice| notice.client_id.clone());
    let [came, went] = second;
    assert_eq!((came.client_id.as_str(), came.tag.as_str()), (comes, "connect"));
    assert_eq!((went.client_id.as_str(), went.tag.as_str(), went.channel), (goes, "tcpclean", gone.channel));

    // Whoever the list has told of, events tell on.
    coming.disconnect().await;
    back_end.gone(comes, &came.channel).await;
    every_channel_is_told_once(&rocketmq, |client_id| client_id == comes, &[&stayed.channel]).await;
    drop(staying);
}
