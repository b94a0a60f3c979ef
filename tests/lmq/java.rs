//! Devices with Paho and back ends with the vendor's own client library, as programs that know nothing of the bridge: their
//! addresses are all that was changed. The broker asks the bridge who may log in and what they may do.

use std::time::Duration;

use serde_json::{Value, json};

use crate::servers::{
    bridge::Bridge,
    free_port,
    java::Program,
    rmqtt::{OWN_USER, Options, Rmqtt, asking, edge_as_own_user, subscribing, telling_of_tokens},
    rocketmq::RocketMq,
};

const ONE: &str = "GID_java@@@1";
const TWO: &str = "GID_java@@@2";
/// Has tokens.
const THREE: &str = "GID_java@@@3";
const QUIET: Duration = Duration::from_millis(500);
/// Messages of the ordered part.
const COUNT: usize = 40;

/// What Paho makes of a CONNACK of 3.1.1 that says so.
const BAD_USER_OR_PASSWORD: &str = "4";
/// Longer than a device takes to come back.
const PATIENCE: Duration = Duration::from_secs(20);

const CREDENTIALS: &str = r#"
    [[access_key]]
    id = "AK"
    secret = { env = "SECRET" }
    groups = "GID_java"
    topics = ["Jace/#", "Jord/#"]
"#;

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
    /// The port of the status query and the token service.
    lmq: u16,
    bridge: Bridge,
}

impl World {
    async fn start() -> Self {
        let (hooks, lmq) = (free_port(), free_port());
        let mut plugins = asking(hooks, "disconnect_if_pub_rejected = true");
        plugins.extend(telling_of_tokens(hooks));
        plugins.push(subscribing());
        let options = Options { plugins, ..Options::default() };
        let (rmqtt, rocketmq) = tokio::join!(Rmqtt::start(&options), RocketMq::shared());
        for topic in ["Jace", "Jord", "GID_java_MQTT", "GID_rocketbridge_MQTT"] {
            rocketmq.create_topic(topic, 4).await;
        }
        let settings = format!(
            "{}api.url = \"http://127.0.0.1:{}\"\n\n\
             [rocketmq.main]\nname_servers = {:?}\n\n\
             [lmq]\ninstance = \"mqtt-x\"\nclient_ids = \"strict\"\ncredentials = \"credentials.toml\"\n\
             tokens.secret = \"what tokens are sealed with\"\n",
            edge_as_own_user(&rmqtt),
            rmqtt.api_port,
            rocketmq.servers(),
        );
        let mut bridge = Bridge::new(&settings, MAPPING);
        bridge.credentials(&[CREDENTIALS, OWN_USER].concat());
        bridge.set("SECRET", "SK");
        bridge.set("ROCKETBRIDGE__HTTP__HOOKS", &format!("127.0.0.1:{hooks}"));
        bridge.set("ROCKETBRIDGE__HTTP__LMQ", &format!("127.0.0.1:{lmq}"));
        bridge.run();
        bridge.ready().await;
        Self { rmqtt, rocketmq, lmq, bridge }
    }

    /// `mode` and `proof` are `Signature` and the secret, or `Token` and the tokens.
    fn device(&self, client_id: &str, mode: &str, proof: &str) -> Program {
        let server = format!("tcp://127.0.0.1:{}", self.rmqtt.port);
        Program::start("Device", &[&server, "AK", "mqtt-x", client_id, mode, proof])
    }

    fn back_end(&self) -> Program {
        let (servers, service) = (self.rocketmq.servers().join(";"), format!("http://127.0.0.1:{}", self.lmq));
        Program::start("BackEnd", &[&servers, &service, "AK", "SK", "mqtt-x", "GID_java_back"])
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
    let [one, two] = [ONE, TWO].map(|client_id| world.device(client_id, "Signature", "SK"));
    let mut stranger = world.device("GID_java@@@stranger", "Signature", "guessed");
    let (mut one, mut two) = (one.connected().await, two.connected().await);
    assert_eq!(stranger.says("refused").await, [BAD_USER_OR_PASSWORD]);

    come_online(&mut watcher).await;
    up_and_down(&mut back_end, &mut one, &mut two).await;
    point_to_point(&mut back_end, &mut one, &mut two).await;
    ordered(&mut back_end, &mut one).await;

    assert!(online(&mut back_end, TWO, 1).await);
    assert_eq!(two.tell(&["quit"]).await, ["ok"]);
    let received = watcher.received().await;
    assert_eq!(received[1], "tcpclean");
    assert!(received.last().unwrap().contains(TWO), "{received:?}");
    with_tokens(&world, &mut back_end, &mut one).await;
    assert!(online(&mut back_end, THREE, 0).await);
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

/// A device that never learns the secret: a back end lends it a part of its rights, and takes them back.
async fn with_tokens(world: &World, back_end: &mut Program, one: &mut Program) {
    let reads = token(back_end, &["R", "Jace/live/#"]).await;
    let writes = token(back_end, &["W", "Jace/live/lent"]).await;
    let password = format!("R|{reads}|W|{writes}");
    // Nobody makes one, nor uses one for what it was not made for.
    let mut others = [format!("W|{writes}|R|x{reads}"), format!("RW|{reads}")]
        .map(|password| world.device("GID_java@@@stranger", "Token", &password));
    let mut three = world.device(THREE, "Token", &password).connected().await;
    for other in &mut others {
        assert_eq!(other.says("refused").await, [BAD_USER_OR_PASSWORD]);
    }
    assert_eq!(three.tell(&["subscribe", "Jace/live/#"]).await, ["ok"]);

    assert_eq!(three.tell(&["publish", "Jace/live/lent", "up"]).await, ["ok"]);
    assert_eq!(texts(back_end, "Jace", 1).await, ["up"]);
    for device in [&mut three, &mut *one] {
        assert_eq!(texts(device, "Jace/live/lent", 1).await, ["up"]);
    }
    back_end.tell(&["send", "Jace", "down", "mqttSecondTopic=/live/300"]).await;
    assert_eq!(texts(&mut three, "Jace/live/300", 1).await, ["down"]);
    back_end.tell(&["send", "Jace", "for three", &format!("mqttSecondTopic=/p2p/{THREE}")]).await;
    assert_eq!(texts(&mut three, &format!("Jace/p2p/{THREE}"), 1).await, ["for three"]);
    assert_eq!(three.tell(&["publish", &format!("Jace/p2p/{ONE}"), "for one"]).await, ["ok"]);
    assert_eq!(texts(one, "Jace/live/300", 1).await, ["down"]);
    assert_eq!(texts(one, &format!("Jace/p2p/{ONE}"), 1).await, ["for one"]);

    // Outside of what it was lent, though the access key may. LMQ-1.6: who publishes there is cut; it comes back by itself.
    for filter in ["Jord/#", "Jace/#", "Jace/other"] {
        assert_eq!(three.tell(&["subscribe", filter]).await, ["refused"], "{filter}");
    }
    assert_eq!(three.tell(&["publish", "Jace/live/other", "not mine"]).await, ["refused"]);
    three.says("lost").await;
    three.says("back").await;
    assert_eq!(three.tell(&["publish", "Jace/live/lent", "up again"]).await, ["ok"]);
    let mut seen = texts(back_end, "Jace", 4).await;
    seen.sort();
    assert_eq!(seen, ["down", "for one", "for three", "up again"], "nothing of what was refused");

    assert_eq!(asked(back_end, &["query", &reads]).await["code"], 200);
    assert_eq!(asked(back_end, &["revoke", &reads]).await["code"], 200);
    let [topic, notice] = three.received().await.try_into().unwrap();
    let notice: Value = serde_json::from_str(&notice).unwrap();
    assert_eq!((&*topic, notice), ("$SYS/tokenInvalidNotice", json!({ "code": 3, "type": "R" })));
    three.says("lost").await;
    // It tries to come back, and does not.
    let revoked = ["form=\"rmqtt\"", "reason=\"token_revoked\""];
    world.bridge.metric_reaches("rocketbridge_logins_refused_total", &revoked, 1.0, PATIENCE).await;
    assert_eq!(three.rest(QUIET).await, Vec::<Vec<String>>::new());
    assert_eq!(asked(back_end, &["query", &reads]).await["code"], 3);
    assert_eq!(asked(back_end, &["query", &writes]).await["code"], 200);
}

/// A token for actions and topics.
async fn token(back_end: &mut Program, wish: &[&str]) -> String {
    let answer = asked(back_end, &[&["apply"], wish].concat()).await;
    assert_eq!(answer["code"], 200, "{answer}");
    answer["tokenData"].as_str().unwrap().to_owned()
}

/// What the token service answers.
async fn asked(back_end: &mut Program, question: &[&str]) -> Value {
    let answer = back_end.tell(question).await.pop().unwrap();
    serde_json::from_str(&answer).unwrap()
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
