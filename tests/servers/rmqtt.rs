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
