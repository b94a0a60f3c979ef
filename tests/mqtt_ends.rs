//! The two MQTT ends against a real Mosquitto, without a route between them: a sink publishes what a source of
//! another session reads.

mod ends;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use rocketbridge::{
    delivery::Outcome,
    message::{Message, Qos, Topic},
    mqtt::{probe, watch},
    settings::{MqttTransport, MqttVersion, Secret, TlsFiles, Will},
    telemetry::Telemetry,
};
use rumqttc_v5::mqttbytes::QoS;

use self::ends::{Reader, Writer, broker, numbered, says};
use crate::servers::{
    eventually,
    mosquitto::{Mosquitto, Options, Subscriptions},
    mqtt::{Client, Login},
    proxy::Proxy,
};

const VERSIONS: [MqttVersion; 2] = [MqttVersion::V4, MqttVersion::V5];

fn all_of_mqtt_5(qos: Qos) -> Message {
    let mut message = Message::new(Topic::from_mqtt("t/a//b"), (0..=255).collect::<Bytes>());
    message.qos = qos;
    message.user_properties = vec![("b".into(), "2".into()), ("a".into(), "1".into()), ("b".into(), String::new())];
    message.content_type = Some("application/octet-stream".into());
    message.response_topic = Some("answers/1".into());
    message.correlation_data = Some(Bytes::from_static(&[0, 1, 255]));
    message.payload_is_text = Some(false);
    message.mark = Some("from elsewhere".into());
    message
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs servers: scripts/test runs it"]
async fn messages_cross_whole_over_every_transport() {
    let mosquitto = Mosquitto::start(&Options { tls: true, client_certificates: true, ..Options::default() }).await;
    let certificates = mosquitto.certificates.as_ref().unwrap();
    let tls = TlsFiles {
        ca: Some(certificates.authority.clone()),
        certificate: Some(certificates.client.clone()),
        key: Some(certificates.client_key.clone()),
        server_name: None,
    };
    for (transport, port) in [
        (MqttTransport::Tcp, mosquitto.port),
        (MqttTransport::Ws, mosquitto.ws_port),
        (MqttTransport::Tls, mosquitto.tls_port),
        (MqttTransport::Wss, mosquitto.secure_ws_port),
    ] {
        // Mosquitto 2.0 sends 4 KiB of a packet over a web socket every 100 ms.
        let slow = matches!(transport, MqttTransport::Ws | MqttTransport::Wss);
        let large_size = if slow { 10_000 } else { 500_000 };
        for version in VERSIONS {
            let mut settings = broker(port, version);
            settings.url.transport = transport;
            settings.tls = tls.clone();
            let settings = Arc::new(settings);
            let mut reader = Reader::start(&settings, "reader", &["t/#"], Qos::ExactlyOnce);
            reader.is_up().await;
            let mut writer = Writer::start(&settings, "writer");
            for qos in [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce] {
                let mut message = all_of_mqtt_5(qos);
                assert_eq!(writer.write(message.clone()).await, Outcome::Stored);
                let mut large = message.clone();
                large.payload = vec![b'x'; large_size].into();
                assert_eq!(writer.write(large).await, Outcome::Stored);
                if version == MqttVersion::V4 {
                    message = Message::new(message.topic, message.payload);
                    message.qos = qos;
                }
                assert_eq!(reader.read().await, message, "{transport:?} {version:?}");
                assert_eq!(reader.read().await.payload.len(), large_size);
            }
            writer.stop().await;
            reader.stop().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs servers: scripts/test runs it"]
async fn nothing_is_lost_or_reordered_over_cut_connections_and_lost_sessions() {
    for (version, qos, window) in [
        (MqttVersion::V5, Qos::AtLeastOnce, 200),
        (MqttVersion::V4, Qos::AtLeastOnce, 200),
        (MqttVersion::V5, Qos::ExactlyOnce, 20),
        (MqttVersion::V4, Qos::ExactlyOnce, 20),
    ] {
        let mosquitto = Mosquitto::start(&Options::default()).await;
        let proxy = Proxy::start(mosquitto.port).await;
        let mut settings = broker(proxy.port, version);
        settings.window = window;
        let settings = Arc::new(settings);
        let reader = Reader::start(&settings, "reader", &["t/#"], qos);
        reader.is_up().await;
        let writer = Writer::start(&settings, "writer");
        let faults = async {
            for fault in 0..12 {
                tokio::time::sleep(Duration::from_millis(150)).await;
                if fault % 4 == 3 {
                    // Ends the session of the sink, as a broker does that lost its database.
                    probe::retire(&Arc::new(broker(mosquitto.port, version)), "writer").await.unwrap();
                } else {
                    proxy.cut();
                }
            }
        };
        let (report, ()) = tokio::join!(numbered(writer, reader, qos, 20_000), faults);
        report.must_be_whole(&format!("{version:?} {qos:?}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs servers: scripts/test runs it"]
async fn nothing_is_lost_over_restarts_of_the_broker() {
    for version in VERSIONS {
        let mut mosquitto = Mosquitto::start(&Options::default()).await;
        let settings = Arc::new(broker(mosquitto.port, version));
        let reader = Reader::start(&settings, "reader", &["t/#"], Qos::AtLeastOnce);
        reader.is_up().await;
        let writer = Writer::start(&settings, "writer");
        let faults = async {
            for _ in 0..3 {
                tokio::time::sleep(Duration::from_millis(400)).await;
                mosquitto.terminate();
                mosquitto.restart().await;
            }
        };
        let (report, ()) = tokio::join!(numbered(writer, reader, Qos::AtLeastOnce, 20_000), faults);
        report.must_be_whole(&format!("{version:?}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs servers: scripts/test runs it"]
async fn two_clients_with_one_id_are_named_and_share_without_loss() {
    let mosquitto = Mosquitto::start(&Options::default()).await;
    let settings = Arc::new(broker(mosquitto.port, MqttVersion::V5));
    let first = Reader::start(&settings, "same", &["t/#"], Qos::AtLeastOnce);
    first.is_up().await;
    let second = Reader::start(&settings, "same", &["t/#"], Qos::AtLeastOnce);
    says(&first.state, "another client uses the client id \"same\"").await;
    let mut writer = Writer::start(&settings, "writer");
    for number in 0..100_u8 {
        assert_eq!(writer.write(Message::new(Topic::from_mqtt("t/x"), vec![number])).await, Outcome::Stored);
    }
    let (mut first, mut second) = (first, second);
    let mut seen = std::collections::BTreeSet::new();
    while seen.len() < 100 {
        tokio::select! {
            message = first.read() => seen.insert(message.payload[0]),
            message = second.read() => seen.insert(message.payload[0]),
        };
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs servers: scripts/test runs it"]
async fn retained_messages_come_once_per_session() {
    for version in VERSIONS {
        let mosquitto = Mosquitto::start(&Options::default()).await;
        let mut device = Client::connect(&Login::new(mosquitto.port, "device")).await;
        device.publish_with("t/kept", QoS::AtLeastOnce, "kept", true, None).await;
        let proxy = Proxy::start(mosquitto.port).await;
        let settings = Arc::new(broker(proxy.port, version));
        let mut reader = Reader::start(&settings, "reader", &["t/#"], Qos::AtLeastOnce);
        assert_eq!(reader.read().await.payload, "kept");
        device.publish("t/live", QoS::AtLeastOnce, "1").await;
        assert_eq!(reader.read().await.payload, "1");
        // Long enough for its acknowledgement to arrive.
        tokio::time::sleep(Duration::from_millis(500)).await;
        proxy.cut();
        device.publish("t/live", QoS::AtLeastOnce, "2").await;
        assert_eq!(reader.read().await.payload, "2", "{version:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs servers: scripts/test runs it"]
async fn overlapping_filters_give_each_message_once() {
    let mosquitto = Mosquitto::start(&Options::default()).await;
    let settings = Arc::new(broker(mosquitto.port, MqttVersion::V5));
    let mut reader = Reader::start(&settings, "reader", &["t/+", "t/#", "t/a"], Qos::AtLeastOnce);
    reader.is_up().await;
    let mut device = Client::connect(&Login::new(mosquitto.port, "device")).await;
    for (topic, text) in [("t/a", "1"), ("t/a/b", "2"), ("t/b", "3")] {
        device.publish(topic, QoS::AtLeastOnce, text).await;
        assert_eq!(reader.read().await.payload, text);
    }
    reader.stays_quiet().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs servers: scripts/test runs it"]
async fn a_denied_publish_stalls_and_a_wrong_password_shows() {
    let mosquitto = Mosquitto::start(&Options {
        users: vec![("bridge".into(), "right".into())],
        acl: Some("user bridge\ntopic readwrite t/#\n".into()),
        ..Options::default()
    })
    .await;
    let mut settings = broker(mosquitto.port, MqttVersion::V5);
    settings.username = Some("bridge".into());
    settings.password = Some(Secret::new("wrong"));
    let reader = Reader::start(&Arc::new(settings.clone()), "reader", &["t/#"], Qos::AtLeastOnce);
    says(&reader.state, "not authorized").await;
    settings.password = Some(Secret::new("right"));
    let writer = Writer::start(&Arc::new(settings), "writer");
    writer.pass(Message::new(Topic::from_mqtt("secret/x"), "")).await;
    says(&writer.state, "\"secret/x\": not authorized").await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs servers: scripts/test runs it"]
async fn a_refused_subscription_shows_and_is_asked_for_again() {
    let subscriptions = Subscriptions::refused();
    for version in VERSIONS {
        subscriptions.allow(false);
        let mut mosquitto = Mosquitto::start(&Options { lines: subscriptions.lines(), ..Options::default() }).await;
        let settings = Arc::new(broker(mosquitto.port, version));
        let mut reader = Reader::start(&settings, "reader", &["t/#"], Qos::AtLeastOnce);
        says(&reader.state, "the subscription to \"t/#\" is refused").await;
        mosquitto.terminate();
        subscriptions.allow(true);
        mosquitto.restart().await;
        reader.is_up().await;
        let mut device = Client::connect(&Login::new(mosquitto.port, "device")).await;
        device.publish("t/a", QoS::AtLeastOnce, "let in").await;
        assert_eq!(reader.read().await.payload, "let in");
        reader.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs servers: scripts/test runs it"]
async fn what_the_broker_drops_is_counted() {
    let lines = vec!["sys_interval 1".into(), "max_queued_messages 5".into()];
    let mosquitto = Mosquitto::start(&Options { lines, ..Options::default() }).await;
    let mut away = Client::connect(&Login::new(mosquitto.port, "away")).await;
    away.subscribe("t", QoS::AtLeastOnce).await;
    drop(away);
    let mut device = Client::connect(&Login::new(mosquitto.port, "device")).await;
    for version in VERSIONS {
        let telemetry = Telemetry::default();
        let watching = tokio::spawn(watch::run(Arc::new(broker(mosquitto.port, version)), telemetry.broker("edge")));
        let before = count_reaches(&telemetry, 0).await;
        for _ in 0..20 {
            device.publish("t", QoS::AtLeastOnce, "x").await;
        }
        count_reaches(&telemetry, before + 15).await;
        watching.abort();
    }
}

/// Waits until a broker's count of dropped messages is known and reaches `least`, and gives it.
async fn count_reaches(telemetry: &Telemetry, least: u64) -> u64 {
    eventually("the count shows", Duration::from_secs(20), || async {
        let metrics = telemetry.encode();
        let line =
            metrics.lines().find_map(|line| line.strip_prefix("rocketbridge_broker_dropped{broker=\"edge\"} "))?;
        line.parse().ok().filter(|count| *count >= least)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs servers: scripts/test runs it"]
async fn the_will_tells_whether_the_bridge_is_there() {
    let mosquitto = Mosquitto::start(&Options::default()).await;
    let mut watcher = Client::connect(&Login::new(mosquitto.port, "watcher")).await;
    watcher.subscribe("bridge/+", QoS::AtLeastOnce).await;
    for version in VERSIONS {
        let mut settings = broker(mosquitto.port, version);
        settings.will =
            Some(Will { topic: "bridge/{client_id}".into(), online: "online".into(), offline: "offline".into() });
        let settings = Arc::new(settings);
        let reader = Reader::start(&settings, "reader", &["t"], Qos::AtLeastOnce);
        let online = watcher.next().await;
        assert_eq!((&online.topic[..], &online.payload[..]), (&b"bridge/reader"[..], &b"online"[..]));
        reader.stop().await;
        assert_eq!(watcher.next().await.payload, "offline");
        let reader = Reader::start(&settings, "reader", &["t"], Qos::AtLeastOnce);
        assert_eq!(watcher.next().await.payload, "online");
        reader.kill().await;
        assert_eq!(watcher.next().await.payload, "offline", "the last will");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs servers: scripts/test runs it"]
async fn a_probe_leaves_nothing_and_a_retired_session_is_gone() {
    let options = Options { lines: vec!["max_inflight_messages 30".into()], ..Options::default() };
    let mosquitto = Mosquitto::start(&options).await;
    let settings = Arc::new(broker(mosquitto.port, MqttVersion::V5));
    let filters = ["t/#".to_owned(), "$share/g/t/#".to_owned()];
    let report = probe::probe(&settings, "reader", &filters).await.unwrap();
    assert_eq!((report.receive_maximum, report.subscription_ids, report.shared), (30, true, true));
    assert_eq!(report.filters, filters.map(|filter| (filter, Ok(Qos::AtLeastOnce))));
    let reader = Reader::start(&settings, "reader", &["t"], Qos::AtLeastOnce);
    reader.is_up().await;
    reader.stop().await;
    let present = async || {
        let login = Login::new(mosquitto.port, "reader").resume();
        Client::connect(&login).await.connack.session_present
    };
    assert!(present().await);
    probe::retire(&settings, "reader").await.unwrap();
    assert!(!present().await);
    drop(mosquitto);
    let error = probe::probe(&settings, "reader", &[]).await.unwrap_err().to_string();
    assert!(error.contains("mqtt://127.0.0.1:") && error.contains("cannot connect"), "{error}");
}
