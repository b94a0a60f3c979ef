//! A cluster as platforms run them: TLS, access control, a namespace, several name servers, several brokers.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use rumqttc_v5::mqttbytes::QoS;

use crate::servers::{
    bridge::{Bridge, there_and_back},
    free_port,
    mosquitto::Mosquitto,
    mqtt::{Client, Login},
    rocketmq::{ADMIN, Options, RocketMq},
};

const PATIENCE: Duration = Duration::from_secs(30);
const DEVICES: usize = 40;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs servers: scripts/test runs it"]
async fn both_ways_over_tls_with_access_control_a_namespace_and_two_of_each_server() {
    let options = Options { name_servers: 2, brokers: 2, acl: true, tls: true, ..Options::default() };
    let (mosquitto, rocketmq) = (Mosquitto::shared().await, RocketMq::start(&options).await);
    rocketmq.create_topic("plant%far", 2).await;
    // The first name server of the list is not there at all.
    let mut name_servers = vec![format!("127.0.0.1:{}", free_port())];
    name_servers.extend(rocketmq.servers());
    let authority = &rocketmq.certificates.as_ref().expect("made for TLS").authority;
    let settings = format!(
        "[mqtt.edge]\nurl = {:?}\n\n[rocketmq.main]\nname_servers = {name_servers:?}\nnamespace = \"plant\"\n\
         access_key = {:?}\nsecret_key = {{ env = \"MAIN\" }}\ntls.ca = {authority:?}\n",
        mosquitto.url(),
        ADMIN.0,
    );
    let mut bridge = Bridge::new(&settings, &there_and_back("far"));
    bridge.set("MAIN", ADMIN.1);
    bridge.run();
    bridge.ready().await;

    let mut device = Client::connect(&Login::new(mosquitto.port, "far-device")).await;
    device.subscribe("far-back/#", QoS::AtLeastOnce).await;
    for number in 0..DEVICES {
        device.publish(&format!("far/{number}"), QoS::AtLeastOnce, number.to_string()).await;
    }
    let mut back = BTreeMap::new();
    while back.len() < DEVICES {
        let publish = device.next().await;
        back.insert(String::from_utf8_lossy(&publish.topic).into_owned(), publish.payload);
    }
    let expected = (0..DEVICES).map(|number| (format!("far-back/{number}"), number.to_string().into())).collect();
    assert_eq!(back, expected);
    let stored = rocketmq.reader("plant%far").take(DEVICES, PATIENCE).await;
    let queues: BTreeSet<_> = stored.iter().map(|message| message.queue.as_str()).collect();
    assert_eq!(queues.len(), 4, "both brokers, all queues: {queues:?}");
}
