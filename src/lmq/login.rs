//! Logins on brokers of one's own (LMQ-1): who a client is by its user name and password, and what it may do then.
//!
//! Pure: what a broker asks and the time in, a decision or a refusal out. A refusal is for the log and the metrics; a
//! client must never learn from it which names there are, so what asks only passes on that there was one.

mod access;
mod password;
#[cfg(test)]
mod tests;
mod username;

use std::borrow::Cow;

use subtle::ConstantTimeEq as _;

pub use self::{
    access::{Action, is_own_p2p},
    password::{TokenKind, tokens},
    username::{Mode, Username},
};
use super::{notice::group_and_device, signature, topics};
use crate::settings::{Credential, Credentials, Lmq, Permission};

/// The longest user name and password that are looked at, in bytes.
pub const USERNAME_MAX: usize = 1024;
/// See [`USERNAME_MAX`]: tokens may be long, and there may be three.
pub const PASSWORD_MAX: usize = 16 << 10;

/// What a client sends to log in. It has no `Debug`: a password must not be shown.
#[derive(Clone, Copy)]
pub struct Login<'a> {
    /// The whole client id.
    pub client_id: &'a str,
    /// Empty where there is none.
    pub username: &'a str,
    /// Empty where there is none.
    pub password: &'a str,
}

/// What logins are checked against.
#[derive(Debug, Clone, Copy)]
pub struct Rules<'a> {
    /// Instance id and client id rule.
    pub lmq: &'a Lmq,
    /// Who may log in.
    pub credentials: &'a Credentials,
}

/// Why a client is not let in, or may not do something, in words for the operator. None holds a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The user name is of no mode.
    #[error("LMQ-1: the user name {0}")]
    Username(&'static str),
    /// The password is not as its mode has it.
    #[error("LMQ-1.2: the password {0}")]
    Password(&'static str),
    /// It names another instance.
    #[error("LMQ-1: `{0}` is not the instance here")]
    Instance(String),
    /// The client id is not as the contract has it.
    #[error("{0}")]
    ClientId(String),
    /// No access key, device credential or user of that id.
    #[error("{}: there is no {} `{id}`", mode.clause(), mode.words())]
    Unknown {
        /// How it wants to log in.
        mode: Mode,
        /// The id.
        id: String,
    },
    /// It is not signed with the secret, or not for this client id.
    #[error("{}: the password is not the signature of this client id by the {}", .0.clause(), .0.words())]
    Signature(Mode),
    /// The client id is none of the credential's.
    #[error("LMQ-2.1: the client id is in no group of the {} and none of its clients", .0.words())]
    Group(Mode),
    /// Something else than a topic name or a filter.
    #[error("LMQ-2.2: {0}")]
    Topic(&'static str),
    /// The topic is not permitted.
    #[error("LMQ-1.6: it has no permission to {action} `{topic}`")]
    Permission {
        /// What it wanted to do.
        action: Action,
        /// With which topic or filter.
        topic: String,
    },
    /// It would read what is sent to another client.
    #[error("LMQ-5.3: `{0}` would read what is sent to other clients alone")]
    PointToPoint(String),
}

impl Refusal {
    /// A word for metrics.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Username(_) => "username",
            Self::Password(_) => "password",
            Self::Instance(_) => "instance",
            Self::ClientId(_) => "client_id",
            Self::Unknown { .. } => "unknown",
            Self::Signature(_) => "signature",
            Self::Group(_) => "group",
            Self::Topic(_) => "topic",
            Self::Permission { .. } => "permission",
            Self::PointToPoint(_) => "p2p",
        }
    }
}

/// A client that was let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted<'a> {
    /// How it logged in.
    pub mode: Mode,
    /// What it may do.
    pub permission: Cow<'a, Permission>,
    /// Until when, in milliseconds since the epoch.
    pub expires: Option<u64>,
}

impl<'a> Rules<'a> {
    /// Checks a login.
    pub fn check(self, login: Login<'_>) -> Result<Accepted<'a>, Refusal> {
        let username = self.named(login.client_id, login.username)?;
        if login.password.len() > PASSWORD_MAX {
            return Err(Refusal::Password("is too long"));
        }
        let mode = username.mode();
        if mode == Mode::Token {
            return Err(Refusal::Username("asks for the token mode, which is not served here"));
        }
        let credential = self.credential(username);
        // One that does not exist takes as long as one that does.
        let secret = credential.map_or("", |credential| credential.secret.reveal());
        let signed = signature::is_valid(secret, login.client_id, login.password);
        let same: bool = secret.as_bytes().ct_eq(login.password.as_bytes()).into();
        let proven = signed || (mode == Mode::Custom && same);
        let credential = credential.ok_or_else(|| unknown(username))?;
        if !proven {
            return Err(Refusal::Signature(mode));
        }
        accepted(mode, credential, login.client_id)
    }

    /// What a client that was let in under a user name may do. Nothing but its broker's word says that it was, so it must
    /// never be asked by others. Nothing for a token mode's client, whose user name does not say it.
    pub fn known(self, client_id: &str, username: &str) -> Result<Accepted<'a>, Refusal> {
        let username = self.named(client_id, username)?;
        let credential = self.credential(username).ok_or_else(|| unknown(username))?;
        accepted(username.mode(), credential, client_id)
    }

    /// What a user name says, where it and the client id are as they should be.
    fn named<'n>(self, client_id: &str, username: &'n str) -> Result<Username<'n>, Refusal> {
        let username = Username::parse(username)?;
        if let (Some(here), Some(named)) = (self.lmq.instance.as_deref(), username.instance())
            && here != named
        {
            return Err(Refusal::Instance(named.to_owned()));
        }
        if self.lmq.strict_client_ids {
            check_client_id(client_id)?;
        } else if client_id.is_empty() {
            return Err(Refusal::ClientId("LMQ-2.1: there is no client id".to_owned()));
        }
        Ok(username)
    }

    fn credential(self, username: Username<'_>) -> Option<&'a Credential> {
        let Credentials { access_keys, devices, users } = self.credentials;
        match username {
            Username::Signature { access_key: id, .. } => access_keys.get(id),
            Username::Device { id, .. } => devices.get(id),
            Username::Custom(name) => users.get(name),
            Username::Token { .. } => None,
        }
    }
}

fn unknown(username: Username<'_>) -> Refusal {
    Refusal::Unknown { mode: username.mode(), id: username.id().to_owned() }
}

fn accepted<'a>(mode: Mode, credential: &'a Credential, client_id: &str) -> Result<Accepted<'a>, Refusal> {
    if !credential.clients.contain(client_id) {
        return Err(Refusal::Group(mode));
    }
    Ok(Accepted { mode, permission: Cow::Borrowed(&credential.permission), expires: None })
}

/// LMQ-2.1, to the letter.
fn check_client_id(client_id: &str) -> Result<(), Refusal> {
    topics::check_client_id(client_id).map_err(|refusal| Refusal::ClientId(refusal.reason))?;
    match group_and_device(client_id) {
        Some((_, device)) if !device.is_empty() => Ok(()),
        _ => Err(Refusal::ClientId(format!("LMQ-2.1: `{}` has no group and device", client_id.escape_default()))),
    }
}
