//! A bare RocketMQ client: hand-written, blocking, JSON headers, straight to one broker. It makes topics, fills them,
//! says how much they hold, and reads them by long polling; it shares no code with rocketbridge.

use std::{
    collections::{HashMap, VecDeque},
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    thread::{self, JoinHandle},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Map, Value, json};

use crate::mqtt::KEYS;

const SEND_MESSAGE_V2: i32 = 310;
const SEND_BATCH_MESSAGE: i32 = 320;
const PULL_MESSAGE: i32 = 11;
const UPDATE_AND_CREATE_TOPIC: i32 = 17;
const GET_MAX_OFFSET: i32 = 30;
const UPDATE_AND_CREATE_SUBSCRIPTIONGROUP: i32 = 200;

/// The broker asks to be left alone for a while.
const SYSTEM_BUSY: i64 = 2;
/// Answers of a pull that only say: nothing yet.
const NOTHING_YET: [i64; 3] = [19, 20, 21];

/// One connection to a broker.
pub(crate) struct Broker {
    stream: TcpStream,
    opaque: i64,
}

/// An answer.
pub(crate) struct Answer {
    code: i64,
    opaque: i64,
    header: Value,
    body: Vec<u8>,
}

impl Answer {
    fn field(&self, name: &str) -> Result<u64> {
        let value = &self.header["extFields"][name];
        value.as_str().and_then(|v| v.parse().ok()).with_context(|| format!("no {name} in {}", self.header))
    }

    fn success(self, what: &str) -> Result<Self> {
        ensure!(self.code == 0, "RocketMQ refused to {what}: {}", self.header);
        Ok(self)
    }
}

impl Broker {
    pub(crate) fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).context("connecting to the RocketMQ broker")?;
        stream.set_nodelay(true)?;
        // Longer than any long poll: a broker that is silent for so long is an error here.
        stream.set_read_timeout(Some(Duration::from_secs(40)))?;
        Ok(Self { stream, opaque: 0 })
    }

    fn send(&mut self, code: i32, fields: &[(&str, &str)], body: &[u8]) -> Result<i64> {
        self.opaque += 1;
        let fields: Map<String, Value> = fields.iter().map(|(k, v)| ((*k).to_owned(), json!(v))).collect();
        let header = serde_json::to_vec(&json!({
            "code": code, "language": "JAVA", "version": 477, "opaque": self.opaque, "flag": 0,
            "serializeTypeCurrentRPC": "JSON", "extFields": fields,
        }))?;
        let mut frame = Vec::with_capacity(8 + header.len() + body.len());
        frame.extend_from_slice(&u32::try_from(4 + header.len() + body.len())?.to_be_bytes());
        frame.extend_from_slice(&u32::try_from(header.len())?.to_be_bytes());
        frame.extend_from_slice(&header);
        frame.extend_from_slice(body);
        self.stream.write_all(&frame)?;
        Ok(self.opaque)
    }

    fn receive(&mut self) -> Result<Answer> {
        let mut head = [0; 8];
        self.stream.read_exact(&mut head)?;
        let [length, header] = [&head[..4], &head[4..]].map(|b| u32::from_be_bytes([b[0], b[1], b[2], b[3]]));
        let (length, header_length) = (length as usize, (header & 0x00ff_ffff) as usize);
        let mut rest = vec![0; length.checked_sub(4).context("a short frame")?];
        self.stream.read_exact(&mut rest)?;
        let header: Value = serde_json::from_slice(rest.get(..header_length).context("a short header")?)?;
        let number = |name: &str| header[name].as_i64().with_context(|| format!("no {name} in {header}"));
        Ok(Answer { code: number("code")?, opaque: number("opaque")?, body: rest.split_off(header_length), header })
    }

    fn call(&mut self, code: i32, fields: &[(&str, &str)], body: &[u8], what: &str) -> Result<Answer> {
        self.send(code, fields, body)?;
        self.receive()?.success(what)
    }

    /// Makes a topic; routes of it are with the name server when this returns.
    pub(crate) fn create_topic(&mut self, topic: &str, queues: usize) -> Result<()> {
        let queues = queues.to_string();
        let fields = [
            ("topic", topic),
            ("defaultTopic", "TBW102"),
            ("readQueueNums", queues.as_str()),
            ("writeQueueNums", &queues),
            ("perm", "6"),
            ("topicFilterType", "SINGLE_TAG"),
            ("topicSysFlag", "0"),
            ("order", "false"),
        ];
        self.call(UPDATE_AND_CREATE_TOPIC, &fields, &[], "create a topic").map(drop)
    }

    /// Makes a consumer group, for brokers that do not make them by themselves.
    pub(crate) fn create_group(&mut self, group: &str) -> Result<()> {
        let body = serde_json::to_vec(&json!({ "groupName": group, "consumeEnable": true,
            "consumeFromMinEnable": true, "consumeBroadcastEnable": true, "retryQueueNums": 1, "retryMaxTimes": 16,
            "brokerId": 0, "whichBrokerWhenConsumeSlowly": 1, "notifyConsumerIdsChangedEnable": true }))?;
        self.call(UPDATE_AND_CREATE_SUBSCRIPTIONGROUP, &[], &body, "create a group").map(drop)
    }

    /// How many messages a new topic has taken.
    pub(crate) fn stored(&mut self, topic: &str, queues: usize) -> Result<u64> {
        for queue in 0..queues {
            self.send(GET_MAX_OFFSET, &[("topic", topic), ("queueId", &queue.to_string())], &[])?;
        }
        (0..queues).map(|_| self.receive()?.success("count a queue")?.field("offset")).sum()
    }

    /// Fills a topic in batches of 100, several under way, with what a back end would send to devices.
    pub(crate) fn fill(&mut self, topic: &str, queues: usize, messages: u64, body: &[u8]) -> Result<()> {
        const BATCH: usize = 100;
        let mut waiting: VecDeque<u64> = (0..messages).step_by(BATCH).collect();
        let mut under_way = HashMap::new();
        while !waiting.is_empty() || !under_way.is_empty() {
            while under_way.len() < 8
                && let Some(first) = waiting.pop_front()
            {
                let numbers = first..messages.min(first + BATCH as u64);
                let batch: Vec<u8> = numbers.flat_map(|i| entry(&properties(i), body)).collect();
                let queue = (first / BATCH as u64) % queues as u64;
                let fields = send_fields(topic, queue, String::new(), "true");
                under_way.insert(self.send(SEND_BATCH_MESSAGE, &borrowed(&fields), &batch)?, first);
            }
            let answer = self.receive()?;
            let first = under_way.remove(&answer.opaque).context("an answer to no batch")?;
            if answer.code == SYSTEM_BUSY {
                waiting.push_back(first);
                thread::sleep(Duration::from_millis(50));
            } else {
                answer.success("store a batch")?;
            }
        }
        Ok(())
    }

    /// Sends one message and does not wait.
    pub(crate) fn post(&mut self, topic: &str, queue: u64, number: u64, body: &[u8]) -> Result<()> {
        let fields = send_fields(topic, queue, properties(number), "false");
        self.send(SEND_MESSAGE_V2, &borrowed(&fields), body).map(drop)
    }

    /// Waits for the answer of one `post`.
    pub(crate) fn posted(&mut self) -> Result<()> {
        let answer = self.receive()?;
        // A message that is refused for now is missing in the end, and that shows.
        if answer.code == SYSTEM_BUSY { Ok(()) } else { answer.success("store a message").map(drop) }
    }

    /// A second handle on the connection, for a thread that only reads answers.
    pub(crate) fn reader(&self) -> Result<Self> {
        Ok(Self { stream: self.stream.try_clone()?, opaque: 0 })
    }

    /// Ends all waiting reads of all handles.
    pub(crate) fn close(&self) {
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    fn pull(&mut self, group: &str, topic: &str, queue: usize, offset: u64) -> Result<i64> {
        let (queue, offset) = (queue.to_string(), offset.to_string());
        let fields = [
            ("consumerGroup", group),
            ("topic", topic),
            ("queueId", queue.as_str()),
            ("queueOffset", &offset),
            ("maxMsgNums", "32"),
            // Bits 2 (wait for messages) and 4 (the subscription stands here).
            ("sysFlag", "6"),
            ("commitOffset", "0"),
            ("suspendTimeoutMillis", "15000"),
            ("subscription", "*"),
            ("subVersion", "0"),
            ("expressionType", "TAG"),
        ];
        self.send(PULL_MESSAGE, &fields, &[])
    }
}

fn properties(number: u64) -> String {
    let device = number % KEYS;
    format!("mqttSecondTopic\u{1}/d{device}/down\u{2}qoslevel\u{1}1\u{2}KEYS\u{1}d{device}\u{2}")
}

fn send_fields(topic: &str, queue: u64, properties: String, batch: &str) -> Vec<(&'static str, String)> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let fixed = [("a", "GID_bench"), ("c", "TBW102"), ("d", "4"), ("f", "0"), ("h", "0"), ("j", "0"), ("k", "false")];
    let mut fields: Vec<_> = fixed.map(|(k, v)| (k, v.to_owned())).into();
    fields.extend([("b", topic.to_owned()), ("e", queue.to_string()), ("g", now.to_string())]);
    fields.extend([("i", properties), ("m", batch.to_owned())]);
    fields
}

fn borrowed<'a>(fields: &'a [(&'static str, String)]) -> Vec<(&'a str, &'a str)> {
    fields.iter().map(|(k, v)| (*k, v.as_str())).collect()
}

#[expect(clippy::cast_possible_truncation, reason = "a benchmark's own short bodies and properties")]
fn entry(properties: &str, body: &[u8]) -> Vec<u8> {
    let size = 4 * 5 + body.len() + 2 + properties.len();
    let mut entry = Vec::with_capacity(size);
    entry.extend_from_slice(&(size as u32).to_be_bytes());
    entry.extend_from_slice(&[0; 12]);
    entry.extend_from_slice(&(body.len() as u32).to_be_bytes());
    entry.extend_from_slice(body);
    entry.extend_from_slice(&(properties.len() as u16).to_be_bytes());
    entry.extend_from_slice(properties.as_bytes());
    entry
}

/// The bodies of a pull's records, which came from loopback and so have IPv4 hosts.
fn bodies(mut records: &[u8], mut each: impl FnMut(&[u8])) -> Result<u64> {
    let mut n = 0;
    let length_at = |b: &[u8], at: usize| -> Option<usize> {
        Some(u32::from_be_bytes(b.get(at..at + 4)?.try_into().ok()?) as usize)
    };
    while !records.is_empty() {
        let size = length_at(records, 0).context("a short record")?;
        let body = length_at(records, 84).context("a short record")?;
        each(records.get(88..88 + body).context("a short body")?);
        records = records.get(size.max(1)..).context("a short record")?;
        n += 1;
    }
    Ok(n)
}

/// A long-polling reader of all queues of a topic, from now on.
pub(crate) struct Consumer {
    broker: Broker,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Consumer {
    /// Starts at the end of each queue; `each` runs on the reading thread.
    pub(crate) fn start(
        address: SocketAddr,
        group: &'static str,
        topic: &str,
        queues: usize,
        mut each: impl FnMut(&[u8]) + Send + 'static,
    ) -> Result<Self> {
        let mut broker = Broker::connect(address)?;
        broker.create_group(group)?;
        let handle = broker.reader()?;
        let topic = topic.to_owned();
        let mut waiting = Vec::new();
        for queue in 0..queues {
            let fields = [("topic", topic.as_str()), ("queueId", &queue.to_string())];
            let offset = broker.call(GET_MAX_OFFSET, &fields, &[], "count a queue")?.field("offset")?;
            waiting.push((broker.pull(group, &topic, queue, offset)?, queue, offset));
        }
        let thread = thread::spawn(move || {
            loop {
                let answer = broker.receive()?;
                let found = waiting.iter().position(|(opaque, ..)| *opaque == answer.opaque);
                let (_, queue, mut offset) = waiting.swap_remove(found.context("an answer to no pull")?);
                match answer.code {
                    0 => offset += bodies(&answer.body, &mut each)?,
                    code if NOTHING_YET.contains(&code) => {}
                    _ => bail!("RocketMQ refused a pull: {}", answer.header),
                }
                waiting.push((broker.pull(group, &topic, queue, offset)?, queue, offset));
            }
        });
        Ok(Self { broker: handle, thread: Some(thread) })
    }

    /// Whether it still reads; a consumer that failed says so here.
    pub(crate) fn is_alive(&self) -> bool {
        self.thread.as_ref().is_some_and(|t| !t.is_finished())
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.broker.close();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
