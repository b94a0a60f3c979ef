//! Devices with Paho and back ends with the vendor's own client library, as programs that know nothing of the bridge: their
//! addresses are all that was changed.

use std::time::Duration;

use crate::servers::{
    bridge::{Bridge, settings_at},
    free_port,
    java::Program,
    rmqtt::{Options, Rmqtt},
    rocketmq::RocketMq,
};

const ONE: &str = "GID_java@@@1";
const TWO: &str = "GID_java@@@2";
const QUIET: Duration = Duration::from_millis(500);
/// Messages of the ordered part.
const COUNT: usize = 40;

const MAPPING: &str = r#"
    [[route]]
    name = "java-up"
    from.mqtt = ["Jace/live/#", "Jace/p2p/+"]
    to.rocketmq = "Jace"

    [[route]]
    name = "java-down"
    from.rocketmq = "Jace"
    from.start = "first"
    to.mqtt = "Jace{subtopic}"

    [[route]]
    name = "java-ordered"
    from.mqtt = "Jord/{sender}/#"
    to.rocketmq = "Jord"
    to.client_id = "{sender}"
    to.shard_key = "{client_id}"

    [[status]]
    name = "java-status"
    from.events = "rmqtt"
"#;

/// What runs between the programs.
struct World {
    rmqtt: Rmqtt,
    rocketmq: &'static RocketMq,
    /// The port of the status query.
    query: u16,
    _bridge: Bridge,
}

impl World {
    async fn start() -> Self {
        let own = "subscribes = [{ topic_filter = \"Jace/p2p/${clientid}\", qos = 1 }]\n".to_owned();
        let options = Options { plugins: vec![("rmqtt-auto-subscription", own)], ..Options::default() };
        let (rmqtt, rocketmq) = tokio::join!(Rmqtt::start(&options), RocketMq::shared());
        for topic in ["Jace", "Jord", "GID_java_MQTT"] {
            rocketmq.create_topic(topic, 4).await;
        }
        let settings = settings_at(rmqtt.port, &rocketmq.servers())
            + "[lmq]\ninstance = \"mqtt-x\"\ncredentials = \"credentials.toml\"\n";
        let mut bridge = Bridge::new(&settings, MAPPING);
        bridge.credentials("[[access_key]]\nid = \"AK\"\nsecret = { env = \"SECRET\" }\ngroups = \"GID_java\"\n");
        let query = free_port();
        bridge.set("SECRET", "SK");
        bridge.set("ROCKETBRIDGE__HTTP__LMQ", &format!("127.0.0.1:{query}"));
        bridge.run();
        bridge.ready().await;
        Self { rmqtt, rocketmq, query, _bridge: bridge }
    }

    fn device(&self, client_id: &str) -> Program {
        let server = format!("tcp://127.0.0.1:{}", self.rmqtt.port);
        Program::start("Device", &[&server, "AK", "SK", "mqtt-x", client_id])
    }

    fn back_end(&self) -> Program {
        let (servers, query) = (self.rocketmq.servers().join(";"), format!("http://127.0.0.1:{}", self.query));
        Program::start("BackEnd", &[&servers, &query, "AK", "SK", "mqtt-x", "GID_java_back"])
    }
}

/// The payload of each message that came, and that all came over one topic.
async fn texts(program: &mut Program, topic: &str, count: usize) -> Vec<String> {
    let mut texts = Vec::new();
    for _ in 0..count {
        let mut received = program.received().await;
        assert_eq!(received[0], topic, "{received:?}");
        texts.push(received.pop().unwrap());
    }
    texts
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs servers: scripts/test runs it"]
async fn devices_and_back_ends_of_lmq_run_unchanged() {
    let world = World::start().await;
    // A back end that follows who is online, and one for all else; groups keep them apart.
    let (mut back_end, mut watcher) = (world.back_end(), world.back_end());
    (back_end, watcher) = (back_end.connected().await, watcher.connected().await);
    back_end.tell(&["consume", "Jace", "*"]).await;
    watcher.tell(&["consume", "GID_java_MQTT", "connect || tcpclean"]).await;
    let (one, two) = (world.device(ONE), world.device(TWO));
    let (mut one, mut two) = (one.connected().await, two.connected().await);

    come_online(&mut watcher).await;
    up_and_down(&mut back_end, &mut one, &mut two).await;
    point_to_point(&mut back_end, &mut one, &mut two).await;
    ordered(&mut back_end, &mut one).await;

    assert!(online(&mut back_end, TWO, 1).await);
    two.tell(&["quit"]).await;
    let received = watcher.received().await;
    assert_eq!(received[1], "tcpclean");
    assert!(received.last().unwrap().contains(TWO), "{received:?}");
    assert!(online(&mut back_end, TWO, 0).await && online(&mut back_end, ONE, 1).await);
}

async fn come_online(watcher: &mut Program) {
    let mut came = [watcher.received().await, watcher.received().await];
    came.sort_by(|a, b| a.last().cmp(&b.last()));
    assert!(came.iter().all(|notice| notice[1] == "connect"), "{came:?}");
    let bodies = came.map(|mut notice| notice.pop().unwrap());
    let is_of = |body: &String, client_id: &str| body.contains(&format!("\"clientId\":\"{client_id}\""));
    assert!(bodies.iter().any(|body| is_of(body, ONE)) && bodies.iter().any(|body| is_of(body, TWO)), "{bodies:?}");
}

async fn up_and_down(back_end: &mut Program, one: &mut Program, two: &mut Program) {
    one.tell(&["publish", "Jace/live/100", "up"]).await;
    let received = back_end.received().await;
    assert_eq!((received[0].as_str(), received[4].as_str()), ("Jace", "up"));
    assert!(received[3].contains("mqttSecondTopic=/live/100") && received[3].contains("qoslevel=1"), "{received:?}");

    one.tell(&["subscribe", "Jace/live/#"]).await;
    two.tell(&["subscribe", "Jace/live/#"]).await;
    back_end.tell(&["send", "Jace", "down", "mqttSecondTopic=/live/200"]).await;
    assert_eq!(texts(one, "Jace/live/200", 1).await, ["down"]);
    assert_eq!(texts(two, "Jace/live/200", 1).await, ["down"]);
    assert_eq!(texts(back_end, "Jace", 1).await, ["down"], "it reads what it sends, once");
}

async fn point_to_point(back_end: &mut Program, one: &mut Program, two: &mut Program) {
    for second in [format!("mqttSecondTopic=/p2p/{ONE}"), format!("mqttSecondTopic=p2p/{ONE}")] {
        back_end.tell(&["send", "Jace", "for one", &second]).await;
    }
    // Not subscribed to.
    assert_eq!(texts(one, &format!("Jace/p2p/{ONE}"), 2).await, ["for one", "for one"]);
    one.tell(&["publish", &format!("Jace/p2p/{TWO}"), "for two"]).await;
    assert_eq!(texts(two, &format!("Jace/p2p/{TWO}"), 1).await, ["for two"]);
    let mut seen = texts(back_end, "Jace", 3).await;
    seen.sort();
    assert_eq!(seen, ["for one", "for one", "for two"]);
    for program in [one, two, back_end] {
        assert_eq!(program.rest(QUIET).await, Vec::<Vec<String>>::new());
    }
}

/// All that a device sends after `$SYS/enableOrderMsg` is in one queue, and so is what the vendor's ordered producer sends
/// under its client id; the vendor's orderly consumer reads all of it in order.
async fn ordered(back_end: &mut Program, one: &mut Program) {
    back_end.tell(&["consume-ordered", "Jord"]).await;
    one.tell(&["order"]).await;
    for number in 0..COUNT {
        one.tell(&["publish", &format!("Jord/{ONE}/{}", number % 3), &number.to_string()]).await;
    }
    let mut queues = Vec::new();
    for number in 0..COUNT {
        let received = back_end.received().await;
        assert_eq!(received[4], number.to_string());
        assert!(received[3].contains(&format!("clientId={ONE}")), "{received:?}");
        queues.push(received[2].clone());
    }
    back_end.tell(&["send-ordered", "Jord", ONE, "from the back end"]).await;
    let last = back_end.received().await;
    assert_eq!(last[4], "from the back end");
    queues.push(last[2].clone());
    assert!(queues.iter().all(|queue| *queue == queues[0]), "{queues:?}");
}

/// Whether the status query comes to say so.
async fn online(back_end: &mut Program, client_id: &str, expected: u32) -> bool {
    for _ in 0..100 {
        let answer = back_end.tell(&["online", client_id]).await.pop().unwrap();
        assert!(answer.contains("\"code\":0"), "{answer}");
        if answer.contains(&format!("\"online\":{expected},")) {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    false
}
