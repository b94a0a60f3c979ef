//! What may be asked of presence, whoever keeps it. It must never wait: an answer that is not known yet is unknown.

use tokio::sync::broadcast;

/// How many there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// So many.
    Known(u32),
    /// Not known now; it may be later.
    Unknown,
}

/// A client that is online.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Online {
    /// Its client id.
    pub client_id: String,
    /// Its TCP connections, 1 or more.
    pub channels: u32,
    /// When the latest of them began, in milliseconds since the epoch.
    pub connected_at: u64,
    /// `ip:port` of that one; empty where its broker does not say.
    pub client_ip: String,
}

/// A client's number of connections changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Its client id.
    pub client_id: String,
    /// Its TCP connections from now on: 0 is offline.
    pub online: Answer,
    /// When, in milliseconds since the epoch: the time of the notice that said so.
    pub at: u64,
}

/// Whoever knows which clients are offline.
pub trait Absences: Send + Sync {
    /// Whether a client is offline beyond doubt: all that would tell of it works.
    fn is_offline(&self, client_id: &str) -> bool;
}

/// Whoever knows which clients are online.
pub trait Presences: Send + Sync {
    /// The TCP connections of a client.
    fn online(&self, client_id: &str) -> Answer;

    /// The clients of a group that are online.
    fn count(&self, group: &str) -> Answer;

    /// Clients of a group that are known to be online, by client id in the order of bytes, those after `after` (all
    /// when it is empty), at most `limit`.
    fn list(&self, group: &str, after: &str, limit: usize) -> Vec<Online>;

    /// Every change of a group's clients from now on. A receiver that is too slow misses some, and is told so.
    fn changes(&self, group: &str) -> broadcast::Receiver<Change>;
}
