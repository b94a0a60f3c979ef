//! A Mosquitto of its own port and database, with queue limits off unless a test sets them.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use serde_json::json;
use tokio::sync::OnceCell;

use super::{
    certificates::Certificates,
    folder, free_port, listening,
    process::{Process, command},
};

/// What a Mosquitto shall be like. Anonymous, over plain TCP, without limits unless said otherwise.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// User names and passwords; anonymous clients are refused if there are any.
    pub users: Vec<(String, String)>,
    /// Lines of an ACL file.
    pub acl: Option<String>,
    /// Adds a TLS and a secure web socket listener; with `client_certificates` they ask clients for theirs.
    pub tls: bool,
    pub client_certificates: bool,
    /// Further lines of its configuration, such as `max_queued_messages 1000`.
    pub lines: Vec<String>,
    /// The plain listener's port; a free one unless given.
    pub port: Option<u16>,
}

/// A Mosquitto process with its ports and database.
#[derive(Debug)]
pub struct Mosquitto {
    pub port: u16,
    pub ws_port: u16,
    pub tls_port: u16,
    pub secure_ws_port: u16,
    /// For clients of the TLS listeners.
    pub certificates: Option<Certificates>,
    folder: PathBuf,
    process: Process,
}

impl Mosquitto {
    /// The one that tests share which stop nothing; each uses topics of its own.
    pub async fn shared() -> &'static Self {
        static SHARED: OnceCell<Mosquitto> = OnceCell::const_new();
        SHARED.get_or_init(|| async { Self::start(&Options::default()).await }).await
    }

    pub async fn start(options: &Options) -> Self {
        let folder = folder("mosquitto");
        let port = options.port.unwrap_or_else(free_port);
        let [ws_port, tls_port, secure_ws_port] = [(); 3].map(|()| free_port());
        let certificates = options.tls.then(|| Certificates::create(&folder));
        let mut config = general(&folder, options);
        let _ = write!(config, "listener {port} 127.0.0.1\nlistener {ws_port} 127.0.0.1\nprotocol websockets\n");
        if let Some(certificates) = &certificates {
            for listener in
                [format!("{tls_port} 127.0.0.1"), format!("{secure_ws_port} 127.0.0.1\nprotocol websockets")]
            {
                let _ = write!(config, "listener {listener}\n{}", tls_lines(certificates, options.client_certificates));
            }
        }
        fs::write(folder.join("mosquitto.conf"), config).expect("write mosquitto.conf");
        let process = launch(&folder);
        let started = Self { port, ws_port, tls_port, secure_ws_port, certificates, folder, process };
        listening("mosquitto", port).await;
        started
    }

    /// `mqtt://` address of the plain listener.
    pub fn url(&self) -> String {
        format!("mqtt://127.0.0.1:{}", self.port)
    }

    /// `kill -9`: what came after the last [`Self::snapshot`] is forgotten.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// SIGTERM, on which it saves its database.
    pub fn terminate(&mut self) {
        self.process.terminate(Duration::from_secs(20));
    }

    /// SIGSTOP.
    pub fn pause(&self) {
        self.process.signal("STOP");
    }

    /// Changes the password of a user, and has it read its files again: whoever is connected with another one is cut.
    pub fn change_password(&self, name: &str, password: &str) {
        set_password(&self.folder.join("passwords"), name, password);
        self.process.signal("HUP");
    }

    /// SIGCONT.
    pub fn resume(&self) {
        self.process.signal("CONT");
    }

    /// Starts it again on the same ports with the same database.
    pub async fn restart(&mut self) {
        self.process = launch(&self.folder);
        listening("mosquitto", self.port).await;
    }

    /// Has it write its database and waits until that is on disk.
    pub fn snapshot(&self) {
        let database = self.database();
        let written = || fs::metadata(&database).and_then(|m| m.modified()).ok();
        let before = written();
        self.process.signal("USR1");
        let started = Instant::now();
        while written() == before || written().is_none() {
            assert!(started.elapsed() < Duration::from_secs(20), "mosquitto wrote no snapshot\n{}", self.log());
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Removes the database of a Mosquitto that is not running: sessions and queued messages are gone.
    pub fn forget(&self) {
        fs::remove_file(self.database()).ok();
    }

    /// All it logged.
    pub fn log(&self) -> String {
        self.process.printed()
    }

    fn database(&self) -> PathBuf {
        self.folder.join("mosquitto.db")
    }
}

/// Who may subscribe, by Mosquitto's plugin for dynamic security: its ACL files say nothing of subscriptions.
#[derive(Debug)]
pub struct Subscriptions {
    file: PathBuf,
}

impl Subscriptions {
    /// Nobody, until [`Self::allow`].
    pub fn refused() -> Self {
        let subscriptions = Self { file: folder("dynamic-security").join("access.json") };
        subscriptions.allow(false);
        subscriptions
    }

    /// Lets all subscribe or nobody, from the next start of the Mosquitto on.
    pub fn allow(&self, subscribe: bool) {
        let defaults = json!({
            "publishClientSend": true, "publishClientReceive": true, "subscribe": subscribe, "unsubscribe": true,
        });
        let all = json!({ "clients": [], "groups": [], "roles": [], "defaultACLAccess": defaults });
        fs::write(&self.file, all.to_string()).expect("write who may subscribe");
    }

    /// Lines of the configuration.
    pub fn lines(&self) -> Vec<String> {
        let plugin = plugin("mosquitto_dynamic_security.so");
        vec![format!("plugin {}", plugin.display()), format!("plugin_opt_config_file {}", self.file.display())]
    }
}

/// Where the system keeps a plugin that comes with Mosquitto.
fn plugin(file: &str) -> PathBuf {
    let libraries = fs::read_dir("/usr/lib").expect("list /usr/lib").flatten().map(|entry| entry.path());
    let mut places = libraries.chain([PathBuf::from("/usr/lib")]).map(|folder| folder.join(file));
    places.find(|place| place.exists()).unwrap_or_else(|| panic!("no {file} under /usr/lib"))
}

fn general(folder: &Path, options: &Options) -> String {
    let here = folder.display();
    let mut config = format!(
        "per_listener_settings false\npersistence true\npersistence_location {here}/\nautosave_interval 0\n\
         set_tcp_nodelay true\nlog_dest stderr\nlog_type error\nlog_type warning\nlog_type notice\nlog_type information\n\
         max_queued_messages 0\nmax_queued_bytes 0\nallow_anonymous {}\n",
        options.users.is_empty()
    );
    if is_root() {
        // Else it would become another user, which may not write here.
        config += "user root\n";
    }
    if !options.users.is_empty() {
        let passwords = folder.join("passwords");
        for (name, password) in &options.users {
            set_password(&passwords, name, password);
        }
        let _ = writeln!(config, "password_file {}", passwords.display());
    }
    if let Some(acl) = &options.acl {
        let file = folder.join("acl");
        fs::write(&file, acl).expect("write an ACL file");
        let _ = writeln!(config, "acl_file {}", file.display());
    }
    for line in &options.lines {
        let _ = writeln!(config, "{line}");
    }
    config
}

fn set_password(file: &Path, name: &str, password: &str) {
    let mut tool = Command::new("mosquitto_passwd");
    tool.arg("-b").args((!file.exists()).then_some("-c"));
    let status = tool.arg(file).arg(name).arg(password).status();
    assert!(status.is_ok_and(|s| s.success()), "write a password file with mosquitto_passwd");
}

fn tls_lines(certificates: &Certificates, ask_clients: bool) -> String {
    format!(
        "cafile {}\ncertfile {}\nkeyfile {}\nrequire_certificate {ask_clients}\n",
        certificates.authority.display(),
        certificates.server.display(),
        certificates.server_key.display(),
    )
}

fn launch(folder: &Path) -> Process {
    // Some systems keep daemons out of the path of ordinary users.
    let program = if Path::new("/usr/sbin/mosquitto").exists() { "/usr/sbin/mosquitto" } else { "mosquitto" };
    let mut mosquitto = command(program);
    mosquitto.arg("-c").arg(folder.join("mosquitto.conf"));
    Process::start("mosquitto", mosquitto, &folder.join("mosquitto.log"))
}

fn is_root() -> bool {
    fs::read_to_string("/proc/self/status").is_ok_and(|status| {
        status.lines().any(|line| line.starts_with("Uid:") && line.split_whitespace().nth(2) == Some("0"))
    })
}
