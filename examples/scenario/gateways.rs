//! Cloud storage gateways: calls over P2P, `noreply`, and commands that grow stale.

use std::{
    collections::HashSet,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rumqttc_v5::mqttbytes::QoS;
use serde_json::{Value, json};

use crate::{
    PATIENCE, broker, hears, say, send,
    servers::{
        bridge::Bridge,
        judge::Consumer,
        mqtt::{Client, Login},
        rocketmq::RocketMq,
    },
    step,
};

const ONE: &str = "GID_gw_east@@@g1";
const TWO: &str = "GID_gw_west@@@g2";
/// How long the console waits for an answer before it says `noreply`.
const TIME_OUT: Duration = Duration::from_secs(3);

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time after 1970");
    u64::try_from(since.as_millis()).expect("a time of this age")
}

/// A gateway's program: it answers each command once, and none that is stale.
struct Gateway {
    client: Client,
    id: &'static str,
    done: HashSet<String>,
}

impl Gateway {
    async fn connect(login: &Login, id: &'static str) -> Self {
        let mut client = Client::connect(login).await;
        client.subscribe(&format!("gw_cmd/p2p/{id}"), QoS::AtLeastOnce).await;
        say(id, "is online");
        Self { client, id, done: HashSet::new() }
    }

    /// Sees to the next command that comes in time; whether it did what it was told.
    async fn works(&mut self, limit: Duration) -> Option<bool> {
        let command: Value = serde_json::from_str(&hears(&mut self.client, limit).await?).expect("a command");
        let call = command["call"].as_str().unwrap_or_default().to_owned();
        if command["until"].as_u64().unwrap_or_default() < now() {
            say(self.id, &format!("drops    {call}: stale"));
            return Some(false);
        }
        if !self.done.insert(call.clone()) {
            say(self.id, &format!("drops    {call}: done already"));
            return Some(false);
        }
        let (group, device) = self.id.split_once("@@@").unwrap_or_default();
        let region = group.rsplit('_').next().unwrap_or_default();
        say(self.id, &format!("does     {call} and answers"));
        let answer = json!({ "call": call, "ok": true }).to_string();
        self.client.publish(&format!("gw_up/{region}/{device}/answer"), QoS::AtLeastOnce, answer).await;
        Some(true)
    }
}

/// The console: it calls, and waits for the answer.
struct Console<'a> {
    rocketmq: &'a RocketMq,
    answers: Consumer,
}

impl Console<'_> {
    async fn sends(&self, target: &str, call: &str, valid: i64) {
        let until = now().saturating_add_signed(valid);
        send(self.rocketmq, "gw_cmd", &format!("/p2p/{target}"), &json!({ "call": call, "until": until }).to_string())
            .await;
    }

    /// Whether the answer to a call comes in time.
    async fn hears(&mut self, call: &str) -> bool {
        let answer = tokio::time::timeout(TIME_OUT, async {
            while let Some(answer) = self.answers.next().await {
                let body: Value = serde_json::from_slice(&answer.body).expect("an answer");
                if body["call"] == call {
                    break;
                }
            }
        });
        let came = answer.await.is_ok();
        say("console", &format!("{call}: {}", if came { "answered" } else { "noreply" }));
        came
    }
}

pub(crate) async fn play(rocketmq: &RocketMq) {
    let mosquitto = broker(&["log_dest topic", "connection_messages true"]).await;
    for topic in ["gw_cmd", "gw_up", "GID_gw_east_MQTT", "GID_gw_west_MQTT"] {
        rocketmq.create_topic(topic, 4).await;
    }
    let answers = rocketmq.consume("gw_up", "GID_console").await;
    let mut bridge = Bridge::of("scenarios/storage-gateways/rocketbridge.toml", &[("EDGE", &mosquitto)], rocketmq);
    bridge.set("CONSOLE_SECRET", "secret");
    bridge.run();
    bridge.ready().await;
    // Mosquitto's log has whole seconds: what happens in the one in which the bridge began may have been missed.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let mut console = Console { rocketmq, answers };
    let login = |id: &str| Login::new(mosquitto.port, id);
    let valid = 60_000;

    let mut one = Gateway::connect(&login(ONE), ONE).await;
    let two = Gateway::connect(&login(TWO), TWO).await;
    console.sends(ONE, "snapshot-1", valid).await;
    assert_eq!(one.works(PATIENCE).await, Some(true));
    assert!(console.hears("snapshot-1").await);

    step("a gateway is switched off");
    drop(two);
    let metric = ("rocketbridge_dropped_total", ["reason=\"offline_client\""]);
    // Its leave is known within moments; what is sent before then waits in its session, and is stale when it comes.
    let mut tries = 0;
    while bridge.metric(metric.0, &metric.1).await.is_none() {
        tries += 1;
        assert!(tries < 300, "never known to be offline");
        console.sends(TWO, "snapshot-2", 0).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    console.sends(TWO, "snapshot-2", valid).await;
    assert!(!console.hears("snapshot-2").await);
    // It is dropped when its gateway has been away for three seconds since; until then it would still find it.
    tokio::time::sleep(Duration::from_secs(4)).await;

    step("it is back: nothing of old is done, and the call is made again");
    let mut two = Gateway::connect(&login(TWO).resume(), TWO).await;
    while let Some(did) = two.works(Duration::from_millis(400)).await {
        assert!(!did, "it did a command from when it was off");
    }
    console.sends(TWO, "snapshot-2", valid).await;
    assert_eq!(two.works(PATIENCE).await, Some(true));
    assert!(console.hears("snapshot-2").await);

    step("a repeated command is done once, a stale one not at all");
    console.sends(ONE, "snapshot-1", valid).await;
    assert_eq!(one.works(PATIENCE).await, Some(false));
    console.sends(ONE, "snapshot-3", -1).await;
    assert_eq!(one.works(PATIENCE).await, Some(false));
    console.answers.stop().await;
    bridge.terminate(PATIENCE);
}
