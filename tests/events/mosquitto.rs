//! Mosquitto's log lines of one client after the other. Lines as 2.0 writes them.

use rumqttc_v5::{
    Publish,
    mqttbytes::{QoS, v5::ConnectReturnCode},
};

use super::{Arrival, Device, ENDS, End, PATIENCE, QUIET, Version};
use crate::servers::{
    mosquitto::{Mosquitto, Options},
    mqtt::{Client, Login},
};

/// Mosquitto with its log in topics.
pub(super) async fn talking() -> Mosquitto {
    talking_and(&[]).await
}

/// The same, with further lines of configuration.
pub(super) async fn talking_and(lines: &[&str]) -> Mosquitto {
    let lines = ["log_dest topic"].iter().chain(lines).map(|line| (*line).to_owned()).collect();
    Mosquitto::start(&Options { lines, ..Options::default() }).await
}

/// A line without its time, after the letter of its topic: `N Client x disconnected.`
pub(super) fn line(publish: &Publish) -> String {
    let topic = String::from_utf8_lossy(&publish.topic);
    let letter = topic.strip_prefix("$SYS/broker/log/").expect("a topic of the log");
    let payload = String::from_utf8_lossy(&publish.payload);
    let (time, words) = payload.split_once(": ").expect("a time before each line");
    assert!(time.parse::<u64>().is_ok(), "no seconds since 1970 in {payload:?}");
    format!("{letter} {words}")
}

/// True for the line of a TCP connection that was just accepted.
pub(super) fn accepted(line: &str) -> bool {
    line.starts_with("N New connection from ")
}

struct Log(Client);

impl Log {
    async fn of(mosquitto: &Mosquitto, qos: QoS) -> Self {
        let mut client = Client::connect(&Login::new(mosquitto.port, "watch")).await;
        client.subscribe("$SYS/broker/log/#", qos).await;
        let mut log = Self(client);
        // Its own connect, if that comes at all, is no part of a test.
        while log.0.next_within(QUIET).await.is_some() {}
        log
    }

    /// The next lines, as many as are expected, and that they are these; an accepted TCP connection is left out.
    async fn says(&mut self, what: &str, expected: &[String]) {
        eprintln!("-- {what}");
        for wanted in expected {
            let mut told = self.next().await;
            while accepted(&told) {
                told = self.next().await;
            }
            assert_eq!(&told, wanted, "{what}");
        }
    }

    async fn next(&mut self) -> String {
        let publish = self.0.next_within(PATIENCE).await.expect("a line comes");
        assert!(!publish.retain && !publish.dup);
        let properties = publish.properties.as_ref().expect("properties");
        let expiry = properties.message_expiry_interval.expect("an expiry");
        assert!((18..=20).contains(&expiry), "{expiry}");
        let line = line(&publish);
        eprintln!("{:?} {line}", publish.qos);
        line
    }

    async fn is_quiet(&mut self) {
        let more = self.0.next_within(QUIET).await;
        assert!(more.is_none(), "{more:?}");
    }
}

/// The number by which 2.0 names a protocol in a line.
fn number(version: Version) -> u8 {
    match version {
        Version::V3 => 2,
        Version::V5 => 5,
    }
}

fn connected(arrival: &Arrival, device: &Device) -> String {
    let (address, id) = (device.address, &arrival.client_id);
    // Its web socket library listens over IPv6.
    let mapped = if arrival.web_socket { "::ffff:" } else { "" };
    let (number, keep_alive) = (number(arrival.version), arrival.keep_alive);
    format!("N New client connected from {mapped}{address} as {id} (p{number}, c1, k{keep_alive}).")
}

fn ended(end: End, arrival: &Arrival) -> String {
    let words = match end {
        End::Disconnect => "disconnected.",
        // A reset as well, and over a web socket whatever is no DISCONNECT.
        End::Close | End::Reset => "closed its connection.",
        End::Silence if arrival.web_socket => "closed its connection.",
        End::Silence => "has exceeded timeout, disconnecting.",
    };
    format!("N Client {} {words}", arrival.client_id)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs servers: scripts/test runs it"]
async fn mosquitto_says_how_each_connection_ended() {
    let mosquitto = talking().await;
    let mut log = Log::of(&mosquitto, QoS::ExactlyOnce).await;
    for version in [Version::V3, Version::V5] {
        for web_socket in [false, true] {
            let port = if web_socket { mosquitto.ws_port } else { mosquitto.port };
            for end in ENDS {
                let new = Arrival::new(port, &format!("dev {end:?}"));
                let arrival = Arrival { version, web_socket, keep_alive: end.keep_alive(), ..new };
                let device = Device::connect(&arrival).await;
                let expected = [connected(&arrival, &device), ended(end, &arrival)];
                end.of(device).await;
                log.says(&format!("{version:?} {end:?}, web socket: {web_socket}"), &expected).await;
            }
        }
    }
    log.is_quiet().await;
}

/// The line of an old connection's end is missing over TCP. Over a web socket it comes late: when the client id is
/// another connection's already.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs servers: scripts/test runs it"]
async fn mosquitto_says_that_a_connection_is_taken_over_on_another_topic() {
    let mosquitto = talking().await;
    let mut log = Log::of(&mosquitto, QoS::ExactlyOnce).await;
    for (version, from, to) in [
        (Version::V3, false, false),
        (Version::V5, false, false),
        (Version::V5, true, false),
        (Version::V5, false, true),
        (Version::V3, true, true),
    ] {
        let arrival = |web_socket: bool| {
            let port = if web_socket { mosquitto.ws_port } else { mosquitto.port };
            Arrival { version, web_socket, ..Arrival::new(port, "twice") }
        };
        let mut old = Device::connect(&arrival(from)).await;
        let new = Device::connect(&arrival(to)).await;
        old.closed().await;
        let mut expected = vec![
            connected(&arrival(from), &old),
            "E Client twice already connected, closing old connection.".to_owned(),
            connected(&arrival(to), &new),
        ];
        if from {
            expected.push("N Client twice closed its connection.".to_owned());
        }
        log.says(&format!("{version:?} taken over, web socket: {from}, then {to}"), &expected).await;
        log.is_quiet().await;
        new.disconnect().await;
        log.says("the new one goes", &["N Client twice disconnected.".to_owned()]).await;
    }
}

/// Nor does a refused one end the connection of the client whose id it uses.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs servers: scripts/test runs it"]
async fn mosquitto_names_no_client_that_it_refuses_or_that_never_said_connect() {
    let users = vec![("watch".to_owned(), "secret".to_owned())];
    let lines = vec!["log_dest topic".to_owned()];
    let mosquitto = Mosquitto::start(&Options { users, lines, ..Options::default() }).await;
    let login = |password: &str| Login {
        user: Some(("watch".to_owned(), password.to_owned())),
        ..Login::new(mosquitto.port, "watch")
    };
    let mut client = Client::connect(&login("secret")).await;
    client.subscribe("$SYS/broker/log/#", QoS::AtLeastOnce).await;
    let mut log = Log(client);
    let refused = Client::connect(&login("wrong")).await;
    assert_eq!(refused.connack.code, ConnectReturnCode::NotAuthorized);
    log.says("refused", &["N Client <unknown> disconnected, not authorised.".to_owned()]).await;
    drop(tokio::net::TcpStream::connect(("127.0.0.1", mosquitto.port)).await.unwrap());
    log.says("no CONNECT", &["N Client <unknown> closed its connection.".to_owned()]).await;
    log.is_quiet().await;
}
