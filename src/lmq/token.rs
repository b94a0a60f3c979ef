//! Tokens: what one grants, written so that nobody can make or change one without the secret. LMQ-9.
//!
//! A token is base64url of bytes: a version, what it grants, and HMAC-SHA256 over both with the secret that all replicas
//! share. So every replica can read every token, and none has to be looked up. Pure. It must never print a token or a
//! secret, and never look at what a token says before its seal is verified.

use std::{fmt, str::FromStr};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::settings::Secret;

/// LMQ-9.2: resources of a token.
pub const MAX_RESOURCES: usize = 100;
/// Bytes of a resource, an access key or an instance id; LMQ-2.2 allows 64 characters of a topic.
pub const MAX_TEXT: usize = 255;
/// Bytes that all resources may take together: 100 of the longest that LMQ-2.2 allows, and more.
pub const MAX_RESOURCES_BYTES: usize = 8 << 10;
/// Characters of the longest token.
pub const MAX_TOKEN: usize = 12 << 10;

const VERSION: u8 = 1;
const SEAL: usize = 32;
/// What a seal is for: one of a token is none of anything else that the secret signs.
const PURPOSE: &[u8] = b"rocketbridge token\0";
const READ: u8 = 1;
const WRITE: u8 = 2;

/// What tells one token from all others: 16 random bytes, shown in hexadecimal digits. It is no secret, and no token.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenId(pub [u8; 16]);

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenId({self})")
    }
}

impl FromStr for TokenId {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let well = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = well.then(|| u128::from_str_radix(text, 16).ok()).flatten();
        number.map(|number| Self(number.to_be_bytes())).ok_or("a token's id has 32 hexadecimal digits")
    }
}

/// What a token is given for: the type that a client says beside it (LMQ-1.2, LMQ-9.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `R`: to subscribe.
    Read,
    /// `W`: to publish.
    Write,
    /// `RW`: both.
    Both,
}

impl Kind {
    /// Reads `R`, `W` or `RW`.
    pub fn from_text(text: &str) -> Option<Self> {
        match text {
            "R" => Some(Self::Read),
            "W" => Some(Self::Write),
            "RW" => Some(Self::Both),
            _ => None,
        }
    }

    /// `R`, `W` or `RW`.
    pub fn text(self) -> &'static str {
        match self {
            Self::Read => "R",
            Self::Write => "W",
            Self::Both => "RW",
        }
    }

    /// Whether it stands for subscribing.
    pub fn reads(self) -> bool {
        self != Self::Write
    }

    /// Whether it stands for publishing.
    pub fn writes(self) -> bool {
        self != Self::Read
    }

    /// Whether everything that `other` stands for is among what this does.
    pub fn covers(self, other: Self) -> bool {
        self == Self::Both || self == other
    }
}

/// What a token grants, to whoever shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The token's id.
    pub id: TokenId,
    /// The access key that asked for it; the user name of a login names the same.
    pub access_key: String,
    /// The instance that it is for.
    pub instance: String,
    /// MQTT topic filters, sorted, each once.
    pub resources: Vec<String>,
    /// Whether it lets subscribe to them.
    pub read: bool,
    /// Whether it lets publish to them.
    pub write: bool,
    /// From then on it is none, in milliseconds since the epoch.
    pub expires: u64,
}

impl Grant {
    /// Whether it suffices for the type that a client gives beside it; LMQ-9.5's code 5 where it does not.
    pub fn allows(&self, kind: Kind) -> bool {
        (self.read || !kind.reads()) && (self.write || !kind.writes())
    }
}

/// Why a token is none, or none for this.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// Nobody who has the secret made it so.
    #[error("the token is forged")]
    Forged,
    /// Its time is over.
    #[error("the token has expired")]
    Expired,
    /// It was revoked.
    #[error("the token is revoked")]
    Revoked,
    /// It does not grant what it is given for.
    #[error("the token does not grant its type")]
    Permission,
    /// Whether it was revoked is not known: this replica has just started, or knows no such client.
    #[error("whether the token was revoked is not known yet")]
    Unknown,
}

impl Invalid {
    /// LMQ-9.5.
    pub fn code(self) -> i8 {
        match self {
            Self::Forged => 1,
            Self::Expired => 2,
            Self::Revoked => 3,
            Self::Permission => 5,
            Self::Unknown => -1,
        }
    }

    /// What has this code.
    pub fn from_code(code: i8) -> Option<Self> {
        let all = [Self::Forged, Self::Expired, Self::Revoked, Self::Permission, Self::Unknown];
        all.into_iter().find(|invalid| invalid.code() == code)
    }
}

/// What a client is told of its tokens, without having subscribed to it (LMQ-9.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// One ends soon.
    Expires {
        /// When, in milliseconds since the epoch.
        time: u64,
        /// Its type.
        kind: Kind,
    },
    /// One is none any more, and the client is about to be dropped.
    Ended {
        /// Why.
        why: Invalid,
        /// Its type.
        kind: Kind,
    },
}

impl Notice {
    /// The topic.
    pub fn topic(self) -> &'static str {
        match self {
            Self::Expires { .. } => "$SYS/tokenExpireNotice",
            Self::Ended { .. } => "$SYS/tokenInvalidNotice",
        }
    }

    /// The JSON.
    pub fn payload(self) -> String {
        match self {
            Self::Expires { time, kind } => format!("{{\"expireTime\":{time},\"type\":\"{}\"}}", kind.text()),
            Self::Ended { why, kind } => format!("{{\"code\":{},\"type\":\"{}\"}}", why.code(), kind.text()),
        }
    }
}

/// Seals tokens and verifies seals.
#[derive(Clone)]
pub struct TokenKey(Hmac<Sha256>);

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenKey(***)")
    }
}

impl TokenKey {
    /// A key of any length; settings ask for a long one.
    pub fn new(secret: &Secret) -> Self {
        match Hmac::new_from_slice(secret.reveal().as_bytes()) {
            Ok(mac) => Self(mac),
            Err(_) => unreachable!("HMAC takes keys of every length"),
        }
    }

    /// The token of a grant; nothing where a part of it is longer than tokens hold.
    pub fn seal(&self, grant: &Grant) -> Option<String> {
        let mut bytes = vec![VERSION];
        bytes.extend_from_slice(&grant.id.0);
        bytes.extend_from_slice(&grant.expires.to_be_bytes());
        bytes.push(if grant.read { READ } else { 0 } | if grant.write { WRITE } else { 0 });
        let whole = grant.resources.iter().map(String::len).sum::<usize>() <= MAX_RESOURCES_BYTES;
        let count = u8::try_from(grant.resources.len()).ok().filter(|count| usize::from(*count) <= MAX_RESOURCES);
        for text in [&grant.access_key, &grant.instance] {
            put(&mut bytes, text)?;
        }
        bytes.push(count.filter(|_| whole)?);
        for resource in &grant.resources {
            put(&mut bytes, resource)?;
        }
        let seal = self.mac(PURPOSE, &bytes).finalize().into_bytes();
        bytes.extend_from_slice(&seal);
        Some(BASE64_URL_SAFE_NO_PAD.encode(bytes))
    }

    /// What a token grants, if it is one; its time is not looked at.
    pub fn open(&self, token: &str) -> Option<Grant> {
        if token.len() > MAX_TOKEN {
            return None;
        }
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(token).ok()?;
        let (content, seal) = bytes.split_at_checked(bytes.len().checked_sub(SEAL)?)?;
        self.mac(PURPOSE, content).verify_slice(seal).ok()?;
        let mut rest = Rest(content);
        if rest.byte()? != VERSION {
            return None;
        }
        let id = TokenId(rest.array()?);
        let expires = u64::from_be_bytes(rest.array()?);
        let actions = rest.byte()?;
        let (access_key, instance) = (rest.text()?, rest.text()?);
        let count = rest.byte()?;
        let resources = (0..count).map(|_| rest.text()).collect::<Option<_>>()?;
        let (read, write) = (actions & READ != 0, actions & WRITE != 0);
        rest.0.is_empty().then_some(Grant { id, access_key, instance, resources, read, write, expires })
    }

    /// A signature for another purpose, in base64url.
    pub fn sign(&self, purpose: &[u8], content: &[u8]) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(self.mac(purpose, content).finalize().into_bytes())
    }

    /// Whether a signature is that of [`Self::sign`], found out in the same time wherever they differ.
    pub fn verifies(&self, purpose: &[u8], content: &[u8], signature: &str) -> bool {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(signature);
        bytes.is_ok_and(|bytes| self.mac(purpose, content).verify_slice(&bytes).is_ok())
    }

    /// No purpose is the beginning of another.
    fn mac(&self, purpose: &[u8], content: &[u8]) -> Hmac<Sha256> {
        let mut mac = self.0.clone();
        mac.update(purpose);
        mac.update(content);
        mac
    }
}

fn put(bytes: &mut Vec<u8>, text: &str) -> Option<()> {
    bytes.push(u8::try_from(text.len()).ok()?);
    bytes.extend_from_slice(text.as_bytes());
    Some(())
}

/// What is left to read of a token.
struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
    fn byte(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }

    fn text(&mut self) -> Option<String> {
        let length = self.byte()?;
        let (text, rest) = self.0.split_at_checked(length.into())?;
        self.0 = rest;
        String::from_utf8(text.to_vec()).ok()
    }
}

#[cfg(test)]
mod tests;
