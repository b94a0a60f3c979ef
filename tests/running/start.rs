//! The bridge starts before any of its brokers, and joins two of each kind.

use super::{PATIENCE, arrives, holds, produce, publish, ready_says, servers};
use crate::servers::{
    bridge::Bridge,
    free_port,
    mosquitto::{Mosquitto, Options as MosquittoOptions},
    mqtt::{Login, Subscriber},
    rocketmq::{Options as RocketMqOptions, RocketMq},
};

const COUNT: u64 = 1_000;
const KEYS: u64 = 50;

/// A route for each combination of ends, all from brokers that start late.
const ROUTES: &str = r#"
[[route]]
name = "up"
from = { mqtt = "dawn-up/#", broker = "edge" }
to = { rocketmq = "dawn-up", broker = "main" }

[[route]]
name = "down"
from = { rocketmq = "dawn-down", broker = "main", start = "first" }
to = { mqtt = "{topic}{subtopic}", broker = "edge" }

[[route]]
name = "across"
from = { mqtt = "dawn-across/{id}", broker = "edge" }
to = { mqtt = "dawn-copy/{id}", broker = "site" }

[[route]]
name = "through"
from = { rocketmq = "dawn-through", broker = "main", start = "first" }
to = { rocketmq = "dawn-archive", broker = "second" }
"#;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs servers: scripts/test runs it"]
async fn a_bridge_that_starts_first_joins_all_four_combinations_once_the_brokers_are_there() {
    let (site, second) = servers().await;
    second.create_topic("dawn-archive", 4).await;
    let [mqtt_port, name_server_port] = [(); 2].map(|()| free_port());
    let settings = format!(
        "[mqtt.edge]\nurl = \"mqtt://127.0.0.1:{mqtt_port}\"\n[mqtt.site]\nurl = \"{}\"\nclient_id = \"dawn\"\n\
         [rocketmq.main]\nname_servers = \"127.0.0.1:{name_server_port}\"\n[rocketmq.second]\nname_servers = {:?}\n",
        site.url(),
        second.servers()
    );
    let mut bridge = Bridge::new(&settings, ROUTES);
    bridge.run();
    ready_says(&bridge, 503, &["cannot connect", "no connection to"]).await;
    assert_eq!(bridge.get("/live").await.unwrap().0, 200);

    let options = MosquittoOptions { port: Some(mqtt_port), ..MosquittoOptions::default() };
    let late_options = RocketMqOptions { port: Some(name_server_port), ..RocketMqOptions::default() };
    let (edge, main) = tokio::join!(Mosquitto::start(&options), RocketMq::start(&late_options));
    for topic in ["dawn-up", "dawn-down", "dawn-through"] {
        main.create_topic(topic, 4).await;
    }
    let down = Subscriber::start(Login::new(edge.port, "count"), "dawn-down/#").await;
    let across = Subscriber::start(Login::new(site.port, "dawn-count"), "dawn-copy/#").await;
    bridge.ready().await;

    let producing = ["dawn-down", "dawn-through"].map(|topic| produce(&main, topic, COUNT, KEYS, 0));
    tokio::join!(publish(&edge, "dawn-up", COUNT, KEYS), publish(&edge, "dawn-across", COUNT, KEYS));
    holds(&main, "dawn-up", COUNT, KEYS).await;
    holds(second, "dawn-archive", COUNT, KEYS).await;
    arrives(&down, "RocketMQ to MQTT", COUNT, KEYS).await;
    arrives(&across, "MQTT to MQTT", COUNT, KEYS).await;
    for producing in producing {
        producing.finished().await;
    }
    bridge.metric_reaches("rocketbridge_stored_total", &[], 4000.0, PATIENCE).await;
}
