//! Clients of a real RMQTT that logged in with tokens.

use std::{
    io,
    time::{Duration, Instant},
};

use rumqttc_v5::{ConnectReturnCode, Packet, Publish, SubscribeReasonCode, mqttbytes::QoS};
use serde_json::{Value, json};

use super::{
    replicas::{Replica, TOPIC},
    service::{CREDENTIALS, Service, now, settings},
};
use crate::servers::{
    bridge::Bridge,
    eventually, free_port,
    mqtt::{self, Connection, Login},
    rmqtt::{Options, Rmqtt, asking, telling_of_tokens},
    rocketmq::{self, RocketMq},
};

/// Longer than anything takes that has no limit of its own.
const PATIENCE: Duration = Duration::from_secs(20);
/// A notice, a moment to read it, and the cut, on a machine that has much else to do.
const AT_ONCE: Duration = Duration::from_secs(10);
const USER: &str = "Token|YYYYY|mqtt-x";
/// The shortest life of a token, in seconds.
const SHORTEST: u64 = 60;

/// An RMQTT, the bridge that it asks and tells, and the bridge's token service.
struct World {
    rmqtt: Rmqtt,
    bridge: Bridge,
    service: Service,
}

impl World {
    /// `api` says whether the bridge may have clients cut; on a `rocketmq` it is one of several.
    async fn start(api: bool, rocketmq: Option<&RocketMq>) -> Self {
        let (hooks, port) = (free_port(), free_port());
        let mut plugins = asking(hooks, "disconnect_if_pub_rejected = true");
        plugins.extend(telling_of_tokens(hooks));
        let rmqtt = Rmqtt::start(&Options { plugins, ..Options::default() }).await;
        let api = if api {
            format!("[mqtt.edge.api]\nurl = \"http://127.0.0.1:{}\"\n", rmqtt.api_port)
        } else {
            String::new()
        };
        let edge = format!("[mqtt.edge]\nurl = \"{}\"\n{api}", rmqtt.url());
        let servers = rocketmq.map(|rocketmq| format!("[rocketmq.main]\nname_servers = {:?}\n", rocketmq.servers()));
        let service = settings(rocketmq.map(|_| TOPIC));
        let mut bridge = Bridge::new(&format!("{edge}{}{service}", servers.unwrap_or_default()), "");
        bridge.credentials(CREDENTIALS);
        bridge.set("ROCKETBRIDGE__HTTP__HOOKS", &format!("127.0.0.1:{hooks}"));
        bridge.set("ROCKETBRIDGE__HTTP__LMQ", &format!("127.0.0.1:{port}"));
        bridge.run();
        bridge.ready().await;
        Self { rmqtt, bridge, service: Service { port } }
    }

    async fn client(&self, device: &str, password: &str) -> Result<Client, ConnectReturnCode> {
        let mut login = Login::new(self.rmqtt.port, &format!("GID_Test@@@{device}"));
        login.user = Some((USER.to_owned(), password.to_owned()));
        let (connection, answer) = Connection::open(&login).await.unwrap();
        if answer.code == ConnectReturnCode::Success { Ok(Client { connection }) } else { Err(answer.code) }
    }

    /// A step-by-step client, with a session that outlives its connection.
    async fn lasting(&self, device: &str, password: &str, clean: bool) -> mqtt::Client {
        let mut login = Login::new(self.rmqtt.port, &format!("GID_Test@@@{device}"));
        login.user = Some((USER.to_owned(), password.to_owned()));
        login.clean = clean;
        mqtt::Client::connect(&login).await
    }

    async fn let_in(&self, device: &str, kind: &str, token: &str) -> Client {
        let client = self.client(device, &format!("{kind}|{token}")).await;
        client.unwrap_or_else(|code| panic!("{device} is not let in: {code:?}\n{}", self.bridge.log()))
    }
}

/// A client that says what it receives and when it is cut.
struct Client {
    connection: Connection,
}

/// What a client sees until its connection is gone: the notices, and when it was gone.
type Seen = (Vec<(String, Value)>, Instant);

impl Client {
    async fn publish(&mut self, topic: &str, payload: &str) {
        self.connection.push(&Packet::Publish(Publish::new(topic, QoS::AtMostOnce, payload.to_owned(), None)));
        self.connection.flush().await.unwrap();
    }

    /// Reads until it is cut; says that it is there, so that only the bridge can be the reason.
    async fn until_cut(mut self, limit: Duration) -> Seen {
        let mut seen = Vec::new();
        let reading = async {
            loop {
                match self.connection.next().await {
                    Ok(Packet::Publish(publish)) => {
                        let topic = String::from_utf8_lossy(&publish.topic).into_owned();
                        seen.push((topic, serde_json::from_slice(&publish.payload).unwrap()));
                    }
                    Ok(Packet::Disconnect(_)) | Err(_) => return Instant::now(),
                    Ok(_) => {}
                }
            }
        };
        let cut = tokio::time::timeout(limit, reading).await.expect("the client is cut");
        (seen, cut)
    }

    /// Whether it is still connected: its broker answers.
    async fn is_there(&mut self) -> io::Result<()> {
        self.connection.push(&Packet::PingReq);
        self.connection.flush().await?;
        while !matches!(self.connection.next().await?, Packet::PingResp) {}
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs servers: scripts/test runs it"]
async fn a_client_is_told_and_cut_when_its_token_is_revoked_and_no_other_is() {
    let world = World::start(true, None).await;
    let (token, other) =
        (world.service.apply("TopicA/#", "R", 3600).await, world.service.apply("TopicB/#", "R,W", 3600).await);
    let one = world.let_in("one", "R", &token).await;
    let mut two = world.let_in("two", "RW", &other).await;
    let begin = Instant::now();
    assert_eq!(world.service.revoke(&token).await, 200);
    let (seen, cut) = one.until_cut(PATIENCE).await;
    assert!(cut - begin < AT_ONCE, "{:?}", cut - begin);
    assert_eq!(seen, [("$SYS/tokenInvalidNotice".to_owned(), json!({ "code": 3, "type": "R" }))]);
    two.is_there().await.expect("the other client is left alone");
    assert!(world.client("one", &format!("R|{token}")).await.is_err(), "nobody gets in with it again");
    let cuts = world.bridge.metric("rocketbridge_token_clients_cut_total", &["broker=\"edge\""]).await;
    assert_eq!(cuts, Some(1.0));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs servers: scripts/test runs it"]
async fn a_client_is_told_ahead_and_cut_when_its_token_ends_unless_it_sends_a_new_one() {
    let mut world = World::start(true, None).await;
    let token = world.service.apply("TopicA/#", "R,W", SHORTEST).await;
    let (begin, end) = (Instant::now(), now() + SHORTEST * 1000);
    let stays = world.let_in("stays", "RW", &token).await;
    let mut renews = world.let_in("renews", "RW", &token).await;
    let spoils = world.let_in("spoils", "RW", &token).await;
    let renewed = world.service.apply("TopicA/#", "R,W", 3600).await;
    let upload = |token: &str| json!({ "token": token, "type": "RW" }).to_string();
    renews.publish("$SYS/uploadToken", &upload(&renewed)).await;
    let mut spoils = spoils;
    spoils.publish("$SYS/uploadToken", &upload(&renewed[1..])).await;
    let (seen, _) = spoils.until_cut(PATIENCE).await;
    assert_eq!(seen.last().unwrap().1, json!({ "code": 1, "type": "RW" }), "{seen:?}");

    // Who is logged in is not forgotten over a kill.
    tokio::time::sleep(Duration::from_secs(3)).await;
    world.bridge.kill();
    world.bridge.run();
    world.bridge.ready().await;

    let (seen, cut) = stays.until_cut(Duration::from_secs(SHORTEST) + PATIENCE).await;
    let lived = cut - begin;
    assert!(lived > Duration::from_secs(SHORTEST - 1) && lived < Duration::from_secs(SHORTEST) + AT_ONCE, "{lived:?}");
    let (first, last) = (&seen[0], seen.last().unwrap());
    assert_eq!((&*first.0, &first.1["type"]), ("$SYS/tokenExpireNotice", &json!("RW")));
    assert!(first.1["expireTime"].as_u64().unwrap().abs_diff(end) < 2000, "{first:?}");
    assert_eq!(last, &("$SYS/tokenInvalidNotice".to_owned(), json!({ "code": 2, "type": "RW" })));
    renews.is_there().await.expect("the client with a new token stays");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs servers: scripts/test runs it"]
async fn without_an_interface_of_its_broker_a_client_is_cut_at_its_next_packet() {
    let world = World::start(false, None).await;
    let token = world.service.apply("TopicA/#", "R,W", 3600).await;
    let mut one = world.let_in("one", "RW", &token).await;
    one.publish("TopicA/x", "before").await;
    one.is_there().await.expect("it may publish there");
    assert_eq!(world.service.revoke(&token).await, 200);
    one.publish("TopicA/x", "after").await;
    one.until_cut(PATIENCE).await;
    for wrong in [&token[..], &token[1..], "abc", ""] {
        assert!(world.client("one", &format!("RW|{wrong}")).await.is_err(), "{wrong}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs servers: scripts/test runs it"]
async fn a_client_is_cut_when_its_token_is_revoked_at_another_replica() {
    let rocketmq = RocketMq::start(&rocketmq::Options::default()).await;
    rocketmq.create_topic(TOPIC, 1).await;
    let (world, other) = (World::start(true, Some(&rocketmq)).await, Replica::start(&rocketmq).await);
    let token = other.service.apply("TopicA/#", "R", 3600).await;
    eventually("the replica that the broker asks has caught up", PATIENCE, || async {
        (world.service.query(&token).await == 200).then_some(())
    })
    .await;
    let one = world.let_in("one", "R", &token).await;
    let begin = Instant::now();
    assert_eq!(other.service.revoke(&token).await, 200);
    let (seen, cut) = one.until_cut(PATIENCE).await;
    assert!(cut - begin < AT_ONCE, "{:?}", cut - begin);
    assert_eq!(seen, [("$SYS/tokenInvalidNotice".to_owned(), json!({ "code": 3, "type": "R" }))]);
    assert!(world.client("one", &format!("R|{token}")).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs servers: scripts/test runs it"]
async fn a_client_that_is_offline_when_its_token_is_revoked_misses_nothing() {
    let world = World::start(true, None).await;
    let (first, second) =
        (world.service.apply("TopicA/#", "R", 3600).await, world.service.apply("TopicA/#", "R,W", 3600).await);
    let mut one = world.lasting("one", &format!("R|{first}"), true).await;
    assert_eq!(one.subscribe("TopicA/x", QoS::AtLeastOnce).await, SubscribeReasonCode::Success(QoS::AtLeastOnce));
    drop(one);
    let mut other = world.lasting("other", &format!("RW|{second}"), true).await;
    other.publish("TopicA/x", QoS::AtLeastOnce, "waits").await;
    assert_eq!(world.service.revoke(&first).await, 200);
    // It is looked for twice, a second apart.
    tokio::time::sleep(Duration::from_secs(4)).await;
    let mut one = world.lasting("one", &format!("RW|{second}"), false).await;
    assert!(one.connack.session_present, "its session was ended: {}", world.bridge.log());
    assert_eq!(&*one.next().await.payload, b"waits");
}
