//! The source against a broker that does what no real one can be made to.

use std::{path::Path, sync::Arc, time::Duration};

use rumqttc_v5::{
    Disconnect, DisconnectReasonCode, Packet, Publish as Sent, PublishProperties, QoS, SubscribeReasonCode, UnsubAck,
    UnsubAckReason,
};
use tempfile::TempDir;
use tokio::{task::JoinHandle, time::timeout};

use super::*;
use crate::{
    delivery::{SourceHandle, source_link},
    mqtt::fake_broker::{FakeBroker, Peer},
    settings::MqttBroker,
    telemetry::{EndState, Telemetry},
};

struct Running {
    handle: SourceHandle,
    telemetry: Telemetry,
    state: Arc<EndState>,
    task: JoinHandle<()>,
    delivered: std::collections::VecDeque<Delivery>,
    _folder: Option<TempDir>,
}

fn start(fake: &FakeBroker, filters: &[&str], messages: usize) -> Running {
    start_with(fake.settings(), filters, messages)
}

fn start_with(broker: MqttBroker, filters: &[&str], messages: usize) -> Running {
    let folder = tempfile::tempdir().unwrap();
    let running = start_in(folder.path(), broker, filters, messages);
    Running { _folder: Some(folder), ..running }
}

fn start_in(data_dir: &Path, broker: MqttBroker, filters: &[&str], messages: usize) -> Running {
    let telemetry = Telemetry::default();
    let state = telemetry.route("r", "fake", "fake", "").source.clone();
    let (link, handle) = source_link(state.clone());
    let from = FromMqtt {
        broker: Arc::new(broker),
        client_id: "bridge-r".to_owned(),
        filters: filters.iter().map(ToString::to_string).collect(),
        share: None,
        qos: Qos::AtLeastOnce,
        forward_retained: false,
    };
    let limits = Limits { messages, bytes: 1 << 20 };
    let data_dir = data_dir.to_owned();
    let task = tokio::spawn(async move { run(from, "r", limits, &data_dir, link).await });
    Running { handle, telemetry, state, task, delivered: std::collections::VecDeque::new(), _folder: None }
}

impl Running {
    async fn delivered(&mut self) -> Delivery {
        while self.delivered.is_empty() {
            let batch = timeout(Duration::from_secs(10), self.handle.deliveries.recv()).await;
            self.delivered.extend(batch.expect("delivered in time").expect("a running source"));
        }
        self.delivered.pop_front().unwrap()
    }

    async fn topics(&mut self, count: usize) -> Vec<String> {
        let mut topics = Vec::new();
        for _ in 0..count {
            topics.push(self.delivered().await.message.topic.as_str().to_owned());
        }
        topics
    }

    async fn nothing_more(&mut self) {
        assert!(self.delivered.is_empty());
        let more = timeout(Duration::from_millis(150), self.handle.deliveries.recv()).await;
        assert!(more.is_err(), "{more:?}");
    }

    fn settle(&self, tickets: &[Ticket]) {
        self.handle.settled.send(tickets.to_vec()).unwrap();
    }

    async fn state_says(&self, text: &str) {
        let says = async {
            while !self.state.reason().is_some_and(|reason| reason.contains(text)) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let waited = timeout(Duration::from_secs(10), says).await;
        assert!(waited.is_ok(), "{:?} does not say {text:?}", self.state.reason());
    }
}

async fn acked(peer: &mut Peer) -> u16 {
    match peer.next().await {
        Packet::PubAck(ack) => ack.pkid,
        Packet::PubRec(ack) => ack.pkid,
        other => panic!("{other:?} instead of an acknowledgement"),
    }
}

#[tokio::test]
async fn acknowledgements_keep_the_order_of_receipt_and_their_connection() {
    let fake = FakeBroker::start().await;
    let mut source = start(&fake, &["t/#"], 100);
    let mut peer = fake.subscribed(false).await;
    assert!(!peer.connect.clean_start);
    for id in 1..=3 {
        peer.deliver(&format!("t/{id}"), QoS::AtLeastOnce, id, false).await;
    }
    assert_eq!(source.topics(3).await, ["t/1", "t/2", "t/3"]);
    source.settle(&[2, 1]);
    peer.stays_quiet().await;
    source.settle(&[0]);
    for id in 1..=3 {
        assert_eq!(acked(&mut peer).await, id);
    }
    peer.deliver("t/4", QoS::AtLeastOnce, 1, false).await;
    assert_eq!(source.topics(1).await, ["t/4"]);
    drop(peer);
    // The next connection reuses the packet id for another message, and is subscribed to again.
    let mut peer = fake.subscribed(true).await;
    peer.deliver("t/5", QoS::AtLeastOnce, 1, false).await;
    assert_eq!(source.topics(1).await, ["t/5"]);
    source.settle(&[3]);
    peer.stays_quiet().await;
    source.settle(&[4]);
    assert_eq!(acked(&mut peer).await, 1);
}

#[tokio::test]
async fn qos_2_is_handed_on_once_over_connections() {
    let fake = FakeBroker::start().await;
    let mut source = start(&fake, &["t"], 100);
    let mut peer = fake.subscribed(false).await;
    peer.deliver("t", QoS::ExactlyOnce, 1, false).await;
    assert_eq!(source.topics(1).await, ["t"]);
    drop(peer);
    let mut peer = fake.subscribed(true).await;
    peer.deliver("t", QoS::ExactlyOnce, 1, true).await;
    source.nothing_more().await;
    source.settle(&[0]);
    assert_eq!(acked(&mut peer).await, 1);
    peer.send(Packet::PubRel(rumqttc_v5::PubRel::new(1, None))).await;
    assert!(matches!(peer.next().await, Packet::PubComp(ack) if ack.pkid == 1));
}

#[tokio::test]
async fn at_the_limit_qos_1_waits_unread_and_qos_0_is_dropped_and_counted() {
    let fake = FakeBroker::start().await;
    let mut source = start(&fake, &["t"], 2);
    let mut peer = fake.subscribed(false).await;
    peer.deliver("t/0", QoS::AtMostOnce, 0, false).await;
    peer.deliver("t/1", QoS::AtLeastOnce, 1, false).await;
    assert_eq!(source.topics(2).await, ["t/0", "t/1"]);
    peer.deliver("dropped", QoS::AtMostOnce, 0, false).await;
    peer.deliver("t/2", QoS::AtLeastOnce, 2, false).await;
    peer.deliver("t/3", QoS::AtMostOnce, 0, false).await;
    source.nothing_more().await;
    // The keep-alive of one second goes on, though its answers stay unread.
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(600)).await;
        peer.stays_quiet().await;
    }
    source.settle(&[0, 1]);
    assert_eq!(acked(&mut peer).await, 1);
    assert_eq!(source.topics(2).await, ["t/2", "t/3"]);
    let metrics = source.telemetry.encode();
    assert!(metrics.contains("reason=\"qos0_at_limit\"} 1"), "{metrics}");
    assert_eq!(source.state.reason(), None);
}

#[tokio::test]
async fn a_refused_subscription_shows_and_is_tried_again() {
    let fake = FakeBroker::start().await;
    let mut source = start(&fake, &["good/#", "bad/#"], 100);
    let mut peer = fake.login(false).await;
    let first = peer.grant().await;
    let second = peer.answer_subscribe(SubscribeReasonCode::NotAuthorized).await;
    let id = |subscribe: &rumqttc_v5::Subscribe| subscribe.properties.as_ref().and_then(|p| p.id).unwrap();
    assert!(id(&first) < id(&second));
    source.state_says("\"bad/#\" is refused: not authorized").await;
    peer.deliver("good/1", QoS::AtLeastOnce, 1, false).await;
    assert_eq!(source.topics(1).await, ["good/1"], "the other filter works on");
    source.settle(&[0]);
    assert_eq!(acked(&mut peer).await, 1);
    let again = peer.grant().await;
    assert_eq!(again.filters[0].path, "bad/#");
    assert!(id(&again) > id(&second));
    peer.stays_quiet().await;
    assert_eq!(source.state.reason(), None);
}

#[tokio::test]
async fn a_filter_that_the_mapping_drops_is_unsubscribed_until_the_broker_confirms_it() {
    let fake = FakeBroker::start().await;
    let folder = tempfile::tempdir().unwrap();
    let start = |filters| start_in(folder.path(), fake.settings(), filters, 100);
    let source = start(&["t/#"]);
    let mut peer = fake.subscribed(false).await;
    peer.stays_quiet().await;
    source.task.abort();
    // The next process narrows it, and is cut off before the broker answers.
    let source = start(&["t/a/#"]);
    let mut peer = fake.login(true).await;
    peer.answer_subscribe(SubscribeReasonCode::NotAuthorized).await;
    source.state_says("\"t/a/#\" is refused").await;
    peer.stays_quiet().await;
    peer.grant().await;
    assert_eq!(peer.unsubscribe().await.0, ["t/#"], "not before what is wanted is granted");
    source.task.abort();
    let source = start(&["t/a/#"]);
    let mut peer = fake.subscribed(true).await;
    let (filters, id) = peer.unsubscribe().await;
    assert_eq!(filters, ["t/#"]);
    peer.send(Packet::UnsubAck(UnsubAck { pkid: id, reasons: vec![UnsubAckReason::NotAuthorized], properties: None }))
        .await;
    peer.stays_quiet().await;
    drop(peer);
    let mut peer = fake.subscribed(true).await;
    let (filters, id) = peer.unsubscribe().await;
    assert_eq!(filters, ["t/#"], "the broker did not let it go");
    let reasons = vec![UnsubAckReason::Success];
    peer.send(Packet::UnsubAck(UnsubAck { pkid: id, reasons, properties: None })).await;
    peer.stays_quiet().await;
    source.task.abort();
    let source = start(&["t/b"]);
    let mut peer = fake.subscribed(false).await;
    peer.stays_quiet().await;
    assert_eq!(source.state.reason(), None, "a new session has nothing to leave");
}

#[tokio::test]
async fn of_overlapping_copies_one_is_handed_on_and_all_are_acknowledged() {
    let fake = FakeBroker::start().await;
    let mut source = start(&fake, &["t/#", "t/+"], 100);
    let mut peer = fake.login(false).await;
    let mut ids = Vec::new();
    for _ in 0..2 {
        ids.push(peer.grant().await.properties.unwrap().id.unwrap());
    }
    for (packet_id, id) in [(1, ids[1]), (2, ids[0]), (3, 77)] {
        let properties = PublishProperties { subscription_identifiers: vec![id], ..PublishProperties::default() };
        let mut publish = Sent::new(format!("t/{packet_id}"), QoS::AtLeastOnce, "", Some(properties));
        publish.pkid = packet_id;
        peer.send(Packet::Publish(publish)).await;
    }
    assert_eq!(source.topics(2).await, ["t/2", "t/3"]);
    assert_eq!(acked(&mut peer).await, 1);
    source.settle(&[1, 0]);
    assert_eq!((acked(&mut peer).await, acked(&mut peer).await), (2, 3));
}

#[tokio::test]
async fn a_second_client_with_our_id_is_named_and_not_fought_hard() {
    let fake = FakeBroker::start().await;
    let source = start(&fake, &["t"], 100);
    let mut peer = fake.subscribed(false).await;
    peer.send(Packet::Disconnect(Disconnect::new(DisconnectReasonCode::SessionTakenOver))).await;
    source.state_says("another client uses the client id \"bridge-r\"").await;
    let lost = std::time::Instant::now();
    drop(peer);
    let mut peer = fake.subscribed(true).await;
    assert!(lost.elapsed() > Duration::from_millis(400), "{:?}", lost.elapsed());
    peer.stays_quiet().await;
    assert!(source.state.reason().is_some(), "not up before it has lasted");
}

/// A retained copy of MQTT 3.1.1, as at QoS 1.
async fn copy(peer: &mut Peer, topic: u8, packet_id: u8) {
    peer.raw(&[0x33, 6, 0, 1, topic, 0, packet_id, b'x']).await;
}

#[tokio::test]
async fn on_3_1_1_the_retained_set_of_a_filter_that_is_granted_later_counts_and_skipped_copies_show() {
    let fake = FakeBroker::start().await;
    let broker = MqttBroker { version: MqttVersion::V4, ..fake.settings() };
    let mut source = start_with(broker, &["a", "b"], 100);
    let mut peer = fake.login_v4(true).await;
    let mut subscribe = peer.frame().await;
    peer.raw(&[0x90, 4, subscribe[2], subscribe[3], 1, 0x80]).await;
    copy(&mut peer, b'a', 1).await;
    assert_eq!(source.topics(1).await, ["a"], "an earlier process may not have had it");
    source.settle(&[0]);
    assert_eq!(peer.frame().await[..], [0x40, 2, 0, 1]);
    subscribe = peer.frame().await;
    peer.raw(&[0x90, 3, subscribe[2], subscribe[3], 1]).await;
    // Live, and on its way when the filter was granted.
    peer.raw(&[0x32, 6, 0, 1, b'a', 0, 2, b'x']).await;
    copy(&mut peer, b'b', 3).await;
    assert_eq!(source.topics(2).await, ["a", "b"]);
    source.settle(&[1, 2]);
    assert_eq!((peer.frame().await[3], peer.frame().await[3]), (2, 3));
    assert!(timeout(Duration::from_secs(6), peer.frame()).await.is_err(), "long enough for the set to be whole");
    drop(peer);
    let mut peer = fake.login_v4(true).await;
    subscribe = peer.frame().await;
    peer.raw(&[0x90, 4, subscribe[2], subscribe[3], 1, 1]).await;
    copy(&mut peer, b'a', 4).await;
    copy(&mut peer, b'b', 5).await;
    assert_eq!((peer.frame().await[3], peer.frame().await[3]), (4, 5), "acknowledged without being handed on");
    source.nothing_more().await;
    let metrics = source.telemetry.encode();
    assert!(metrics.contains("reason=\"retained_copy\"} 2"), "{metrics}");
}

#[tokio::test]
async fn a_publish_over_the_limit_stays_unread_on_its_connection_and_is_named() {
    let fake = FakeBroker::start().await;
    let mut source = start_with(MqttBroker { version: MqttVersion::V4, ..fake.settings() }, &["t/#"], 100);
    let mut peer = fake.login_v4(false).await;
    let subscribe = peer.frame().await;
    peer.raw(&[0x90, 3, subscribe[2], subscribe[3], 1]).await;
    peer.raw(&[0x32, 6, 0, 1, b't', 0, 1, b'x']).await;
    // 2 MiB and a header, of which a part of the topic comes first.
    peer.raw(&[0x32, 0x86, 0x80, 0x80, 1, 0, 5, b't', b'/', b'b']).await;
    assert_eq!(source.topics(1).await, ["t"]);
    source.nothing_more().await;
    peer.raw(b"ig\x00\x02").await;
    peer.raw(&[b'x'; 10_000]).await;
    source.state_says("a publish of 2097163 bytes to \"t/big\"").await;
    source.state_says("raise `max_packet`").await;
    source.settle(&[0]);
    assert_eq!(peer.frame().await[..], [0x40, 2, 0, 1], "what came before it is acknowledged");
    let more = timeout(Duration::from_secs(4), peer.frame()).await;
    assert!(more.is_err(), "the connection stays, and the keep-alive of one second goes on: {more:?}");
    source.nothing_more().await;
}

#[tokio::test]
async fn what_is_not_mqtt_ends_the_connection_and_nothing_else() {
    let fake = FakeBroker::start().await;
    let mut source = start(&fake, &["t"], 100);
    let mut peer = fake.subscribed(false).await;
    peer.deliver("t", QoS::AtLeastOnce, 1, false).await;
    peer.raw(b"\x00\x01x").await;
    assert_eq!(source.topics(1).await, ["t"], "what came before it counts");
    source.state_says("cannot be read").await;
    fake.subscribed(true).await.stays_quiet().await;
    assert_eq!(source.state.reason(), None);
}

#[tokio::test]
async fn a_stop_reads_no_more_acknowledges_what_is_settled_and_says_goodbye() {
    let fake = FakeBroker::start().await;
    let mut source = start(&fake, &["t"], 100);
    let mut peer = fake.subscribed(false).await;
    peer.deliver("t", QoS::AtLeastOnce, 1, false).await;
    assert_eq!(source.topics(1).await, ["t"]);
    source.handle.deliveries.close();
    tokio::time::sleep(Duration::from_millis(50)).await;
    peer.deliver("t", QoS::AtLeastOnce, 2, false).await;
    source.settle(&[0]);
    drop(source.handle);
    assert_eq!(acked(&mut peer).await, 1);
    assert!(matches!(peer.next().await, Packet::Disconnect(_)));
    assert!(peer.next_or_end().await.is_none());
    drop(peer);
    timeout(Duration::from_secs(5), source.task).await.expect("the source ends").unwrap();
}
