//! Makes [`Settings`] of a settings file, the environment and the files that secrets are kept in.
//!
//! Every fault is noted and reading goes on with a stand-in, so that a person sees all faults at once. It must never
//! show a secret: what it shows of a file has them hidden.

mod api;
mod credentials;
mod http;
mod lmq;
mod login;
mod mqtt;
mod rocketmq;
mod secrets;
mod tokens;
mod url;

use std::{
    collections::BTreeMap,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use self::secrets::{hide_secrets, secret};
use super::{Credentials, Limits, Secret, Settings, TlsFiles};
use crate::{
    diagnostic::{At, Fault, Faults, Source},
    toml_reader::{Found, Node, Table, parse},
};

/// The prefix of environment variables that override the file: `ROCKETBRIDGE__MQTT__EDGE__URL` is `mqtt.edge.url`.
const PREFIX: &str = "ROCKETBRIDGE__";

const STOP_DEADLINES: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(3600);
/// Below the ten seconds after which container engines kill.
const STOP_DEADLINE: Duration = Duration::from_secs(8);

/// Environment variables, taken once.
#[derive(Debug, Clone, Default)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// Those of this process.
    pub fn of_process() -> Self {
        let text = |os: std::ffi::OsString| os.to_string_lossy().into_owned();
        Self(std::env::vars_os().map(|(name, value)| (text(name), text(value))).collect())
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

impl<const N: usize> From<[(&str, &str); N]> for Environment {
    fn from(variables: [(&str, &str); N]) -> Self {
        Self(variables.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }
}

/// What values are read against.
struct Context<'a> {
    /// The folder of the settings file: relative paths start here.
    folder: &'a Path,
    environment: &'a Environment,
}

impl Context<'_> {
    fn path(&self, table: &Table<'_>, key: &'static str) -> Option<Found<PathBuf>> {
        // A key is at most one path, and joining an absolute one keeps it as it is.
        table.filled_text(key).map(|text| text.map(|text| self.folder.join(text)))
    }

    /// A file that is read later: it must be there now.
    fn file(&self, table: &Table<'_>, key: &'static str) -> Option<PathBuf> {
        let found = self.path(table, key)?;
        if let Err(error) = std::fs::File::open(&found.value) {
            let message = format!("cannot read `{}`: {error}", found.value.display());
            table.faults().add(Fault::error(found.at, message, "named here"));
        }
        Some(found.value)
    }

    /// The files of a `tls` table that is already open.
    fn tls(&self, table: Table<'_>) -> TlsFiles {
        let files = TlsFiles {
            ca: self.file(&table, "ca"),
            certificate: self.file(&table, "certificate"),
            key: self.file(&table, "key"),
            server_name: table.filled_text("server_name").map(|name| name.value),
        };
        match (&files.certificate, &files.key) {
            (Some(_), None) => table.missing("key", "a certificate needs its private key"),
            (None, Some(_)) => table.missing("certificate", "a private key needs its certificate"),
            _ => {}
        }
        table.finish();
        files
    }
}

/// Reads settings. What is returned may be used only when no error was noted.
pub fn load(path: &Path, text: &str, environment: &Environment, faults: &Faults) -> Settings {
    let source = Source::new(path.display().to_string(), hide_secrets(text));
    let mut document = parse(&source, text, faults);
    apply_overrides(&mut document, environment, faults);
    let context = Context { folder: path.parent().unwrap_or(Path::new("")), environment };
    let Some(root) = document.table("", faults) else {
        unreachable!("a document is a table");
    };
    let http = http::listeners(&root, &context);
    let rocketmq = brokers(&root, "rocketmq", |name, table| rocketmq::cluster(name, table, &context));
    let (lmq, credentials) = lmq::access(&root, &context, &http, &rocketmq);
    let settings = Settings {
        mappings: context.path(&root, "mappings").map_or_else(|| context.folder.join("mappings"), |path| path.value),
        data_dir: context.path(&root, "data_dir").map_or_else(|| context.folder.join("data"), |path| path.value),
        mqtt: brokers(&root, "mqtt", |name, table| mqtt::broker(name, table, &context)),
        rocketmq,
        lmq,
        credentials: Arc::new(credentials),
        http,
        limits: limits(&root),
        stop_deadline: root.duration("stop_deadline", &STOP_DEADLINES).map_or(STOP_DEADLINE, |found| found.value),
        loop_key: secret(&root, "loop_key", &context).map(Secret::new),
    };
    if settings.mqtt.is_empty() && settings.rocketmq.is_empty() {
        root.missing("mqtt.NAME` or `rocketmq.NAME", "name at least one broker, such as `[mqtt.edge]` with its `url`");
    }
    root.finish();
    settings
}

/// Reads a credentials file again. What is returned may be used only when no error was noted.
pub fn load_credentials(path: &Path, environment: &Environment, faults: &Faults) -> Credentials {
    credentials::read_again(path, environment, faults)
}

fn apply_overrides(document: &mut Node, environment: &Environment, faults: &Faults) {
    for (name, text) in &environment.0 {
        let Some(path) = name.strip_prefix(PREFIX) else { continue };
        let source = Source::new("environment", hide_secrets(&format!("{name}={text}")));
        let at_name = At::new(&source, 0..name.len());
        let keys: Vec<_> = path.split("__").collect();
        if keys.contains(&"") {
            let fault = Fault::error(at_name, format!("`{name}` names no setting"), "a part is empty");
            faults.add(fault.hint("parts are joined by two underscores: `ROCKETBRIDGE__MQTT__EDGE__URL`"));
            continue;
        }
        let at = At::new(&source, name.len() + 1..name.len() + 1 + text.len());
        document.override_with(&keys, &at_name, text, at);
    }
}

/// Reads the tables of one kind, whose keys are names.
fn brokers<T>(root: &Table<'_>, kind: &'static str, read: impl Fn(&str, Table<'_>) -> T) -> BTreeMap<String, Arc<T>> {
    let Some(tables) = root.table(kind) else { return BTreeMap::new() };
    let names: Vec<_> = tables.keys().collect();
    let mut brokers = BTreeMap::new();
    for name in names {
        if !name.value.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-') || name.value.is_empty() {
            let message = format!("`{}` cannot be a broker's name", name.value);
            root.faults().add(Fault::error(name.at, message, "use letters, digits, `-` and `_`"));
        }
        if let Some(table) = tables.table(name.value) {
            brokers.insert(name.value.to_owned(), Arc::new(read(name.value, table)));
        }
    }
    brokers
}

fn limits(root: &Table<'_>) -> Limits {
    let mut limits = Limits { messages: 4096, bytes: 16 << 20 };
    let Some(table) = root.table("limits") else { return limits };
    let size = |found: Found<u64>| usize::try_from(found.value).unwrap_or(usize::MAX);
    limits.messages = table.integer("messages", &(1..=1_000_000)).map_or(limits.messages, size);
    limits.bytes = table.size("bytes", &(64 << 10..=4 << 30)).map_or(limits.bytes, size);
    table.finish();
    limits
}

#[cfg(test)]
mod tests;
