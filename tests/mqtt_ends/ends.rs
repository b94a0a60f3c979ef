//! A source and a sink with a test in the place of the route.

use std::{collections::VecDeque, path::Path, sync::Arc, time::Duration};

use rocketbridge::{
    delivery::{Delivery, OrderKey, Outcome, Outgoing, Settled, SinkHandle, SourceHandle, sink_link, source_link},
    mapping::FromMqtt,
    message::{Message, Qos, Topic},
    mqtt::{sink, source},
    settings::{Limits, MqttBroker, MqttTransport, MqttUrl, MqttVersion, TlsFiles},
    telemetry::{EndState, Telemetry},
};
use tokio::{sync::Semaphore, task::JoinHandle, time::timeout};

use crate::servers::{
    count::{Report, Tally, body},
    folder,
};

const PATIENCE: Duration = Duration::from_secs(30);
const LIMITS: Limits = Limits { messages: 10_000, bytes: 16 << 20 };
const KEYS: u64 = 100;

pub(super) fn broker(port: u16, version: MqttVersion) -> MqttBroker {
    MqttBroker {
        name: "edge".into(),
        url: MqttUrl { transport: MqttTransport::Tcp, host: "127.0.0.1".into(), port, path: "/mqtt".into() },
        version,
        client_id: "bridge".into(),
        username: None,
        password: None,
        login: None,
        tls: TlsFiles::default(),
        will: None,
        keep_alive: Duration::from_secs(30),
        session_expiry: None,
        window: 200,
        max_packet: 1 << 20,
        connect_timeout: Duration::from_secs(10),
        api: None,
    }
}

pub(super) async fn says(state: &EndState, text: &str) {
    let says = async {
        while !state.reason().is_some_and(|reason| reason.contains(text)) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(timeout(PATIENCE, says).await.is_ok(), "{:?} does not say {text:?}", state.reason());
}

pub(super) struct Reader {
    handle: SourceHandle,
    pub(super) state: Arc<EndState>,
    pub(super) telemetry: Telemetry,
    task: JoinHandle<()>,
    read: VecDeque<Delivery>,
}

impl Reader {
    /// With a data folder of its own.
    pub(super) fn start(broker: &Arc<MqttBroker>, client_id: &str, filters: &[&str], qos: Qos) -> Self {
        Self::start_in(&folder("reader"), broker, client_id, filters, qos)
    }

    pub(super) fn start_in(
        data_dir: &Path,
        broker: &Arc<MqttBroker>,
        client_id: &str,
        filters: &[&str],
        qos: Qos,
    ) -> Self {
        let telemetry = Telemetry::default();
        let state = telemetry.route("r", "edge", "edge", "").source.clone();
        let (link, handle) = source_link(state.clone());
        let from = FromMqtt {
            broker: broker.clone(),
            client_id: client_id.to_owned(),
            filters: filters.iter().map(ToString::to_string).collect(),
            share: None,
            qos,
            forward_retained: false,
        };
        let data_dir = data_dir.to_owned();
        let task = tokio::spawn(async move { source::run(from, "r", LIMITS, &data_dir, link).await });
        Self { handle, state, telemetry, task, read: VecDeque::new() }
    }

    /// Subscribed.
    pub(super) async fn is_up(&self) {
        let up = async {
            while self.state.reason().is_some() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        assert!(timeout(PATIENCE, up).await.is_ok(), "{:?}", self.state.reason());
    }

    /// The next message, settled.
    pub(super) async fn read(&mut self) -> Message {
        while self.read.is_empty() {
            let batch = timeout(PATIENCE, self.handle.deliveries.recv()).await;
            self.read.extend(batch.expect("a message in time").expect("a running source"));
        }
        let delivery = self.read.pop_front().unwrap();
        self.handle.settled.send(vec![delivery.ticket]).unwrap();
        delivery.message
    }

    pub(super) async fn stays_quiet(&mut self) {
        assert!(self.read.is_empty());
        let more = timeout(Duration::from_millis(300), self.handle.deliveries.recv()).await;
        assert!(more.is_err(), "{more:?}");
    }

    /// In good order.
    pub(super) async fn stop(mut self) {
        self.handle.deliveries.close();
        drop(self.handle);
        timeout(PATIENCE, self.task).await.expect("the source ends").unwrap();
    }

    /// As a process that is killed.
    pub(super) async fn kill(self) {
        self.task.abort();
        self.task.await.unwrap_err();
    }
}

pub(super) struct Writer {
    handle: SinkHandle,
    pub(super) state: Arc<EndState>,
    task: JoinHandle<()>,
    ticket: u64,
}

impl Writer {
    pub(super) fn start(broker: &Arc<MqttBroker>, client_id: &str) -> Self {
        let state = Telemetry::default().route("r", "edge", "edge", "").sink.clone();
        let (link, handle) = sink_link(state.clone());
        let (broker, client_id) = (broker.clone(), client_id.to_owned());
        let task = tokio::spawn(async move { sink::run(broker, &client_id, LIMITS, link).await });
        Self { handle, state, task, ticket: 0 }
    }

    pub(super) async fn pass(&self, message: Message) {
        self.handle.outgoing.send(vec![outgoing(self.ticket, message)]).await.unwrap();
    }

    /// What became of one message.
    pub(super) async fn write(&mut self, message: Message) -> Outcome {
        self.pass(message).await;
        let settled = timeout(PATIENCE, self.handle.settled.recv()).await.expect("settled in time").unwrap();
        assert_eq!(settled.len(), 1);
        assert_eq!(settled[0].ticket, self.ticket);
        self.ticket += 1;
        settled.into_iter().next().unwrap().outcome
    }

    pub(super) async fn stop(self) {
        drop(self.handle.outgoing);
        timeout(PATIENCE, self.task).await.expect("the sink ends").unwrap();
    }
}

fn outgoing(ticket: u64, message: Message) -> Outgoing {
    Outgoing { ticket, order: OrderKey::Hash(0), message, deadline: None }
}

/// Writes numbered messages of many keys as fast as they are taken and reads them until all are there.
pub(super) async fn numbered(writer: Writer, mut reader: Reader, qos: Qos, count: u64) -> Report {
    let room = Arc::new(Semaphore::new(2_000));
    let used = room.clone();
    let SinkHandle { outgoing: passed, mut settled } = writer.handle;
    let passing = tokio::spawn(async move {
        for first in (0..count).step_by(50) {
            used.acquire_many(50).await.unwrap().forget();
            let batch = (first..first + 50).map(|ticket| {
                let (key, number) = (ticket % KEYS, ticket / KEYS);
                let mut message = Message::new(Topic::from_mqtt(format!("t/{key}")), body(key, number, 256));
                message.qos = qos;
                outgoing(ticket, message)
            });
            passed.send(batch.collect()).await.unwrap();
        }
    });
    let settling = tokio::spawn(async move {
        let mut stored = 0;
        while stored < count {
            let batch = timeout(PATIENCE, settled.recv()).await.expect("settled in time").expect("a running sink");
            room.add_permits(batch.len());
            for Settled { ticket, outcome } in batch {
                assert_eq!(outcome, Outcome::Stored, "{ticket}");
                stored += 1;
            }
        }
    });
    let mut tally = Tally::default();
    while tally.distinct() < count {
        let batch = timeout(PATIENCE, reader.handle.deliveries.recv()).await;
        let batch = batch.unwrap_or_else(|_| panic!("{} of {count} came", tally.distinct())).unwrap();
        for delivery in &batch {
            tally.arrived(&delivery.message.payload);
        }
        reader.handle.settled.send(batch.iter().map(|delivery| delivery.ticket).collect()).unwrap();
    }
    passing.await.unwrap();
    settling.await.unwrap();
    timeout(PATIENCE, writer.task).await.expect("the sink ends").unwrap();
    reader.stop().await;
    tally.report(count, KEYS)
}
