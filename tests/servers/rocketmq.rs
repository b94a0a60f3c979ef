//! A RocketMQ cluster: name servers and brokers, each a process of its own, and what tests ask of it.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::sync::OnceCell;

use super::{
    cache,
    certificates::Certificates,
    eventually, folder, free_port, free_ports,
    judge::Judge,
    listening,
    process::{Process, command},
    proxy::Proxy,
};

/// The release that tests run against unless `ROCKETBRIDGE_TEST_ROCKETMQ` names another.
pub const DEFAULT_VERSION: &str = "5.3.3";

/// The release in use.
pub fn version() -> String {
    std::env::var("ROCKETBRIDGE_TEST_ROCKETMQ").unwrap_or_else(|_| DEFAULT_VERSION.into())
}

/// Where `scripts/servers` put its jars.
pub fn jars() -> PathBuf {
    let jars = cache().join(format!("rocketmq-{}", version()));
    assert!(jars.join("SHA256SUMS").exists(), "no RocketMQ in {}: run scripts/servers {}", jars.display(), version());
    jars
}

/// The administrator of a cluster with access control.
pub const ADMIN: (&str, &str) = ("rocketmq-admin", "admin-secret-1");

/// Warnings and worse, to the standard output.
const LOGGING: &str = r#"<configuration>
  <appender name="out" class="ch.qos.logback.core.ConsoleAppender">
    <encoder><pattern>%d %p %c - %m%n</pattern></encoder>
  </appender>
  <root level="WARN"><appender-ref ref="out"/></root>
</configuration>
"#;

/// Where proxied brokers tell clients to find them.
const PROXIED: &str = "127.0.0.2";

/// What a cluster shall be like: one name server and one broker that creates no topics by itself, unless said otherwise.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own, named where it is set")]
pub struct Options {
    pub name_servers: usize,
    pub brokers: usize,
    pub auto_create_topics: bool,
    /// Access control, with [`ADMIN`] as the one user so far.
    pub acl: bool,
    /// TLS only, with certificates of the cluster's own.
    pub tls: bool,
    /// Clients reach each broker through a proxy (5.x only: older brokers take every address of the machine).
    pub proxied: bool,
    /// The port of the first name server; a free one unless given.
    pub port: Option<u16>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            name_servers: 1,
            brokers: 1,
            auto_create_topics: false,
            acl: false,
            tls: false,
            proxied: false,
            port: None,
        }
    }
}

/// A name server or broker that can be stopped and started again with the same port and store.
#[derive(Debug)]
pub struct Node {
    pub name: String,
    pub port: u16,
    /// Its configuration, store and logs.
    pub folder: PathBuf,
    kind: Kind,
    tls: bool,
    process: Process,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    NameServer,
    Broker,
}

/// A RocketMQ cluster.
#[derive(Debug)]
pub struct RocketMq {
    pub name_servers: Vec<Node>,
    pub brokers: Vec<Node>,
    /// One before each broker, if so wished.
    pub proxies: Vec<Proxy>,
    pub certificates: Option<Certificates>,
    options: Options,
}

impl RocketMq {
    /// The one that tests share which stop nothing; each uses topics of its own.
    pub async fn shared() -> &'static Self {
        static SHARED: OnceCell<RocketMq> = OnceCell::const_new();
        SHARED.get_or_init(|| async { Self::start(&Options::default()).await }).await
    }

    pub async fn start(options: &Options) -> Self {
        let folder = folder("rocketmq");
        let certificates = options.tls.then(|| Certificates::create(&folder));
        let tls = certificates.as_ref();
        let name_servers: Vec<Node> = (0..options.name_servers)
            .map(|i| {
                let port = options.port.filter(|_| i == 0).unwrap_or_else(free_port);
                name_server(&folder, i, port, tls)
            })
            .collect();
        for node in &name_servers {
            listening("the name server", node.port).await;
        }
        let servers = addresses(&name_servers).join(";");
        let brokers: Vec<Node> = (0..options.brokers).map(|i| broker(&folder, i, &servers, options, tls)).collect();
        let mut proxies = Vec::new();
        for broker in brokers.iter().filter(|_| options.proxied) {
            proxies.push(Proxy::at(PROXIED, broker.port, broker.port).await);
        }
        let cluster = Self { name_servers, brokers, proxies, certificates, options: options.clone() };
        cluster.ready().await;
        cluster
    }

    /// Addresses of the name servers.
    pub fn servers(&self) -> Vec<String> {
        addresses(&self.name_servers)
    }

    /// Waits until every broker that runs is known to the name servers and takes requests.
    pub async fn ready(&self) {
        for broker in &self.brokers {
            listening(&broker.name, broker.port).await;
        }
        eventually("the brokers are registered", Duration::from_secs(180), || async {
            let told = self.ask("brokers", json!({})).await.ok()?["addresses"].to_string();
            self.brokers.iter().all(|broker| told.contains(&format!(":{}\"", broker.port))).then_some(())
        })
        .await;
    }

    /// A request to the judge about this cluster, as its administrator.
    pub async fn ask(&self, op: &str, request: Value) -> Result<Value, String> {
        self.access().ask(op, request).await
    }

    /// How the judge reaches this cluster.
    pub fn access(&self) -> Access {
        Access { servers: self.servers().join(";"), acl: self.options.acl, tls: self.options.tls }
    }

    /// Creates a topic with a number of queues on every broker, and waits until each name server knows them all.
    pub async fn create_topic(&self, topic: &str, queues: u32) {
        let brokers: Vec<String> = addresses(&self.brokers);
        let request = json!({ "topic": topic, "queues": queues, "brokers": brokers });
        eventually(&format!("topic {topic} is created"), Duration::from_secs(30), || async {
            self.ask("topic", request.clone()).await.ok()
        })
        .await;
        let all = self.brokers.len() * queues as usize;
        for server in self.servers() {
            let known_there = Access { servers: server.clone(), ..self.access() };
            eventually(&format!("{server} knows topic {topic}"), Duration::from_secs(30), || async {
                let told = known_there.ask("read", json!({ "topic": topic, "from": {}, "max": 0 })).await.ok()?;
                (told["next"].as_object()?.len() == all).then_some(())
            })
            .await;
        }
    }

    /// Runs a command of RocketMQ's own admin tool, such as `["deleteTopic", "-c", "test", "-t", "orders"]`.
    pub async fn admin(&self, arguments: &[&str]) -> String {
        let mut arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
        arguments.extend(["-n".to_owned(), self.servers().join(";")]);
        let told = self.ask("admin", json!({ "args": arguments })).await.expect("run the admin tool");
        told["printed"].as_str().unwrap_or_default().to_owned()
    }
}

/// How the judge reaches a cluster, whatever becomes of its processes.
#[derive(Debug, Clone)]
pub struct Access {
    servers: String,
    acl: bool,
    tls: bool,
}

impl Access {
    /// A request to the judge about the cluster, as its administrator.
    pub async fn ask(&self, op: &str, mut request: Value) -> Result<Value, String> {
        request["servers"] = self.servers.as_str().into();
        request["tls"] = self.tls.into();
        if self.acl {
            request["access"] = ADMIN.0.into();
            request["secret"] = ADMIN.1.into();
        }
        Judge::shared().ask(op, request).await
    }
}

impl Node {
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// SIGTERM, on which a broker flushes its store and leaves its name servers.
    pub fn terminate(&mut self) {
        self.process.terminate(Duration::from_secs(60));
    }

    /// SIGSTOP.
    pub fn pause(&self) {
        self.process.signal("STOP");
    }

    /// SIGCONT.
    pub fn resume(&self) {
        self.process.signal("CONT");
    }

    /// Starts it again with the same port and store, and waits until it listens.
    pub async fn restart(&mut self) {
        self.process = launch(&self.folder, &self.name, self.kind, self.tls);
        listening(&self.name, self.port).await;
    }

    /// What it printed; RocketMQ's own logs are files in `logs` of its folder.
    pub fn log(&self) -> String {
        self.process.printed()
    }

    fn create(cluster: &Path, name: String, port: u16, kind: Kind, config: &str, tls: Option<&Certificates>) -> Self {
        let folder = cluster.join(&name);
        fs::create_dir_all(folder.join("conf")).expect("create a node's folder");
        fs::write(folder.join("server.conf"), config).expect("write a node's configuration");
        for logging in ["conf/logback_namesrv.xml", "conf/logback_broker.xml"] {
            // 4.x does not start without.
            fs::write(folder.join(logging), LOGGING).expect("write a node's logging configuration");
        }
        if let Some(made) = tls {
            let (certificate, key) = (made.server.display(), made.server_key.display());
            let lines = format!(
                "tls.test.mode.enable=false\ntls.server.certPath={certificate}\ntls.server.keyPath={key}\n\
                 tls.server.need.client.auth=none\ntls.client.authServer=false\n"
            );
            fs::write(folder.join("tls.properties"), lines).expect("write TLS properties");
        }
        let process = launch(&folder, &name, kind, tls.is_some());
        Self { name, port, folder, kind, tls: tls.is_some(), process }
    }
}

fn name_server(cluster: &Path, number: usize, port: u16, tls: Option<&Certificates>) -> Node {
    Node::create(cluster, format!("ns-{number}"), port, Kind::NameServer, &format!("listenPort={port}\n"), tls)
}

fn broker(cluster: &Path, number: usize, servers: &str, options: &Options, tls: Option<&Certificates>) -> Node {
    // A broker takes three ports: two below its own for some clients, and one for replicas.
    let first = free_ports(4);
    let (name, port) = (format!("broker-{number}"), first + 2);
    let store = cluster.join(&name).join("store");
    let mut config = format!(
        "brokerClusterName=test\nbrokerName={name}\nbrokerId=0\nbrokerIP1=127.0.0.1\nlistenPort={port}\n\
         haListenPort={}\nnamesrvAddr={servers}\nstorePathRootDir={1}\nstorePathCommitLog={1}/commitlog\n\
         mappedFileSizeCommitLog=67108864\nautoCreateTopicEnable={2}\nautoCreateSubscriptionGroup=true\n\
         registerNameServerPeriod=10000\nfileReservedTime=72\ndiskMaxUsedSpaceRatio=98\nflushDiskType=ASYNC_FLUSH\n",
        first + 3,
        store.display(),
        options.auto_create_topics,
    );
    if options.proxied {
        // The last line for a name counts.
        let _ = write!(config, "brokerIP1={PROXIED}\nbindAddress=127.0.0.1\n");
    }
    if options.acl {
        config += &access_control();
    }
    Node::create(cluster, name, port, Kind::Broker, &config, tls)
}

/// Settings of a 5.x broker that knows one user, the administrator.
fn access_control() -> String {
    let (access, secret) = ADMIN;
    let package = "org.apache.rocketmq.auth";
    format!(
        "authenticationEnabled=true\n\
         authenticationProvider={package}.authentication.provider.DefaultAuthenticationProvider\n\
         authenticationMetadataProvider={package}.authentication.provider.LocalAuthenticationMetadataProvider\n\
         initAuthenticationUser={{\"username\":\"{access}\",\"password\":\"{secret}\"}}\n\
         innerClientAuthenticationCredentials={{\"accessKey\":\"{access}\",\"secretKey\":\"{secret}\"}}\n\
         authorizationEnabled=true\n\
         authorizationProvider={package}.authorization.provider.DefaultAuthorizationProvider\n\
         authorizationMetadataProvider={package}.authorization.provider.LocalAuthorizationMetadataProvider\n"
    )
}

fn launch(folder: &Path, name: &str, kind: Kind, tls: bool) -> Process {
    let (main_class, heap) = match kind {
        Kind::NameServer => ("org.apache.rocketmq.namesrv.NamesrvStartup", "-Xmx256m"),
        Kind::Broker => ("org.apache.rocketmq.broker.BrokerStartup", "-Xmx512m"),
    };
    let mut java = command("java");
    java.args([heap, "-Xms64m", "-XX:+UseSerialGC", "-XX:MaxDirectMemorySize=512m"])
        // What their own start scripts open to them.
        .args(["--add-exports", "java.base/sun.nio.ch=ALL-UNNAMED"])
        .args(["--add-exports", "java.base/jdk.internal.ref=ALL-UNNAMED"])
        .args(["--add-opens", "java.base/java.nio=ALL-UNNAMED", "--add-opens", "java.base/sun.nio.ch=ALL-UNNAMED"])
        .arg(format!("-Duser.home={}", folder.display()));
    if tls {
        java.args(["-Dtls.server.mode=enforcing", "-Dtls.enable=true"])
            .arg(format!("-Dtls.config.file={}", folder.join("tls.properties").display()));
    } else {
        // By default they take TLS as well, with a certificate that they make at each start: half of the time that takes.
        java.arg("-Dtls.server.mode=disabled");
    }
    java.arg("-cp").arg(format!("{}/*", jars().display())).arg(main_class);
    java.arg("-c").arg(folder.join("server.conf")).env("ROCKETMQ_HOME", folder).env_remove("NAMESRV_ADDR");
    Process::start(name, java, &folder.join("printed.log"))
}

fn addresses(nodes: &[Node]) -> Vec<String> {
    nodes.iter().map(Node::address).collect()
}
