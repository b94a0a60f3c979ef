//! Mosquitto's clients.

use super::{Arrival, BackEnd, Device, bridge, come_and_go, every_channel_is_told_once, rocketmq, said_so};
use crate::servers::mosquitto::{Mosquitto, Options};

const ID: &str = "GID_dev@@@taken";

async fn mosquitto() -> Mosquitto {
    let lines = vec!["log_dest topic".to_owned(), "connection_messages true".to_owned()];
    Mosquitto::start(&Options { lines, ..Options::default() }).await
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs servers: scripts/test runs it"]
async fn every_way_to_come_and_go_gives_the_notices_of_the_contract() {
    let (mut mosquitto, rocketmq) = tokio::join!(mosquitto(), rocketmq());
    let _bridge = bridge(mosquitto.port, &rocketmq, "mosquitto", "60s").await;
    let mut back_end = BackEnd::of(&rocketmq).await;
    let tcp = Arrival::new(mosquitto.port, "");
    let web = Arrival { web_socket: true, ..Arrival::new(mosquitto.ws_port, "") };
    come_and_go(&mut back_end, &tcp, "").await;
    // Its web socket library listens over IPv6.
    come_and_go(&mut back_end, &web, "::ffff:").await;

    // Taken over, over each kind of connection by each; the last one stays.
    let mut open: Option<(Device, String)> = None;
    for arrival in [&tcp, &tcp, &web, &web, &tcp] {
        let device = Device::connect(&Arrival { client_id: ID.to_owned(), ..arrival.clone() }).await;
        if let Some((_old, channel)) = &open {
            back_end.gone(ID, channel).await;
        }
        let prefix = if arrival.web_socket { "::ffff:" } else { "" };
        let channel = back_end.came(ID, &format!("{prefix}{}", device.address)).await;
        open = Some((device, channel));
    }
    let (device, channel) = open.take().unwrap();

    // Killed and restarted: nobody says that the connection is gone.
    mosquitto.snapshot();
    mosquitto.kill();
    drop(device);
    mosquitto.restart().await;
    back_end.gone(ID, &channel).await;
    let device = Device::connect(&Arrival { client_id: ID.to_owned(), ..tcp.clone() }).await;
    let channel = back_end.came(ID, &device.address.to_string()).await;
    every_channel_is_told_once(&rocketmq, said_so, &[&channel]).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs servers: scripts/test runs it"]
async fn a_broker_that_stays_away_takes_its_clients_with_it() {
    let (mut mosquitto, rocketmq) = tokio::join!(mosquitto(), rocketmq());
    let mut bridge = bridge(mosquitto.port, &rocketmq, "mosquitto", "2s").await;
    let mut back_end = BackEnd::of(&rocketmq).await;
    let device = Device::connect(&Arrival::new(mosquitto.port, ID)).await;
    let channel = back_end.came(ID, &device.address.to_string()).await;
    mosquitto.kill();
    back_end.gone(ID, &channel).await;
    mosquitto.restart().await;
    // Its session is gone: what happens before it is back, nobody hears.
    bridge.ready().await;
    let device = Device::connect(&Arrival::new(mosquitto.port, ID)).await;
    let channel = back_end.came(ID, &device.address.to_string()).await;
    every_channel_is_told_once(&rocketmq, said_so, &[&channel]).await;
}
