//! Answers brokers that ask who may log in, and what those who are in may do.
//!
//! The decision is `lmq::login`'s; this knows the credentials of the moment and the tokens, counts, and logs refusals at
//! a bounded rate. What a client learns is only that it was refused. It must never log a password or a token, and
//! waits for nothing: a broker holds up a client until it is answered.

#[cfg(test)]
pub(crate) mod fixtures;
pub mod form;
mod quota;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};

use tracing::warn;

use self::{
    form::{Decision, Question},
    quota::Quota,
};
use crate::{
    lmq::{
        login::{Accepted, Action, Login, Refusal, Rules},
        token::{Invalid, system_topics::UPLOAD},
    },
    presence::adapter::Adapter,
    settings::{CurrentCredentials, Lmq, Settings},
    telemetry::Telemetry,
    tokens::{
        Tokens,
        sessions::{Client, Held},
        upload::Upload,
    },
};

/// Characters of a client id and of a reason that are logged.
const LOGGED: usize = 160;

/// Why a question was not even looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// The shared secret is missing or wrong.
    #[error("`hooks_secret` is missing in the broker's request, or wrong")]
    Secret,
    /// It cannot be read.
    #[error("the broker's request cannot be read: see docs/login.md for what it must send")]
    Unreadable,
    /// It is a form of a broker that does not encode forms.
    #[error(
        "NanoMQ does not encode forms: give `auth_req` and `acl_req` `headers.content-type = \"application/json\"`"
    )]
    Form,
    /// The path names a broker that the settings do not.
    #[error("the path that the broker asks names no broker of the settings: /login/FORM/BROKER/user")]
    Broker,
}

impl Rejected {
    fn kind(self) -> &'static str {
        match self {
            Self::Secret => "hooks_secret",
            Self::Unreadable | Self::Form => "unreadable",
            Self::Broker => "broker",
        }
    }
}

/// Who asks.
#[derive(Debug, Clone, Copy)]
pub struct Asker<'a> {
    /// How it speaks.
    pub adapter: Adapter,
    /// What the settings call it.
    pub broker: &'a str,
}

/// What logins are decided by.
#[derive(Debug)]
pub struct Logins {
    lmq: Lmq,
    brokers: BTreeSet<String>,
    credentials: CurrentCredentials,
    tokens: Option<Arc<Tokens>>,
    telemetry: Telemetry,
    now: fn() -> u64,
    log: Mutex<Quota>,
}

impl Logins {
    /// `tokens` are those of the token mode, where it is served; `now` is in milliseconds since the epoch.
    pub fn new(
        settings: &Settings,
        credentials: CurrentCredentials,
        tokens: Option<Arc<Tokens>>,
        telemetry: Telemetry,
        now: fn() -> u64,
    ) -> Self {
        let (lmq, brokers) = (settings.lmq.clone(), settings.mqtt.keys().cloned().collect());
        Self { lmq, brokers, credentials, tokens, telemetry, now, log: Mutex::default() }
    }

    /// Decides.
    pub fn decide(&self, asker: Asker<'_>, question: &Question<'_>) -> Decision {
        if !self.brokers.contains(asker.broker) {
            return self.reject(asker, Rejected::Broker);
        }
        let credentials = self.credentials.borrow().clone();
        let rules = Rules { lmq: &self.lmq, credentials: &credentials };
        match *question {
            Question::Superuser => Decision::Refused,
            Question::Login { client_id, username, password } => {
                let login = Login { client_id, username, password };
                match self.log_in(asker, rules, login) {
                    Ok(accepted) => {
                        self.telemetry.login(asker.adapter.name(), accepted.mode.name());
                        Decision::Allowed { expires: accepted.expires() }
                    }
                    Err(refusal) => {
                        self.telemetry.refused_login(asker.adapter.name(), refusal.kind());
                        self.say(asker, "a login was refused", client_id, &refusal.to_string());
                        Decision::Refused
                    }
                }
            }
            Question::Access { client_id, username, password, ref wants } => {
                let login = Login { client_id, username, password };
                let may = self.known(asker, rules, login).and_then(|accepted| {
                    let strict = self.lmq.strict_client_ids;
                    // Nobody's P2P topics are the client's own, where it may be another.
                    let who = if form::tells_client_ids(asker.adapter) { client_id } else { "" };
                    wants.iter().try_for_each(|(action, topic)| accepted.may(who, *action, topic, strict))
                });
                match may {
                    Ok(()) => Decision::Allowed { expires: None },
                    // Its broker may tell us of an upload before it asks for it: who is cut for that is first told why.
                    Err(Refusal::Token(why)) if why != Invalid::Unknown && is_upload(wants) => {
                        Decision::Allowed { expires: None }
                    }
                    Err(refusal) => {
                        self.telemetry.refused_access(asker.adapter.name(), refusal.kind());
                        self.say(asker, "a client was not allowed to do something", client_id, &refusal.to_string());
                        Decision::Refused
                    }
                }
            }
        }
    }

    /// Takes a token that a client sends for the one that ends. A bad one has the client told and cut.
    pub fn renew(&self, asker: Asker<'_>, upload: &Upload) -> Result<(), Rejected> {
        if !self.brokers.contains(asker.broker) {
            return Err(Rejected::Broker);
        }
        let Some(tokens) = &self.tokens else { return Ok(()) };
        let Upload { client_id, token, kind } = upload;
        if let Err(refusal) = tokens.renew(&client(asker, client_id), token, *kind, (self.now)()) {
            self.telemetry.refused_login(asker.adapter.name(), Refusal::Token(refusal).kind());
            self.say(asker, "a new token was refused", client_id, &refusal.to_string());
        }
        Ok(())
    }

    /// Refuses what was not looked at.
    pub fn reject(&self, asker: Asker<'_>, why: Rejected) -> Decision {
        self.telemetry.refused_login(asker.adapter.name(), why.kind());
        self.say(asker, "a broker's question was refused", "", &why.to_string());
        Decision::Refused
    }

    fn log_in<'a>(&self, asker: Asker<'_>, rules: Rules<'a>, login: Login<'_>) -> Result<Accepted<'a>, Refusal> {
        let now = (self.now)();
        let grant = |token: &str| self.tokens.as_ref().ok_or(Invalid::Forged)?.check(token, now);
        let accepted = rules.check(login, grant)?;
        let Some(tokens) = &self.tokens else { return Ok(accepted) };
        let client = client(asker, login.client_id);
        match &accepted.tokens {
            Some(held) => {
                let held: Vec<Held> =
                    held.iter().map(|(kind, grant)| Held { kind: *kind, grant: grant.clone() }).collect();
                tokens.logged_in(&client, asker.adapter, &held, now);
            }
            // Its tokens of an earlier connection must not end this one.
            None => tokens.logged_out(&client),
        }
        Ok(accepted)
    }

    /// What a client may do that was let in. Only which tokens it has is remembered: all else is decided anew from its user
    /// name, so that a restart changes nothing and credentials that change count at once. A client whose tokens are not
    /// known here must log in anew, unless its broker says the password at each question.
    fn known<'a>(&self, asker: Asker<'_>, rules: Rules<'a>, login: Login<'_>) -> Result<Accepted<'a>, Refusal> {
        let held = || {
            let tokens = self.tokens.as_ref().ok_or(Invalid::Unknown)?;
            let held = tokens.held(&client(asker, login.client_id), (self.now)())?;
            Ok(held.iter().map(|held| (held.kind, held.grant.clone())).collect())
        };
        match rules.known(login.client_id, login.username, held) {
            Err(Refusal::Token(Invalid::Unknown)) if !login.password.is_empty() => self.log_in(asker, rules, login),
            known => known,
        }
    }

    fn say(&self, asker: Asker<'_>, what: &str, client_id: &str, reason: &str) {
        let quota = self.log.lock().unwrap_or_else(PoisonError::into_inner).take((self.now)());
        let Some(passed_over) = quota else { return };
        let (broker, form) = (shown(asker.broker), asker.adapter.name());
        let (client_id, reason) = (shown(client_id), shown(reason));
        if passed_over > 0 {
            warn!(passed_over, "refusals were not logged: there were too many");
        }
        warn!(%broker, form, %client_id, %reason, "{what}");
    }
}

/// Whether nothing is asked for but to send a new token.
fn is_upload(wants: &[(Action, &str)]) -> bool {
    !wants.is_empty() && wants.iter().all(|want| *want == (Action::Publish, UPLOAD))
}

fn client(asker: Asker<'_>, client_id: &str) -> Client {
    Client { broker: asker.broker.into(), client_id: client_id.into() }
}

/// What a stranger wrote, as it may be in a log.
fn shown(text: &str) -> String {
    let cut: String = text.chars().take(LOGGED).collect();
    let more = if cut.len() < text.len() { "..." } else { "" };
    format!("{}{more}", cut.escape_debug())
}
