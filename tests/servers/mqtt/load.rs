//! Load over MQTT: a publisher of numbered messages and a subscriber that counts them, both through every fault.

use std::{
    collections::VecDeque,
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use rumqttc_v5::{
    Packet, PubAck, PubAckReason, Publish, Subscribe, SubscribeFilter,
    mqttbytes::{QoS, v5::ConnectReturnCode},
};
use tokio::{task::JoinHandle, time::Instant};

use super::super::count::{Tally, body};
use super::{Connection, Login};

/// Numbered messages for a publisher: message `n` is number `n / keys` of key `n % keys`.
#[derive(Debug, Clone)]
pub struct PublishLoad {
    /// `{key}` stands for the message's key.
    pub topic: String,
    pub count: u64,
    pub keys: u64,
    /// Bytes of a payload.
    pub size: usize,
    /// Messages per second; 0 is as fast as it goes.
    pub rate: u64,
}

#[derive(Debug, Default)]
struct Progress {
    acknowledged: AtomicU64,
    on_the_way: AtomicU64,
    unrouted: AtomicU64,
    paused: AtomicBool,
}

/// A device that publishes a load at QoS 1 and repeats what no broker has acknowledged, in order.
#[derive(Debug)]
pub struct Publisher {
    progress: Arc<Progress>,
    task: JoinHandle<()>,
}

impl Publisher {
    pub fn start(login: Login, load: PublishLoad) -> Self {
        let progress = Arc::<Progress>::default();
        let task = tokio::spawn(publish_all(login, load, progress.clone()));
        Self { progress, task }
    }

    /// How many the broker has acknowledged.
    pub fn acknowledged(&self) -> u64 {
        self.progress.acknowledged.load(Ordering::Relaxed)
    }

    /// How many the broker acknowledged although nobody subscribed: those are lost, and the test is wrong.
    pub fn unrouted(&self) -> u64 {
        self.progress.unrouted.load(Ordering::Relaxed)
    }

    /// Publishes nothing new from now on, and waits for what is on its way.
    pub async fn pause(&self) {
        self.progress.paused.store(true, Ordering::Relaxed);
        // A round of the loop may have begun before it saw the flag.
        tokio::time::sleep(Duration::from_millis(50)).await;
        while self.progress.on_the_way.load(Ordering::Relaxed) > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Goes on.
    pub fn resume(&self) {
        self.progress.paused.store(false, Ordering::Relaxed);
    }

    /// Waits until all are acknowledged.
    pub async fn finished(&self) {
        while !self.task.is_finished() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

async fn publish_all(mut login: Login, load: PublishLoad, progress: Arc<Progress>) {
    let mut sender = Sender { load, progress, next: 0, waiting: VecDeque::new(), started: Instant::now(), last_id: 0 };
    while !sender.done() {
        if sender.connected(&login).await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        login.clean = false;
    }
}

struct Sender {
    load: PublishLoad,
    progress: Arc<Progress>,
    next: u64,
    /// Packet id, number, and whether it was acknowledged already.
    waiting: VecDeque<(u16, u64)>,
    started: Instant,
    last_id: u16,
}

impl Sender {
    fn done(&self) -> bool {
        self.next == self.load.count && self.waiting.is_empty()
    }

    async fn connected(&mut self, login: &Login) -> io::Result<()> {
        let (mut connection, connack) = Connection::open(login).await?;
        if connack.code != ConnectReturnCode::Success {
            return Err(io::Error::other("refused"));
        }
        let window = connack.properties.and_then(|p| p.receive_max).unwrap_or(u16::MAX).min(200);
        for (id, number) in self.waiting.clone() {
            connection.push(&self.packet(id, number, true));
        }
        while !self.done() {
            while self.may_send(window) {
                self.last_id = self.last_id % u16::MAX + 1;
                connection.push(&self.packet(self.last_id, self.next, false));
                self.waiting.push_back((self.last_id, self.next));
                self.next += 1;
            }
            self.progress.on_the_way.store(self.waiting.len() as u64, Ordering::Relaxed);
            connection.flush().await?;
            // Wakes for what the rate or a pause's end allows, too.
            if let Ok(packet) = tokio::time::timeout(Duration::from_millis(10), connection.next()).await {
                self.answered(&packet?);
                while let Some(packet) = connection.buffered()? {
                    self.answered(&packet);
                }
            }
            self.progress.on_the_way.store(self.waiting.len() as u64, Ordering::Relaxed);
        }
        Ok(())
    }

    fn may_send(&self, window: u16) -> bool {
        let allowed = self.started.elapsed().as_millis() * u128::from(self.load.rate) / 1000;
        let due = self.load.rate == 0 || u128::from(self.next) < allowed;
        let room = self.waiting.len() < usize::from(window) && self.next < self.load.count;
        due && room && !self.progress.paused.load(Ordering::Relaxed)
    }

    fn packet(&self, id: u16, n: u64, repeated: bool) -> Packet {
        let (key, number) = (n % self.load.keys, n / self.load.keys);
        let topic = self.load.topic.replace("{key}", &format!("k{key}"));
        let mut publish = Publish::new(topic, QoS::AtLeastOnce, body(key, number, self.load.size), None);
        (publish.pkid, publish.dup) = (id, repeated);
        Packet::Publish(publish)
    }

    fn answered(&mut self, packet: &Packet) {
        let Packet::PubAck(answer) = packet else { return };
        let before = self.waiting.len();
        self.waiting.retain(|(id, _)| *id != answer.pkid);
        self.progress.acknowledged.fetch_add((before - self.waiting.len()) as u64, Ordering::Relaxed);
        match answer.reason {
            PubAckReason::Success => {}
            PubAckReason::NoMatchingSubscribers => {
                self.progress.unrouted.fetch_add(1, Ordering::Relaxed);
            }
            reason => panic!("the broker refused a publish: {reason:?}"),
        }
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A back end with a persistent session that counts what arrives, through every fault.
#[derive(Debug)]
pub struct Subscriber {
    tally: Arc<Mutex<Tally>>,
    subscriptions: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Subscriber {
    /// Returns once it has subscribed.
    pub async fn start(login: Login, filter: &str) -> Self {
        let tally = Arc::<Mutex<Tally>>::default();
        let subscriptions = Arc::<AtomicU64>::default();
        let task = tokio::spawn(count_all(login, filter.to_owned(), tally.clone(), subscriptions.clone()));
        let started = Self { tally, subscriptions, task };
        started.subscribed(1).await;
        started
    }

    /// How often it has connected and subscribed so far.
    pub fn subscriptions(&self) -> u64 {
        self.subscriptions.load(Ordering::Relaxed)
    }

    /// Waits until it has subscribed this often.
    pub async fn subscribed(&self, times: u64) {
        while self.subscriptions() < times {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// What arrived so far.
    pub fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn count_all(login: Login, filter: String, tally: Arc<Mutex<Tally>>, subscriptions: Arc<AtomicU64>) {
    // Mosquitto never writes a session that began clean to its database, and what waits there for it is gone.
    let login = login.resume();
    loop {
        let _ = count_connected(&login, &filter, &tally, &subscriptions).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn count_connected(
    login: &Login,
    filter: &str,
    tally: &Mutex<Tally>,
    subscriptions: &AtomicU64,
) -> io::Result<()> {
    let (mut connection, _) = Connection::open(login).await?;
    let mut subscribe = Subscribe::new(SubscribeFilter::new(filter, QoS::AtLeastOnce), None);
    subscribe.pkid = 1;
    connection.push(&Packet::Subscribe(subscribe));
    connection.flush().await?;
    loop {
        let mut packet = Some(connection.next().await?);
        while let Some(now) = packet {
            match now {
                Packet::Publish(publish) => {
                    tally.lock().unwrap_or_else(PoisonError::into_inner).arrived(&publish.payload);
                    connection.push(&Packet::PubAck(PubAck::new(publish.pkid, None)));
                }
                Packet::SubAck(_) => {
                    subscriptions.fetch_add(1, Ordering::Relaxed);
                }
                _ => {}
            }
            packet = connection.buffered()?;
        }
        connection.flush().await?;
    }
}
