//! The tokens of one session (LMQ-1.2): read from their source, asked for again before they expire, and uploaded to
//! the endpoint while the session runs (LMQ-9.5).
//!
//! A source is never asked without bounds: what it says, how long it takes and how often it is asked are limited. A
//! token must never be logged.

#[cfg(test)]
mod tests;

use std::{collections::VecDeque, process::Stdio, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::Command,
    task::JoinSet,
    time::{Instant, sleep_until, timeout},
};
use tracing::{info, warn};

use super::{
    packet::{Ack, AckKind, Incoming, OWN_ID, Publish},
    session::Link,
};
use crate::{
    lmq::{
        credentials::{MAX_TOKENS, Tokens},
        token::system_topics::{Told, UPLOAD},
    },
    message::{Message, Topic},
    settings::{LmqLogin, MqttBroker, Secret, TokenSource},
};

/// How long a program may take.
const TIME_LIMIT: Duration = Duration::from_secs(30);
/// Between two questions to a source, at least: an endpoint may call tokens invalid as often as it is logged in to.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
/// And at most, while the source fails or the endpoint lets nobody in.
const LAST_PAUSE: Duration = Duration::from_secs(60);

/// Keeps the tokens of one session.
pub(super) struct Keeper {
    broker: String,
    client_id: String,
    source: TokenSource,
    refresh: Duration,
    tokens: Option<Tokens>,
    worth: Worth,
    /// When to ask next.
    ask_at: Instant,
    /// Not before this time, whatever happens.
    least: Instant,
    /// Failures and refusals since the last login that succeeded.
    failures: u32,
    asking: JoinSet<Result<Tokens, String>>,
    /// Payloads to upload, the first perhaps under way.
    uploads: VecDeque<Secret>,
    uploading: bool,
}

/// What the tokens in hand are good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Worth {
    /// The next login.
    Login,
    /// The next login, if no others can be had: the endpoint closed, as it may for any other reason.
    Doubt,
    /// Nothing: others must be asked for first.
    Nothing,
}

/// What [`Keeper::heard`] makes of a packet.
pub(super) enum Heard {
    /// It is for the duty, as it came or as something that it only has to acknowledge.
    Pass(Incoming),
    /// It was for the keeper.
    Taken,
}

impl Keeper {
    /// A keeper for one session, where its broker's login is by token.
    pub(super) fn new(broker: &MqttBroker, client_id: &str) -> Option<Self> {
        let Some(LmqLogin::Token { tokens: source, refresh, .. }) = &broker.login else { return None };
        Some(Self {
            broker: broker.name.clone(),
            client_id: client_id.to_owned(),
            source: source.clone(),
            refresh: *refresh,
            tokens: None,
            worth: Worth::Nothing,
            ask_at: Instant::now(),
            least: Instant::now(),
            failures: 0,
            asking: JoinSet::new(),
            uploads: VecDeque::new(),
            uploading: false,
        })
    }

    /// The password of the next login. Asks the source where that is due; may be dropped and called again.
    pub(super) async fn password(&mut self) -> Result<Secret, String> {
        if self.worth != Worth::Login {
            match self.asked().await {
                Ok(tokens) => {
                    self.tokens = Some(tokens);
                    self.worth = Worth::Login;
                }
                Err(problem) if self.worth == Worth::Nothing => return Err(problem),
                Err(problem) => {
                    warn!(broker = %self.broker, client_id = %self.client_id, problem, "no new tokens; logs in with the old ones");
                    self.worth = Worth::Login;
                }
            }
        }
        self.uploads.clear();
        self.uploading = false;
        self.tokens.as_ref().map(Tokens::password).ok_or_else(|| "there is no token".to_owned())
    }

    /// The endpoint took the tokens.
    pub(super) fn accepted(&mut self) {
        self.failures = 0;
        self.ask_at = Instant::now() + self.refresh;
    }

    /// The endpoint does not take these tokens any more.
    pub(super) fn refused(&mut self) {
        self.worth = Worth::Nothing;
        self.failed();
    }

    /// The endpoint closed instead of answering: some do where they refuse, all do where they stop.
    pub(super) fn doubted(&mut self) {
        if self.worth == Worth::Login {
            self.worth = Worth::Doubt;
        }
        self.failed();
    }

    /// Waits until there is something to upload. May be dropped at any time without loss.
    pub(super) async fn next(&mut self) {
        loop {
            match self.asked().await {
                Ok(fresh) => {
                    self.worth = Worth::Login;
                    self.ask_at = Instant::now() + self.refresh;
                    let more = fresh.uploads(self.tokens.as_ref());
                    self.tokens = Some(fresh);
                    if !more.is_empty() {
                        // Of what still waits, an older token of the same type is no use, and goes first all the same.
                        self.uploads.extend(more);
                        return;
                    }
                }
                Err(problem) => {
                    warn!(broker = %self.broker, client_id = %self.client_id, problem, "no new tokens; asks again");
                }
            }
        }
    }

    /// Writes the next upload, if none is under way.
    pub(super) fn write(&mut self, link: &mut Link) {
        if self.uploading {
            return;
        }
        let Some(payload) = self.uploads.front() else { return };
        let message = Message::new(Topic::from_mqtt(UPLOAD), payload.reveal().to_owned());
        let prepared = link.codec.prepare(message).map_err(|refusal| refusal.to_string());
        match prepared.and_then(|mut publish| publish.write(&mut link.out, OWN_ID, false, None)) {
            Ok(()) => self.uploading = true,
            Err(problem) => {
                warn!(broker = %self.broker, client_id = %self.client_id, problem, "a token cannot be uploaded");
                self.uploads.pop_front();
            }
        }
    }

    /// Takes what the endpoint says of tokens, out of all that it says. A notice is passed on to be acknowledged, in
    /// order with the publishes around it.
    pub(super) fn heard(&mut self, packet: Incoming, link: &mut Link) -> Heard {
        match packet {
            Incoming::Publish(publish) => {
                let Some(notice) = Told::read(publish.message.topic.as_str(), &publish.message.payload) else {
                    return Heard::Pass(Incoming::Publish(publish));
                };
                self.noticed(notice);
                let Publish { packet_id, dup, message, .. } = *publish;
                Heard::Pass(Incoming::Aside { qos: message.qos, packet_id, dup })
            }
            Incoming::Ack(Ack { kind: AckKind::PubAck, packet_id: OWN_ID, reason }) if self.uploading => {
                self.uploading = false;
                self.uploads.pop_front();
                if reason.is_failure() {
                    // With the new ones it can log in once the old ones have ended.
                    warn!(broker = %self.broker, client_id = %self.client_id, %reason, "a new token is not taken");
                } else if self.uploads.is_empty() {
                    info!(broker = %self.broker, client_id = %self.client_id, "goes on with new tokens");
                }
                self.write(link);
                Heard::Taken
            }
            packet => Heard::Pass(packet),
        }
    }

    fn noticed(&mut self, notice: Told) {
        let meaning = notice.meaning();
        match notice {
            Told::Expires => info!(broker = %self.broker, client_id = %self.client_id, "{meaning}"),
            Told::Invalid(_) => {
                warn!(broker = %self.broker, client_id = %self.client_id, "the broker says: {meaning}");
                self.worth = Worth::Nothing;
            }
        }
        self.ask_at = Instant::now() + self.pause();
    }

    /// Asks the source once it is time to. May be dropped and called again: the question goes on.
    async fn asked(&mut self) -> Result<Tokens, String> {
        if self.asking.is_empty() {
            sleep_until(self.ask_at.max(self.least)).await;
            self.least = Instant::now() + FIRST_PAUSE;
            let (source, client_id) = (self.source.clone(), self.client_id.clone());
            self.asking.spawn(async move { ask(&source, &client_id).await });
        }
        let answer = match self.asking.join_next().await {
            Some(Ok(answer)) => answer,
            Some(Err(_)) | None => Err("the question for tokens broke off".to_owned()),
        };
        if answer.is_err() {
            self.failed();
        }
        answer
    }

    fn failed(&mut self) {
        self.failures += 1;
        self.ask_at = Instant::now() + self.pause();
    }

    fn pause(&self) -> Duration {
        match self.failures {
            0 => Duration::ZERO,
            failures => FIRST_PAUSE.saturating_mul(1 << (failures - 1).min(10)).min(LAST_PAUSE),
        }
    }
}

/// Asks a source; the error names it, and nothing that it said.
async fn ask(source: &TokenSource, client_id: &str) -> Result<Tokens, String> {
    match source {
        TokenSource::File(path) => {
            let shown = path.display();
            let file = tokio::fs::File::open(path).await.map_err(|error| format!("cannot read {shown}: {error}"))?;
            let text = read(file).await.map_err(|error| format!("cannot read {shown}: {error}"))?;
            Tokens::parse(&text).map_err(|fault| format!("{shown}: {fault}"))
        }
        TokenSource::Command { program, arguments } => {
            let told = timeout(TIME_LIMIT, run(program, arguments, client_id)).await;
            let told = told.unwrap_or_else(|_| Err(format!("gave no tokens within {TIME_LIMIT:?}")));
            told.and_then(|text| Tokens::parse(&text).map_err(|fault| format!("its output: {fault}")))
                .map_err(|problem| format!("`{program}`: {problem}"))
        }
    }
}

/// Runs a program and gives what it prints. It is told which client the tokens are for. What it says on its standard
/// error output is not shown: it may hold a secret.
async fn run(program: &str, arguments: &[Secret], client_id: &str) -> Result<String, String> {
    let mut command = Command::new(program);
    command.args(arguments.iter().map(Secret::reveal)).env("ROCKETBRIDGE_CLIENT_ID", client_id);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
    let mut child = command.spawn().map_err(|error| format!("cannot be started: {error}"))?;
    let output = child.stdout.take().ok_or("has no output")?;
    let text = read(output).await.map_err(|error| error.to_string())?;
    if text.len() > MAX_TOKENS {
        return Ok(text);
    }
    let status = child.wait().await.map_err(|error| error.to_string())?;
    if status.success() { Ok(text) } else { Err(format!("ended with {status}; run it by hand to see why")) }
}

/// All there is, up to a little more than is taken.
async fn read(from: impl AsyncRead + Unpin) -> std::io::Result<String> {
    let mut text = String::new();
    from.take(MAX_TOKENS as u64 + 1).read_to_string(&mut text).await?;
    Ok(text)
}
