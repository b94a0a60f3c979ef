//! Which connections each client of a broker has, and the notices that a change of them makes (LMQ-7.2).
//!
//! It remembers the last connections of every client, since many brokers do not say which one ended. Pure: what it
//! is told twice it must be told as the same event, see `presence::source`.

mod channel;
mod compare;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};

use serde::{Deserialize, Serialize};

pub use channel::Channel;
pub use compare::When;

use super::event::{Connected, Disconnected, End, Identity};
use crate::lmq::notice::{ChannelId, EventType, Notice};

/// What is remembered of connections that are over, for each client.
const PAST: usize = 4;
/// For how long, in milliseconds by the broker's clock: no broker shuffles its events further than that, and no view
/// remembers a channel that has ended for longer, so that a connection which was taken for dead, and is there after all,
/// may then have its old one.
const REMEMBERED: u64 = 1_500_000;
/// Of a broker that tells events in order, and of more clients than this, as little is remembered as an end waits for
/// its beginning.
const MANY: usize = 200_000;
/// An end whose beginning has not come for this long, in milliseconds, has none.
const PATIENCE: u64 = 60_000;
/// How far a broker's list of its connections may be behind what it has told of them, in milliseconds.
pub const LAG: u64 = 3_000;

/// So many connections that have been opened and belong to no client yet are known.
const OPENED: usize = 4_096;
/// For so long, in milliseconds, the end of a connection that was taken over may be told after the takeover.
const OWED: u64 = 30_000;

/// The connections of all clients of one broker.
#[derive(Debug)]
pub struct Connections {
    clients: HashMap<Box<str>, Client>,
    /// Peers that have opened a connection and not said who they are, oldest first.
    opened: VecDeque<String>,
    /// The broker tells events in the order in which they happen.
    in_order: bool,
}

/// What is known of one client.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Client {
    /// In the order in which they began.
    #[serde(rename = "o", default, skip_serializing_if = "Vec::is_empty")]
    open: Vec<Channel>,
    #[serde(rename = "p", default, skip_serializing_if = "Vec::is_empty")]
    past: Vec<Past>,
    /// Since when the end of a connection that was taken over is still to be told.
    #[serde(rename = "x", default, skip_serializing_if = "Option::is_none")]
    owed: Option<u64>,
}

/// A connection that is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Past {
    #[serde(rename = "n", default, skip_serializing_if = "Option::is_none")]
    name: Option<Box<str>>,
    #[serde(rename = "a")]
    peer: Box<str>,
    #[serde(rename = "t")]
    at: u64,
    /// A list of the broker that was asked for later, by the bridge's clock, and has it, knows better.
    #[serde(rename = "s", default)]
    sure: u64,
    /// How it ended, while its beginning has not come: nobody has been told yet.
    #[serde(rename = "w", default, skip_serializing_if = "Option::is_none")]
    waits: Option<End>,
}

impl Past {
    fn is(&self, identity: &Identity, peer: &str) -> bool {
        match identity {
            Identity::Named(name) => self.name.as_deref() == Some(name),
            Identity::Peer => !peer.is_empty() && *self.peer == *peer,
            Identity::Latest => false,
        }
    }
}

impl Connections {
    /// Nothing known yet. `in_order`: the broker tells events in the order in which they happen.
    pub fn new(in_order: bool) -> Self {
        Self { clients: HashMap::new(), opened: VecDeque::new(), in_order }
    }

    /// What is known of a client; nothing when it has no connection and had none lately.
    pub fn client(&self, client_id: &str) -> Option<&Client> {
        self.clients.get(client_id)
    }

    /// Takes up what was remembered of a client.
    pub fn restore(&mut self, client_id: String, client: Client) {
        if let Some(latest) = client.open.last().filter(|latest| latest.announced) {
            self.is_announced(&latest.peer);
        }
        if client.open.is_empty() && client.past.is_empty() {
            self.clients.remove(client_id.as_str());
        } else {
            self.clients.insert(client_id.into(), client);
        }
    }

    /// Takes up a connection of which it is not known whether anybody has been told.
    pub fn restore_unsure(&mut self, client_id: String, channel: Channel) {
        let open = &mut self.clients.entry(client_id.into()).or_default().open;
        let place = open.partition_point(|open| open.at <= channel.at);
        open.insert(place, Channel { unsure: true, ..channel });
    }

    /// Of how many clients something is known.
    pub fn count(&self) -> usize {
        self.clients.len()
    }

    /// All clients of which something is known.
    pub fn clients(&self) -> impl Iterator<Item = (&str, &Client)> {
        self.clients.iter().map(|(id, client)| (&**id, client))
    }

    /// A connection was opened by this peer.
    pub fn opened(&mut self, peer: &str) {
        if self.opened.len() == OPENED {
            self.opened.pop_front();
        }
        self.opened.push_back(peer.to_owned());
    }

    /// Peers that have opened a connection and not said who they are, as far as they are known.
    pub fn nameless(&self) -> impl Iterator<Item = &str> {
        self.opened.iter().map(String::as_str)
    }

    /// Whether a connection from this peer was opened that belonged to nobody until now.
    fn is_announced(&mut self, peer: &str) -> bool {
        let at = self.opened.iter().rposition(|opened| opened == peer);
        at.and_then(|at| self.opened.remove(at)).is_some()
    }

    /// A client came; the bridge heard of it at `heard`, by its own clock.
    pub fn connected(&mut self, event: &Connected, heard: u64) -> Vec<Notice> {
        let mut channel = Channel::of(event, heard);
        channel.announced = self.is_announced(&event.peer);
        let client = self.clients.entry(event.client_id.as_str().into()).or_default();
        let mut told = Told { client_id: &event.client_id, notices: Vec::new() };
        if let Some(open) = client.open.iter_mut().find(|open| open.id == channel.id) {
            open.unsure = false;
            told.connect(&channel);
            return told.notices;
        }
        let identity = channel.identity();
        let ended = client.past.iter_mut().find(|past| past.at >= event.at && past.is(&identity, &event.peer));
        if let Some(past) = ended {
            // Its end came first. Where that has been told already, so has this.
            if let Some(end) = past.waits.take() {
                told.connect(&channel);
                told.end(&channel, end, past.at);
            }
            return told.notices;
        }
        // A client has one connection: the newer one has taken the older one's place.
        let newer = client.open.iter().filter(|open| !self.in_order && open.at > channel.at).map(|open| open.at).min();
        if let Some(since) = newer {
            told.connect(&channel);
            told.end(&channel, End::TakenOver, since);
            client.remember(&channel, since, heard + LAG);
            return told.notices;
        }
        client.owe(event.at);
        client.close_all(End::TakenOver, event.at, heard + LAG, &mut told);
        told.connect(&channel);
        // Nearly every client has one connection.
        client.open.reserve_exact(1);
        client.open.push(channel);
        told.notices
    }

    /// A client is gone; the bridge heard of it at `heard`, by its own clock.
    pub fn disconnected(&mut self, event: &Disconnected, heard: u64) -> Vec<Notice> {
        let client = self.clients.entry(event.client_id.as_str().into()).or_default();
        let mut told = Told { client_id: &event.client_id, notices: Vec::new() };
        if event.identity == Identity::Latest && client.is_owed(event) {
            return told.notices;
        }
        if let Some(at) = client.open.iter().rposition(|open| open.is(&event.identity, &event.peer)) {
            if event.end == End::TakenOver && event.identity == Identity::Latest {
                client.owe(event.at);
            }
            let channel = client.open.remove(at);
            told.end(&channel, event.end, event.at);
            client.remember(&channel, event.at, heard + LAG);
        } else if client.past.iter().any(|past| past.at + PATIENCE >= event.at && past.is(&event.identity, &event.peer))
        {
            // Told already: another connection took its place.
        } else if event.identity == Identity::Latest {
            // It began while nobody listened.
            told.end(&Channel::unseen(event), event.end, event.at);
        } else {
            client.wait(event, heard + LAG);
        }
        if client.open.is_empty() && client.past.is_empty() {
            self.clients.remove(event.client_id.as_str());
        }
        told.notices
    }

    /// Ends, at `at` by the broker's clock and `now` by the bridge's, what a client has open of that kind: its broker, or
    /// the way to it, is gone.
    pub fn lost(&mut self, client_id: &str, ended: impl Fn(&Channel) -> bool, at: u64, now: u64) -> Vec<Notice> {
        let Some(client) = self.clients.get_mut(client_id) else { return Vec::new() };
        let mut told = Told { client_id, notices: Vec::new() };
        let (over, open) = std::mem::take(&mut client.open).into_iter().partition(ended);
        client.open = over;
        client.close_all(End::Lost, at, now, &mut told);
        client.open = open;
        told.notices
    }

    /// The clients that have something open of that kind.
    pub fn having(&self, kind: impl Fn(&Channel) -> bool) -> Vec<String> {
        let has = |client: &Client| client.open.iter().any(&kind);
        self.clients.iter().filter(|(_, client)| has(client)).map(|(id, _)| id.to_string()).collect()
    }

    /// Forgets what is over for long, by the broker's clock, and ends what never began for us: each client that has
    /// notices of that.
    pub fn forget(&mut self, now: u64) -> Vec<(String, Vec<Notice>)> {
        let brief = self.in_order || self.clients.len() > MANY;
        let remembered = if brief { PATIENCE } else { REMEMBERED };
        let mut changed = Vec::new();
        self.clients.retain(|client_id, client| {
            let mut told = Told { client_id, notices: Vec::new() };
            for past in &mut client.past {
                if past.at + PATIENCE < now
                    && let Some(end) = past.waits.take()
                {
                    told.end(&past.unseen(client_id), end, past.at);
                }
            }
            client.past.retain(|past| past.at + remembered > now);
            if !told.notices.is_empty() {
                changed.push((client_id.to_string(), told.notices));
            }
            !(client.open.is_empty() && client.past.is_empty())
        });
        if self.clients.capacity() > 4 * self.clients.len() {
            self.clients.shrink_to(2 * self.clients.len());
        }
        changed
    }
}

impl Client {
    /// What is open is taken over: unless it was announced, its end may still be told.
    fn owe(&mut self, at: u64) {
        if self.open.iter().any(|open| !open.announced && open.name.is_none()) {
            self.owed = Some(at);
        }
    }

    /// Whether an end is that of a connection that was taken over, which has been told.
    fn is_owed(&mut self, event: &Disconnected) -> bool {
        event.end != End::TakenOver && self.owed.take().is_some_and(|since| event.at <= since + OWED)
    }

    /// Its connections, in the order in which they began.
    pub fn open(&self) -> &[Channel] {
        &self.open
    }

    fn close_all(&mut self, end: End, at: u64, sure: u64, told: &mut Told<'_>) {
        for channel in std::mem::take(&mut self.open) {
            told.end(&channel, end, at);
            self.remember(&channel, at, sure);
        }
    }

    fn remember(&mut self, channel: &Channel, at: u64, sure: u64) {
        if let Identity::Latest = channel.identity() {
            return;
        }
        self.push(Past { name: channel.name.clone(), peer: channel.peer.clone(), at, sure, waits: None });
    }

    /// An end whose beginning has not come yet.
    fn wait(&mut self, event: &Disconnected, sure: u64) {
        let name = match &event.identity {
            Identity::Named(name) => Some(name.as_str().into()),
            Identity::Peer | Identity::Latest => None,
        };
        self.push(Past { name, peer: event.peer.as_str().into(), at: event.at, sure, waits: Some(event.end) });
    }

    fn push(&mut self, past: Past) {
        if self.past.len() == PAST {
            self.past.remove(0);
        }
        self.past.reserve_exact(1);
        self.past.push(past);
    }
}

impl Past {
    fn unseen(&self, client_id: &str) -> Channel {
        let identity = self.name.as_deref().map_or(Identity::Peer, |name| Identity::Named(name.to_owned()));
        let (client_id, peer) = (client_id.to_owned(), self.peer.to_string());
        Channel::unseen(&Disconnected { client_id, at: self.at, peer, identity, end: End::Lost })
    }
}

/// The notices of one step.
struct Told<'a> {
    client_id: &'a str,
    notices: Vec<Notice>,
}

impl Told<'_> {
    fn connect(&mut self, channel: &Channel) {
        self.tell(EventType::Connect, channel.id, &channel.peer, channel.at);
    }

    /// LMQ-7.2: `tcpclean` always comes, after `disconnect` where the client said so.
    fn end(&mut self, channel: &Channel, end: End, at: u64) {
        if end == End::Clean {
            self.tell(EventType::Disconnect, channel.id, &channel.peer, at);
        }
        self.tell(EventType::TcpClean, channel.id, &channel.peer, at);
    }

    fn tell(&mut self, event_type: EventType, channel_id: ChannelId, peer: &str, time: u64) {
        let client_id = self.client_id.to_owned();
        self.notices.push(Notice { client_id, time, event_type, channel_id, client_ip: peer.to_owned() });
    }
}
