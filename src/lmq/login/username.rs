//! User names (LMQ-1.1 to LMQ-1.4). Pure; what is read can be written again, byte for byte.

use std::fmt;

use super::{Refusal, USERNAME_MAX};

/// What a user name says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Username<'a> {
    /// LMQ-1.1: `Signature|<AccessKeyId>|<instanceId>`.
    Signature {
        /// The access key's id.
        access_key: &'a str,
        /// The instance id.
        instance: &'a str,
    },
    /// LMQ-1.2: `Token|<AccessKeyId>|<instanceId>`.
    Token {
        /// The id of the access key that the tokens were applied for with.
        access_key: &'a str,
        /// The instance id.
        instance: &'a str,
    },
    /// LMQ-1.3: `DeviceCredential|<DeviceAccessKeyId>|<instanceId>`.
    Device {
        /// The device credential's id.
        id: &'a str,
        /// The instance id.
        instance: &'a str,
    },
    /// LMQ-1.4: a bare name.
    Custom(&'a str),
}

/// How a client logs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// LMQ-1.1
    Signature,
    /// LMQ-1.2
    Token,
    /// LMQ-1.3
    Device,
    /// LMQ-1.4
    Custom,
}

impl Mode {
    /// Its clause.
    pub fn clause(self) -> &'static str {
        match self {
            Self::Signature => "LMQ-1.1",
            Self::Token => "LMQ-1.2",
            Self::Device => "LMQ-1.3",
            Self::Custom => "LMQ-1.4",
        }
    }

    /// Its name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Signature => "signature",
            Self::Token => "token",
            Self::Device => "device",
            Self::Custom => "custom",
        }
    }

    /// What a client of it has.
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Signature | Self::Token => "access key",
            Self::Device => "device credential",
            Self::Custom => "user",
        }
    }
}

impl<'a> Username<'a> {
    /// Reads a user name.
    pub fn parse(text: &'a str) -> Result<Self, Refusal> {
        if text.is_empty() || text.len() > USERNAME_MAX {
            return Err(Refusal::Username(if text.is_empty() { "is missing" } else { "is too long" }));
        }
        let Some((mode, rest)) = text.split_once('|') else { return Ok(Self::Custom(text)) };
        let (id, instance) = rest.split_once('|').ok_or(Refusal::Username("has two parts, and needs three"))?;
        if id.is_empty() || instance.contains('|') {
            return Err(Refusal::Username(if id.is_empty() { "has no id" } else { "has more than three parts" }));
        }
        match mode {
            "Signature" => Ok(Self::Signature { access_key: id, instance }),
            "Token" => Ok(Self::Token { access_key: id, instance }),
            "DeviceCredential" => Ok(Self::Device { id, instance }),
            _ => Err(Refusal::Username("begins with none of `Signature`, `Token` and `DeviceCredential`")),
        }
    }

    /// How it logs in.
    pub fn mode(self) -> Mode {
        match self {
            Self::Signature { .. } => Mode::Signature,
            Self::Token { .. } => Mode::Token,
            Self::Device { .. } => Mode::Device,
            Self::Custom(_) => Mode::Custom,
        }
    }

    /// The id of what it logs in with.
    pub fn id(self) -> &'a str {
        match self {
            Self::Signature { access_key: id, .. }
            | Self::Token { access_key: id, .. }
            | Self::Device { id, .. }
            | Self::Custom(id) => id,
        }
    }

    /// The instance that it names; a bare name names none.
    pub fn instance(self) -> Option<&'a str> {
        match self {
            Self::Signature { instance, .. } | Self::Token { instance, .. } | Self::Device { instance, .. } => {
                Some(instance)
            }
            Self::Custom(_) => None,
        }
    }
}

impl fmt::Display for Username<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signature { access_key, instance } => write!(f, "Signature|{access_key}|{instance}"),
            Self::Token { access_key, instance } => write!(f, "Token|{access_key}|{instance}"),
            Self::Device { id, instance } => write!(f, "DeviceCredential|{id}|{instance}"),
            Self::Custom(name) => f.write_str(name),
        }
    }
}
