use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard},
};

use bytes::{Buf as _, Bytes};
use serde_json::json;
use tokio::{task::JoinHandle, time::timeout};

use super::*;
use crate::{
    delivery::{OrderKey, SinkHandle, sink_link},
    message::Topic,
    rocketmq::{
        fake_server::{Answer, FakeServer},
        wire::{batch::parts, code, frame::Frame},
    },
    settings::StoredWhen,
    telemetry::{EndState, Telemetry},
};

const PATIENCE: Duration = Duration::from_secs(10);

/// A name server and a broker in one, which does what it is told.
#[derive(Default)]
struct Fake {
    address: String,
    /// Queues of the topic `t`; 0: there is no such topic.
    queues: u32,
    /// What the next sends are answered with; none: the connection is cut.
    script: Vec<Option<i32>>,
    /// Bodies that make a send refused.
    poison: Option<Bytes>,
    /// What each send held, stored or not: queue and bodies.
    sends: Vec<(u32, Vec<Bytes>)>,
    /// What is stored, by queue.
    stored: HashMap<u32, Vec<Bytes>>,
}

type Shared = Arc<Mutex<Fake>>;

fn lock(fake: &Shared) -> MutexGuard<'_, Fake> {
    fake.lock().unwrap()
}

impl Fake {
    /// The code and body of an answer; nothing cuts the connection.
    fn answer(&mut self, request: &Frame) -> Option<(i32, String)> {
        match request.code {
            code::request::GET_ROUTEINFO_BY_TOPIC if self.queues == 0 => Some((17, String::new())),
            code::request::GET_ROUTEINFO_BY_TOPIC => Some((0, self.route())),
            code::request::SEND_BATCH_MESSAGE | code::request::SEND_MESSAGE_V2 => {
                self.send(request).map(|code| (code, String::new()))
            }
            _ => Some((3, String::new())),
        }
    }

    fn route(&self) -> String {
        let (address, queues) = (&self.address, self.queues);
        format!(
            r#"{{"brokerDatas":[{{"brokerAddrs":{{"0":"{address}"}},"brokerName":"b"}}],
            "queueDatas":[{{"brokerName":"b","perm":6,"readQueueNums":{queues},"writeQueueNums":{queues}}}]}}"#
        )
    }

    fn send(&mut self, request: &Frame) -> Option<i32> {
        let queue = request.fields.number("e").unwrap();
        let bodies = if request.code == code::request::SEND_MESSAGE_V2 {
            vec![request.body.clone()]
        } else {
            bodies(request.body.clone())
        };
        self.sends.push((queue, bodies.clone()));
        let refused = self.poison.as_ref().is_some_and(|poison| bodies.contains(poison));
        let scripted = if self.script.is_empty() { Some(0) } else { self.script.remove(0) };
        let code = if refused { 13 } else { scripted? };
        if code == 0 {
            self.stored.entry(queue).or_default().extend(bodies);
        }
        Some(code)
    }
}

fn bodies(mut batch: Bytes) -> Vec<Bytes> {
    let mut bodies = Vec::new();
    while !batch.is_empty() {
        let size = batch.clone().get_u32() as usize;
        bodies.push(parts(batch.split_to(size)).unwrap().0);
    }
    bodies
}

struct Bench {
    fake: Shared,
    _server: FakeServer,
    handle: SinkHandle,
    state: Arc<EndState>,
    sink: JoinHandle<()>,
}

async fn start(fake: Fake) -> Bench {
    let fake = Arc::new(Mutex::new(fake));
    let answering = fake.clone();
    let server = FakeServer::start(move |request| {
        let answer = lock(&answering).answer(&request);
        async move { answer.map(|(code, body)| Answer::new(code, json!({}), body)) }
    })
    .await;
    let address = server.address.to_string();
    lock(&fake).address.clone_from(&address);
    let cluster = Arc::new(RocketMqCluster {
        name: "main".to_owned(),
        name_servers: vec![address],
        access_key: None,
        secret_key: None,
        tls: None,
        namespace: String::new(),
        stored_when: StoredWhen::Durable,
        request_timeout: Duration::from_secs(1),
        max_message: 1000,
        lane_grace: Duration::from_secs(60),
    });
    let state = Telemetry::default().route("r", "s", "main", "park").sink.clone();
    let (link, handle) = sink_link(state.clone());
    let limits = Limits { messages: 1000, bytes: 1 << 20 };
    let sink = tokio::spawn(async move { run(cluster, "r", limits, link).await });
    Bench { fake, _server: server, handle, state, sink }
}

fn outgoing(ticket: Ticket, key: u64, topic: &str, body: impl Into<Bytes>) -> Outgoing {
    Outgoing {
        ticket,
        order: OrderKey::Hash(key),
        message: Message::new(Topic::from_mqtt(topic), body),
        deadline: None,
    }
}

/// Messages 0 to `count` under ten keys, their bodies `key/ticket`.
fn numbered(count: u64) -> Vec<Outgoing> {
    let key = |ticket: u64| (ticket % 10).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (0..count).map(|ticket| outgoing(ticket, key(ticket), "t/x", format!("{}/{ticket}", ticket % 10))).collect()
}

impl Bench {
    async fn send(&self, batch: Vec<Outgoing>) {
        self.handle.outgoing.send(batch).await.unwrap();
    }

    async fn settled(&mut self, count: usize) -> Vec<Settled> {
        let mut all = Vec::new();
        while all.len() < count {
            all.extend(timeout(PATIENCE, self.handle.settled.recv()).await.unwrap().unwrap());
        }
        all.sort_by_key(|settled| settled.ticket);
        all
    }

    async fn finish(self) {
        drop(self.handle.outgoing);
        timeout(PATIENCE, self.sink).await.unwrap().unwrap();
    }
}

/// First arrivals of each key, over all queues, rise.
fn assert_in_order(stored: &HashMap<u32, Vec<Bytes>>, count: usize) {
    let mut seen: HashMap<&str, Vec<u64>> = HashMap::new();
    for body in stored.values().flatten() {
        let (key, ticket) = std::str::from_utf8(body).unwrap().split_once('/').unwrap();
        let tickets = seen.entry(key).or_default();
        let ticket = ticket.parse().unwrap();
        if !tickets.contains(&ticket) {
            tickets.push(ticket);
        }
    }
    assert!(seen.values().all(|tickets| tickets.is_sorted()), "{seen:?}");
    assert_eq!(seen.values().map(Vec::len).sum::<usize>(), count);
}

#[tokio::test]
async fn every_message_is_stored_in_the_order_of_its_key_over_errors_and_cuts() {
    let script = vec![Some(2), None, Some(0), Some(10), None, Some(14), Some(1), None, Some(0), Some(2)];
    let mut bench = start(Fake { queues: 4, script, ..Fake::default() }).await;
    for chunk in 0..10 {
        bench.send(numbered(500).drain(chunk * 50..(chunk + 1) * 50).collect()).await;
    }
    let settled = bench.settled(500).await;
    assert!(settled.iter().map(|s| (s.ticket, &s.outcome)).eq((0..500).map(|ticket| (ticket, &Outcome::Stored))));
    assert_in_order(&lock(&bench.fake).stored, 500);
    assert!(bench.state.retried.get() >= 8);
    bench.finish().await;
}

#[tokio::test]
async fn a_missing_topic_stalls_with_its_name_and_goes_on_once_created() {
    let mut bench = start(Fake::default()).await;
    bench.send(numbered(3)).await;
    let stalled = async {
        while bench.state.reason().is_none_or(|reason| !reason.contains("topic t does not exist on main")) {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, stalled).await.unwrap();
    lock(&bench.fake).queues = 2;
    bench.settled(3).await;
    assert_eq!(bench.state.reason(), None);
    bench.finish().await;
}

#[tokio::test]
async fn only_the_message_that_the_broker_refuses_is_refused() {
    let mut bench = start(Fake { queues: 1, poison: Some("3/13".into()), ..Fake::default() }).await;
    bench.send(numbered(40)).await;
    let settled = bench.settled(40).await;
    let refused: Vec<_> = settled.iter().filter(|s| s.outcome != Outcome::Stored).collect();
    assert!(
        matches!(&refused[..], [Settled { ticket: 13, outcome: Outcome::Refused(r) }] if r.kind == "refused_by_broker")
    );
    assert_in_order(&lock(&bench.fake).stored, 39);
    bench.finish().await;
}

#[tokio::test]
async fn what_can_never_be_sent_is_refused_before_it_is_sent() {
    let mut bench = start(Fake { queues: 1, ..Fake::default() }).await;
    let mut forged = outgoing(3, 1, "t", "body");
    forged.message.tag = Some("a\u{2}TAGS\u{1}b".to_owned());
    let mut late = outgoing(4, 1, "t", "body");
    late.deadline = Some(Instant::now());
    let batch = vec![
        outgoing(0, 1, "t", vec![0; 1000]),
        outgoing(1, 1, "t", vec![0; 1001]),
        outgoing(2, 1, "no topic/x", "body"),
        forged,
        late,
        outgoing(5, 1, "t", ""),
    ];
    bench.send(batch).await;
    let settled = bench.settled(6).await;
    let words: Vec<_> = settled
        .iter()
        .map(|settled| match &settled.outcome {
            Outcome::Refused(refusal) => refusal.kind,
            Outcome::Stored => "stored",
            Outcome::Expired => "expired",
        })
        .collect();
    let expected = ["stored", "body_too_large", "topic_not_allowed", "property_unencodable", "expired", "stored"];
    assert_eq!(words, expected);
    assert_eq!(lock(&bench.fake).stored[&0], [Bytes::from(vec![0; 1000]), Bytes::new()]);
    bench.finish().await;
}

#[tokio::test]
async fn a_request_goes_again_with_the_same_messages() {
    let mut bench = start(Fake { queues: 1, script: vec![None, Some(14), Some(0)], ..Fake::default() }).await;
    bench.send(numbered(5)).await;
    bench.settled(5).await;
    let sends = std::mem::take(&mut lock(&bench.fake).sends);
    assert_eq!(sends.len(), 3);
    assert!(sends.iter().all(|send| *send == sends[0]), "{sends:?}");
    bench.finish().await;
}

#[tokio::test]
async fn a_sink_ends_at_once_when_nobody_takes_outcomes() {
    let bench = start(Fake::default()).await;
    bench.send(numbered(5)).await;
    drop(bench.handle.settled);
    timeout(Duration::from_secs(1), bench.sink).await.unwrap().unwrap();
}
