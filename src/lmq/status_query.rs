//! The signed status query: what is asked, by whom, and whether it may be answered. LMQ-8.
//!
//! Pure: parameters and the time in, a question or a refusal out. It must never tell a caller without a valid
//! signature which access keys, instances or groups there are. So it looks, in this order, at
//!
//! 1. the parameters alone: one missing, unknown, repeated or not what it should be (code 1);
//! 2. access key and signature together (code 2);
//! 3. the timestamp (code 4);
//! 4. what the access key may ask for: the instance, then each group (code 3).

pub mod answer;

use super::{
    notice::group_and_device,
    parameters::{ACCESS_KEY, INSTANCE, Parameters, SIGNATURE},
    signature,
};
use crate::settings::{Credential, Credentials};

/// LMQ-8.1: how far a timestamp may be from now, either way, in milliseconds.
const TIMESTAMP_WINDOW: u64 = 5 * 60 * 1000;
/// LMQ-8.4: client ids of a batch.
const BATCH_MAX: usize = 10;
/// Clients of a page, and where no limit is given.
const PAGE_MAX: usize = 1000;
const PAGE: usize = 100;

const RESOURCE: &str = "resource";
const TIMESTAMP: &str = "timestamp";
const AFTER: &str = "after";
const LIMIT: &str = "limit";

/// The kinds of questions, each with a path of its own. The contract names the first; the others are named after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The connections of one client.
    Client,
    /// The connections of up to 10 clients: `resource` is given for each.
    Clients,
    /// How many clients of a group are online.
    Group,
    /// Which clients of a group are online, a page at a time.
    GroupClients,
    /// The changes of a group's clients as they happen.
    GroupChanges,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 5] = [Self::Client, Self::Clients, Self::Group, Self::GroupClients, Self::GroupChanges];

    /// The path of its URL.
    pub fn path(self) -> &'static str {
        match self {
            Self::Client => "/route/clientId/get",
            Self::Clients => "/route/clientId/batchGet",
            Self::Group => "/route/groupId/get",
            Self::GroupClients => "/route/groupId/clients",
            Self::GroupChanges => "/route/groupId/changes",
        }
    }
}

/// A question that may be answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question<'a> {
    /// The connections of a client.
    Client(&'a str),
    /// The connections of each of these clients.
    Clients(Vec<&'a str>),
    /// How many clients of a group are online.
    Group(&'a str),
    /// Which clients of a group are online: those after a client id, at most `limit`.
    GroupClients {
        /// The group.
        group: &'a str,
        /// The last client id of the page before; empty for the first page.
        after: &'a str,
        /// 1 to 1,000.
        limit: usize,
    },
    /// The changes of a group's clients.
    GroupChanges(&'a str),
}

/// Why there is no answer, in words for the caller.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The URL is none of those that are answered, and why.
    #[error("{0}")]
    Url(&'static str),
    /// A parameter is missing.
    #[error("`{0}` is missing")]
    Missing(&'static str),
    /// A parameter cannot be used.
    #[error("`{name}` {why}")]
    Parameter {
        /// Its name.
        name: String,
        /// Why not.
        why: &'static str,
    },
    /// No such access key, or not its signature.
    #[error("the signature is wrong, or the access key is unknown")]
    Signature,
    /// The timestamp is too old, or too far ahead.
    #[error("`timestamp` is more than 5 minutes from now")]
    Timestamp,
    /// The access key belongs to another instance.
    #[error("`instanceId` is not the instance of this access key")]
    Instance,
    /// The access key does not have the group.
    #[error("the access key may not ask for the group of `{0}`")]
    Group(String),
    /// As many feeds are open as there may be.
    #[error("too many feeds are open")]
    Busy,
}

impl Refusal {
    /// LMQ-8.3: the answer's `code`, and 5 for what the contract has no code for.
    pub fn code(&self) -> u8 {
        match self {
            Self::Url(_) | Self::Missing(_) | Self::Parameter { .. } => 1,
            Self::Signature => 2,
            Self::Instance | Self::Group(_) => 3,
            Self::Timestamp => 4,
            Self::Busy => 5,
        }
    }

    /// LMQ-8.2: the HTTP status. No source says which comes with code 4: a refusal like the others.
    pub fn http_status(&self) -> u16 {
        match self.code() {
            1 => 400,
            5 => 503,
            _ => 403,
        }
    }
}

/// Reads a question from the parameters of its URL, and checks that it may be answered: `instance` is the one that callers
/// must name, where they must; `now` is in milliseconds since the epoch.
pub fn check<'a>(
    kind: Kind,
    parameters: &'a [(String, String)],
    instance: Option<&str>,
    credentials: &Credentials,
    now: u64,
) -> Result<Question<'a>, Refusal> {
    let parameters = Query(Parameters(parameters));
    let known = [ACCESS_KEY, INSTANCE, RESOURCE, TIMESTAMP, SIGNATURE];
    parameters.expect(&known, if kind == Kind::GroupClients { &[AFTER, LIMIT] } else { &[] })?;
    let timestamp = parameters.number(TIMESTAMP, "must be in milliseconds since the epoch")?;
    let question = parameters.question(kind)?;
    let access_key = parameters.signer(credentials).ok_or(Refusal::Signature)?;
    if timestamp.abs_diff(now) > TIMESTAMP_WINDOW {
        return Err(Refusal::Timestamp);
    }
    if instance.is_some_and(|instance| instance != parameters.0.first(INSTANCE)) {
        return Err(Refusal::Instance);
    }
    match parameters.resources().find(|resource| !may_ask(access_key, kind, resource)) {
        Some(resource) => Err(Refusal::Group(resource.to_owned())),
        None => Ok(question),
    }
}

/// Whether a client id is in one of the access key's groups, or is one of them where a group is asked for.
fn may_ask(access_key: &Credential, kind: Kind, resource: &str) -> bool {
    let group = match kind {
        Kind::Client | Kind::Clients => group_and_device(resource).map(|(group, _)| group),
        Kind::Group | Kind::GroupClients | Kind::GroupChanges => Some(resource),
    };
    group.is_some_and(|group| access_key.clients.groups.contains(group))
}

/// The parameters of a URL, in its order.
struct Query<'a>(Parameters<'a>);

impl<'a> Query<'a> {
    fn resources(&self) -> impl Iterator<Item = &'a str> {
        self.0.all(RESOURCE)
    }

    /// Holds the parameters to those that are needed and those that may be given beside them.
    fn expect(&self, needed: &[&'static str], allowed: &[&str]) -> Result<(), Refusal> {
        let wrong = |name: &str, why| Err(Refusal::Parameter { name: name.to_owned(), why });
        if let Some(name) = needed.iter().find(|name| self.0.lacks(name)) {
            return Err(Refusal::Missing(name));
        }
        for (name, value) in self.0.0 {
            let name = name.as_str();
            match needed.iter().chain(allowed).find(|known| **known == name) {
                None => return wrong(name, "is not known here"),
                Some(_) if name != RESOURCE && self.0.all(name).count() > 1 => return wrong(name, "is given twice"),
                Some(&AFTER) => {}
                Some(_) if value.is_empty() => return wrong(name, "is empty"),
                Some(_) => {}
            }
        }
        Ok(())
    }

    fn number(&self, name: &str, why: &'static str) -> Result<u64, Refusal> {
        self.0.first(name).parse().map_err(|_| Refusal::Parameter { name: name.to_owned(), why })
    }

    fn question(&self, kind: Kind) -> Result<Question<'a>, Refusal> {
        let resources: Vec<&str> = self.resources().collect();
        let (most, why) = match kind {
            Kind::Clients => (BATCH_MAX, "is given more than 10 times"),
            _ => (1, "is given twice"),
        };
        if resources.len() > most {
            return Err(Refusal::Parameter { name: RESOURCE.to_owned(), why });
        }
        let resource = *resources.first().ok_or(Refusal::Missing(RESOURCE))?;
        Ok(match kind {
            Kind::Client => Question::Client(resource),
            Kind::Clients => Question::Clients(resources),
            Kind::Group => Question::Group(resource),
            Kind::GroupClients => {
                Question::GroupClients { group: resource, after: self.0.first(AFTER), limit: self.limit()? }
            }
            Kind::GroupChanges => Question::GroupChanges(resource),
        })
    }

    fn limit(&self) -> Result<usize, Refusal> {
        let why = "must be a number from 1 to 1000";
        match self.0.first(LIMIT) {
            "" => Ok(PAGE),
            text => match text.parse() {
                Ok(limit) if (1..=PAGE_MAX).contains(&limit) => Ok(limit),
                _ => Err(Refusal::Parameter { name: LIMIT.to_owned(), why }),
            },
        }
    }

    /// The access key, if the signature is its own. One that does not exist takes as long as one that does.
    fn signer<'b>(&self, credentials: &'b Credentials) -> Option<&'b Credential> {
        let access_key = credentials.access_keys.get(self.0.first(ACCESS_KEY));
        let secret = access_key.map_or("", |key| key.secret.reveal());
        let signed = self.0.0.iter().filter(|(name, _)| name != SIGNATURE);
        let text = signature::canonical(signed.map(|(name, value)| (name.as_str(), value.as_str())));
        let valid = signature::is_valid(secret, &text, &self.0.signature());
        access_key.filter(|_| valid)
    }
}

#[cfg(test)]
mod tests;
