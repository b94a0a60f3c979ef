//! Who is online, under load: clients that connect and drop in waves, a prober that asks meanwhile, and whether the
//! answers are right at the end.
//!
//! A process may open so many files and no more, so the clients are spread over as many Mosquittos, and as many
//! processes that hold them, as that takes. Right is what those processes hold, and nothing else.

mod ask;
mod fleet;

use std::{
    collections::BTreeSet,
    fmt, fs,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

pub(crate) use self::fleet::hold;
use self::{
    ask::{Latency, Prober, Questions},
    fleet::Process,
};
use crate::{
    brokers::Mosquitto,
    process::{Subject, Usage, usage},
    rocketmq::Broker,
    servers::{
        asker,
        fleet::{Fleet, room},
        free_port,
    },
    world::{QUEUES, World},
};

const GROUP: &str = "GID_load";
/// Clients of whom each is asked at the end.
const SAMPLE: u32 = 2_000;
/// Longer than any wave takes to settle.
const LIMIT: Duration = Duration::from_secs(60);
/// A count that is right for so long has settled.
const SETTLED: Duration = Duration::from_secs(2);
/// How often a Mosquitto says for how long it has been running, and a little.
const TOLD: Duration = Duration::from_secs(12);
/// The share of clients that drop and come again, and of those that stay at the end.
const HALF: u32 = 2;
const STAY: u32 = 5;

/// What came of it.
pub(crate) struct Presence {
    /// Clients that were connected at once.
    pub(crate) clients: u32,
    /// Mosquittos that they were connected to.
    pub(crate) brokers: usize,
    /// Connections a second that the Mosquittos took, all together.
    pub(crate) taken: f64,
    /// Connects and drops a second, until the count showed them.
    pub(crate) events: f64,
    /// CPU of rocketbridge for each of them, in microseconds.
    pub(crate) cpu: f64,
    /// Memory of rocketbridge in MB: before anybody came, with all of them, and the most ever.
    pub(crate) resident: [f64; 3],
    /// Milliseconds of a query, while clients came and went.
    pub(crate) latency: Latency,
    /// Answers that were not right at the end, among the count, the whole list and a sample of clients.
    pub(crate) wrong: usize,
}

impl Presence {
    /// Memory for each client, in bytes.
    pub(crate) fn per_client(&self) -> f64 {
        (self.resident[1] - self.resident[0]) * 1e6 / f64::from(self.clients)
    }
}

impl fmt::Display for Presence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { clients, brokers, taken, events, cpu, resident: [before, all, most], latency, wrong } = self;
        write!(f, "{clients} clients on {brokers} Mosquittos: {taken:.0} connections/s taken, {events:.0} events/s, ")?;
        write!(f, "{cpu:.1} µs CPU/event, {before:.1} MB before, {all:.1} with all, {most:.1} at most, ")?;
        let Latency { p50, p99, most, woken, queries } = latency;
        write!(f, "{queries} queries p50 {p50:.2} ms, p99 {p99:.2} ms, at most {most:.1} ms ")?;
        write!(f, "(the prober itself is woken late by {woken:.2} ms at p99); {wrong} wrong answers")
    }
}

/// Lets `clients` come and go.
pub(crate) fn measure(world: &World, clients: u32, mut say: impl FnMut(&str)) -> Result<Presence> {
    let mut stage = Stage::start(world, clients)?;
    let before = stage.usage()?;
    say(&format!("nobody is there, and that is known: {:.1} MB", before.resident_mb()));
    let prober = Prober::start(stage.query, clients);
    let (began, mut events) = (Instant::now(), clients);
    stage.all(|fleet| fleet.connect(fleet.whole()))?;
    let taken = began.elapsed();
    let shown = stage.settles(clients)? - began;
    say(&format!("{clients} connected in {taken:.1?}, shown after {shown:.1?}"));
    thread::sleep(SETTLED);
    let all = stage.usage()?;
    let began = Instant::now();
    for _ in 0..2 {
        stage.all(|fleet| fleet.end(fleet.part(HALF)))?;
        stage.all(|fleet| fleet.connect(fleet.part(HALF)))?;
        events += clients / HALF * 2;
    }
    let staying = stage.all(|fleet| {
        let stays = fleet.part(STAY);
        fleet.end(stays.end..fleet.whole().end)?;
        Ok(stays)
    })?;
    let staying: BTreeSet<u32> = staying.into_iter().flatten().collect();
    let left = u32::try_from(staying.len())?;
    events += clients - left;
    let waves = began.elapsed();
    let rest = stage.settles(left)? - began;
    say(&format!("half of them dropped and came again, twice; {left} stayed: {waves:.1?}, shown after {rest:.1?}"));
    let after = stage.usage()?;
    let latency = prober.stop()?;
    Ok(Presence {
        clients,
        brokers: stage.brokers.len(),
        taken: f64::from(clients) / taken.as_secs_f64(),
        events: f64::from(events) / (shown + rest).as_secs_f64(),
        cpu: after.cpu.saturating_sub(before.cpu).as_secs_f64() * 1e6 / f64::from(events),
        resident: [before.resident_mb(), all.resident_mb(), after.peak_mb()],
        latency,
        wrong: stage.wrong(&staying, clients)?,
    })
}

/// All that takes part.
struct Stage {
    fleets: Vec<Process>,
    subject: Subject,
    query: u16,
    brokers: Vec<Mosquitto>,
}

impl Stage {
    fn start(world: &World, clients: u32) -> Result<Self> {
        let processes = clients.div_ceil(room());
        let share = clients.div_ceil(processes);
        let mut brokers = (0..processes).map(|_| Mosquitto::telling()).collect::<Result<Vec<_>>>()?;
        Broker::connect(world.rocketmq.address())?.create_topic(&format!("{GROUP}_MQTT"), QUEUES)?;
        let query = free_port();
        let mut command = rocketbridge(world, &brokers, query)?;
        let subject = Subject::start(&mut command, &world.dir.join("presence.log"))?;
        let fleets = (0..processes).zip(&brokers).map(|(number, broker)| {
            let first = number * share;
            Process::start(broker.address().port(), first..clients.min(first + share))
        });
        let fleets = fleets.collect::<Result<Vec<_>>>()?;
        let mut stage = Self { fleets, subject, query, brokers: Vec::new() };
        // Nobody knows who was there before the bridge listened for the first time, so the brokers begin anew. By then
        // it must know since when they have been running.
        while stage.subject.said()?.matches("events may be missing").count() < brokers.len() {
            stage.subject.must_run()?;
            thread::sleep(SETTLED);
        }
        thread::sleep(TOLD);
        for broker in &mut brokers {
            broker.begin_anew()?;
        }
        stage.brokers = brokers;
        stage.settles(0)?;
        Ok(stage)
    }

    fn usage(&self) -> Result<Usage> {
        usage(self.subject.pid())
    }

    /// Has all fleets do something, each at the same time.
    fn all<T>(&mut self, order: impl Fn(&mut Process) -> Result<T>) -> Result<Vec<T>> {
        let given = self.fleets.iter_mut().map(order).collect::<Result<Vec<T>>>()?;
        self.fleets.iter_mut().try_for_each(Process::done)?;
        Ok(given)
    }

    /// Waits until the count has been right for a while, and says since when; says nothing of who is counted.
    fn settles(&mut self, online: u32) -> Result<Instant> {
        let mut since = Instant::now();
        self.until(&format!("{online} clients are online"), |asker| {
            if asker.count(GROUP)? != i64::from(online) {
                since = Instant::now();
            }
            Ok(since.elapsed() >= SETTLED)
        })?;
        Ok(since)
    }

    fn until(&mut self, what: &str, mut done: impl FnMut(&mut Questions) -> Result<bool>) -> Result<()> {
        let began = Instant::now();
        let mut questions = Questions::new(self.query)?;
        while !done(&mut questions)? {
            self.subject.must_run()?;
            if began.elapsed() > LIMIT {
                let (count, said) = (questions.count(GROUP), self.subject.said()?);
                bail!("{what}: not within {LIMIT:?}; the count is {count:?}\n{said}");
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// How many answers differ from what the fleets hold.
    fn wrong(&self, staying: &BTreeSet<u32>, clients: u32) -> Result<usize> {
        let mut questions = Questions::new(self.query)?;
        let count = questions.count(GROUP)?;
        let listed: BTreeSet<String> = questions.list()?.into_iter().collect();
        let right: BTreeSet<String> = staying.iter().map(|number| Fleet::id(GROUP, *number)).collect();
        let sample: Vec<u32> = (0..SAMPLE).map(|_| fastrand::u32(..clients)).collect();
        let ids: Vec<String> = sample.iter().map(|number| Fleet::id(GROUP, *number)).collect();
        let answers = questions.clients(&ids)?;
        let wrong =
            sample.iter().zip(answers).filter(|(number, answer)| *answer != i64::from(staying.contains(number)));
        let wrong_count = usize::from(i64::try_from(staying.len())? != count);
        Ok(wrong_count + listed.symmetric_difference(&right).count() + wrong.count())
    }
}

/// One bridge for all brokers.
fn rocketbridge(world: &World, brokers: &[Mosquitto], query: u16) -> Result<Command> {
    let dir = world.dir.join(world.name("presence"));
    fs::create_dir_all(dir.join("mappings"))?;
    let (mut edges, mut routes) = (String::new(), String::new());
    for (number, broker) in brokers.iter().enumerate() {
        edges += &format!("[mqtt.edge{number}]\nurl = \"mqtt://{}\"\n\n", broker.address());
        routes += &format!(
            "[[status]]\nname = \"edge{number}\"\nfrom = {{ broker = \"edge{number}\", events = \"mosquitto\" }}\n\
             to.rocketmq = \"{{group}}_MQTT\"\n\n"
        );
    }
    let settings = format!(
        "mappings = \"mappings\"\ndata_dir = \"data\"\n\n{edges}\
         [rocketmq.main]\nname_servers = [\"{}\"]\n\n[http]\nadmin = \"127.0.0.1:0\"\nlmq = \"127.0.0.1:{query}\"\n{}",
        world.rocketmq.name_server(),
        asker::SETTINGS,
    );
    fs::write(dir.join("credentials.toml"), asker::credentials(GROUP))?;
    fs::write(dir.join("rocketbridge.toml"), settings)?;
    fs::write(dir.join("mappings/presence.toml"), routes)?;
    let mut command = Command::new(fs::canonicalize(&world.programs.rocketbridge).context("the release binary")?);
    command.arg("run").current_dir(dir);
    Ok(command)
}
