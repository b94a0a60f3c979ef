//! Channels that have ended (LMQ-7.4), and when their clients were last heard of. Pure: it is told what time it is.
//!
//! Two generations: what is noted goes to the young one; each window the old one is dropped and the young one becomes
//! the old. So a tombstone stays for one window to two after it was last needed, and none has a timer.

use std::{collections::HashMap, mem};

use super::source::{SourceId, Sources};
use crate::lmq::notice::ChannelId;

/// For how long a channel that has ended is remembered, at least: 10 minutes in milliseconds.
pub(super) const WINDOW: u64 = 10 * 60 * 1000;

/// So many clients make a generation full, which ends it early: more that go within a window are remembered for less.
pub(super) const CLIENTS: usize = 200_000;

/// So many ended channels of one client are remembered in a generation, the latest.
pub(super) const CHANNELS: usize = 16;

/// What is remembered of a client beside its open channels.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Tombstone {
    /// Its channels that have ended, the latest last. Whether a `connect` was ever seen does not matter.
    pub(super) channels: Vec<ChannelId>,
    /// What each source last told of it.
    pub(super) heard: Vec<Heard>,
}

/// What a source last told of a client; no name stands for all notices without a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Heard {
    pub(super) source: Option<SourceId>,
    /// The time of the latest notice.
    pub(super) at: u64,
    /// The time of the latest `connect`; 0 without one.
    pub(super) connected_at: u64,
}

impl Heard {
    pub(super) fn connect(source: Option<SourceId>, at: u64) -> Self {
        Self { source, at, connected_at: at }
    }

    pub(super) fn end(source: Option<SourceId>, at: u64) -> Self {
        Self { source, at, connected_at: 0 }
    }

    fn or_later(self, other: Self) -> Self {
        let (at, connected_at) = (self.at.max(other.at), self.connected_at.max(other.connected_at));
        Self { at, connected_at, ..self }
    }
}

impl Tombstone {
    fn bury(&mut self, channel: ChannelId) {
        if self.channels.contains(&channel) {
            return;
        }
        if self.channels.len() == CHANNELS {
            self.channels.remove(0);
        }
        self.channels.reserve_exact(1);
        self.channels.push(channel);
    }

    fn hear(&mut self, heard: Heard) {
        match self.heard.iter_mut().find(|known| known.source == heard.source) {
            Some(known) => *known = known.or_later(heard),
            None => {
                self.heard.reserve_exact(1);
                self.heard.push(heard);
            }
        }
    }

    /// Whether it says that the client is known in spite of a gap.
    fn is_proof(&self, sources: &Sources) -> bool {
        self.heard.iter().any(|heard| {
            let gap = heard.source.and_then(|source| sources.gap(source));
            gap.is_some_and(|until| heard.at > until)
        })
    }
}

/// Tombstones by client id.
pub(super) type Generation = HashMap<Box<str>, Tombstone>;

/// All tombstones.
#[derive(Debug, Default)]
pub(super) struct Tombstones {
    pub(super) young: Generation,
    pub(super) old: Generation,
    /// Without channels: clients that were heard of since a gap that counts.
    pub(super) proofs: Generation,
    /// When the young generation began; with the next call, where none is known.
    pub(super) since: Option<u64>,
}

impl Tombstones {
    fn of<'a>(&'a self, client_id: &'a str) -> impl Iterator<Item = &'a Tombstone> {
        [&self.young, &self.old, &self.proofs].into_iter().filter_map(move |generation| generation.get(client_id))
    }

    /// Whether a channel has ended.
    pub(super) fn hold(&self, client_id: &str, channel: ChannelId) -> bool {
        self.of(client_id).any(|tombstone| tombstone.channels.contains(&channel))
    }

    /// What a source last told of a client, as far as it is remembered.
    pub(super) fn heard(&self, client_id: &str, source: SourceId) -> Option<Heard> {
        let heard = self.of(client_id).flat_map(|tombstone| &tombstone.heard).copied();
        heard.filter(|heard| heard.source == Some(source)).reduce(Heard::or_later)
    }

    /// The time of a client's latest notice; 0 where none is remembered.
    pub(super) fn heard_at(&self, client_id: &str) -> u64 {
        self.of(client_id).flat_map(|tombstone| &tombstone.heard).map(|heard| heard.at).max().unwrap_or(0)
    }

    /// Notes that a channel has ended, or that a notice of one that has ended came again.
    pub(super) fn note(&mut self, client_id: &str, channel: ChannelId, heard: impl IntoIterator<Item = Heard>) {
        let tombstone = self.young.entry(client_id.into()).or_default();
        tombstone.bury(channel);
        heard.into_iter().for_each(|heard| tombstone.hear(heard));
    }

    /// Drops the old generation if it is time, and says so.
    pub(super) fn turn(&mut self, now: u64, sources: &Sources) -> bool {
        // A clock that was set back must not keep a generation for ever.
        let since = self.since.map_or(now, |since| since.min(now));
        let full = self.young.len() >= CLIENTS;
        let due = full || now - since >= WINDOW;
        self.since = Some(if due { now } else { since });
        if due {
            let leaving = mem::replace(&mut self.old, mem::take(&mut self.young));
            for (client_id, tombstone) in leaving.into_iter().filter(|(_, tombstone)| tombstone.is_proof(sources)) {
                self.keep(client_id, tombstone);
            }
        }
        due
    }

    /// Once there is no more room, a client that is not kept is unknown: a gap makes it so.
    fn keep(&mut self, client_id: Box<str>, tombstone: Tombstone) {
        if self.proofs.len() < CLIENTS || self.proofs.contains_key(&client_id) {
            let proof = self.proofs.entry(client_id).or_default();
            tombstone.heard.into_iter().for_each(|heard| proof.hear(heard));
        }
    }

    /// Drops what no longer proves anything, after what counts as a gap has changed.
    pub(super) fn sort(&mut self, sources: &Sources) {
        self.proofs.retain(|_, tombstone| tombstone.is_proof(sources));
        self.proofs.shrink_to_fit();
    }
}
