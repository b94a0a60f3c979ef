//! Membership round by round, against a cluster that does what no real one can be made to do at the right moment.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{
    sync::mpsc::{self, Receiver},
    time::{Instant, sleep, timeout},
};

use super::{group::Group, holds::GONE, *};
use crate::{
    delivery::Delivery,
    mapping::Start,
    message::Queue,
    rocketmq::{
        fake_server::{Answer, FakeServer},
        wire::{
            code::{request, response},
            frame::Frame,
            record::tests::Sample,
        },
    },
    settings::StoredWhen,
    telemetry::Telemetry,
};

/// What the cluster does and has been asked.
#[derive(Debug, Default)]
struct Fake {
    /// Queues of the topic on each broker that is registered.
    queues: BTreeMap<&'static str, u32>,
    addresses: BTreeMap<&'static str, String>,
    /// Members of the group besides those that say they are there.
    others: Vec<String>,
    members: Vec<String>,
    /// Each queue holds messages up to here.
    end: u64,
    /// What the first queue holds, as a broker stores it.
    records: Vec<Vec<u8>>,
    committed: HashMap<Queue, u64>,
    /// Requests that brokers answer with an error.
    failing: Vec<i32>,
    /// How long an answer to a lock is under way.
    lock_delay: Duration,
    /// Queues that were locked and unlocked, in this order.
    asked: Vec<(i32, Vec<Queue>)>,
}

impl Fake {
    fn route(&self) -> Option<String> {
        let brokers: Vec<Value> = self
            .queues
            .keys()
            .map(|name| json!({ "brokerName": name, "brokerAddrs": { "0": self.addresses[name] } }))
            .collect();
        let queues: Vec<Value> = self
            .queues
            .iter()
            .filter(|(_, count)| **count > 0)
            .map(|(name, count)| json!({ "brokerName": name, "perm": 6, "readQueueNums": count, "writeQueueNums": count }))
            .collect();
        (!queues.is_empty()).then(|| json!({ "brokerDatas": brokers, "queueDatas": queues }).to_string())
    }

    fn pull(&self, request: &Frame) -> Option<Answer> {
        let first: usize =
            request.fields.number("queueOffset").filter(|_| request.fields.get("queueId") == Some("0"))?;
        let found = self.records.get(first..).filter(|found| !found.is_empty())?;
        let end = self.records.len().to_string();
        let fields = json!({ "nextBeginOffset": end, "minOffset": "0", "maxOffset": end });
        Some(Answer::new(response::SUCCESS, fields, found.concat()))
    }

    fn brokers(&self) -> String {
        let of = |name: &&'static str| (String::from(*name), json!({ "brokerAddrs": { "0": self.addresses[name] } }));
        json!({ "brokerAddrTable": self.queues.keys().map(of).collect::<serde_json::Map<_, _>>() }).to_string()
    }

    fn answer(&mut self, broker: &'static str, request: &Frame) -> Answer {
        let plain = |code| Answer::new(code, json!({}), "");
        let with = |body: String| Answer::new(response::SUCCESS, json!({}), body);
        let queue = || Queue { broker: broker.into(), id: request.fields.number("queueId").unwrap() };
        let offset = |offset| Answer::new(response::SUCCESS, json!({ "offset": format!("{offset}") }), "");
        if self.failing.contains(&request.code) {
            return plain(response::SYSTEM_ERROR);
        }
        match request.code {
            request::GET_ROUTEINFO_BY_TOPIC => self.route().map_or_else(|| plain(response::TOPIC_NOT_EXIST), with),
            request::GET_BROKER_CLUSTER_INFO => with(self.brokers()),
            request::HEART_BEAT => {
                let body: Value = serde_json::from_slice(&request.body).unwrap();
                let id = body["clientID"].as_str().unwrap().to_owned();
                if !self.members.contains(&id) {
                    self.members.push(id);
                }
                plain(response::SUCCESS)
            }
            request::GET_CONSUMER_LIST_BY_GROUP => {
                let all: Vec<&String> = self.members.iter().chain(&self.others).collect();
                with(json!({ "consumerIdList": all }).to_string())
            }
            request::LOCK_BATCH_MQ | request::UNLOCK_BATCH_MQ => {
                let body: Value = serde_json::from_slice(&request.body).unwrap();
                self.asked.push((request.code, queues(&body["mqSet"])));
                with(json!({ "lockOKMQSet": body["mqSet"] }).to_string())
            }
            request::QUERY_CONSUMER_OFFSET => {
                self.committed.get(&queue()).map_or_else(|| plain(response::QUERY_NOT_FOUND), offset)
            }
            request::UPDATE_CONSUMER_OFFSET => {
                self.committed.insert(queue(), request.fields.number("commitOffset").unwrap());
                plain(response::SUCCESS)
            }
            request::GET_MIN_OFFSET => offset(&0),
            request::GET_MAX_OFFSET => offset(&self.end),
            request::PULL_MESSAGE => self.pull(request).unwrap_or_else(|| plain(response::SYSTEM_BUSY)),
            _ => plain(response::SUCCESS),
        }
    }
}

fn queues(set: &Value) -> Vec<Queue> {
    let queue = |one: &Value| Queue {
        broker: one["brokerName"].as_str().unwrap().into(),
        id: u32::try_from(one["queueId"].as_u64().unwrap()).unwrap(),
    };
    set.as_array().unwrap().iter().map(queue).collect()
}

/// A cluster, and one member of a group that does a round when told to.
struct Bench {
    fake: Arc<Mutex<Fake>>,
    servers: BTreeMap<&'static str, FakeServer>,
    shared: Arc<Shared>,
    group: Group,
    deliveries: Receiver<Vec<Delivery>>,
}

/// Starts a name server and these brokers, each with two queues unless the topic is not there yet.
async fn bench(start: Start, brokers: &[&'static str]) -> Bench {
    let fake = Arc::<Mutex<Fake>>::default();
    let mut servers = BTreeMap::new();
    for name in ["name server"].iter().chain(brokers).copied() {
        let answering = fake.clone();
        let server = FakeServer::start(move |request| {
            let mut fake = answering.lock().unwrap();
            let answer = fake.answer(name, &request);
            let delay = if request.code == request::LOCK_BATCH_MQ { fake.lock_delay } else { Duration::ZERO };
            async move {
                sleep(delay).await;
                Some(answer)
            }
        });
        let server = server.await;
        fake.lock().unwrap().addresses.insert(name, server.address.to_string());
        servers.insert(name, server);
    }
    fake.lock().unwrap().queues = brokers.iter().map(|name| (*name, 2)).collect();
    let cluster = RocketMqCluster {
        name: "main".to_owned(),
        name_servers: vec![servers["name server"].address.to_string()],
        access_key: None,
        secret_key: None,
        tls: None,
        namespace: String::new(),
        stored_when: StoredWhen::Durable,
        request_timeout: Duration::from_secs(1),
        max_message: 1 << 20,
        lane_grace: Duration::from_secs(60),
    };
    let from = FromRocketMq {
        cluster: Arc::new(cluster),
        topic: "t".to_owned(),
        group: "GID_t".to_owned(),
        tags: Vec::new(),
        start,
    };
    let state = Telemetry::default().route("r", "main", "far", "file").source;
    let limits = Limits { messages: 1000, bytes: 1 << 20 };
    let (shared, pushes) = Shared::new(from, "r".to_owned(), limits, state);
    let (sender, deliveries) = mpsc::channel(1);
    let group = Group::new(shared.clone(), sender, pushes);
    Bench { fake, servers, shared, group, deliveries }
}

impl Bench {
    fn fake(&self) -> MutexGuard<'_, Fake> {
        self.fake.lock().unwrap()
    }

    /// The queues that are held, in the order in which they were taken.
    fn holding(&self) -> Vec<Queue> {
        self.shared.holds().iter().map(|(_, reading)| reading.queue.clone()).collect()
    }

    /// What was unlocked, once every request has had the time to arrive.
    async fn unlocked(&self) -> Vec<Queue> {
        sleep(Duration::from_millis(100)).await;
        let fake = self.fake();
        let unlocks = fake.asked.iter().filter(|(code, _)| *code == request::UNLOCK_BATCH_MQ);
        unlocks.flat_map(|(_, queues)| queues.clone()).collect()
    }
}

fn queue(broker: &str, id: u32) -> Queue {
    Queue { broker: broker.into(), id }
}

#[tokio::test]
async fn an_old_topic_is_no_new_one_while_its_brokers_are_still_starting() {
    let mut bench = bench(Start::Last, &["a"]).await;
    bench.fake().end = 100;
    let registered = std::mem::take(&mut bench.fake().queues);
    assert!(bench.group.round().await.is_some_and(|fault| fault.contains("know no broker")));
    bench.fake().queues = registered;
    assert_eq!(bench.group.round().await, None);
    assert_eq!(bench.fake().committed, HashMap::from([(queue("a", 0), 100), (queue("a", 1), 100)]));
}

#[tokio::test]
async fn a_topic_that_is_made_later_is_read_from_its_first_message() {
    let mut bench = bench(Start::Last, &["a"]).await;
    bench.fake().queues.insert("a", 0);
    assert!(bench.group.round().await.is_some_and(|fault| fault.contains("no such topic")));
    bench.fake().queues.insert("a", 2);
    bench.fake().end = 100;
    assert_eq!(bench.group.round().await, None);
    assert_eq!(bench.fake().committed, HashMap::from([(queue("a", 0), 0), (queue("a", 1), 0)]));
}

#[tokio::test]
async fn a_queue_that_became_another_members_while_its_lock_was_asked_for_is_let_go() {
    let mut bench = bench(Start::First, &["a"]).await;
    assert_eq!(bench.group.round().await, None);
    // The other sorts before us and gets the first queue.
    bench.fake().others.push("0".to_owned());
    bench.fake().lock_delay = Duration::from_millis(300);
    assert_eq!(bench.group.round().await, None);
    assert_eq!(bench.holding(), [queue("a", 1)]);
    let given_up_and_let_go = bench.unlocked().await;
    assert_eq!(given_up_and_let_go, [queue("a", 0), queue("a", 0)]);
}

#[tokio::test]
async fn a_lock_counts_from_before_it_was_asked_for() {
    let mut bench = bench(Start::First, &["a"]).await;
    bench.fake().lock_delay = Duration::from_millis(300);
    for _taken_then_renewed in 0..2 {
        let before = Instant::now();
        assert_eq!(bench.group.round().await, None);
        for (_, reading) in bench.shared.holds().iter() {
            assert!(reading.confirmed - before < bench.fake().lock_delay);
        }
    }
}

#[tokio::test]
async fn queues_that_were_locked_and_not_begun_are_unlocked_on_leaving() {
    let both = [queue("a", 0), queue("a", 1)];
    let mut not_begun = bench(Start::First, &["a"]).await;
    not_begun.fake().failing.push(request::QUERY_CONSUMER_OFFSET);
    assert!(not_begun.group.round().await.is_some_and(|fault| fault.contains("where to start")));
    commit::leave(&not_begun.shared).await;
    assert_eq!(not_begun.unlocked().await, both);

    let mut not_answered = bench(Start::First, &["a"]).await;
    not_answered.fake().lock_delay = Duration::from_secs(60);
    assert!(timeout(Duration::from_millis(300), not_answered.group.round()).await.is_err());
    commit::leave(&not_answered.shared).await;
    assert_eq!(not_answered.unlocked().await, both);
}

#[tokio::test]
async fn a_broker_that_was_removed_is_no_fault_and_its_queues_are_given_up_in_the_end() {
    let mut bench = bench(Start::First, &["a", "b"]).await;
    assert_eq!(bench.group.round().await, None);
    bench.servers.remove("b");
    assert!(bench.group.round().await.is_some_and(|fault| fault.contains("broker b")), "down, and still listed");
    bench.fake().queues.remove("b");
    assert_eq!(bench.group.round().await, None);
    assert_eq!(bench.holding().len(), 4, "it may be back soon");
    for reading in bench.shared.holds().iter_mut() {
        reading.unlisted = reading.unlisted.map(|since| since - GONE);
    }
    assert_eq!(bench.group.round().await, None);
    assert_eq!(bench.holding(), [queue("a", 0), queue("a", 1)]);
}

/// Compressed a thousandfold, one answer would fill the memory many times over.
#[tokio::test]
async fn an_answer_is_decompressed_only_as_far_as_there_is_room() {
    const LARGE: usize = 256 << 10;
    let mut bench = bench(Start::First, &["a"]).await;
    bench.fake().records = (0..32).map(|offset| Sample::compressed(offset, &vec![7; LARGE]).bytes()).collect();
    assert_eq!(bench.group.round().await, None);
    sleep(Duration::from_millis(200)).await;
    let position = |bench: &Bench| {
        let holds = bench.shared.holds();
        holds.of(&queue("a", 0)).and_then(|hold| holds.position(hold))
    };
    assert_eq!(position(&bench), Some(1), "what was handed on fills the only place");
    for ticket in 0..32 {
        let batch = timeout(Duration::from_secs(5), bench.deliveries.recv()).await.unwrap().unwrap();
        assert_eq!(batch.iter().map(|delivery| delivery.ticket).collect::<Vec<_>>(), [ticket]);
        assert_eq!(batch[0].message.payload, vec![7; LARGE]);
    }
    assert_eq!(position(&bench), Some(32));
}
