//! What of Mosquitto's log lines reaches a session that was away, or whose broker was killed.

use std::time::Duration;

use rumqttc_v5::{Packet, PubAck, Publish, Subscribe, SubscribeFilter, mqttbytes::QoS};

use super::{
    Arrival, Device, PATIENCE, QUIET,
    mosquitto::{accepted, line, talking, talking_and},
    passes,
};
use crate::servers::mqtt::{Client, Connection, Login};

const LOG: &str = "$SYS/broker/log/#";

/// What comes until it is quiet: lines of accepted connections left out.
async fn lines(client: &mut Client) -> Vec<String> {
    let mut told = Vec::new();
    while let Some(publish) = client.next_within(QUIET).await {
        told.push(line(&publish));
    }
    told.retain(|line| !accepted(line));
    eprintln!("{told:#?}");
    told
}

/// The lines of a client that has come and gone.
fn passed(client_id: &str, address: &str) -> [String; 2] {
    [
        format!("N New client connected from {address} as {client_id} (p5, c1, k600)."),
        format!("N Client {client_id} disconnected."),
    ]
}

/// A session that hears the log and was never begun clean: else it would not be in a snapshot.
async fn session(port: u16, client_id: &str) -> Client {
    let mut client = Client::connect(&Login::new(port, client_id).resume()).await;
    client.subscribe(LOG, QoS::AtLeastOnce).await;
    client
}

/// A subscriber with room for 4 messages that acknowledges nothing by itself.
struct Slow(Connection);

impl Slow {
    async fn begin(port: u16, client_id: &str) -> Self {
        let mut slow = Self::resume(port, client_id).await;
        let mut subscribe = Subscribe::new(SubscribeFilter::new(LOG, QoS::AtLeastOnce), None);
        subscribe.pkid = 1;
        slow.0.push(&Packet::Subscribe(subscribe));
        slow.0.flush().await.unwrap();
        assert!(matches!(slow.0.next().await.unwrap(), Packet::SubAck(_)));
        slow
    }

    async fn resume(port: u16, client_id: &str) -> Self {
        // It rules over the broker's `max_inflight_messages`, which is 20.
        let login = Login { window: 4, ..Login::new(port, client_id) };
        let (connection, _) = Connection::open(&login.resume()).await.unwrap();
        Self(connection)
    }

    /// What comes until it is quiet.
    async fn takes(&mut self) -> Vec<Publish> {
        let mut taken = Vec::new();
        while let Ok(packet) = tokio::time::timeout(QUIET, self.0.next()).await {
            if let Packet::Publish(publish) = packet.unwrap() {
                eprintln!("dup {} id {} {}", publish.dup, publish.pkid, line(&publish));
                taken.push(publish);
            }
        }
        taken
    }

    async fn acknowledge(&mut self, taken: &[Publish]) {
        for publish in taken {
            self.0.push(&Packet::PubAck(PubAck::new(publish.pkid, None)));
        }
        self.0.flush().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs servers: scripts/test runs it"]
async fn mosquitto_keeps_lines_for_20_seconds_for_a_session_that_is_away() {
    let mosquitto = talking().await;
    let port = mosquitto.port;
    drop(session(port, "reader").await);
    let early = passes(port, "early").await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    eprintln!("-- after 5 s");
    let mut reader = Client::connect(&Login::new(port, "reader").resume()).await;
    assert!(reader.connack.session_present);
    let told = lines(&mut reader).await;
    // It hears of itself as well, of its end and of its return.
    assert_eq!(told[0], "N Client reader closed its connection.");
    assert_eq!(told[1..3], passed("early", &early));
    assert!(told[3].ends_with(" as reader (p5, c0, k60)."), "{told:?}");
    assert_eq!(told.len(), 4);
    drop(reader);
    passes(port, "old").await;
    tokio::time::sleep(Duration::from_secs(22)).await;
    let young = passes(port, "young").await;
    eprintln!("-- after 22 s");
    let mut reader = Client::connect(&Login::new(port, "reader").resume()).await;
    assert!(reader.connack.session_present);
    let told = lines(&mut reader).await;
    // Nothing says that lines are missing.
    assert_eq!(told[..2], passed("young", &young));
    assert_eq!(told.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs servers: scripts/test runs it"]
async fn mosquitto_repeats_unacknowledged_lines_with_their_packet_ids() {
    let mosquitto = talking().await;
    let mut slow = Slow::begin(mosquitto.port, "slow").await;
    passes(mosquitto.port, "first").await;
    let first = slow.takes().await;
    drop(slow);
    // Until Mosquitto knows, it would send on.
    tokio::time::sleep(QUIET).await;
    passes(mosquitto.port, "second").await;
    let mut slow = Slow::resume(mosquitto.port, "slow").await;
    let mut again = slow.takes().await;
    slow.acknowledge(&again).await;
    again.extend(slow.takes().await);
    let (repeated, new) = again.split_at(first.len());
    for (repeated, first) in repeated.iter().zip(&first) {
        assert!(repeated.dup && !first.dup);
        assert_eq!((repeated.pkid, &repeated.payload), (first.pkid, &first.payload));
    }
    // Written as the connection ended, to that connection: marked as a repetition although it never arrived.
    assert_eq!((line(&new[0]).as_str(), new[0].dup), ("N Client slow closed its connection.", true));
    assert!(new[1..].iter().any(|publish| line(publish) == "N Client second disconnected."));
    assert!(new[1..].iter().all(|publish| !publish.dup));
}

/// A trap: with all that is in flight expired, a session that comes back gets nothing, not even what is fresh, until
/// something new is published for it.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs servers: scripts/test runs it"]
async fn mosquitto_gives_a_session_with_a_full_window_of_expired_lines_nothing_until_something_new_comes() {
    let mosquitto = talking().await;
    let port = mosquitto.port;
    let mut slow = Slow::begin(port, "slow").await;
    passes(port, "first").await;
    passes(port, "second").await;
    assert_eq!(slow.takes().await.len(), 4);
    drop(slow);
    tokio::time::sleep(Duration::from_secs(22)).await;
    passes(port, "fresh").await;
    let mut slow = Slow::resume(port, "slow").await;
    assert!(slow.takes().await.is_empty());
    eprintln!("-- something new");
    passes(port, "new").await;
    let mut told = Vec::new();
    while !told.iter().any(|line| line == "N Client new disconnected.") {
        let taken = slow.takes().await;
        assert!(!taken.is_empty(), "{told:?}");
        slow.acknowledge(&taken).await;
        told.extend(taken.iter().map(line));
    }
    assert!(told.contains(&"N Client fresh disconnected.".to_owned()), "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs servers: scripts/test runs it"]
async fn mosquitto_says_nothing_of_the_connections_that_die_with_it() {
    let mut mosquitto = talking().await;
    let port = mosquitto.port;
    let mut clean = Client::connect(&Login::new(port, "clean")).await;
    clean.subscribe(LOG, QoS::AtLeastOnce).await;
    drop(session(port, "reader").await);
    let queued = passes(port, "queued").await;
    mosquitto.snapshot();
    let mut reader = Client::connect(&Login::new(port, "reader").resume()).await;
    let before = lines(&mut reader).await;
    assert!(before.contains(&"N Client queued disconnected.".to_owned()));
    let mut device = Device::connect(&Arrival::new(port, "device")).await;
    assert_eq!(lines(&mut reader).await.len(), 1);
    mosquitto.kill();
    device.closed().await;
    mosquitto.restart().await;
    eprintln!("-- after kill -9 and a restart");
    let mut reader = Client::connect(&Login::new(port, "reader").resume()).await;
    assert!(reader.connack.session_present);
    let after = lines(&mut reader).await;
    // What it acknowledged after the snapshot comes again.
    assert_eq!(after[1..3], passed("queued", &queued), "{after:?}");
    let starts = after.iter().position(|line| line.starts_with("I mosquitto version ") && line.ends_with(" starting"));
    let runs = after.iter().position(|line| line.starts_with("I mosquitto version ") && line.ends_with(" running"));
    assert!(starts > Some(2) && runs > starts, "{after:?}");
    // Those who come before it are not missed: this is the harness, which asks whether the port is open.
    assert!(after.contains(&"N Client <unknown> closed its connection.".to_owned()));
    assert!(!after.iter().any(|line| line.starts_with("N Client device")), "{after:?}");
    // A session that began clean is in no snapshot.
    assert!(!Client::connect(&Login::new(port, "clean").resume()).await.connack.session_present);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs servers: scripts/test runs it"]
async fn mosquitto_says_that_it_is_stopped_and_nothing_of_its_clients() {
    let mut mosquitto = talking().await;
    let mut reader = Client::connect(&Login::new(mosquitto.port, "reader")).await;
    // What needs no acknowledgement: Mosquitto would not be there for it.
    reader.subscribe(LOG, QoS::AtMostOnce).await;
    let _device = Device::connect(&Arrival::new(mosquitto.port, "device")).await;
    assert_eq!(lines(&mut reader).await.len(), 1);
    let told = tokio::spawn(async move { [line(&reader.next().await), line(&reader.next().await)] });
    mosquitto.terminate();
    let told = told.await.unwrap();
    eprintln!("{told:#?}");
    assert!(told[0].starts_with("I mosquitto version ") && told[0].ends_with(" terminating"));
    assert!(told[1].starts_with("I Saving in-memory database to "));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs servers: scripts/test runs it"]
async fn mosquitto_says_how_long_it_runs_retained_and_again_every_interval() {
    const UPTIME: &str = "$SYS/broker/uptime";
    let seconds = |publish: &Publish| {
        let payload = String::from_utf8_lossy(&publish.payload).into_owned();
        eprintln!("retain {} {:?} {payload}", publish.retain, publish.qos);
        payload.strip_suffix(" seconds").expect("seconds").parse::<u64>().expect("a number")
    };
    // 10 s unless said otherwise.
    let mut mosquitto = talking_and(&["sys_interval 1"]).await;
    let mut reader = Client::connect(&Login::new(mosquitto.port, "reader")).await;
    reader.subscribe(UPTIME, QoS::ExactlyOnce).await;
    let first = reader.next().await;
    let expiry = first.properties.as_ref().and_then(|properties| properties.message_expiry_interval);
    assert!(first.retain && first.qos == QoS::ExactlyOnce && expiry > Some(50), "{first:?}");
    let mut last = seconds(&first);
    for _ in 0..2 {
        let next = reader.next_within(PATIENCE).await.unwrap();
        assert!(!next.retain && seconds(&next) > last);
        last = seconds(&next);
    }
    mosquitto.snapshot();
    mosquitto.kill();
    mosquitto.restart().await;
    let mut reader = Client::connect(&Login::new(mosquitto.port, "reader")).await;
    reader.subscribe(UPTIME, QoS::ExactlyOnce).await;
    let first = reader.next().await;
    assert!(first.retain && seconds(&first) < last, "it began anew");
}
