//! One TCP connection of a client, and the id that every replica gives it (LMQ-7.1 `channelId`).
//!
//! The id is made of what the broker says and of nothing else, so that a replay or a second replica makes the same.

use serde::{Deserialize, Serialize};
use sha1::{Digest, Sha1};

use crate::{
    lmq::notice::ChannelId,
    presence::event::{Connected, Disconnected, Identity},
};

/// A connection that has begun and, as far as is known, not ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Channel {
    /// Its id.
    #[serde(rename = "i")]
    pub id: ChannelId,
    /// What the broker calls it in both events, where it does.
    #[serde(rename = "n", default, skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<Box<str>>,
    /// `ip:port` of the client, or what of it the broker tells.
    #[serde(rename = "a")]
    pub peer: Box<str>,
    /// When it began, in milliseconds since the epoch.
    #[serde(rename = "t")]
    pub at: u64,
    /// When the bridge heard of that, by its own clock.
    #[serde(rename = "h")]
    pub heard: u64,
    /// The broker said that a connection was opened before it said whose it is.
    #[serde(rename = "s", default)]
    pub(super) announced: bool,
    /// The last process may have been killed before it told anybody.
    #[serde(rename = "u", default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) unsure: bool,
}

impl Channel {
    /// The channel of a client that came.
    pub(super) fn of(event: &Connected, heard: u64) -> Self {
        let (client_id, peer) = (&event.client_id, &event.peer);
        let (id, name) = match &event.identity {
            Identity::Named(name) => (id(&["named", client_id, name]), Some(name.as_str().into())),
            // A list may tell nothing but the second, and no port is used again within it.
            Identity::Peer if has_port(peer) => {
                (id(&["connect", client_id, peer, &(event.at / 1_000).to_string()]), None)
            }
            Identity::Peer | Identity::Latest => (id(&["connect", client_id, peer, &event.at.to_string()]), None),
        };
        Self { id, name, peer: peer.as_str().into(), at: event.at, heard, announced: false, unsure: false }
    }

    /// The channel of a connection that was told to have ended at `ended`, but is there: one that nobody has been told
    /// the end of. It is told to begin at `at`, by the broker's clock.
    pub(super) fn again(event: &Connected, ended: u64, at: u64, heard: u64) -> Self {
        let first = Self::of(event, heard);
        Self { id: id(&["again", &first.id.to_string(), &ended.to_string()]), at, ..first }
    }

    /// A stand-in for a connection whose beginning nobody saw.
    pub(super) fn unseen(event: &Disconnected) -> Self {
        let at = event.at.to_string();
        let (id, name) = match &event.identity {
            Identity::Named(name) => (id(&["named", &event.client_id, name]), Some(name.as_str().into())),
            Identity::Peer | Identity::Latest => (id(&["end", &event.client_id, &event.peer, &at]), None),
        };
        Self {
            id,
            name,
            peer: event.peer.as_str().into(),
            at: event.at,
            heard: event.at,
            announced: false,
            unsure: false,
        }
    }

    /// What the event that ends it may name it by.
    pub(super) fn identity(&self) -> Identity {
        match &self.name {
            Some(name) => Identity::Named(name.to_string()),
            None if self.peer.is_empty() => Identity::Latest,
            None => Identity::Peer,
        }
    }

    /// Whether an event with this identity is about it.
    pub(super) fn is(&self, identity: &Identity, peer: &str) -> bool {
        match identity {
            Identity::Named(name) => self.name.as_deref() == Some(name),
            Identity::Peer => *self.peer == *peer,
            Identity::Latest => true,
        }
    }
}

fn has_port(peer: &str) -> bool {
    peer.rsplit_once(':').is_some_and(|(host, port)| {
        port.parse::<u16>().is_ok() && (!host.contains(':') || host.starts_with('[') && host.ends_with(']'))
    })
}

/// 128 bits of a SHA-1 over the parts, each with its length before it.
fn id(parts: &[&str]) -> ChannelId {
    let mut hash = Sha1::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    let digest: [u8; 20] = hash.finalize().into();
    let mut half = [0; 16];
    half.copy_from_slice(&digest[..16]);
    ChannelId(u128::from_be_bytes(half))
}
