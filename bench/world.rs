//! What a part of the benchmark stands on: the brokers, a scratch folder, and the three kinds of process that are
//! measured beside each other.

use std::{
    cell::Cell,
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};
use clap::ValueEnum;

use crate::{
    brokers::{Mosquitto, RocketMq},
    process::Subject,
};

/// The size of a payload, in bytes.
pub(crate) const PAYLOAD: usize = 256;
/// The queues of a topic, where nothing else is said.
pub(crate) const QUEUES: usize = 8;

/// Who carries the messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// A bare subscriber or publisher: the limit.
    Bare,
    /// The subject.
    Rocketbridge,
    /// What one would write first.
    Java,
}

impl Kind {
    pub(crate) const ALL: [Self; 3] = [Self::Bare, Self::Rocketbridge, Self::Java];
}

/// Which way messages go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Way {
    /// MQTT to RocketMQ.
    Up,
    /// RocketMQ to MQTT.
    Down,
}

impl Way {
    pub(crate) const BOTH: [Self; 2] = [Self::Up, Self::Down];

    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::Up => "MQTT to RocketMQ",
            Self::Down => "RocketMQ to MQTT",
        }
    }
}

/// The programs that are measured.
pub(crate) struct Programs {
    /// The release binary.
    pub(crate) rocketbridge: PathBuf,
    /// The plain Java bridge's classes, and its libraries in `lib` beside them.
    pub(crate) java: PathBuf,
}

/// Brokers, folder and programs.
pub(crate) struct World {
    pub(crate) dir: PathBuf,
    pub(crate) mosquitto: Mosquitto,
    pub(crate) rocketmq: RocketMq,
    pub(crate) programs: Programs,
    serial: Cell<u32>,
}

impl World {
    pub(crate) fn start(dir: &Path, programs: Programs) -> Result<Self> {
        let (mosquitto, rocketmq) = (Mosquitto::start(false)?, RocketMq::start()?);
        Ok(Self { dir: dir.to_owned(), mosquitto, rocketmq, programs, serial: Cell::new(0) })
    }

    /// A name that no run before has used: for topics, sessions and groups.
    pub(crate) fn name(&self, of: &str) -> String {
        self.serial.set(self.serial.get() + 1);
        format!("{of}{}", self.serial.get())
    }

    /// Starts a carrier of one topic. Its session, or its group, is called `id`; `messages` is for
    /// bare ones, which end by themselves.
    pub(crate) fn carry(&self, kind: Kind, way: Way, topic: &str, id: &str, messages: u64) -> Result<Subject> {
        let command = match kind {
            Kind::Bare => Self::bare(way, &self.mosquitto, topic, id, messages)?,
            Kind::Java => self.java(way, topic, id),
            Kind::Rocketbridge => self.rocketbridge(&self.mosquitto, "5", &[route(way, topic, id)])?,
        };
        Subject::start(&mut { command }, &self.dir.join(format!("{id}.log")))
    }

    fn bare(way: Way, mosquitto: &Mosquitto, topic: &str, id: &str, messages: u64) -> Result<Command> {
        let mut command = Command::new(env::current_exe()?);
        command.arg(if way == Way::Up { "bare-subscriber" } else { "bare-publisher" });
        command.args([mosquitto.address().to_string(), topic.to_owned(), id.to_owned(), messages.to_string()]);
        Ok(command)
    }

    fn java(&self, way: Way, topic: &str, id: &str) -> Command {
        let classes = self.programs.java.join("classes");
        let mut command = Command::new("java");
        command.arg("-Xmx512m").arg("-cp").arg(format!("{}:{}/lib/*", classes.display(), self.programs.java.display()));
        command.arg(format!("-Duser.home={}", self.dir.display())).arg("PlainBridge");
        command.arg(if way == Way::Up { "up" } else { "down" });
        command.args([format!("tcp://{}", self.mosquitto.address()), self.rocketmq.name_server().to_string()]);
        command.args([topic, id]);
        command
    }

    /// A rocketbridge with routes of its own, which speaks a version of MQTT.
    pub(crate) fn rocketbridge(&self, mosquitto: &Mosquitto, version: &str, routes: &[String]) -> Result<Command> {
        let dir = self.dir.join(self.name("rocketbridge"));
        fs::create_dir_all(dir.join("mappings"))?;
        let settings = dir.join("rocketbridge.toml");
        let (url, name_server) = (mosquitto.address(), self.rocketmq.name_server());
        fs::write(
            &settings,
            format!(
                "mappings = \"mappings\"\ndata_dir = \"data\"\n\n\
                 [mqtt.edge]\nurl = \"mqtt://{url}\"\nversion = \"{version}\"\n\n\
                 [rocketmq.main]\nname_servers = [\"{name_server}\"]\n\n[http]\nadmin = \"127.0.0.1:0\"\n"
            ),
        )?;
        fs::write(dir.join("mappings/bench.toml"), routes.join("\n"))?;
        let mut command = Command::new(fs::canonicalize(&self.programs.rocketbridge).context("the release binary")?);
        command.arg("--settings").arg(settings).arg("run").current_dir(dir);
        Ok(command)
    }
}

/// A route of one topic, as its mapping file has it.
pub(crate) fn route(way: Way, topic: &str, id: &str) -> String {
    match way {
        Way::Up => format!(
            "[[route]]\nname = \"{id}\"\nfrom.mqtt = \"{topic}/#\"\nfrom.client_id = \"{id}\"\n\
             to.rocketmq = \"{topic}\"\n"
        ),
        Way::Down => format!(
            "[[route]]\nname = \"{id}\"\nfrom.rocketmq = \"{topic}\"\nfrom.group = \"{id}\"\nfrom.start = \"first\"\n\
             to.mqtt = \"{{topic}}{{subtopic}}\"\n"
        ),
    }
}

/// The topic that a device of the load publishes to.
pub(crate) fn device_topic(topic: &str, number: u64) -> String {
    format!("{topic}/d{}/up", number % crate::mqtt::KEYS)
}
