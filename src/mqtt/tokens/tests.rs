//! Logging in to an endpoint of LMQ that does what a test says: each session signs for itself, and keeps its tokens.

use std::{path::Path, sync::Arc};

use rumqttc_v5::{ConnAck, ConnectReturnCode, Packet, PubAckReason, QoS};

use super::*;
use crate::{
    delivery::{SinkHandle, SourceHandle, sink_link, source_link},
    lmq::signature::sign,
    mapping::FromMqtt,
    message::Qos,
    mqtt::{
        fake_broker::{FakeBroker, Peer},
        sink, source,
    },
    settings::{Limits, MqttVersion},
    telemetry::Telemetry,
};

const LIMITS: Limits = Limits { messages: 100, bytes: 1 << 20 };

fn signature() -> LmqLogin {
    LmqLogin::Signature { access_key: "AK".into(), secret_key: Secret::new("SK"), instance: "mqtt-x".into() }
}

fn tokens(source: TokenSource, refresh: Duration) -> LmqLogin {
    LmqLogin::Token { access_key: "AK".into(), instance: "mqtt-x".into(), tokens: source, refresh }
}

fn file(path: &Path) -> TokenSource {
    TokenSource::File(path.to_owned())
}

/// Counts its runs in a file, and prints them as a token.
fn counting(folder: &Path) -> TokenSource {
    let script = "echo >>runs; printf 'RW|%s-%s' \"$ROCKETBRIDGE_CLIENT_ID\" \"$(wc -l <runs)\"";
    let script = format!("cd '{}' && {script}", folder.display());
    TokenSource::Command { program: "sh".into(), arguments: ["-c", &script].map(Secret::new).to_vec() }
}

fn start_source(fake: &FakeBroker, version: MqttVersion, login: LmqLogin, folder: &Path) -> SourceHandle {
    let (link, handle) = source_link(Telemetry::default().route("r", "fake", "fake", "").source.clone());
    let from = FromMqtt {
        broker: Arc::new(MqttBroker { version, login: Some(login), ..fake.settings() }),
        client_id: "GID_b@@@1-r".to_owned(),
        filters: vec!["t/#".to_owned()],
        share: None,
        qos: Qos::AtLeastOnce,
        forward_retained: false,
    };
    let data = folder.to_owned();
    tokio::spawn(async move { source::run(from, "r", LIMITS, &data, link).await });
    handle
}

fn start_sink(fake: &FakeBroker, login: LmqLogin) -> SinkHandle {
    let (link, handle) = sink_link(Telemetry::default().route("r", "fake", "fake", "").sink.clone());
    let broker = Arc::new(MqttBroker { login: Some(login), ..fake.settings() });
    tokio::spawn(async move { sink::run(broker, "GID_b@@@1-r-out", LIMITS, link).await });
    handle
}

/// The token that the next publish uploads, which is acknowledged.
async fn uploaded(peer: &mut Peer, reason: PubAckReason) -> String {
    let publish = peer.publish().await;
    assert_eq!((publish.topic.as_ref(), publish.qos), (UPLOAD.as_bytes(), QoS::AtLeastOnce));
    peer.ack(publish.pkid, reason).await;
    String::from_utf8(publish.payload.to_vec()).unwrap()
}

#[tokio::test]
async fn each_session_signs_its_own_client_id_over_both_versions() {
    let folder = tempfile::tempdir().unwrap();
    let fake = FakeBroker::start().await;
    let _sink = start_sink(&fake, signature());
    let peer = fake.login(false).await;
    assert_eq!(peer.login, ("Signature|AK|mqtt-x".to_owned(), sign("SK", "GID_b@@@1-r-out")));
    let _source = start_source(&fake, MqttVersion::V4, signature(), folder.path());
    let peer = fake.login_v4(false).await;
    assert_eq!(peer.login, ("Signature|AK|mqtt-x".to_owned(), sign("SK", "GID_b@@@1-r")));
}

#[tokio::test]
async fn a_changed_file_is_uploaded_and_the_next_login_is_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokens");
    std::fs::write(&path, "R|one|W|two\n").unwrap();
    let fake = FakeBroker::start().await;
    let _source = start_source(&fake, MqttVersion::V5, tokens(file(&path), Duration::from_secs(1)), folder.path());
    let mut peer = fake.subscribed(false).await;
    assert_eq!(peer.login, ("Token|AK|mqtt-x".to_owned(), "R|one|W|two".to_owned()));
    std::fs::write(&path, "R|three|W|four").unwrap();
    assert_eq!(uploaded(&mut peer, PubAckReason::Success).await, r#"{"token":"three","type":"R"}"#);
    assert_eq!(uploaded(&mut peer, PubAckReason::NotAuthorized).await, r#"{"token":"four","type":"W"}"#);
    drop(peer);
    assert_eq!(fake.subscribed(true).await.login.1, "R|three|W|four");
}

#[tokio::test]
async fn notices_have_new_tokens_fetched_and_are_nobodys_message() {
    let folder = tempfile::tempdir().unwrap();
    let fake = FakeBroker::start().await;
    let login = tokens(counting(folder.path()), Duration::from_secs(3600));
    let mut source = start_source(&fake, MqttVersion::V5, login, folder.path());
    let mut peer = fake.subscribed(false).await;
    assert_eq!(peer.login.1, "RW|GID_b@@@1-r-1");
    // One message waits for the far side; the notice behind it is acknowledged behind it.
    peer.deliver("t/a", QoS::AtLeastOnce, 1, false).await;
    let batch = source.deliveries.recv().await.unwrap();
    peer.deliver("$SYS/tokenExpireNotice", QoS::AtLeastOnce, 2, false).await;
    assert_eq!(uploaded(&mut peer, PubAckReason::Success).await, r#"{"token":"GID_b@@@1-r-2","type":"RW"}"#);
    source.settled.send(vec![batch[0].ticket]).unwrap();
    for packet_id in [1, 2] {
        assert!(matches!(peer.next().await, Packet::PubAck(ack) if ack.pkid == packet_id), "{packet_id}");
    }
    peer.deliver("$SYS/tokenInvalidNotice", QoS::AtMostOnce, 0, false).await;
    assert_eq!(uploaded(&mut peer, PubAckReason::Success).await, r#"{"token":"GID_b@@@1-r-3","type":"RW"}"#);
    peer.deliver("t/b", QoS::AtMostOnce, 0, false).await;
    let batch = source.deliveries.recv().await.unwrap();
    assert_eq!(batch[0].message.topic.as_str(), "t/b", "the notices are not handed on");
    drop(peer);
    assert_eq!(fake.subscribed(true).await.login.1, "RW|GID_b@@@1-r-3");
}

#[tokio::test]
async fn a_sink_acknowledges_notices_itself() {
    let folder = tempfile::tempdir().unwrap();
    let fake = FakeBroker::start().await;
    let _sink = start_sink(&fake, tokens(counting(folder.path()), Duration::from_secs(3600)));
    let mut peer = fake.login(false).await;
    peer.deliver("$SYS/tokenExpireNotice", QoS::AtLeastOnce, 7, false).await;
    assert!(matches!(peer.next().await, Packet::PubAck(ack) if ack.pkid == 7));
    assert_eq!(uploaded(&mut peer, PubAckReason::Success).await, r#"{"token":"GID_b@@@1-r-out-2","type":"RW"}"#);
}

#[tokio::test]
async fn a_refused_login_has_new_tokens_fetched_and_not_in_a_storm() {
    let folder = tempfile::tempdir().unwrap();
    let fake = FakeBroker::start().await;
    let _sink = start_sink(&fake, tokens(counting(folder.path()), Duration::from_secs(3600)));
    let began = Instant::now();
    for run in 1..=2 {
        let mut peer = fake.accept().await;
        assert_eq!(peer.login.1, format!("RW|GID_b@@@1-r-out-{run}"));
        let code = ConnectReturnCode::NotAuthorized;
        peer.send(Packet::ConnAck(ConnAck { session_present: false, code, properties: None })).await;
    }
    assert!(began.elapsed() >= FIRST_PAUSE, "asked again after {:?}", began.elapsed());
}

#[tokio::test]
async fn sources_are_held_to_bounds_and_faults_show_no_token() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokens");
    std::fs::write(&path, "hunter2").unwrap();
    let command = |program: &str, arguments: &[&str]| TokenSource::Command {
        program: program.into(),
        arguments: arguments.iter().map(|argument| Secret::new(*argument)).collect(),
    };
    for (source, expected) in [
        (file(&path), "a token without its type"),
        (file(&folder.path().join("none")), "cannot read"),
        (command("yes", &["RW|hunter2"]), "more than 16 KiB"),
        (command("sh", &["-c", "echo 'RW|hunter2'; exit 3"]), "ended with exit status: 3"),
        (command("/no/such/program", &["hunter2"]), "cannot be started"),
        (command("true", &[]), "no token"),
    ] {
        let problem = ask(&source, "GID_b@@@1").await.unwrap_err();
        assert!(problem.contains(expected) && !problem.contains("hunter"), "{problem}");
        assert!(!format!("{source:?}").contains("hunter"));
    }
}

#[tokio::test]
async fn tokens_in_hand_survive_a_close_but_not_a_refusal() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokens");
    std::fs::write(&path, "RW|one").unwrap();
    let fake = FakeBroker::start().await;
    let _sink = start_sink(&fake, tokens(file(&path), Duration::from_secs(3600)));
    let peer = fake.accept().await;
    assert_eq!(peer.login.1, "RW|one");
    std::fs::remove_file(&path).unwrap();
    drop(peer);
    let mut peer = timeout(Duration::from_secs(20), fake.accept()).await.expect("it goes on with what it has");
    assert_eq!(peer.login.1, "RW|one");
    let code = ConnectReturnCode::NotAuthorized;
    peer.send(Packet::ConnAck(ConnAck { session_present: false, code, properties: None })).await;
    let again = timeout(2 * FIRST_PAUSE, fake.accept()).await;
    assert!(again.is_err(), "it logs in with refused tokens");
    std::fs::write(&path, "RW|two").unwrap();
    assert_eq!(fake.accept().await.login.1, "RW|two");
}
