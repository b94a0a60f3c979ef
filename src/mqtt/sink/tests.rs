//! The sink against a broker that answers as no real one can be made to.

use rumqttc_v5::{
    ConnAck, ConnAckProperties, ConnectReturnCode, Disconnect, DisconnectReasonCode, Packet, PubAckReason, PubComp,
    PubRec, PubRecReason, QoS,
};
use tokio::{task::JoinHandle, time::timeout};

use super::*;
use crate::{
    delivery::{OrderKey, SinkHandle, sink_link},
    message::{Message, Qos, Topic},
    mqtt::fake_broker::{FakeBroker, Peer},
    settings::Will,
    telemetry::{EndState, Telemetry},
};

struct Running {
    handle: SinkHandle,
    state: Arc<EndState>,
    task: JoinHandle<()>,
    settled: VecDeque<Settled>,
}

fn start(fake: &FakeBroker) -> Running {
    let state = Telemetry::default().route("r", "fake", "fake", "").sink.clone();
    let (link, handle) = sink_link(state.clone());
    let broker = fake.broker();
    let limits = Limits { messages: 1000, bytes: 1 << 20 };
    let task = tokio::spawn(async move { run(broker, "bridge-r-out", limits, link).await });
    Running { handle, state, task, settled: VecDeque::new() }
}

fn message(ticket: Ticket, qos: Qos) -> Outgoing {
    let mut message = Message::new(Topic::from_mqtt(format!("t/{ticket}")), vec![7; 10]);
    message.qos = qos;
    Outgoing { ticket, order: OrderKey::Hash(0), message, deadline: None }
}

impl Running {
    async fn pass(&self, outgoing: Vec<Outgoing>) {
        self.handle.outgoing.send(outgoing).await.unwrap();
    }

    async fn pass_three(&self) {
        self.pass((0..3).map(|ticket| message(ticket, Qos::AtLeastOnce)).collect()).await;
    }

    async fn settled(&mut self) -> (Ticket, Outcome) {
        while self.settled.is_empty() {
            let batch = timeout(Duration::from_secs(10), self.handle.settled.recv()).await;
            self.settled.extend(batch.expect("settled in time").expect("a running sink"));
        }
        self.settled.pop_front().map(|settled| (settled.ticket, settled.outcome)).unwrap()
    }

    async fn refused(&mut self) -> (Ticket, &'static str) {
        match self.settled().await {
            (ticket, Outcome::Refused(refusal)) => (ticket, refusal.kind),
            other => panic!("{other:?}"),
        }
    }

    async fn stop(self) {
        drop(self.handle.outgoing);
        timeout(Duration::from_secs(10), self.task).await.expect("the sink ends").unwrap();
    }
}

async fn topics(peer: &mut Peer, count: usize) -> Vec<(String, u16, bool)> {
    let mut topics = Vec::new();
    for _ in 0..count {
        let publish = peer.publish().await;
        topics.push((String::from_utf8(publish.topic.to_vec()).unwrap(), publish.pkid, publish.dup));
    }
    topics
}

fn as_sent(topics: &[(&str, u16, bool)]) -> Vec<(String, u16, bool)> {
    topics.iter().map(|(topic, id, dup)| ((*topic).to_owned(), *id, *dup)).collect()
}

fn no_limits() -> ConnAckProperties {
    ConnAckProperties {
        session_expiry_interval: None,
        receive_max: None,
        max_qos: None,
        retain_available: None,
        max_packet_size: None,
        assigned_client_identifier: None,
        topic_alias_max: None,
        reason_string: None,
        user_properties: Vec::new(),
        wildcard_subscription_available: None,
        subscription_identifiers_available: None,
        shared_subscription_available: None,
        server_keep_alive: None,
        response_information: None,
        server_reference: None,
        authentication_method: None,
        authentication_data: None,
    }
}

#[tokio::test]
async fn a_replay_has_a_session_of_its_own_that_ends_with_each_connection() {
    let mut ids = Vec::new();
    for _ in 0..2 {
        let fake = FakeBroker::start().await;
        let (link, handle) = sink_link(Telemetry::default().route("r", "fake", "fake", "").sink.clone());
        let mut broker = fake.settings();
        broker.will = Some(Will { topic: "bridge".into(), online: "online".into(), offline: "offline".into() });
        let limits = Limits { messages: 1000, bytes: 1 << 20 };
        let task = tokio::spawn(async move { replay(Arc::new(broker), "r", limits, link).await });
        handle.outgoing.send(vec![message(0, Qos::AtLeastOnce)]).await.unwrap();
        for _ in 0..2 {
            let mut peer = fake.login(false).await;
            let expiry = peer.connect.properties.as_ref().and_then(|properties| properties.session_expiry_interval);
            assert_eq!((peer.connect.clean_start, expiry), (true, Some(0)));
            assert_eq!(peer.publish().await.topic, "t/0", "and no word of the bridge being there");
            ids.push(peer.connect.client_id.clone());
        }
        task.abort();
    }
    assert!(ids.iter().all(|id| id.starts_with("bridge.replay.r.")), "{ids:?}");
    assert!(ids[0] == ids[1] && ids[2] == ids[3] && ids[0] != ids[2], "{ids:?}");
}

#[tokio::test]
async fn a_quota_holds_the_order_and_shows() {
    let fake = FakeBroker::start().await;
    let mut sink = start(&fake);
    let mut peer = fake.login(false).await;
    sink.pass_three().await;
    assert_eq!(topics(&mut peer, 3).await.len(), 3);
    peer.ack(1, PubAckReason::Success).await;
    peer.ack(2, PubAckReason::QuotaExceeded).await;
    peer.ack(3, PubAckReason::QuotaExceeded).await;
    // The refused one goes first, alone, however often it takes.
    assert_eq!(topics(&mut peer, 1).await, as_sent(&[("t/1", 2, false)]));
    let reason = sink.state.reason().unwrap();
    assert!(reason.contains("\"t/1\"") || reason.contains("\"t/2\""), "{reason}");
    peer.ack(2, PubAckReason::QuotaExceeded).await;
    assert_eq!(topics(&mut peer, 1).await, as_sent(&[("t/1", 2, false)]));
    peer.stays_quiet().await;
    peer.ack(2, PubAckReason::Success).await;
    assert_eq!(topics(&mut peer, 1).await, as_sent(&[("t/2", 3, false)]));
    peer.ack(3, PubAckReason::NoMatchingSubscribers).await;
    for ticket in 0..3 {
        assert_eq!(sink.settled().await, (ticket, Outcome::Stored));
    }
    assert_eq!(sink.state.reason(), None);
    sink.stop().await;
}

#[tokio::test]
async fn a_missing_permission_stalls_and_names_the_topic() {
    let fake = FakeBroker::start().await;
    let sink = start(&fake);
    let mut peer = fake.login(false).await;
    sink.pass(vec![message(0, Qos::AtLeastOnce)]).await;
    for _ in 0..3 {
        peer.publish().await;
        peer.ack(1, PubAckReason::NotAuthorized).await;
    }
    peer.stays_quiet().await;
    let reason = sink.state.reason().unwrap();
    assert!(reason.contains("\"t/0\"") && reason.contains("not authorized"), "{reason}");
}

#[tokio::test]
async fn what_no_retry_can_mend_is_refused() {
    let fake = FakeBroker::start().await;
    let mut sink = start(&fake);
    let mut peer = fake.login(false).await;
    sink.pass_three().await;
    topics(&mut peer, 3).await;
    peer.ack(1, PubAckReason::TopicNameInvalid).await;
    peer.ack(2, PubAckReason::PayloadFormatInvalid).await;
    // Packet too large, which the codec that plays the broker does not know.
    peer.raw(&[0x40, 3, 0, 3, 0x95]).await;
    assert_eq!(sink.refused().await, (0, "topic_not_allowed"));
    assert_eq!(sink.refused().await, (1, "payload_format_invalid"));
    assert_eq!(sink.refused().await, (2, "body_too_large"));
}

#[tokio::test]
async fn the_limits_of_the_broker_are_obeyed() {
    let fake = FakeBroker::start().await;
    let mut sink = start(&fake);
    let limits = ConnAckProperties {
        receive_max: Some(2),
        max_qos: Some(1),
        retain_available: Some(0),
        max_packet_size: Some(200),
        ..no_limits()
    };
    let mut peer = fake.login_with(false, Some(limits)).await;
    let mut large = message(0, Qos::AtLeastOnce);
    large.message.payload = vec![0; 200].into();
    let mut retained = message(2, Qos::AtLeastOnce);
    retained.message.retain = true;
    let mut nowhere = message(3, Qos::AtLeastOnce);
    nowhere.message.topic = Topic::from_mqtt("a/#");
    let rest = (4..7).map(|ticket| message(ticket, Qos::AtLeastOnce));
    let all = [large, message(1, Qos::ExactlyOnce), retained, nowhere].into_iter().chain(rest).collect();
    sink.pass(all).await;
    assert_eq!(sink.refused().await, (0, "body_too_large"));
    assert_eq!(sink.refused().await, (1, "qos_not_supported"));
    assert_eq!(sink.refused().await, (2, "retain_not_supported"));
    assert_eq!(sink.refused().await, (3, "topic_not_allowed"));
    let sent = topics(&mut peer, 2).await;
    peer.stays_quiet().await;
    peer.ack(sent[0].1, PubAckReason::Success).await;
    assert_eq!(topics(&mut peer, 1).await[0].0, "t/6");
    assert_eq!(sink.settled().await, (4, Outcome::Stored));
}

#[tokio::test]
async fn a_lost_connection_sends_everything_again_in_order() {
    let fake = FakeBroker::start().await;
    let mut sink = start(&fake);
    let mut peer = fake.login(false).await;
    assert!(peer.connect.clean_start, "nothing is known of the session of an earlier process");
    sink.pass_three().await;
    topics(&mut peer, 3).await;
    peer.ack(2, PubAckReason::Success).await;
    assert_eq!(sink.settled().await, (1, Outcome::Stored));
    drop(peer);
    let mut peer = fake.login(true).await;
    assert!(!peer.connect.clean_start);
    sink.pass(vec![message(3, Qos::AtLeastOnce)]).await;
    assert_eq!(topics(&mut peer, 3).await, as_sent(&[("t/0", 1, true), ("t/2", 3, true), ("t/3", 4, false)]));
    drop(peer);
    let mut peer = fake.login(false).await;
    assert_eq!(topics(&mut peer, 3).await, as_sent(&[("t/0", 1, false), ("t/2", 3, false), ("t/3", 4, false)]));
    for id in [1, 3, 4] {
        peer.ack(id, PubAckReason::Success).await;
    }
    for ticket in [0, 2, 3] {
        assert_eq!(sink.settled().await, (ticket, Outcome::Stored));
    }
    sink.stop().await;
    assert!(matches!(peer.next_or_end().await, Some(Packet::Disconnect(_))));
}

#[tokio::test]
async fn qos_2_is_settled_at_its_end_and_survives_a_lost_connection() {
    let fake = FakeBroker::start().await;
    let mut sink = start(&fake);
    let mut peer = fake.login(false).await;
    sink.pass(vec![message(0, Qos::ExactlyOnce)]).await;
    assert_eq!(peer.publish().await.qos, QoS::ExactlyOnce);
    peer.send(Packet::PubRec(PubRec { pkid: 1, reason: PubRecReason::Success, properties: None })).await;
    assert!(matches!(peer.next().await, Packet::PubRel(release) if release.pkid == 1));
    assert!(sink.handle.settled.try_recv().is_err(), "a broker may still forget it");
    drop(peer);
    let mut peer = fake.login(true).await;
    assert!(matches!(peer.next().await, Packet::PubRel(release) if release.pkid == 1));
    peer.send(Packet::PubComp(PubComp::new(1, None))).await;
    assert_eq!(sink.settled().await, (0, Outcome::Stored));
}

#[tokio::test]
async fn a_publish_that_closes_the_connection_each_time_is_refused_and_the_rest_goes_on() {
    let fake = FakeBroker::start().await;
    let mut sink = start(&fake);
    sink.pass_three().await;
    let broker = tokio::spawn(async move {
        loop {
            let mut peer = fake.login(true).await;
            while let Some(packet) = peer.next_or_end().await {
                match packet {
                    Packet::Publish(publish) if publish.topic == "t/1" => break,
                    Packet::Publish(publish) => peer.ack(publish.pkid, PubAckReason::Success).await,
                    _ => {}
                }
            }
        }
    });
    assert_eq!(sink.settled().await, (0, Outcome::Stored));
    assert_eq!(sink.refused().await, (1, "closed_by_broker"));
    assert_eq!(sink.settled().await, (2, Outcome::Stored));
    broker.abort();
}

#[tokio::test]
async fn a_publish_is_not_refused_for_what_ends_connections_of_any_client() {
    let fake = FakeBroker::start().await;
    let mut sink = start(&fake);
    sink.pass(vec![message(0, Qos::AtLeastOnce)]).await;
    for _ in 0..12 {
        let mut peer = fake.login(true).await;
        assert_eq!(peer.publish().await.topic, "t/0");
        peer.send(Packet::Disconnect(Disconnect::new(DisconnectReasonCode::QuotaExceeded))).await;
    }
    let mut peer = fake.login(true).await;
    let id = peer.publish().await.pkid;
    peer.ack(id, PubAckReason::Success).await;
    assert_eq!(sink.settled().await, (0, Outcome::Stored));
}

#[tokio::test]
async fn what_expired_is_not_sent_and_the_rest_says_what_remains() {
    let fake = FakeBroker::start().await;
    let mut sink = start(&fake);
    let mut peer = fake.login(false).await;
    let mut late = message(0, Qos::AtLeastOnce);
    late.deadline = Some(Instant::now());
    let mut early = message(1, Qos::AtLeastOnce);
    early.message.expiry = Some(1000);
    early.deadline = Some(Instant::now() + Duration::from_secs(100));
    sink.pass(vec![late, early]).await;
    assert_eq!(sink.settled().await, (0, Outcome::Expired));
    let expiry = peer.publish().await.properties.unwrap().message_expiry_interval.unwrap();
    assert!((90..=100).contains(&expiry), "{expiry}");
}

#[tokio::test]
async fn a_refused_login_is_tried_again_and_its_reason_shows() {
    let fake = FakeBroker::start().await;
    let sink = start(&fake);
    let code = ConnectReturnCode::UnsupportedProtocolVersion;
    for _ in 0..2 {
        let mut peer = fake.accept().await;
        peer.send(Packet::ConnAck(ConnAck { session_present: false, code, properties: None })).await;
        assert!(peer.next_or_end().await.is_none());
    }
    let reason = sink.state.reason().unwrap();
    assert!(reason.contains("try `version = \"3.1.1\"`"), "{reason}");
    fake.login(false).await.stays_quiet().await;
    assert_eq!(sink.state.reason(), None);
}

#[tokio::test]
async fn a_route_that_gives_up_ends_its_sink_also_without_a_broker() {
    let fake = FakeBroker::start().await;
    let sink = start(&fake);
    sink.pass_three().await;
    let mut peer = fake.login(false).await;
    topics(&mut peer, 3).await;
    drop(peer);
    drop(fake);
    drop(sink.handle);
    timeout(Duration::from_secs(5), sink.task).await.expect("the sink ends").unwrap();
}
