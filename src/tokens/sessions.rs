//! Which clients are logged in with tokens, and when each of them must be told or cut. LMQ-9.5.
//!
//! Pure: time is an argument. It must never forget a client before it has said that the client is to be cut.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use crate::{
    lmq::token::{Grant, Invalid, Kind, TokenId},
    presence::adapter::Adapter,
};

/// LMQ-9.5: how long before its token ends a client is told, in milliseconds.
const AHEAD: u64 = 5 * 60 * 1000;
/// How long after its login a client that has to be told at once is there to be told, in milliseconds.
const SETTLED: u64 = 1000;
/// Clients at a time; beyond them nobody more is let in by token.
const MOST: usize = 1_000_000;

/// A client of a broker.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Client {
    /// What the settings call the broker.
    pub broker: Arc<str>,
    /// Its client id.
    pub client_id: Arc<str>,
}

/// A token of a client, with the type that it gave beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The type.
    pub kind: Kind,
    /// What the token grants.
    pub grant: Arc<Grant>,
}

/// What a client has to be told, or suffers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A token of it ends soon.
    Expires(u64),
    /// A token of it is none any more: it is told, then cut.
    Ended(Invalid),
}

/// An event of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// The client.
    pub client: Client,
    /// Its broker's kind.
    pub adapter: Adapter,
    /// The type of the token.
    pub kind: Kind,
    /// What happens.
    pub event: Event,
}

/// There is no room for another client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many clients are logged in with tokens")]
pub struct Full;

#[derive(Debug)]
struct Session {
    adapter: Adapter,
    held: Arc<[Held]>,
    alarms: Vec<(u64, TokenId)>,
}

/// All clients that are logged in with tokens.
#[derive(Debug, Default)]
pub struct Sessions {
    clients: HashMap<Client, Session>,
    by_token: HashMap<TokenId, HashSet<Client>>,
    alarms: BTreeSet<(u64, Client, TokenId)>,
    /// What is written down of these is old.
    touched: HashSet<Client>,
}

/// What is to be written down of a client: nothing where it is no longer logged in.
pub type Written = (Client, Option<(Adapter, Arc<[Held]>)>);

impl Sessions {
    /// A client has logged in, again or for the first time.
    pub fn login(&mut self, client: &Client, adapter: Adapter, held: &[Held], now: u64) -> Result<(), Full> {
        if self.clients.len() >= MOST && !self.clients.contains_key(client) {
            return Err(Full);
        }
        self.forget(client);
        let mut alarms = Vec::new();
        for Held { grant, .. } in held {
            self.by_token.entry(grant.id).or_default().insert(client.clone());
            // One that ends within the five minutes is told of at once.
            let notice = grant.expires.saturating_sub(AHEAD).max(now + SETTLED).min(grant.expires);
            alarms.extend([(notice, grant.id), (grant.expires, grant.id)]);
        }
        self.alarms.extend(alarms.iter().map(|(time, id)| (*time, client.clone(), *id)));
        self.clients.insert(client.clone(), Session { adapter, held: held.into(), alarms });
        self.touched.insert(client.clone());
        Ok(())
    }

    /// A client has sent another token: it takes the place of those whose type it covers. False if it is not logged in.
    pub fn renew(&mut self, client: &Client, fresh: Held, now: u64) -> bool {
        let Some(session) = self.clients.get(client) else { return false };
        let adapter = session.adapter;
        let mut held: Vec<Held> = session.held.iter().filter(|old| !fresh.kind.covers(old.kind)).cloned().collect();
        held.push(fresh);
        self.login(client, adapter, &held, now).is_ok()
    }

    /// A client has sent a token that does not count: it is to be cut, and is no longer logged in.
    pub fn refuse(&mut self, client: &Client, kind: Kind, why: Invalid) -> Option<Due> {
        let adapter = self.clients.get(client)?.adapter;
        self.forget(client);
        Some(Due { client: client.clone(), adapter, kind, event: Event::Ended(why) })
    }

    /// The tokens of a client.
    pub fn held(&self, client: &Client) -> Option<Arc<[Held]>> {
        self.clients.get(client).map(|session| session.held.clone())
    }

    /// A client is gone, or cut.
    pub fn forget(&mut self, client: &Client) {
        let Some(session) = self.clients.remove(client) else { return };
        self.touched.insert(client.clone());
        for (time, id) in session.alarms {
            self.alarms.remove(&(time, client.clone(), id));
        }
        for token in &*session.held {
            let id = token.grant.id;
            if let Some(clients) = self.by_token.get_mut(&id) {
                clients.remove(client);
                if clients.is_empty() {
                    self.by_token.remove(&id);
                }
            }
        }
    }

    /// A token is revoked: its clients are to be cut, and are no longer logged in.
    pub fn revoke(&mut self, id: TokenId) -> Vec<Due> {
        let clients: Vec<Client> = self.by_token.get(&id).into_iter().flatten().cloned().collect();
        clients.into_iter().filter_map(|client| self.end(client, id, Invalid::Revoked)).collect()
    }

    /// Time passes: who is to be told, and whose tokens have ended.
    pub fn tick(&mut self, now: u64) -> Vec<Due> {
        let mut due = Vec::new();
        while let Some((_, client, id)) = self.pop(now) {
            let Some((session, held)) = self.of(&client, id) else { continue };
            let (adapter, kind, expires) = (session.adapter, held.kind, held.grant.expires);
            if expires > now {
                due.push(Due { client, adapter, kind, event: Event::Expires(expires) });
            } else {
                due.extend(self.end(client, id, Invalid::Expired));
            }
        }
        due
    }

    /// What has changed and was not asked for yet, of so many clients at most.
    pub fn take_changes(&mut self, most: usize) -> Vec<Written> {
        let some: Vec<Client> = self.touched.iter().take(most).cloned().collect();
        let now = |client: Client| {
            self.touched.remove(&client);
            let session = self.clients.get(&client).map(|session| (session.adapter, session.held.clone()));
            (client, session)
        };
        some.into_iter().map(now).collect()
    }

    /// When the next thing happens.
    pub fn next(&self) -> Option<u64> {
        self.alarms.first().map(|(time, ..)| *time)
    }

    /// How many clients there are.
    pub fn len(&self) -> usize {
        self.clients.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.clients.is_empty()
    }

    fn of(&self, client: &Client, id: TokenId) -> Option<(&Session, &Held)> {
        let session = self.clients.get(client)?;
        Some((session, session.held.iter().find(|held| held.grant.id == id)?))
    }

    fn end(&mut self, client: Client, id: TokenId, why: Invalid) -> Option<Due> {
        let (session, held) = self.of(&client, id)?;
        let (adapter, kind) = (session.adapter, held.kind);
        self.forget(&client);
        Some(Due { client, adapter, kind, event: Event::Ended(why) })
    }

    fn pop(&mut self, now: u64) -> Option<(u64, Client, TokenId)> {
        let passed = self.alarms.first().is_some_and(|(time, ..)| *time <= now);
        passed.then(|| self.alarms.pop_first()).flatten()
    }
}

#[cfg(test)]
mod tests;
