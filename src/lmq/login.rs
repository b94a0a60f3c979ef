//! Logins on brokers of one's own (LMQ-1): who a client is by its user name and password, and what it may do then.
//!
//! Pure: what a broker asks and the time in, a decision or a refusal out. A refusal is for the log and the metrics; a
//! client must never learn from it which names there are, so what asks only passes on that there was one.

mod access;
#[cfg(test)]
mod tests;
mod username;

use std::sync::Arc;

use subtle::ConstantTimeEq as _;

pub use self::{
    access::{Action, is_own_p2p},
    username::{Mode, Username},
};
use super::{
    signature,
    token::{Grant, Invalid, Kind, MAX_TOKEN, password::tokens},
    topics,
};
use crate::settings::{Credential, Credentials, Lmq, Permission};

/// The longest user name and password that are looked at, in bytes.
pub const USERNAME_MAX: usize = 1024;
/// See [`USERNAME_MAX`]: three tokens, each with its type.
pub const PASSWORD_MAX: usize = 3 * (MAX_TOKEN + "RW||".len());

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
    #[error("LMQ-1.2: the password has {0}")]
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
    /// LMQ-1.5: one token is none, or not for this.
    #[error("LMQ-1.2: {0}")]
    Token(Invalid),
    /// A token is of another access key or instance than the user name says.
    #[error("LMQ-1.2: a token is of another access key or instance than the user name")]
    Foreign,
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
            Self::Token(Invalid::Forged) => "token_forged",
            Self::Token(Invalid::Expired) => "token_expired",
            Self::Token(Invalid::Revoked) => "token_revoked",
            Self::Token(Invalid::Permission) => "token_type",
            Self::Token(Invalid::Unknown) => "token_unknown",
            Self::Foreign => "token_foreign",
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
    /// What its credential permits, or that of its tokens' access key.
    pub permission: &'a Permission,
    /// In the token mode its tokens, each valid and of its type: it may do what one of them grants as well.
    pub tokens: Option<Vec<(Kind, Arc<Grant>)>>,
}

impl Accepted<'_> {
    /// Until when, in milliseconds since the epoch: all tokens must be valid.
    pub fn expires(&self) -> Option<u64> {
        self.tokens.iter().flatten().map(|(_, grant)| grant.expires).min()
    }
}

impl<'a> Rules<'a> {
    /// Checks a login. `grant` says what a token grants, if it counts.
    pub fn check(
        self,
        login: Login<'_>,
        grant: impl Fn(&str) -> Result<Grant, Invalid>,
    ) -> Result<Accepted<'a>, Refusal> {
        let username = self.named(login.client_id, login.username)?;
        if login.password.len() > PASSWORD_MAX {
            return Err(Refusal::Password("more bytes than three tokens take"));
        }
        let mode = username.mode();
        if mode == Mode::Token {
            let tokens = tokens(login.password).map_err(Refusal::Password)?.into_iter();
            let tokens = tokens.map(|(kind, token)| Ok((kind, Arc::new(grant(token).map_err(Refusal::Token)?))));
            return self.with_tokens(login.client_id, username, tokens.collect::<Result<_, _>>()?);
        }
        let credential = self.credential(username);
        // One that does not exist takes as long as one that does.
        let secret = credential.map_or("", |credential| credential.secret.reveal());
        let signed = signature::is_valid(secret, login.client_id, login.password);
        let same: bool = secret.as_bytes().ct_eq(login.password.as_bytes()).into();
        let proven = signed || (mode == Mode::Custom && same);
        let permission = self.permission(login.client_id, username);
        if credential.is_some() && !proven {
            return Err(Refusal::Signature(mode));
        }
        Ok(Accepted { mode, permission: permission?, tokens: None })
    }

    /// What a client that was let in under a user name may do: `held` are its tokens, which its user name does not say.
    /// Nothing but its broker's word says that it was let in, so this must never be asked for others.
    pub fn known(
        self,
        client_id: &str,
        username: &str,
        held: impl FnOnce() -> Result<Vec<(Kind, Arc<Grant>)>, Invalid>,
    ) -> Result<Accepted<'a>, Refusal> {
        let username = self.named(client_id, username)?;
        if username.mode() == Mode::Token {
            return self.with_tokens(client_id, username, held().map_err(Refusal::Token)?);
        }
        Ok(Accepted { mode: username.mode(), permission: self.permission(client_id, username)?, tokens: None })
    }

    /// LMQ-1.2, LMQ-1.5: every token must be of the access key and the instance that the user name says, and grant what
    /// its type stands for.
    fn with_tokens(
        self,
        client_id: &str,
        username: Username<'_>,
        tokens: Vec<(Kind, Arc<Grant>)>,
    ) -> Result<Accepted<'a>, Refusal> {
        for (kind, grant) in &tokens {
            if grant.access_key != username.id() || Some(grant.instance.as_str()) != username.instance() {
                return Err(Refusal::Foreign);
            }
            if !grant.allows(*kind) {
                return Err(Refusal::Token(Invalid::Permission));
            }
        }
        let permission = self.permission(client_id, username)?;
        Ok(Accepted { mode: Mode::Token, permission, tokens: Some(tokens) })
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
            topics::client_id_fault(client_id).map_or(Ok(()), |fault| Err(Refusal::ClientId(fault)))?;
        } else if client_id.is_empty() {
            return Err(Refusal::ClientId("LMQ-2.1: there is no client id".to_owned()));
        }
        Ok(username)
    }

    fn permission(self, client_id: &str, username: Username<'_>) -> Result<&'a Permission, Refusal> {
        let mode = username.mode();
        let unknown = || Refusal::Unknown { mode, id: username.id().to_owned() };
        let credential = self.credential(username).ok_or_else(unknown)?;
        if credential.clients.contain(client_id) { Ok(&credential.permission) } else { Err(Refusal::Group(mode)) }
    }

    fn credential(self, username: Username<'_>) -> Option<&'a Credential> {
        let Credentials { access_keys, devices, users } = self.credentials;
        match username {
            Username::Signature { access_key: id, .. } | Username::Token { access_key: id, .. } => access_keys.get(id),
            Username::Device { id, .. } => devices.get(id),
            Username::Custom(name) => users.get(name),
        }
    }
}
