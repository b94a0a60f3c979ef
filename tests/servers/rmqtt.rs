//! An RMQTT of its own ports, plugins and session store. `scripts/rmqtt` builds it from `tests/servers/rmqtt/`.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::Value;

use super::{
    cache, folder, free_port, http, listening,
    process::{Process, command},
};

/// What an RMQTT shall be like. Everybody may connect, publish and subscribe, unless said otherwise.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Where it posts each client's `client_connected` and `client_disconnected`.
    pub web_hook: Option<String>,
    /// Further plugins by name, such as `rmqtt-auth-http`, with what their files say; one named here already is
    /// written anew.
    pub plugins: Vec<(&'static str, String)>,
}

/// An RMQTT process with its ports and session store.
#[derive(Debug)]
pub struct Rmqtt {
    pub port: u16,
    /// Of its HTTP API.
    pub api_port: u16,
    folder: PathBuf,
    process: Process,
}

impl Rmqtt {
    pub async fn start(options: &Options) -> Self {
        let folder = folder("rmqtt");
        let [port, api_port] = [(); 2].map(|()| free_port());
        for (name, file) in plugins(&folder, api_port, options) {
            fs::write(folder.join(format!("{name}.toml")), file).expect("write a plugin's file");
        }
        let process = launch(&folder, port);
        let started = Self { port, api_port, folder, process };
        listening("rmqtt", port).await;
        started
    }

    /// `mqtt://` address of its listener.
    pub fn url(&self) -> String {
        format!("mqtt://127.0.0.1:{}", self.port)
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// SIGTERM, which it takes as any other end.
    pub fn terminate(&mut self) {
        self.process.terminate(Duration::from_secs(20));
    }

    /// Starts it again on the same ports with the same session store.
    pub async fn restart(&mut self) {
        self.process = launch(&self.folder, self.port);
        listening("rmqtt", self.port).await;
    }

    /// Asks its HTTP API, such as `GET` `clients`: the status and what it said.
    pub async fn ask(&self, method: &str, path: &str) -> io::Result<(u16, Value)> {
        let (status, body) = http::ask(self.api_port, method, &format!("/api/v1/{path}")).await?;
        Ok((status, serde_json::from_str(&body).unwrap_or(Value::String(body))))
    }

    /// All it printed.
    pub fn log(&self) -> String {
        self.process.printed()
    }
}

/// What lets the bridge itself in at a broker that asks it: for its credentials.
pub const OWN_USER: &str = r##"
[[user]]
name = "rocketbridge"
secret = "bridge-secret"
groups = "GID_rocketbridge"
topics = "#"
subscribe = "$SYS/#"
p2p = "all"
"##;

/// The bridge's settings of a broker, named `edge`, at which it logs in as [`OWN_USER`].
pub fn edge_as_own_user(rmqtt: &Rmqtt) -> String {
    format!(
        "[mqtt.edge]\nurl = \"{}\"\nclient_id = \"GID_rocketbridge@@@1\"\nusername = \"rocketbridge\"\n\
         password = \"bridge-secret\"\n",
        rmqtt.url()
    )
}

/// Plugins that ask the bridge's `http.hooks` about every login, publish and subscription, as `docs/login.md` has them; `more`
/// is what else their file says, such as `disconnect_if_pub_rejected = true`.
pub fn asking(hooks: u16, more: &str) -> Vec<(&'static str, String)> {
    let request = |about: &str, path: &str, more: &str| {
        format!(
            "http_{about}_req.url = \"{}/{path}\"\nhttp_{about}_req.method = \"post\"\n\
             http_{about}_req.params = {{ clientid = \"%c\", username = \"%u\", {more} }}\n",
            login(hooks)
        )
    };
    let auth = format!(
        "deny_if_error = true\n{more}\n{}{}",
        request("auth", "user", "password = \"%P\""),
        request("acl", "acl", "access = \"%A\", topic = \"%t\""),
    );
    vec![("rmqtt-acl", "rules = [[\"deny\", \"all\"]]\n".to_owned()), ("rmqtt-auth-http", auth)]
}

/// Plugins by which clients hear that their tokens end, and send new ones, as `docs/tokens.md` has them.
pub fn telling_of_tokens(hooks: u16) -> Vec<(&'static str, String)> {
    let web_hook = format!(
        "urls = [\"{}/token\"]\n\
         rule.message_publish = [{{ action = \"message_publish\", topics = [\"$SYS/uploadToken\"] }}]\n",
        login(hooks)
    );
    vec![("rmqtt-p2p-messaging", "mode = \"prefix\"\n".to_owned()), ("rmqtt-web-hook", web_hook)]
}

/// The plugin by which every client gets what is sent to it alone, whether or not it subscribes, as `docs/login.md` has it.
pub fn subscribing() -> (&'static str, String) {
    let subscribe = "[[subscribes]]\ntopic_filter = \"+/p2p/${clientid}\"\nqos = 1\nno_local = false\n\
                     retain_as_published = false\nretain_handling = 0\n";
    ("rmqtt-auto-subscription", subscribe.to_owned())
}

fn login(hooks: u16) -> String {
    format!("http://127.0.0.1:{hooks}/login/rmqtt/edge")
}

/// Each plugin that runs, and what its file says.
fn plugins(folder: &Path, api_port: u16, options: &Options) -> Vec<(&'static str, String)> {
    let sessions = folder.join("sessions").display().to_string();
    let mut plugins = vec![
        ("rmqtt-acl", "rules = [[\"allow\", \"all\"]]\n".to_owned()),
        ("rmqtt-http-api", format!("http_laddr = \"127.0.0.1:{api_port}\"\n")),
        ("rmqtt-retainer", "storage.type = \"ram\"\n".to_owned()),
        (
            "rmqtt-session-storage",
            format!(
                "storage.type = \"sled\"\nstorage.sled.path = \"{sessions}\"\nstorage.sled.cache_capacity = \"16M\"\n"
            ),
        ),
        ("rmqtt-shared-subscription", String::new()),
        ("rmqtt-sys-topic", "publish_qos = 1\n".to_owned()),
    ];
    if let Some(url) = &options.web_hook {
        let rules = ["client_connected", "client_disconnected"]
            .map(|event| format!("rule.{event} = [{{ action = \"{event}\" }}]\n"));
        plugins.push(("rmqtt-web-hook", format!("urls = [\"{url}\"]\n{}", rules.concat())));
    }
    plugins.extend(options.plugins.iter().cloned());
    plugins
}

fn launch(folder: &Path, port: u16) -> Process {
    let program = cache().join("rmqtt/rmqtt");
    assert!(program.exists(), "no RMQTT in {}: run scripts/rmqtt", program.display());
    let mut rmqtt = command(program);
    rmqtt.arg(folder).arg(format!("127.0.0.1:{port}"));
    Process::start("rmqtt", rmqtt, &folder.join("rmqtt.log"))
}
