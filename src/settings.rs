//! Settings, checked: the brokers, listeners and limits that routes refer to.
//!
//! These types hold only values that can be used as they are; `settings::load` (file and environment) makes them
//! and reports every fault at once. A secret is never printed.

mod credentials;
mod load;

use std::{collections::BTreeMap, fmt, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

pub use self::{
    credentials::{Clients, Credential, Credentials, CurrentCredentials, Permission},
    load::{Environment, load, load_credentials},
};

/// All settings of one process.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The folder of mapping files.
    pub mappings: PathBuf,
    /// Parked messages, and what MQTT sessions are subscribed to.
    pub data_dir: PathBuf,
    /// MQTT brokers by name.
    pub mqtt: BTreeMap<String, Arc<MqttBroker>>,
    /// RocketMQ clusters by name.
    pub rocketmq: BTreeMap<String, Arc<RocketMqCluster>>,
    /// Where the process listens.
    pub http: Http,
    /// What callers and clients must say.
    pub lmq: Lmq,
    /// Who may log in and ask, as the credentials file said at the start.
    pub credentials: Arc<Credentials>,
    /// Limits of each route.
    pub limits: Limits,
    /// How long a graceful stop may take.
    pub stop_deadline: Duration,
    /// Signs the loop guard's marks; shared by all replicas that join the same brokers. Without one, the process keeps
    /// a random one in `data_dir`.
    pub loop_key: Option<Secret>,
}

/// An MQTT broker and how to log in.
#[derive(Debug, Clone)]
pub struct MqttBroker {
    /// Its name in the settings.
    pub name: String,
    /// Where it listens.
    pub url: MqttUrl,
    /// Which protocol to speak.
    pub version: MqttVersion,
    /// The stem of every session's client id.
    pub client_id: String,
    /// User name.
    pub username: Option<String>,
    /// Password.
    pub password: Option<Secret>,
    /// How to log in where the broker is an endpoint of LMQ, instead of the two above.
    pub login: Option<LmqLogin>,
    /// For `mqtts` and `wss`.
    pub tls: TlsFiles,
    /// Says to others whether the bridge is there: `online` is published retained at each connect, `offline` is
    /// the last will and is published at a clean stop. `{client_id}` stands for the session's id.
    pub will: Option<Will>,
    /// Keep-alive interval, 1 s to 18 h.
    pub keep_alive: Duration,
    /// MQTT 5 session expiry; `None` is never.
    pub session_expiry: Option<Duration>,
    /// Publishes that may be unacknowledged in each direction: MQTT 5's receive maximum, and the sink's window.
    pub window: u16,
    /// The largest packet that is taken, in bytes.
    pub max_packet: u32,
    /// For the TCP, TLS and MQTT handshakes together.
    pub connect_timeout: Duration,
    /// Where it lists its clients, when given.
    pub api: Option<BrokerApi>,
}

/// How to log in to an endpoint of LMQ (LMQ-1).
#[derive(Debug, Clone)]
pub enum LmqLogin {
    /// LMQ-1.1: an access key signs each session's client id.
    Signature {
        /// Its id.
        access_key: String,
        /// What it signs with.
        secret_key: Secret,
        /// The instance id.
        instance: String,
    },
    /// LMQ-1.2: tokens that a token service gave out.
    Token {
        /// The id of the access key that they were applied for with.
        access_key: String,
        /// The instance id.
        instance: String,
        /// Where they come from.
        tokens: TokenSource,
        /// How often they are asked for again while a session runs, 1 s to 1 day.
        refresh: Duration,
    },
    /// LMQ-1.3: as by signature, with a credential of the device's own.
    Device {
        /// Its id.
        access_key: String,
        /// What it signs with.
        secret_key: Secret,
        /// The instance id.
        instance: String,
    },
    /// LMQ-1.4: a name and a secret.
    Custom {
        /// The name, without a `|`.
        username: String,
        /// The secret.
        secret_key: Secret,
        /// Whether the password is the signature of the client id, and not the secret itself.
        signed: bool,
    },
}

/// Where tokens come from, as `TYPE|TOKEN` pairs (LMQ-1.2).
#[derive(Debug, Clone)]
pub enum TokenSource {
    /// A file, which may be replaced at any time.
    File(PathBuf),
    /// A program that prints them.
    Command {
        /// The program.
        program: String,
        /// Its arguments, which may hold secrets.
        arguments: Vec<Secret>,
    },
}

/// A broker's own HTTP interface, and how to log in to it.
#[derive(Debug, Clone)]
pub struct BrokerApi {
    /// Where it listens.
    pub url: HttpUrl,
    /// What is sent with every request.
    pub login: Option<ApiLogin>,
    /// For `https`.
    pub tls: TlsFiles,
}

/// How to log in to an HTTP interface.
#[derive(Debug, Clone)]
pub enum ApiLogin {
    /// By name and password: EMQX's API key and its secret key.
    Basic {
        /// User name.
        username: String,
        /// Password.
        password: Secret,
    },
    /// By a token: RMQTT's `http_bearer_token`.
    Bearer(Secret),
}

/// Where an HTTP server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpUrl {
    /// Whether it is `https`.
    pub encrypted: bool,
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
}

impl fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.encrypted { "https" } else { "http" };
        let (host, port) = (&self.host, self.port);
        if host.contains(':') { write!(f, "{scheme}://[{host}]:{port}") } else { write!(f, "{scheme}://{host}:{port}") }
    }
}

/// Where an MQTT broker listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MqttUrl {
    /// How to reach it.
    pub transport: MqttTransport,
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Path of a web socket, `/mqtt` unless given.
    pub path: String,
}

impl fmt::Display for MqttUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, path) = match self.transport {
            MqttTransport::Tcp => ("mqtt", ""),
            MqttTransport::Tls => ("mqtts", ""),
            MqttTransport::Ws => ("ws", self.path.as_str()),
            MqttTransport::Wss => ("wss", self.path.as_str()),
        };
        write!(f, "{scheme}://{}:{}{path}", self.host, self.port)
    }
}

/// The transports of MQTT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MqttTransport {
    /// `mqtt://`, port 1883.
    Tcp,
    /// `mqtts://`, port 8883.
    Tls,
    /// `ws://`, port 80.
    Ws,
    /// `wss://`, port 443.
    Wss,
}

/// The protocol versions of MQTT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MqttVersion {
    /// 3.1.1.
    V4,
    /// 5.0.
    V5,
}

/// A last will.
#[derive(Debug, Clone)]
pub struct Will {
    /// Topic, with `{client_id}` already replaced by whoever connects.
    pub topic: String,
    /// Retained while connected.
    pub online: String,
    /// Retained afterwards.
    pub offline: String,
}

/// Files for TLS; read at each connect, so that renewed certificates are taken up.
#[derive(Debug, Clone, Default)]
pub struct TlsFiles {
    /// Trusted authorities in PEM; the system's own when absent.
    pub ca: Option<PathBuf>,
    /// Our certificate chain in PEM.
    pub certificate: Option<PathBuf>,
    /// Its private key in PEM.
    pub key: Option<PathBuf>,
    /// The name to verify, when it is not the host of the address.
    pub server_name: Option<String>,
}

/// A RocketMQ cluster and how to log in.
#[derive(Debug, Clone)]
pub struct RocketMqCluster {
    /// Its name in the settings.
    pub name: String,
    /// `host:port` of each name server.
    pub name_servers: Vec<String>,
    /// ACL access key.
    pub access_key: Option<String>,
    /// ACL secret key.
    pub secret_key: Option<Secret>,
    /// TLS to name servers and brokers, when given.
    pub tls: Option<TlsFiles>,
    /// Prefixes topics and groups as `ns%name`, when not empty.
    pub namespace: String,
    /// Which send statuses count as stored besides SUCCESS.
    pub stored_when: StoredWhen,
    /// A deadline for requests that do not wait by design.
    pub request_timeout: Duration,
    /// The largest message body that the brokers take, in bytes (their `maxMessageSize`, 4 MiB by default).
    pub max_message: usize,
    /// How long a queue may be missing from a topic's route before its keys move to other queues.
    pub lane_grace: Duration,
}

/// Which answers of a broker count as stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoredWhen {
    /// SUCCESS alone: a slave or flush time-out means send again (and a duplicate).
    Durable,
    /// Also `FLUSH_DISK_TIMEOUT`, `FLUSH_SLAVE_TIMEOUT` and `SLAVE_NOT_AVAILABLE`: the master has it.
    Accepted,
}

/// Where the process listens.
#[derive(Debug, Clone)]
pub struct Http {
    /// `/live`, `/ready` and `/metrics`; never encrypted.
    pub admin: Option<SocketAddr>,
    /// The status query (LMQ-8).
    pub lmq: Option<SocketAddr>,
    /// Where brokers post what happens to their clients.
    pub hooks: Option<Hooks>,
    /// Encrypts all but `admin`, when given.
    pub tls: Option<ServerFiles>,
}

/// The listener of hooks.
#[derive(Debug, Clone)]
pub struct Hooks {
    /// Its address.
    pub address: SocketAddr,
    /// What brokers must send as a bearer token; always given where others than this machine can reach it.
    pub secret: Option<Secret>,
}

/// What a server shows of itself over TLS; read again from time to time, so that a renewed certificate is taken up.
#[derive(Debug, Clone)]
pub struct ServerFiles {
    /// Its certificate chain in PEM.
    pub certificate: PathBuf,
    /// Its private key in PEM.
    pub key: PathBuf,
}

/// What callers of the LMQ interface and clients that log in must say.
#[derive(Debug, Clone, Default)]
pub struct Lmq {
    /// The instance id that they must name; any when `None`.
    pub instance: Option<String>,
    /// Whether client ids must be as LMQ-2.1 has them.
    pub strict_client_ids: bool,
    /// The credentials file.
    pub credentials: Option<PathBuf>,
    /// The token service, when given.
    pub tokens: Option<TokenSettings>,
}

/// The token service.
#[derive(Debug, Clone)]
pub struct TokenSettings {
    /// Seals tokens; shared by all replicas.
    pub secret: Secret,
    /// Where replicas tell each other of tokens; a single replica needs none.
    pub topic: Option<TokenTopic>,
}

/// The topic in which replicas tell each other of tokens.
#[derive(Debug, Clone)]
pub struct TokenTopic {
    /// Its cluster.
    pub cluster: Arc<RocketMqCluster>,
    /// Its name, without the namespace.
    pub topic: String,
}

/// Bounds of what a route holds in memory.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Messages in flight per route.
    pub messages: usize,
    /// Bytes in flight per route.
    pub bytes: usize,
}

/// Text that must not be seen: its `Debug` hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The secret itself, for the one place that sends or signs.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}
