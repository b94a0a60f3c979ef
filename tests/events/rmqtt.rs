//! RMQTT's client events, in topics and over its web-hook, its list of clients, and what a kill leaves.

use std::collections::BTreeSet;

use rumqttc_v5::{Publish, mqttbytes::QoS};
use serde_json::Value;

use super::{Arrival, Device, ENDS, End, PATIENCE, QUIET, Version, passes};
use crate::servers::{
    free_port,
    hooks::Hooks,
    mqtt::{Client, Login},
    rmqtt::{Options, Rmqtt},
};

const EVENTS: &str = "$SYS/brokers/+/clients/#";

/// What an event says, as far as a test can foretell it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Event {
    kind: String,
    client_id: String,
    address: String,
    /// Empty when one connects.
    reason: String,
}

fn event(kind: &str, client_id: &str, device: &Device, reason: &str) -> Event {
    let address = device.address.to_string();
    Event { kind: kind.to_owned(), client_id: client_id.to_owned(), address, reason: reason.to_owned() }
}

impl Event {
    fn read(kind: &str, told: &Value) -> Self {
        let text = |name: &str| told[name].as_str().unwrap_or_default().to_owned();
        let at = format!("{kind}_at");
        assert!(told[&at].as_u64() > Some(1_700_000_000_000), "no milliseconds in {at}: {told}");
        assert_eq!(told["node"], 0);
        // It has no other word for none.
        assert_eq!(text("username"), "undefined");
        Self { kind: kind.to_owned(), client_id: text("clientid"), address: text("ipaddress"), reason: text("reason") }
    }

    fn of_topic(publish: &Publish) -> Self {
        let topic = String::from_utf8_lossy(&publish.topic);
        let told = serde_json::from_slice(&publish.payload).unwrap();
        eprintln!("{topic} {told}");
        assert!(!publish.retain && publish.qos == QoS::AtLeastOnce);
        let (place, kind) = topic.rsplit_once('/').unwrap();
        let event = Self::read(kind, &told);
        assert_eq!(place, format!("$SYS/brokers/0/clients/{}", event.client_id));
        event
    }

    fn of_hook(told: &Value) -> Self {
        eprintln!("web-hook {told}");
        let kind = told["action"].as_str().and_then(|action| action.strip_prefix("client_")).unwrap();
        Self::read(kind, told)
    }
}

/// Hears an RMQTT in both ways.
struct Ears {
    client: Client,
    hooks: Hooks,
}

impl Ears {
    async fn open() -> (Rmqtt, Self) {
        let mut hooks = Hooks::start().await;
        let rmqtt = Rmqtt::start(&Options { web_hook: Some(hooks.url.clone()), ..Options::default() }).await;
        let mut client = Client::connect(&Login::new(rmqtt.port, "watch").resume()).await;
        client.subscribe(EVENTS, QoS::AtLeastOnce).await;
        // Its own connect.
        hooks.next_within(PATIENCE).await.expect("the web-hook hears of a client");
        while client.next_within(QUIET).await.is_some() {}
        (rmqtt, Self { client, hooks })
    }

    /// That the next events are these, each in both ways, and in any order: RMQTT promises none.
    async fn hear(&mut self, what: &str, expected: &[Event]) {
        eprintln!("-- {what}");
        let (mut topics, mut hooks) = (BTreeSet::new(), BTreeSet::new());
        for _ in expected {
            let publish = self.client.next_within(PATIENCE).await.expect("an event in a topic");
            topics.insert(Event::of_topic(&publish));
            let told = self.hooks.next_within(PATIENCE).await.expect("an event at the web-hook");
            hooks.insert(Event::of_hook(&told));
        }
        let expected: BTreeSet<Event> = expected.iter().cloned().collect();
        assert_eq!(topics, expected, "{what}");
        assert_eq!(hooks, expected, "{what}");
    }
}

fn reason(end: End, version: Version) -> &'static str {
    match (end, version) {
        (End::Disconnect, Version::V3) => "Disconnect(V3),RemoteClose",
        (End::Disconnect, Version::V5) => {
            "Disconnect(V5(Disconnect { reason_code: NormalDisconnection, session_expiry_interval_secs: None, \
             server_reference: None, reason_string: None, user_properties: [] })),RemoteClose"
        }
        (End::Close, _) => "RemoteClose",
        (End::Reset, _) => "io error, \"Connection reset by peer (os error 104)\"",
        (End::Silence, _) => "KeepaliveTimeout",
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs servers: scripts/test runs it"]
async fn rmqtt_says_how_each_connection_ended() {
    let (rmqtt, mut ears) = Ears::open().await;
    for version in [Version::V3, Version::V5] {
        for end in ENDS {
            let id = format!("dev {end:?}");
            let arrival = Arrival { version, keep_alive: end.keep_alive(), ..Arrival::new(rmqtt.port, &id) };
            let device = Device::connect(&arrival).await;
            let expected =
                [event("connected", &id, &device, ""), event("disconnected", &id, &device, reason(end, version))];
            end.of(device).await;
            ears.hear(&format!("{version:?} {end:?}"), &expected).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs servers: scripts/test runs it"]
async fn rmqtt_says_of_which_address_a_connection_was_that_is_taken_over() {
    let (rmqtt, mut ears) = Ears::open().await;
    for version in [Version::V3, Version::V5] {
        let arrival = Arrival { version, ..Arrival::new(rmqtt.port, "twice") };
        let mut old = Device::connect(&arrival).await;
        let new = Device::connect(&arrival).await;
        old.closed().await;
        let expected = [
            event("connected", "twice", &old, ""),
            event("disconnected", "twice", &old, "Kicked"),
            event("connected", "twice", &new, ""),
        ];
        ears.hear(&format!("{version:?} taken over"), &expected).await;
        let gone = [event("disconnected", "twice", &new, "RemoteClose")];
        new.close();
        ears.hear("the new one goes", &gone).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs servers: scripts/test runs it"]
async fn rmqtt_lists_its_clients_and_cuts_one() {
    let (rmqtt, mut ears) = Ears::open().await;
    let from = free_port();
    let mut device = Device::connect(&Arrival { from, ..Arrival::new(rmqtt.port, "dev one") }).await;
    ears.hear("a device", &[event("connected", "dev one", &device, "")]).await;
    let (status, clients) = rmqtt.ask("GET", "clients").await.unwrap();
    eprintln!("{clients:#}");
    assert_eq!(status, 200);
    let listed = clients.as_array().unwrap().iter().find(|client| client["clientid"] == "dev one").unwrap();
    assert_eq!((&listed["connected"], &listed["ip_address"]), (&true.into(), &"127.0.0.1".into()));
    assert_eq!(listed["port"], from);
    let (status, cut) = rmqtt.ask("DELETE", "clients/dev%20one").await.unwrap();
    eprintln!("{status} {cut}");
    assert_eq!(status, 200);
    device.closed().await;
    ears.hear("it is cut", &[event("disconnected", "dev one", &device, "ByAdminKick")]).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs servers: scripts/test runs it"]
async fn rmqtt_says_nothing_of_the_connections_that_die_with_it() {
    let (mut rmqtt, mut ears) = Ears::open().await;
    let mut device = Device::connect(&Arrival::new(rmqtt.port, "device")).await;
    ears.hear("a device", &[event("connected", "device", &device, "")]).await;
    rmqtt.kill();
    device.closed().await;
    rmqtt.restart().await;
    // It loses events while it takes up a session: just after it started, and while the session's client returns.
    tokio::time::sleep(QUIET).await;
    let early = passes(rmqtt.port, "early").await;
    tokio::time::sleep(QUIET).await;
    ears.client = Client::connect(&Login::new(rmqtt.port, "watch").resume()).await;
    // A session that was not begun clean, and its subscription, outlive the kill.
    assert!(ears.client.connack.session_present);
    let mut told = Vec::new();
    while let Some(publish) = ears.client.next_within(QUIET).await {
        told.push(Event::of_topic(&publish));
    }
    assert!(told.iter().any(|event| event.address == early && event.kind == "disconnected"), "{told:?}");
    assert!(!told.iter().any(|event| event.client_id == "device"), "{told:?}");
    let (_, clients) = rmqtt.ask("GET", "clients").await.unwrap();
    let listed: Vec<&Value> = clients.as_array().unwrap().iter().map(|client| &client["clientid"]).collect();
    assert_eq!(listed, ["watch"]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs servers: scripts/test runs it"]
async fn rmqtt_gives_each_event_to_one_of_those_who_share_them() {
    let rmqtt = Rmqtt::start(&Options::default()).await;
    let mut members = Vec::new();
    for id in ["one", "two"] {
        let mut client = Client::connect(&Login::new(rmqtt.port, id)).await;
        client.subscribe(&format!("$share/bridge/{EVENTS}"), QoS::AtLeastOnce).await;
        members.push(client);
    }
    for number in 0..10 {
        passes(rmqtt.port, &format!("device {number}")).await;
    }
    let mut told = Vec::new();
    for member in &mut members {
        let mut own = Vec::new();
        while let Some(publish) = member.next_within(QUIET).await {
            own.push(Event::of_topic(&publish));
        }
        own.retain(|event| event.client_id.starts_with("device"));
        assert!(!own.is_empty());
        told.push(own);
    }
    eprintln!("{} and {}", told[0].len(), told[1].len());
    let all: BTreeSet<&Event> = told.iter().flatten().collect();
    assert_eq!((all.len(), told.concat().len()), (20, 20));
}
