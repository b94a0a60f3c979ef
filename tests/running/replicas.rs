//! Several bridges share the work of one route: members of a consumer group, and of a shared subscription.

use super::{PATIENCE, SIZE, arrives, counted, produce, servers, settings};
use crate::servers::{
    bridge::Bridge,
    mqtt::{Login, PublishLoad, Publisher, Subscriber},
};

const ROUTES: &str = r#"
[[route]]
name = "down"
from.rocketmq = "replicas"
from.start = "first"
to.mqtt = "{topic}{subtopic}"

[[route]]
name = "up"
from.mqtt = "replicas-up/#"
from.share = "replicas"
to.rocketmq = "replicas-up"
order_by = "none"
"#;

const COUNT: u64 = 6_000;
const KEYS: u64 = 100;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs servers: scripts/test runs it"]
async fn replicas_join_leave_and_are_killed_without_loss() {
    let (mosquitto, rocketmq) = servers().await;
    rocketmq.create_topic("replicas", 8).await;
    rocketmq.create_topic("replicas-up", 4).await;
    let replica = |client_id: &str| {
        Bridge::new(&settings("loop_key = \"of all replicas\"", client_id, mosquitto, rocketmq), ROUTES)
    };
    let [mut one, mut two, mut three] = ["replica-1", "replica-2", "replica-3"].map(replica);
    let down = Subscriber::start(Login::new(mosquitto.port, "replicas-count"), "replicas/#").await;
    one.run();
    one.ready().await;

    let producing = produce(rocketmq, "replicas", COUNT, KEYS, 1_000);
    let load = PublishLoad { topic: "replicas-up/{key}".into(), count: COUNT, keys: KEYS, size: SIZE, rate: 1_000 };
    let up = Publisher::start(Login::new(mosquitto.port, "replicas-device"), load);
    let some_work = async |bridge: &Bridge| {
        for route in ["route=\"down\"", "route=\"up\""] {
            bridge.metric_reaches("rocketbridge_stored_total", &[route], 200.0, PATIENCE).await;
        }
    };
    some_work(&one).await;
    two.run();
    some_work(&two).await;
    assert!(one.terminate(PATIENCE).success(), "{}", one.log());
    three.run();
    some_work(&three).await;
    three.kill();

    producing.finished().await;
    up.finished().await;
    assert_eq!(up.unrouted(), 0);
    // A broker keeps the queues of a member that was killed for a minute.
    arrives(&down, "a consumer group over replicas that come and go", COUNT, KEYS).await;
    // What a shared subscription has given to a member waits for it.
    for bridge in [&mut one, &mut three] {
        bridge.run();
    }
    let report = counted(rocketmq, "replicas-up", COUNT, KEYS).await;
    report.tell("a shared subscription over replicas that come and go");
    assert!(report.lost.is_empty() && report.strange == 0, "{report}");
}
