//! Apache's own Java client in a process of its own, asked in lines of JSON. `java/Judge.java` lists what it can do.

use std::{
    collections::{BTreeMap, HashMap},
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Stdio},
    sync::{
        Arc, LazyLock, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use serde_json::{Map, Value, json};
use tokio::sync::{mpsc, oneshot};

use super::{
    count::Tally,
    folder,
    process::{command, spawn},
    rocketmq::{Access, RocketMq, jars},
};

/// The running Java process.
#[derive(Debug)]
pub struct Judge {
    /// Never waited for: it ends with this process.
    _child: Child,
    input: Mutex<ChildStdin>,
    waiting: Arc<Mutex<Waiting>>,
    next: AtomicU64,
}

#[derive(Debug, Default)]
struct Waiting {
    answers: HashMap<u64, oneshot::Sender<Value>>,
    streams: HashMap<u64, mpsc::UnboundedSender<Value>>,
}

impl Judge {
    /// The one of this process, started at first use.
    pub fn shared() -> &'static Self {
        static JUDGE: LazyLock<Judge> = LazyLock::new(Judge::start);
        &JUDGE
    }

    fn start() -> Self {
        let folder = folder("judge");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/servers/java/Judge.java");
        let mut java = command("java");
        java.args(["-Xmx768m", "-XX:+UseSerialGC", "-Drocketmq.client.logUseSlf4j=false"])
            .arg(format!("-Duser.home={}", folder.display()))
            .arg("-cp")
            .arg(format!("{}/*", jars().display()))
            .arg(source)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(folder.join("printed.log")).expect("create the judge's log"));
        let mut child = spawn(java);
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let waiting = Arc::<Mutex<Waiting>>::default();
        let told = waiting.clone();
        thread::spawn(move || listen(output.expect("the judge's output is a pipe"), &told));
        let input = Mutex::new(input.expect("the judge's input is a pipe"));
        Self { _child: child, input, waiting, next: AtomicU64::new(1) }
    }

    /// Asks and waits for the answer; an `Err` is what Java threw.
    pub async fn ask(&self, op: &str, request: Value) -> Result<Value, String> {
        let id = self.number();
        let (answer, told) = oneshot::channel();
        lock(&self.waiting).answers.insert(id, answer);
        self.say(id, op, request);
        let mut answer = told.await.map_err(|_| "the judge is gone".to_owned())?;
        match answer["error"].take() {
            Value::Null => Ok(answer),
            error => Err(error.as_str().unwrap_or("no reason").to_owned()),
        }
    }

    fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    fn say(&self, id: u64, op: &str, mut request: Value) {
        request["id"] = id.into();
        request["op"] = op.into();
        let mut input = self.input.lock().unwrap_or_else(PoisonError::into_inner);
        writeln!(input, "{request}").expect("write to the judge");
    }
}

fn listen(output: ChildStdout, waiting: &Mutex<Waiting>) {
    for line in BufReader::new(output).lines().map_while(Result::ok) {
        let line: Value = serde_json::from_str(&line).unwrap_or_else(|e| panic!("the judge said {line:?}: {e}"));
        if let Some(stream) = line["job"].as_u64().and_then(|job| lock(waiting).streams.get(&job).cloned()) {
            let _ = stream.send(line);
        } else if let Some(answer) = line["id"].as_u64().and_then(|id| lock(waiting).answers.remove(&id)) {
            let _ = answer.send(line);
        }
    }
    // Whoever still waits learns that nothing will come.
    *lock(waiting) = Waiting::default();
}

fn lock(waiting: &Mutex<Waiting>) -> std::sync::MutexGuard<'_, Waiting> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A message as RocketMQ holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    pub topic: String,
    /// Broker name and queue number, as in `broker-0/3`.
    pub queue: String,
    pub offset: u64,
    pub tag: Option<String>,
    pub keys: Option<String>,
    /// All of them, RocketMQ's own included.
    pub properties: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Stored {
    fn from(told: &Value) -> Self {
        let text = |name: &str| told[name].as_str().map(str::to_owned);
        let pairs = told["properties"].as_object().into_iter().flatten();
        Self {
            topic: text("topic").unwrap_or_default(),
            queue: format!("{}/{}", text("broker").unwrap_or_default(), told["queue"]),
            offset: told["offset"].as_u64().unwrap_or_default(),
            tag: text("tag"),
            keys: text("keys"),
            properties: pairs.map(|(k, v)| (k.clone(), v.as_str().unwrap_or_default().to_owned())).collect(),
            body: BASE64.decode(told["body"].as_str().unwrap_or_default()).expect("the judge writes base64"),
        }
    }
}

/// What a test sends to RocketMQ.
#[derive(Debug, Clone, Default)]
pub struct Send<'a> {
    pub topic: &'a str,
    pub body: &'a [u8],
    pub tag: Option<&'a str>,
    pub keys: Option<&'a str>,
    pub properties: &'a [(&'a str, &'a str)],
    /// The queue's number; the client picks one otherwise.
    pub queue: Option<u32>,
}

/// Numbered messages that the judge sends, each until it is stored.
#[derive(Debug, Clone)]
pub struct Load {
    pub topic: String,
    pub count: u64,
    pub keys: u64,
    /// Bytes of a body, at least 24.
    pub size: usize,
    /// Messages per request.
    pub batch: usize,
    /// Messages per second; 0 is as fast as it goes.
    pub rate: u64,
    pub tag: Option<String>,
    /// The property `mqttSecondTopic`, where `{key}` stands for the message's key.
    pub second: Option<String>,
}

/// A [`Load`] under way.
#[derive(Debug)]
pub struct Producing {
    job: u64,
    done: tokio::task::JoinHandle<Result<Value, String>>,
}

impl Producing {
    /// How many are stored by now.
    pub async fn stored(&self) -> u64 {
        let told = Judge::shared().ask("produced", json!({ "job": self.job })).await;
        told.ok().and_then(|told| told["count"].as_u64()).unwrap_or_default()
    }

    /// Waits until the last is stored.
    pub async fn finished(&self) {
        while !self.done.is_finished() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// A consumer of a group, as a back end would run one.
#[derive(Debug)]
pub struct Consumer {
    job: u64,
    lines: mpsc::UnboundedReceiver<Value>,
}

impl Consumer {
    /// The next message.
    pub async fn next(&mut self) -> Option<Stored> {
        self.lines.recv().await.as_ref().map(Stored::from)
    }

    /// Leaves the group.
    pub async fn stop(self) {
        let _ = Judge::shared().ask("stop", json!({ "job": self.job })).await;
    }
}

impl RocketMq {
    /// Sends one message.
    pub async fn send(&self, send: &Send<'_>) -> Value {
        let properties: Map<String, Value> = send.properties.iter().map(|(k, v)| ((*k).to_owned(), json!(v))).collect();
        let request = json!({
            "topic": send.topic, "body": BASE64.encode(send.body), "tag": send.tag, "keys": send.keys,
            "properties": properties, "queue": send.queue,
        });
        self.ask("send", request).await.unwrap_or_else(|e| panic!("send to {}: {e}", send.topic))
    }

    /// Begins to send numbered messages.
    pub fn produce(&self, load: &Load) -> Producing {
        static JOBS: AtomicU64 = AtomicU64::new(1);
        let job = JOBS.fetch_add(1, Ordering::Relaxed);
        let request = json!({
            "job": job, "topic": load.topic, "count": load.count, "keys": load.keys, "size": load.size,
            "batch": load.batch, "rate": load.rate, "tag": load.tag, "second": load.second,
        });
        let access = self.access();
        let done = tokio::spawn(async move { access.ask("produce", request).await });
        Producing { job, done }
    }

    /// Joins a consumer group from the first message on.
    pub async fn consume(&self, topic: &str, group: &str) -> Consumer {
        self.consume_tags(topic, group, "*").await
    }

    /// The same, for messages with these tags: `a || b`.
    pub async fn consume_tags(&self, topic: &str, group: &str, tags: &str) -> Consumer {
        let judge = Judge::shared();
        let (sender, lines) = mpsc::unbounded_channel();
        // The stream is registered before the request's own answer can come, under the number it will have.
        let job = judge.number();
        let (answer, told) = oneshot::channel();
        {
            let mut waiting = lock(&judge.waiting);
            waiting.streams.insert(job, sender);
            waiting.answers.insert(job, answer);
        }
        let servers = self.servers().join(";");
        judge.say(job, "consume", json!({ "topic": topic, "group": group, "tags": tags, "servers": servers }));
        let told = told.await.expect("the judge answers");
        assert!(told["error"].is_null(), "consume {topic}: {told}");
        Consumer { job, lines }
    }

    /// A reader of all that a topic holds, from its beginning.
    pub fn reader(&self, topic: &str) -> Reader {
        Reader { access: self.access(), topic: topic.to_owned(), next: json!({}) }
    }

    /// How many messages a topic holds, repeated ones included, if that can be told now.
    pub async fn stored(&self, topic: &str) -> Option<u64> {
        self.ask("stored", json!({ "topic": topic })).await.ok()?["count"].as_u64()
    }

    /// How far a group is behind in a topic, over all queues, by the offsets that it has committed.
    pub async fn behind(&self, group: &str, topic: &str) -> Result<u64, String> {
        let told = self.ask("committed", json!({ "group": group, "topic": topic })).await?;
        Ok(told["behind"].as_u64().unwrap_or_default())
    }
}

/// Reads the queues of a topic without a group, so that it moves nobody's offsets.
#[derive(Debug)]
pub struct Reader {
    access: Access,
    topic: String,
    next: Value,
}

impl Reader {
    /// What is new, queue by queue in the order of each queue; nothing from brokers that cannot be reached.
    pub async fn poll(&mut self) -> Vec<Stored> {
        let request = json!({ "topic": self.topic, "from": self.next, "max": 4096 });
        let Ok(told) = self.access.ask("read", request).await else { return Vec::new() };
        // A queue that is not in this route keeps its place.
        for (queue, offset) in told["next"].as_object().into_iter().flatten() {
            self.next[queue] = offset.clone();
        }
        told["messages"].as_array().into_iter().flatten().map(Stored::from).collect()
    }

    /// Waits for at least `count` messages in all.
    pub async fn take(&mut self, count: usize, limit: Duration) -> Vec<Stored> {
        let mut taken = Vec::new();
        let collect = async {
            while taken.len() < count {
                let new = self.poll().await;
                if new.is_empty() {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                taken.extend(new);
            }
        };
        let done = tokio::time::timeout(limit, collect).await;
        assert!(done.is_ok(), "{} holds {} messages, not {count}, after {limit:?}", self.topic, taken.len());
        taken
    }

    /// Adds what is new to a tally.
    pub async fn count(&mut self, tally: &mut Tally) -> usize {
        let new = self.poll().await;
        for message in &new {
            tally.arrived(&message.body);
        }
        new.len()
    }
}
