//! What a broker says about its clients, in words that all brokers share. Pure.

use serde::{Deserialize, Serialize};

/// Something that a broker said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// A client came.
    Connected(Connected),
    /// A client is gone.
    Disconnected(Disconnected),
    /// A connection was opened by this peer. One of which this was not said before its client came is of another kind,
    /// a web socket perhaps, whose end may be told after the beginning of the one that takes its place.
    Opened(String),
    /// How many messages the broker has dropped, for any of its clients, since it started.
    Dropped(u64),
    /// For how long the broker has been running, in seconds: one that was restarted has lost all its connections.
    Uptime(u64),
}

/// A client came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connected {
    /// The client id, never empty.
    pub client_id: String,
    /// When, in milliseconds since the epoch, by the broker's clock where it says so.
    pub at: u64,
    /// `ip:port` of the client, or what of it the broker tells; empty where it tells nothing.
    pub peer: String,
    /// What tells this connection of the client from all its others, as far as its beginning shows.
    pub identity: Identity,
}

/// A client is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disconnected {
    /// The client id, never empty.
    pub client_id: String,
    /// When, in milliseconds since the epoch, by the broker's clock where it says so.
    pub at: u64,
    /// `ip:port` of the client, or what of it the broker tells; empty where it tells nothing.
    pub peer: String,
    /// Which connection ended. One that matches none of the client's is the end of a login that was refused, or of
    /// a connection whose beginning nobody heard of.
    pub identity: Identity,
    /// How it ended.
    pub end: End,
}

/// What names one connection of a client, as far as a broker says. The event that ends a connection decides which one
/// that is; the one that begins it may know less.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Identity {
    /// The connection whose beginning carries the same text. No other connection of the client does.
    Named(String),
    /// The connection whose beginning carries the same `peer`, whatever its own identity says: the latest such, since
    /// a port may be used again.
    Peer,
    /// Nothing names it: the client's latest connection.
    Latest,
}

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum End {
    /// The client said DISCONNECT.
    Clean,
    /// It did not, or the broker does not say: timeout, reset, refusal, kick.
    Lost,
    /// Another connection with its client id took its place.
    TakenOver,
}
