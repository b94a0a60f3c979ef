//! The real `rocketbridge run`, with settings and mappings of a test's own.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Output},
    time::Duration,
};

use super::{
    eventually, folder, free_port, http,
    mosquitto::Mosquitto,
    process::{Process, command},
    rocketmq::RocketMq,
};

/// The program under test: `ROCKETBRIDGE_BIN`, else the one that was built with the tests.
pub fn binary() -> PathBuf {
    let built = option_env!("CARGO_BIN_EXE_rocketbridge").map(PathBuf::from);
    std::env::var_os("ROCKETBRIDGE_BIN").map(PathBuf::from).or(built).expect("ROCKETBRIDGE_BIN names the program")
}

/// Settings that join one Mosquitto, named `edge`, and one cluster, named `main`.
pub fn settings(mqtt: &Mosquitto, rocketmq: &RocketMq) -> String {
    settings_at(mqtt.port, &rocketmq.servers())
}

/// [`settings`] for addresses, such as those of proxies.
pub fn settings_at(mqtt_port: u16, name_servers: &[String]) -> String {
    format!("[mqtt.edge]\nurl = \"mqtt://127.0.0.1:{mqtt_port}\"\n\n[rocketmq.main]\nname_servers = {name_servers:?}\n")
}

/// Routes from the MQTT topics `TOPIC/...` to the RocketMQ topic `TOPIC`, and from there to `TOPIC-back/...`.
pub fn there_and_back(topic: &str) -> String {
    format!(
        r#"
        [[route]]
        name = "{topic}-up"
        from.mqtt = "{topic}/#"
        to.rocketmq = "{topic}"

        [[route]]
        name = "{topic}-down"
        from.rocketmq = "{topic}"
        from.start = "first"
        to.mqtt = "{topic}-back{{subtopic}}"
        "#
    )
}

/// A bridge with a folder of its own, running or not.
#[derive(Debug)]
pub struct Bridge {
    /// Its working folder; holds its data, its log, and its settings unless they are the samples.
    pub folder: PathBuf,
    /// Where its admin listener is.
    pub admin: u16,
    settings: PathBuf,
    environment: Vec<(String, String)>,
    /// KiB that a file of it may have: a disk without more room.
    room: Option<u64>,
    process: Option<Process>,
}

impl Bridge {
    /// Writes `settings` and one mapping file; starts nothing. The settings may not have an `[http]` table.
    pub fn new(settings: &str, mapping: &str) -> Self {
        let folder = folder("bridge");
        let admin = free_port();
        fs::create_dir(folder.join("mappings")).expect("create a folder of mappings");
        let file = folder.join("rocketbridge.toml");
        let settings = format!("{settings}\n[http]\nadmin = \"127.0.0.1:{admin}\"\n");
        fs::write(&file, settings).expect("write settings");
        let bridge = Self { folder, admin, settings: file, environment: Vec::new(), room: None, process: None };
        bridge.map(mapping);
        bridge
    }

    /// The sample settings and mappings of the repository, pointed at these servers by the environment; starts nothing.
    pub fn samples(mqtt: &Mosquitto, rocketmq: &RocketMq) -> Self {
        Self::of("rocketbridge.toml", &[("EDGE", mqtt)], rocketmq)
    }

    /// Settings of the repository, and the mappings beside them, with its brokers in the environment; starts nothing.
    pub fn of(settings: &str, brokers: &[(&str, &Mosquitto)], rocketmq: &RocketMq) -> Self {
        let (folder, admin) = (folder("bridge"), free_port());
        let settings = Path::new(env!("CARGO_MANIFEST_DIR")).join(settings);
        let mut bridge = Self { folder, admin, settings, environment: Vec::new(), room: None, process: None };
        for (name, mqtt) in brokers {
            bridge.set(&format!("ROCKETBRIDGE__MQTT__{name}__URL"), &mqtt.url());
        }
        bridge.set("ROCKETBRIDGE__ROCKETMQ__MAIN__NAME_SERVERS", &rocketmq.servers().join(","));
        bridge.set("ROCKETBRIDGE__HTTP__ADMIN", &format!("127.0.0.1:{admin}"));
        bridge.set("ROCKETBRIDGE__DATA_DIR", &bridge.folder.join("data").display().to_string());
        bridge
    }

    /// Goes on with other settings of the repository, with the same data; starts nothing.
    pub fn change(&mut self, settings: &str) {
        self.settings = Path::new(env!("CARGO_MANIFEST_DIR")).join(settings);
    }

    /// Sets an environment variable for all that is started from now on.
    pub fn set(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// Sets it no more.
    pub fn unset(&mut self, name: &str) {
        self.environment.retain(|(known, _)| known != name);
    }

    /// Lets no file of what is started from now on grow beyond so many KiB, or any size again.
    pub fn limit(&mut self, room: Option<u64>) {
        self.room = room;
    }

    /// Writes settings and a mapping file, starts the bridge, and waits until it is ready.
    pub async fn start(settings: &str, mapping: &str) -> Self {
        let mut bridge = Self::new(settings, mapping);
        bridge.run();
        bridge.ready().await;
        bridge
    }

    /// Replaces the mapping file.
    pub fn map(&self, mapping: &str) {
        fs::write(self.folder.join("mappings/test.toml"), mapping).expect("write a mapping file");
    }

    /// Writes or replaces its credentials file, which its settings must name.
    pub fn credentials(&self, credentials: &str) {
        fs::write(self.folder.join("credentials.toml"), credentials).expect("write a credentials file");
    }

    /// Starts the process, after a kill or a stop too; does not wait for anything.
    pub fn run(&mut self) {
        assert!(self.process.is_none(), "the bridge runs already");
        let mut run = match self.room {
            None => command(binary()),
            Some(room) => {
                let mut shell = command("sh");
                // A write beyond the limit fails, as on a full disk, and does not kill.
                shell.arg("-c").arg(format!("trap '' XFSZ; ulimit -f {}; exec \"$0\" \"$@\"", room * 2)).arg(binary());
                shell
            }
        };
        run.arg("run").arg("--settings").arg(&self.settings).current_dir(&self.folder);
        run.envs(self.environment.clone());
        self.process = Some(Process::start("rocketbridge", run, &self.log_file()));
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.running().kill();
        self.process = None;
    }

    /// SIGTERM; panics if it still runs after `limit`.
    pub fn terminate(&mut self, limit: Duration) -> ExitStatus {
        let status = self.running().terminate(limit);
        self.process = None;
        status
    }

    /// The running process.
    pub fn running(&mut self) -> &mut Process {
        self.process.as_mut().expect("the bridge runs")
    }

    /// Runs another command in the bridge's folder, such as `["check"]`, to its end.
    pub fn command(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(binary());
        command.args(arguments).arg("--settings").arg(&self.settings);
        command.current_dir(&self.folder).envs(self.environment.clone());
        command.output().expect("run rocketbridge")
    }

    /// All it printed.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    /// Waits until `/ready` says 200.
    pub async fn ready(&mut self) {
        let limit = Duration::from_secs(30);
        let asked = tokio::time::timeout(limit, async {
            while !self.get("/ready").await.is_ok_and(|(status, _)| status == 200) {
                if !self.running().alive() {
                    return false;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            true
        });
        if asked.await == Ok(true) {
            return;
        }
        let told = self.get("/ready").await;
        panic!("the bridge is not ready: {told:?}\n{}", self.log());
    }

    /// What the admin listener answers: status and body.
    pub async fn get(&self, path: &str) -> io::Result<(u16, String)> {
        http::ask(self.admin, "GET", path).await
    }

    /// The sum of a metric over all series whose labels contain every one of `labels`, such as `route="up"`.
    pub async fn metric(&self, name: &str, labels: &[&str]) -> Option<f64> {
        let (_, metrics) = self.get("/metrics").await.ok()?;
        sum(&metrics, name, labels)
    }

    /// Waits until [`Self::metric`] is at least `least`.
    pub async fn metric_reaches(&self, name: &str, labels: &[&str], least: f64, limit: Duration) {
        eventually(&format!("{name}{labels:?} reaches {least}"), limit, || async {
            self.metric(name, labels).await.filter(|value| *value >= least)
        })
        .await;
    }

    pub fn log_file(&self) -> PathBuf {
        self.folder.join("printed.log")
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            eprintln!("the bridge's last lines:\n{}", lines[lines.len().saturating_sub(40)..].join("\n"));
        }
    }
}

fn sum(metrics: &str, name: &str, labels: &[&str]) -> Option<f64> {
    let values = metrics.lines().filter_map(|line| {
        let (series, value) = line.rsplit_once(' ')?;
        let (found, found_labels) = series.split_once('{').unwrap_or((series, ""));
        (found == name && labels.iter().all(|label| found_labels.contains(label))).then(|| value.parse::<f64>().ok())?
    });
    values.reduce(|all, one| all + one)
}
