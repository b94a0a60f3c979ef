//! `bench/run`: rocketbridge beside the raw limit and a plain Java bridge, measured by draining, in one run on one
//! machine. It must never put into its tables what it did not measure in this run.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command-line tool")]

mod brokers;
mod drain;
mod latency;
mod logins;
mod mqtt;
mod presence;
mod process;
mod report;
mod rocketmq;
#[expect(unused_imports, reason = "of the servers' own parts, this starts brokers alone")]
#[path = "../tests/servers/mod.rs"]
mod servers;
mod small;
mod world;

use std::{
    fs,
    net::SocketAddr,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use clap::{Parser, Subcommand, ValueEnum};

use crate::{
    report::Results,
    world::{Kind, Programs, Way, World},
};

/// Measures rocketbridge beside the raw limit and a plain Java bridge.
#[derive(Parser)]
#[command(name = "bench/run", disable_help_subcommand = true)]
struct Args {
    /// Less of everything: to see that it works, not to quote
    #[arg(long)]
    quick: bool,
    /// What to measure
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Part::USUAL)]
    parts: Vec<Part>,
    /// Who carries messages in `drain` and `latency`
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Kind::ALL)]
    carriers: Vec<Kind>,
    /// Which way messages go in `drain` and `latency`
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Way::BOTH)]
    ways: Vec<Way>,
    /// Rounds; tables show medians
    #[arg(long)]
    rounds: Option<u32>,
    /// Messages of a drain (the plain Java bridge gets fewer)
    #[arg(long)]
    messages: Option<u64>,
    /// Clients of `presence`
    #[arg(long)]
    clients: Option<u32>,
    /// Also write the tables to this file
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
    /// The binary to measure
    #[arg(long, default_value = "target/release/rocketbridge")]
    rocketbridge: PathBuf,
    /// The plain Java bridge's classes and libraries
    #[arg(long, default_value = "target/plain-bridge")]
    java: PathBuf,
    #[command(subcommand)]
    child: Option<Child>,
}

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Rates, CPU and memory of both ways
    Drain,
    /// At 1,000 messages a second
    Latency,
    /// Mosquitto's default window of 20 and a topic of 4 queues
    Window,
    /// From start to the first stored message
    Start,
    /// Memory and CPU at rest, and the time to stop
    Idle,
    /// Memory while a far broker is away, and how soon messages flow after its return
    Outage,
    /// Who is online, while clients connect and drop in waves
    Presence,
    /// Logins of clients, straight at the hook
    Logins,
    /// CPU of a clean release build (not part of a usual run)
    Build,
}

impl Part {
    const USUAL: [Self; 8] =
        [Self::Drain, Self::Latency, Self::Window, Self::Start, Self::Idle, Self::Outage, Self::Presence, Self::Logins];
}

/// What the benchmark starts of itself.
#[derive(Subcommand)]
enum Child {
    #[command(hide = true)]
    BareSubscriber { address: SocketAddr, topic: String, id: String, messages: u64 },
    #[command(hide = true)]
    BarePublisher { address: SocketAddr, topic: String, id: String, messages: u64 },
    #[command(hide = true)]
    Fleet { port: u16 },
}

fn main() -> Result<()> {
    let args = Args::parse();
    match &args.child {
        Some(Child::BareSubscriber { address, id, messages, .. }) => {
            let flow = drain::bare_subscriber(*address, id, *messages)?;
            println!("{} {} {}", flow.rate, flow.cpu, flow.peak);
            Ok(())
        }
        Some(Child::BarePublisher { address, topic, id, messages }) => {
            drain::bare_publisher(*address, topic, id, *messages)
        }
        Some(Child::Fleet { port }) => presence::hold(*port),
        None => {
            let outcome = run(&args);
            servers::remove_folders();
            outcome
        }
    }
}

fn run(args: &Args) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let programs = Programs { rocketbridge: args.rocketbridge.clone(), java: args.java.clone() };
    let began = Instant::now();
    say(began, "starting Mosquitto and RocketMQ");
    let mut bench = Bench { args, began, world: World::start(dir.path(), programs)?, results: Results::default() };
    let head = heading(args, bench.rounds());
    // What was measured before a part failed is shown all the same.
    let outcome = args
        .parts
        .iter()
        .try_for_each(|part| bench.measure(*part).with_context(|| format!("while measuring {part:?}")));
    let text = format!("{head}\n{}", bench.results.tables());
    println!("\n{text}");
    if let Some(file) = &args.write {
        fs::write(file, &text).with_context(|| format!("writing {}", file.display()))?;
    }
    outcome?;
    let missed = bench.results.missed();
    ensure!(missed.is_empty(), "missed: {}", missed.join("; "));
    Ok(())
}

struct Bench<'a> {
    args: &'a Args,
    began: Instant,
    world: World,
    results: Results,
}

impl Bench<'_> {
    fn rounds(&self) -> u32 {
        self.args.rounds.unwrap_or(if self.args.quick { 1 } else { 3 })
    }

    fn say(&self, what: &str) {
        say(self.began, what);
    }

    fn measure(&mut self, part: Part) -> Result<()> {
        let quick = self.args.quick;
        match part {
            Part::Drain => {
                self.warm_up()?;
                self.rounds_of(Self::drain)
            }
            Part::Latency => self.rounds_of(Self::latency),
            Part::Window => self.rounds_of(Self::window),
            Part::Start => self.rounds_of(Self::start),
            Part::Idle => {
                let time = Duration::from_secs(if quick { 10 } else { 60 });
                self.say(&format!("idling for {time:?}"));
                self.results.idle = Some(small::idle(&self.world, time)?);
                Ok(())
            }
            Part::Outage => {
                let time = Duration::from_secs(if quick { 10 } else { 25 });
                self.say("killing the RocketMQ broker under load");
                let outage = small::outage(&mut self.world, time)?;
                self.say(&format!("{outage}"));
                self.results.outages.push(outage);
                self.say("killing Mosquitto under load");
                let outage = small::far_outage(&mut self.world, time)?;
                self.say(&format!("{outage}"));
                self.results.far_outages.push(outage);
                Ok(())
            }
            Part::Presence => {
                let clients = self.args.clients.unwrap_or(if quick { 6_000 } else { 50_000 });
                self.say(&format!("{clients} clients come and go"));
                let began = self.began;
                let presence = presence::measure(&self.world, clients, |what| say(began, what))?;
                self.say(&format!("{presence} (load {})", load()));
                self.results.presence = Some(presence);
                Ok(())
            }
            Part::Logins => {
                let time = Duration::from_secs(if quick { 3 } else { 10 });
                self.say(&format!("logging clients in for {time:?}, twice"));
                let logins = logins::measure(&self.world, time)?;
                self.say(&format!("{logins} (load {})", load()));
                self.results.logins = Some(logins);
                Ok(())
            }
            Part::Build => {
                self.say("building from nothing");
                self.results.build = Some(small::build(&self.world)?.as_secs_f64());
                Ok(())
            }
        }
    }

    fn rounds_of(&mut self, measure: fn(&mut Self) -> Result<()>) -> Result<()> {
        (0..self.rounds()).try_for_each(|_| measure(self))
    }

    fn drained(&self) -> u64 {
        self.args.messages.unwrap_or(if self.args.quick { 50_000 } else { 200_000 })
    }

    /// Drains that do not count: until its JVM has compiled what it does most, RocketMQ is half as quick, and only those
    /// who send to it would show that.
    fn warm_up(&self) -> Result<()> {
        for way in &self.args.ways {
            let flow = drain::drain(&self.world, Kind::Rocketbridge, *way, self.drained())?;
            self.say(&format!("{}, to warm up: {:.0} msg/s", way.title(), flow.rate));
        }
        Ok(())
    }

    fn drain(&mut self) -> Result<()> {
        let many = self.drained();
        for way in self.args.ways.clone() {
            for kind in self.args.carriers.clone() {
                // Enough for some seconds of each, so that a JVM has warmed up in the first tenth.
                let messages = match (kind, way) {
                    (Kind::Java, Way::Up) => many / 25,
                    (Kind::Java, Way::Down) => many / 10,
                    _ => many,
                };
                let flow = drain::drain(&self.world, kind, way, messages)
                    .with_context(|| format!("{kind:?}, {}", way.title()))?;
                let told = format!("{:.0} msg/s, {:.1} µs/msg, {:.1} MB", flow.rate, flow.cpu, flow.peak);
                self.say(&format!("{}, {kind:?}: {told} (load {})", way.title(), load()));
                self.results.drains.push((way, kind, flow));
            }
        }
        Ok(())
    }

    fn latency(&mut self) -> Result<()> {
        let time = Duration::from_secs(if self.args.quick { 3 } else { 10 });
        let (mqtt, rocketmq) = (latency::mqtt_leg(&self.world, time)?, latency::rocketmq_leg(&self.world, time)?);
        self.say(&format!("over Mosquitto alone {mqtt}; over RocketMQ alone {rocketmq}"));
        self.results.mqtt_leg.push(mqtt);
        self.results.rocketmq_leg.push(rocketmq);
        for way in self.args.ways.clone() {
            for kind in self.args.carriers.iter().copied().filter(|k| *k != Kind::Bare) {
                let latency = latency::end_to_end(&self.world, kind, way, time)
                    .with_context(|| format!("{kind:?}, {}", way.title()))?;
                self.say(&format!("{}, {kind:?}: {latency} (load {})", way.title(), load()));
                self.results.ends.push((way, kind, latency));
            }
        }
        Ok(())
    }

    fn window(&mut self) -> Result<()> {
        let flow = drain::small_window(&self.world, if self.args.quick { 10_000 } else { 50_000 })?;
        self.say(&format!("window of 20, 4 queues: {:.0} msg/s, {:.1} µs/msg", flow.rate, flow.cpu));
        self.results.small_window.push(flow);
        Ok(())
    }

    fn start(&mut self) -> Result<()> {
        for way in Way::BOTH {
            let took = small::start(&self.world, way)?.as_secs_f64() * 1e3;
            self.say(&format!("{}: first message stored {took:.0} ms after the start", way.title()));
            self.results.starts.push((way, took));
        }
        Ok(())
    }
}

fn say(began: Instant, what: &str) {
    eprintln!("[{:4} s] {what}", began.elapsed().as_secs());
}

/// The machine's load of the last minute: what else ran shows here.
fn load() -> String {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split_whitespace().next().unwrap_or("unknown").to_owned()
}

fn heading(args: &Args, rounds: u32) -> String {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo.lines().find_map(|l| l.strip_prefix("model name")).unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    format!(
        "{} bytes a message, QoS 1, {rounds} rounds, medians; {cores} cores ({}), load {} at the start; \
         Apache RocketMQ {}.{}\n",
        world::PAYLOAD,
        model.trim_start_matches([' ', '\t', ':']),
        load(),
        brokers::rocketmq_version(),
        if args.quick { " A quick run: not to be quoted." } else { "" },
    )
}
