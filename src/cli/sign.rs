//! `rocketbridge sign`: what a client or a caller of LMQ must send, for debugging.
//!
//! A secret is read from the environment, a file or the settings, and never taken as an argument, which others on the
//! machine could see. It must never print one, but for a password that is the secret itself.

use std::{
    io::Read,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use clap::{Subcommand, ValueEnum};

use super::{Columns, End, open, print, print_error, runtime};
use crate::{
    clock::epoch_millis,
    lmq::{
        credentials::{self, MAX_TOKENS, Tokens},
        login::Username,
        parameters::{self, ACCESS_KEY, INSTANCE, SIGNATURE},
        signature::{canonical, sign},
        status_query::Kind,
        token_request::Call,
    },
    mqtt,
    settings::{LmqLogin, Secret},
};

const EXAMPLES: &str = "\
Examples:
  rocketbridge sign login GID_plant@@@m7 --mode signature --access-key AK --instance mqtt-x --secret-env SK
  rocketbridge sign login GID_plant@@@m7 --broker hosted        as the settings have it
  rocketbridge sign status GID_plant@@@m7 --access-key AK --instance mqtt-x --secret-file sk
  rocketbridge sign token apply --access-key AK --instance mqtt-x --actions R,W --resource 'plant/#'
  rocketbridge sign token revoke --access-key AK --token-file token
  rocketbridge sign text 'parama=a&paramb=b1,b2' --secret-env SK

Without --secret-env and --secret-file, the secret is that of the `[[access_key]]` with this id in the credentials file.

Exit codes:
  0  printed
  1  rejected input: a faulty settings file, an unknown access key or broker, a secret or token that is not there
  2  could not run, or called wrongly";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// User name and password of an MQTT client (LMQ-1)
    Login(Login),
    /// The status query of clients (LMQ-8)
    Status(Status),
    /// Requests to the token service (LMQ-9)
    #[command(subcommand)]
    Token(Token),
    /// The signature of any text
    Text {
        /// What is signed, byte for byte
        text: String,
        #[command(flatten)]
        signer: Signer,
    },
}

#[derive(Debug, clap::Args)]
struct Login {
    /// The client id, whole: GROUP@@@DEVICE
    client_id: String,
    /// Log in as the settings of this MQTT broker say
    #[arg(long, value_name = "NAME", conflicts_with_all = ["mode", "access_key", "instance", "username", "secret_env", "secret_file"])]
    broker: Option<String>,
    /// How a client logs in
    #[arg(long, value_enum, required_unless_present = "broker")]
    mode: Option<Mode>,
    /// The instance id
    #[arg(long, value_name = "ID")]
    instance: Option<String>,
    /// The name, in custom mode
    #[arg(long, value_name = "NAME")]
    username: Option<String>,
    #[command(flatten)]
    signer: Signer,
    #[command(flatten)]
    given: GivenToken,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Mode {
    /// The client id, signed with an access key
    Signature,
    /// Tokens, such as R|TOKEN|W|TOKEN
    Token,
    /// The client id, signed with a device credential
    Device,
    /// A name, and the secret itself as the password
    Custom,
    /// A name, and the signed client id as the password
    CustomSigned,
}

#[derive(Debug, clap::Args)]
struct Status {
    /// Whose connections are asked for
    #[arg(required = true)]
    client_ids: Vec<String>,
    /// The instance id
    #[arg(long, value_name = "ID")]
    instance: String,
    /// Milliseconds since the epoch; now unless given
    #[arg(long, value_name = "MS")]
    timestamp: Option<u64>,
    #[command(flatten)]
    signer: Signer,
}

#[derive(Debug, Subcommand)]
enum Token {
    /// Apply for a token
    Apply {
        /// What it allows: R, W or R,W
        #[arg(long, value_name = "ACTIONS", default_value = "R,W", value_parser = ["R", "W", "R,W"])]
        actions: String,
        /// A topic filter that it is for; may be given up to 100 times
        #[arg(long = "resource", value_name = "FILTER", required = true)]
        resources: Vec<String>,
        /// Milliseconds since the epoch; an hour from now unless given
        #[arg(long, value_name = "MS")]
        expire_time: Option<u64>,
        /// The instance id
        #[arg(long, value_name = "ID")]
        instance: String,
        #[command(flatten)]
        signer: Signer,
    },
    /// Revoke a token
    Revoke {
        #[command(flatten)]
        signer: Signer,
        #[command(flatten)]
        given: GivenToken,
    },
    /// Ask whether a token is valid
    Query {
        #[command(flatten)]
        signer: Signer,
        #[command(flatten)]
        given: GivenToken,
    },
}

/// Who signs, and with what.
#[derive(Debug, clap::Args)]
struct Signer {
    /// The id of the access key, or of the device credential
    #[arg(long, value_name = "ID")]
    access_key: Option<String>,
    /// The environment variable that holds the secret
    #[arg(long, value_name = "NAME", conflicts_with = "secret_file")]
    secret_env: Option<String>,
    /// The file that holds the secret
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
}

/// A token, which is as good as a secret.
#[derive(Debug, clap::Args)]
struct GivenToken {
    /// The environment variable that holds the token
    #[arg(long, value_name = "NAME", conflicts_with = "token_file")]
    token_env: Option<String>,
    /// The file that holds the token
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

/// Input that is rejected, in words.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Rejected(String);

impl Arguments {
    pub(super) fn run(&self, settings: &Path) -> anyhow::Result<End> {
        let lines = match &self.command {
            Command::Login(login) => login.lines(settings),
            Command::Status(status) => status.lines(settings),
            Command::Token(token) => token.lines(settings),
            Command::Text { text, signer } => signer.secret(settings).map(|secret| {
                let mut lines = Columns::default();
                lines.row(["signature", &sign(secret.reveal(), text)]);
                lines
            }),
        };
        match lines {
            Ok(lines) => print(&lines.render("")).map(|()| End::Fine),
            Err(error) if error.is::<Rejected>() => {
                print_error(&error);
                Ok(End::Rejected)
            }
            Err(error) => Err(error),
        }
    }
}

impl Login {
    fn lines(&self, settings: &Path) -> anyhow::Result<Columns> {
        let (username, password) = match (&self.broker, self.mode) {
            (Some(name), _) => self.of_broker(name, settings)?,
            (None, Some(mode)) => self.by_mode(mode, settings)?,
            (None, None) => bail!("give `--mode`, or `--broker`"),
        };
        let mut lines = Columns::default();
        lines.row(["client id", &self.client_id]);
        lines.row(["user name", &username]);
        lines.row(["password", password.reveal()]);
        Ok(lines)
    }

    fn by_mode(&self, mode: Mode, settings: &Path) -> anyhow::Result<(String, Secret)> {
        let needed =
            |value: &Option<String>, option: &str| value.clone().with_context(|| format!("this mode needs `{option}`"));
        let access_key = || needed(&self.signer.access_key, "--access-key");
        let instance = || needed(&self.instance, "--instance");
        let login = match mode {
            Mode::Token => {
                let pairs = self.given.read()?;
                let tokens = Tokens::parse(pairs.reveal()).map_err(|fault| Rejected(fault.to_owned()))?;
                let username = Username::Token { access_key: &access_key()?, instance: &instance()? }.to_string();
                return Ok((username, tokens.password()));
            }
            Mode::Signature => {
                let secret_key = self.signer.secret(settings)?;
                LmqLogin::Signature { access_key: access_key()?, secret_key, instance: instance()? }
            }
            Mode::Device => {
                let secret_key = self.signer.secret(settings)?;
                LmqLogin::Device { access_key: access_key()?, secret_key, instance: instance()? }
            }
            Mode::Custom | Mode::CustomSigned => LmqLogin::Custom {
                username: needed(&self.username, "--username")?,
                secret_key: self.signer.secret(settings)?,
                signed: mode == Mode::CustomSigned,
            },
        };
        let password = credentials::password(&login, &self.client_id).context("this mode has no password")?;
        Ok((credentials::username(&login), password))
    }

    fn of_broker(&self, name: &str, settings: &Path) -> anyhow::Result<(String, Secret)> {
        let opened = open(settings)?;
        let settings = opened.settings().ok_or_else(|| Rejected(faulty()))?;
        let broker =
            settings.mqtt.get(name).ok_or_else(|| Rejected(format!("the settings have no `[mqtt.{name}]`")))?;
        let asked = runtime()?.block_on(mqtt::probe::credentials(broker, &self.client_id));
        let (username, password) = asked.map_err(|error| Rejected(error.to_string()))?;
        let none = || Secret::new("");
        Ok((username.unwrap_or_default(), password.unwrap_or_else(none)))
    }
}

impl Status {
    fn lines(&self, settings: &Path) -> anyhow::Result<Columns> {
        let secret = self.signer.secret(settings)?;
        let access_key = self.signer.access_key.as_deref().context("give `--access-key`")?;
        let timestamp = self.timestamp.unwrap_or_else(epoch_millis).to_string();
        let kind = if self.client_ids.len() == 1 { Kind::Client } else { Kind::Clients };
        let mut signed = vec![(ACCESS_KEY, access_key), (INSTANCE, &self.instance), ("timestamp", &timestamp)];
        signed.extend(self.client_ids.iter().map(|client_id| ("resource", client_id.as_str())));
        Ok(request("GET", kind.path(), &secret, &signed, &[]))
    }
}

impl Token {
    fn lines(&self, settings: &Path) -> anyhow::Result<Columns> {
        match self {
            Self::Apply { actions, resources, expire_time, instance, signer } => {
                let secret = signer.secret(settings)?;
                let access_key = signer.access_key.as_deref().context("give `--access-key`")?;
                let expire_time = expire_time.unwrap_or_else(|| epoch_millis() + 3_600_000).to_string();
                let mut sorted: Vec<&str> = resources.iter().map(String::as_str).collect();
                sorted.sort_unstable();
                let resources = sorted.join(",");
                let signed = [
                    ("actions", actions.as_str()),
                    ("resources", &resources),
                    ("expireTime", &expire_time),
                    ("serviceName", "mq"),
                    (INSTANCE, instance),
                ];
                Ok(request(
                    "POST",
                    Call::Apply.path(),
                    &secret,
                    &signed,
                    &[("proxyType", "MQTT"), (ACCESS_KEY, access_key)],
                ))
            }
            Self::Revoke { signer, given } => of_token(Call::Revoke, signer, given, settings),
            Self::Query { signer, given } => of_token(Call::Query, signer, given, settings),
        }
    }
}

fn of_token(call: Call, signer: &Signer, given: &GivenToken, settings: &Path) -> anyhow::Result<Columns> {
    let (secret, token) = (signer.secret(settings)?, given.read()?);
    let access_key = signer.access_key.as_deref().context("give `--access-key`")?;
    Ok(request("POST", call.path(), &secret, &[("token", token.reveal())], &[(ACCESS_KEY, access_key)]))
}

/// A request as a caller sends it. `also` is sent and not signed.
fn request(method: &str, path: &str, secret: &Secret, signed: &[(&str, &str)], also: &[(&str, &str)]) -> Columns {
    let text = canonical(signed.iter().copied());
    let signature = sign(secret.reveal(), &text);
    let sent = parameters::join(signed.iter().chain(also).copied().chain([(SIGNATURE, signature.as_str())]));
    let mut lines = Columns::default();
    lines.row(["string to sign", &text]);
    lines.row(["signature", &signature]);
    if method == "GET" {
        lines.row(["request", &format!("GET {path}?{sent}")]);
    } else {
        lines.row(["request", &format!("{method} {path}")]);
        lines.row(["form", &sent]);
    }
    lines
}

impl Signer {
    fn secret(&self, settings: &Path) -> anyhow::Result<Secret> {
        if let Some(secret) = read_secret("secret", self.secret_env.as_deref(), self.secret_file.as_deref())? {
            return Ok(secret);
        }
        let Some(id) = &self.access_key else {
            bail!("give `--secret-env` or `--secret-file`, or an `--access-key` that the settings know")
        };
        let opened = open(settings)?;
        let settings = opened.settings().ok_or_else(|| Rejected(faulty()))?;
        let key = settings.credentials.access_keys.get(id).ok_or_else(|| {
            Rejected(format!(
                "there is no `[[access_key]]` with the id `{id}` in the credentials file; give `--secret-env` or `--secret-file`"
            ))
        })?;
        Ok(key.secret.clone())
    }
}

impl GivenToken {
    fn read(&self) -> anyhow::Result<Secret> {
        read_secret("token", self.token_env.as_deref(), self.token_file.as_deref())?
            .context("give `--token-env` or `--token-file`")
    }
}

fn faulty() -> String {
    "the settings have errors; `rocketbridge check` shows them".to_owned()
}

/// The text of a variable or file, without the line break at its end.
fn read_secret(what: &str, env: Option<&str>, file: Option<&Path>) -> anyhow::Result<Option<Secret>> {
    let text = match (env, file) {
        (Some(name), _) => std::env::var(name)
            .map_err(|_| Rejected(format!("the environment variable `{name}` is not set, or is no text")))?,
        (None, Some(path)) => {
            let unreadable = |error: std::io::Error| Rejected(format!("cannot read `{}`: {error}", path.display()));
            let mut text = String::new();
            let file = std::fs::File::open(path).map_err(unreadable)?;
            file.take(MAX_TOKENS as u64).read_to_string(&mut text).map_err(unreadable)?;
            text
        }
        (None, None) => return Ok(None),
    };
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() {
        return Err(Rejected(format!("the {what} is empty")).into());
    }
    Ok(Some(Secret::new(text)))
}
