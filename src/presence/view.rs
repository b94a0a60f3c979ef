//! Who is online, as the notices say (LMQ-7.3), and whose presence is not known.
//!
//! The vendor's algorithm: a client is online when one of its channels has `connect` and neither `disconnect` nor
//! `tcpclean`. A channel that has ended is remembered for a window (LMQ-7.4), whether its `connect` has come or not.
//! Within that window neither order nor repetition of notices matters.
//!
//! A broker can lose events while nobody reads them. Then its source has a *gap*, which ends at some time of the
//! broker's clock. It counts until all is known again: the broker was restarted, or its list of clients compared. While
//! it counts, a channel of that source which is not newer than the gap does not count; and a client without a channel
//! that counts is unknown, until the source tells of it after the gap: anything where none of that source's channels is
//! left, else a `connect`, since the late end of an older channel says nothing about a newer one. That goes for all
//! clients of groups of which the source has ever told, and for all clients of groups of which nobody has: what
//! connected in the gap may be a client that nobody has heard of.
//!
//! Pure: the time is an argument. It must never say "offline" of a client whose `connect` may have been missed, nor
//! "online" of one whose end may have been. What it forgets for lack of room turns to "unknown" where there is a gap.

pub mod group;
pub mod snapshot;
mod source;
mod tombstones;

#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    iter,
    ops::Bound::{Excluded, Unbounded},
};

use self::{
    group::{Channel, Client, Group},
    source::{Source, Sources},
    tombstones::{Heard, Tombstones},
};
use crate::lmq::notice::{EventType, GROUP_END, Notice, group_and_device};

/// So many groups without a client are remembered, for the sake of their sources.
const IDLE_GROUPS: usize = 10_000;

/// The connections of a client: `online` of LMQ-8.3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// So many; 0 is offline, more than 1 is ends that are still to come.
    Known(u32),
    /// Events may be missing that would say it.
    Unknown,
}

/// What a notice changed for its client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// The answer so far.
    pub before: Answer,
    /// The answer from now on, never the same.
    pub after: Answer,
}

/// The clients of a group (LMQ-8.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    /// How many are known to be online.
    pub online: usize,
    /// Whether these are all; else events may be missing that would tell of more.
    pub exact: bool,
}

/// A client that is online, as a list shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed<'a> {
    /// The client id.
    pub client_id: String,
    /// Its channels that count, at least one, in no order.
    pub channels: Vec<&'a Channel>,
    /// The time of its latest notice, in milliseconds since the epoch.
    pub heard_at: u64,
}

/// A part of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<'a> {
    /// Clients in the order of their client ids, byte by byte.
    pub clients: Vec<Listed<'a>>,
    /// Whether others follow.
    pub more: bool,
}

/// Who is online.
#[derive(Debug, Default)]
pub struct View {
    sources: Sources,
    /// By name; clients whose id has no group are in the one without a name.
    groups: HashMap<Box<str>, Group>,
    tombstones: Tombstones,
}

impl View {
    /// Takes a notice in. `source` names the route that sent it, none where somebody else did; `now`, in milliseconds,
    /// is what tombstones last by.
    pub fn apply(&mut self, source: Option<&str>, notice: &Notice, now: u64) -> Option<Change> {
        self.forget(now);
        let client_id = notice.client_id.as_str();
        let before = self.online(client_id);
        let source = source.map(|name| self.sources.id(name));
        let (name, device) = split(client_id);
        let group = match self.groups.get_mut(name) {
            Some(group) => group,
            None => self.groups.entry(name.into()).or_default(),
        };
        group.heard_from(source);
        let mut client = group
            .take(device)
            .unwrap_or_else(|| Client { channels: Vec::new(), heard_at: self.tombstones.heard_at(client_id) });
        client.heard_at = client.heard_at.max(notice.time);
        if notice.event_type == EventType::Connect && !self.tombstones.hold(client_id, notice.channel_id) {
            client.open(Channel {
                id: notice.channel_id,
                connected_at: notice.time,
                client_ip: notice.client_ip.as_str().into(),
                source,
            });
        } else {
            let told = match notice.event_type {
                EventType::Connect => Heard::connect(source, notice.time),
                EventType::Disconnect | EventType::TcpClean => Heard::end(source, notice.time),
            };
            let closed = client.close(notice.channel_id);
            let began = closed.map(|channel| Heard::connect(channel.source, channel.connected_at));
            self.tombstones.note(client_id, notice.channel_id, iter::once(told).chain(began));
        }
        group.put(device, client, &self.sources);
        let after = self.online(client_id);
        (before != after).then_some(Change { before, after })
    }

    /// A source tells of a group, though perhaps of none of its clients yet: its gaps count there.
    pub fn concerns(&mut self, source: &str, group: &str) {
        let source = self.sources.id(source);
        self.groups.entry(group.into()).or_default().heard_from(Some(source));
    }

    /// Events of this source may be missing up to `until`, in milliseconds by its broker's clock. Answers change for
    /// any number of clients.
    pub fn gap(&mut self, source: &str, until: u64) {
        self.note(source, |source| source.gap_until = source.gap_until.max(until));
    }

    /// At `at`, by the broker's clock, all was known of this source: its broker began anew, or its clients were
    /// compared. The ends that this brought to light come as notices. Answers change for any number of clients.
    pub fn reset(&mut self, source: &str, at: u64) {
        self.note(source, |source| source.reset_at = source.reset_at.max(at));
    }

    fn note(&mut self, source: &str, note: impl FnOnce(&mut Source)) {
        let Some(source) = self.sources.named(source) else { return };
        let before = source.gap();
        note(source);
        if source.gap() != before {
            self.groups.values_mut().for_each(|group| group.sort(&self.sources));
            self.tombstones.sort(&self.sources);
        }
    }

    /// Drops what is over its window. Cheap unless something is, so it may be called often; `apply` does too.
    pub fn forget(&mut self, now: u64) {
        if self.tombstones.turn(now, &self.sources) && self.groups.len() > IDLE_GROUPS {
            self.groups.retain(|_, group| !group.is_idle());
            self.groups.shrink_to_fit();
        }
    }

    /// The connections of a client.
    pub fn online(&self, client_id: &str) -> Answer {
        let (name, device) = split(client_id);
        let group = self.groups.get(name);
        let client = group.and_then(|group| group.get(device));
        let channels = client.map_or(0, |client| client.certain(&self.sources).count());
        let missed = |source| {
            let Some(until) = self.sources.gap(source) else { return false };
            let is_left = client.is_some_and(|client| client.channels.iter().any(|left| left.source == Some(source)));
            let heard = self.tombstones.heard(client_id, source);
            heard.is_none_or(|heard| if is_left { heard.connected_at <= until } else { heard.at <= until })
        };
        let unknown = match group {
            _ if channels > 0 => false,
            Some(group) => group.sources.iter().copied().any(missed),
            None => self.sources.have_gap(),
        };
        if unknown { Answer::Unknown } else { Answer::Known(u32::try_from(channels).unwrap_or(u32::MAX)) }
    }

    /// The clients of a group; of those without a group where the name is empty.
    pub fn count(&self, group: &str) -> Count {
        match self.groups.get(group) {
            Some(group) => Count {
                online: group.online.len(),
                exact: group.sources.iter().all(|source| self.sources.gap(*source).is_none()),
            },
            None => Count { online: 0, exact: !self.sources.have_gap() },
        }
    }

    /// At most `limit` clients of a group that are known to be online: the first ones, or those whose client id is
    /// greater than `after`.
    pub fn list(&self, group: &str, after: Option<&str>, limit: usize) -> Page<'_> {
        let prefix = join(group, "");
        let start = match after.map(|after| after.strip_prefix(&prefix).ok_or(after)) {
            Some(Ok(device)) => Some(Excluded(device)),
            Some(Err(after)) if after > prefix.as_str() => None,
            Some(Err(_)) | None => Some(Unbounded),
        };
        let found = start.and_then(|start| Some(self.groups.get(group)?.online.range::<str, _>((start, Unbounded))));
        let mut rest = found.into_iter().flatten();
        let clients = rest.by_ref().take(limit).map(|(device, client)| Listed {
            client_id: join(group, device),
            channels: client.certain(&self.sources).collect(),
            heard_at: client.heard_at,
        });
        Page { clients: clients.collect(), more: rest.next().is_some() }
    }

    /// How many clients are known to be online, in all groups.
    pub fn clients(&self) -> usize {
        self.groups.values().map(|group| group.online.len()).sum()
    }
}

/// The group and the device of a client id: LMQ-2.1, and no name for the group of ids that have none.
fn split(client_id: &str) -> (&str, &str) {
    group_and_device(client_id).unwrap_or(("", client_id))
}

/// The opposite of [`split`].
fn join(group: &str, device: &str) -> String {
    if group.is_empty() { device.to_owned() } else { format!("{group}{GROUP_END}{device}") }
}
