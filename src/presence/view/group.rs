//! The clients of a group that have a connection, in the order of their client ids. Pure.

use std::{collections::BTreeMap, mem};

use super::source::{SourceId, Sources};
use crate::lmq::notice::ChannelId;

/// So many connections of one client are kept, the newest: a source whose ends never come must not fill the memory.
const CHANNELS: usize = 32;

/// A connection of a client that no notice has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Channel {
    /// Names it.
    pub id: ChannelId,
    /// When it began, in milliseconds since the epoch.
    pub connected_at: u64,
    /// `ip:port` of the client; empty where its broker does not say.
    pub client_ip: Box<str>,
    /// Who told of it.
    pub(super) source: Option<SourceId>,
}

/// A client with a channel or more.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Client {
    pub(super) channels: Vec<Channel>,
    /// The time of its latest notice.
    pub(super) heard_at: u64,
}

impl Client {
    /// A `connect` that comes again changes nothing.
    pub(super) fn open(&mut self, channel: Channel) {
        if self.channels.iter().any(|open| open.id == channel.id) {
            return;
        }
        self.channels.reserve_exact(1);
        self.channels.push(channel);
        if self.channels.len() > CHANNELS {
            let oldest = self.channels.iter().enumerate().min_by_key(|(_, channel)| (channel.connected_at, channel.id));
            if let Some((place, _)) = oldest {
                self.channels.swap_remove(place);
            }
        }
    }

    pub(super) fn close(&mut self, id: ChannelId) -> Option<Channel> {
        let place = self.channels.iter().position(|open| open.id == id)?;
        Some(self.channels.swap_remove(place))
    }

    /// Its channels whose end cannot have been missed. The others do not count: a broker keeps one connection per
    /// client id, so either it told of a newer one since, or nothing is known.
    pub(super) fn certain(&self, sources: &Sources) -> impl Iterator<Item = &Channel> {
        self.channels.iter().filter(|channel| {
            let gap = channel.source.and_then(|source| sources.gap(source));
            gap.is_none_or(|until| channel.connected_at > until)
        })
    }
}

/// A group, by device.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Group {
    /// Clients with a channel whose end cannot have been missed.
    pub(super) online: BTreeMap<Box<str>, Client>,
    /// Clients that have only channels whose end may have been missed.
    pub(super) doubtful: BTreeMap<Box<str>, Client>,
    /// Who has told of any of its clients.
    pub(super) sources: Vec<SourceId>,
}

impl Group {
    pub(super) fn heard_from(&mut self, source: Option<SourceId>) {
        self.sources.extend(source.filter(|source| !self.sources.contains(source)));
    }

    pub(super) fn get(&self, device: &str) -> Option<&Client> {
        self.online.get(device).or_else(|| self.doubtful.get(device))
    }

    pub(super) fn take(&mut self, device: &str) -> Option<Client> {
        self.online.remove(device).or_else(|| self.doubtful.remove(device))
    }

    /// Puts a client where it belongs; nowhere, without a channel.
    pub(super) fn put(&mut self, device: &str, client: Client, sources: &Sources) {
        if client.certain(sources).next().is_some() {
            self.online.insert(device.into(), client);
        } else if !client.channels.is_empty() {
            self.doubtful.insert(device.into(), client);
        }
    }

    /// Puts every client where it belongs, after what counts as a gap has changed.
    pub(super) fn sort(&mut self, sources: &Sources) {
        let all = mem::take(&mut self.online).into_iter().chain(mem::take(&mut self.doubtful));
        (self.online, self.doubtful) = all.partition(|(_, client)| client.certain(sources).next().is_some());
    }

    pub(super) fn is_idle(&self) -> bool {
        self.online.is_empty() && self.doubtful.is_empty()
    }
}
