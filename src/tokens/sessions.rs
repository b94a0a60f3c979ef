//! Which clients are logged in with tokens, and when each of them must be told or cut. LMQ-9.5.
//!
//! Pure: time is an argument. It must never forget a client that is to be cut before somebody says that it was, or is not there.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
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
/// Clients at a time. Beyond them the one that nothing was heard of for the longest time is put out: whether it is still
/// there is not known, and if it is it has to log in again.
const MOST: usize = 1_000_000;
/// Between tries to cut a client, in milliseconds: at first, and at last.
const PAUSE: u64 = 1000;
const LONGEST_PAUSE: u64 = 60_000;

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
    /// Which state of the client it is about: in another there is nothing to do.
    number: u64,
}

/// How it ended to look after a client that is to be cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is cut, or never can be.
    Settled,
    /// It is not connected, or not yet: it may come in as its token ends.
    Absent,
    /// Its broker does not answer, or refuses.
    Failed,
}

/// How a client stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It is logged in with these.
    LoggedIn(Arc<[Held]>),
    /// A token of this type has ended for this reason, and the client is not cut yet.
    Ended(Kind, Invalid),
}

#[derive(Debug)]
struct Session {
    number: u64,
    adapter: Adapter,
    state: State,
    /// When there is something to do, about which token; about none where it is to be cut.
    alarms: Vec<(u64, Option<TokenId>)>,
    pause: u64,
    /// It was not connected when it was looked for last.
    absent: bool,
}

/// All clients that are logged in with tokens, or to be cut.
#[derive(Debug)]
pub struct Sessions {
    most: usize,
    clients: HashMap<Client, Session>,
    by_token: HashMap<TokenId, HashSet<Client>>,
    alarms: BTreeSet<(u64, Client, Option<TokenId>)>,
    /// By the number of their sessions: whoever came or ended first is first.
    by_age: BTreeMap<u64, Client>,
    last: u64,
    /// How many are to be cut.
    ended: usize,
    /// What is written down of these is old.
    touched: HashSet<Client>,
}

/// What is to be written down of a client: nothing where it is neither logged in nor to be cut.
pub type Written = (Client, Option<(Adapter, State)>);

impl Default for Sessions {
    fn default() -> Self {
        Self::with_room(MOST)
    }
}

impl Sessions {
    /// Nobody yet, and no more than so many.
    fn with_room(most: usize) -> Self {
        let (clients, by_token, touched) = (HashMap::new(), HashMap::new(), HashSet::new());
        let (alarms, by_age, last, ended) = (BTreeSet::new(), BTreeMap::new(), 0, 0);
        Self { most, clients, by_token, alarms, by_age, last, ended, touched }
    }

    /// A client has logged in, again or for the first time: it is not cut for what it had before.
    pub fn login(&mut self, client: &Client, adapter: Adapter, held: &[Held], now: u64) {
        let held: Arc<[Held]> = held.iter().map(|held| self.shared(held)).collect();
        let mut alarms = Vec::new();
        for Held { grant, .. } in &*held {
            // One that ends within the five minutes is told of at once.
            let notice = grant.expires.saturating_sub(AHEAD).max(now + SETTLED).min(grant.expires);
            alarms.extend([(notice, Some(grant.id)), (grant.expires, Some(grant.id))]);
        }
        self.put(client, adapter, State::LoggedIn(held), alarms);
    }

    /// A client was to be cut when this was written down, and nobody knows whether it was.
    pub fn owe(&mut self, client: &Client, adapter: Adapter, kind: Kind, why: Invalid, now: u64) {
        self.put(client, adapter, State::Ended(kind, why), vec![(now, None)]);
    }

    /// A client has sent another token: it takes the place of those whose type it covers. False if it is not logged in.
    pub fn renew(&mut self, client: &Client, fresh: Held, now: u64) -> bool {
        let Some((adapter, old)) = self.logged_in(client) else { return false };
        let mut held: Vec<Held> = old.iter().filter(|old| !fresh.kind.covers(old.kind)).cloned().collect();
        held.push(fresh);
        self.login(client, adapter, &held, now);
        true
    }

    /// A client has sent a token that does not count: it is to be cut, and is no longer logged in.
    pub fn refuse(&mut self, client: &Client, kind: Kind, why: Invalid) -> Option<Due> {
        let (adapter, _) = self.logged_in(client)?;
        Some(self.end(client.clone(), adapter, kind, why))
    }

    /// The tokens of a client that is logged in; else why it is not.
    pub fn held(&self, client: &Client) -> Result<Arc<[Held]>, Invalid> {
        match self.clients.get(client).map(|session| &session.state) {
            Some(State::LoggedIn(held)) => Ok(held.clone()),
            Some(State::Ended(_, why)) => Err(*why),
            None => Err(Invalid::Unknown),
        }
    }

    /// A client is gone, cut, or in without tokens: nothing is owed to it.
    pub fn forget(&mut self, client: &Client) {
        let Some(session) = self.clients.remove(client) else { return };
        self.touched.insert(client.clone());
        self.by_age.remove(&session.number);
        for (time, id) in session.alarms {
            self.alarms.remove(&(time, client.clone(), id));
        }
        let State::LoggedIn(held) = session.state else {
            self.ended -= 1;
            return;
        };
        for token in &*held {
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
        let end = |client: Client| {
            let (adapter, held) = self.of(&client, id)?;
            Some(self.end(client, adapter, held.kind, Invalid::Revoked))
        };
        clients.into_iter().filter_map(end).collect()
    }

    /// Time passes: who is to be told, whose tokens have ended, and who is to be cut and is not yet.
    pub fn tick(&mut self, now: u64) -> Vec<Due> {
        let mut due = Vec::new();
        while let Some((_, client, id)) = self.pop(now) {
            let Some(id) = id else {
                due.extend(self.owed(client));
                continue;
            };
            let Some((adapter, held)) = self.of(&client, id) else { continue };
            let (kind, expires) = (held.kind, held.grant.expires);
            due.push(if expires > now {
                let number = self.clients.get(&client).map_or(0, |session| session.number);
                Due { client, adapter, kind, event: Event::Expires(expires), number }
            } else {
                self.end(client, adapter, kind, Invalid::Expired)
            });
        }
        due
    }

    /// Whether nothing has changed since: a client that has logged in again is neither told nor cut for what it had.
    pub fn is_wanted(&self, due: &Due) -> bool {
        self.clients.get(&due.client).is_some_and(|session| session.number == due.number)
    }

    /// Somebody has tried to cut a client. What is still owed comes again; whoever was only told stays as it is.
    pub fn tried(&mut self, due: &Due, outcome: Outcome, now: u64) {
        let owed = |session: &&mut Session| session.number == due.number && matches!(session.state, State::Ended(..));
        let Some(session) = self.clients.get_mut(&due.client).filter(owed) else { return };
        if outcome == Outcome::Settled || (outcome == Outcome::Absent && session.absent) {
            return self.forget(&due.client);
        }
        session.absent = outcome == Outcome::Absent;
        let alarm = (now + session.pause, None);
        session.pause = (session.pause * 2).min(LONGEST_PAUSE);
        session.alarms = vec![alarm];
        self.alarms.insert((alarm.0, due.client.clone(), None));
    }

    /// What has changed and was not asked for yet, of so many clients at most.
    pub fn take_changes(&mut self, most: usize) -> Vec<Written> {
        let some: Vec<Client> = self.touched.iter().take(most).cloned().collect();
        let now = |client: Client| {
            self.touched.remove(&client);
            let session = self.clients.get(&client).map(|session| (session.adapter, session.state.clone()));
            (client, session)
        };
        some.into_iter().map(now).collect()
    }

    /// What has changed of these could not be written down.
    pub fn put_back(&mut self, clients: Vec<Client>) {
        self.touched.extend(clients);
    }

    /// When the next thing happens.
    pub fn next(&self) -> Option<u64> {
        self.alarms.first().map(|(time, ..)| *time)
    }

    /// How many clients are logged in.
    pub fn len(&self) -> usize {
        self.clients.len() - self.ended
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether it is logged in, or owed something.
    #[cfg(test)]
    pub(super) fn knows(&self, client: &Client) -> bool {
        self.clients.contains_key(client)
    }

    fn logged_in(&self, client: &Client) -> Option<(Adapter, Arc<[Held]>)> {
        let session = self.clients.get(client)?;
        match &session.state {
            State::LoggedIn(held) => Some((session.adapter, held.clone())),
            State::Ended(..) => None,
        }
    }

    fn of(&self, client: &Client, id: TokenId) -> Option<(Adapter, Held)> {
        let (adapter, held) = self.logged_in(client)?;
        Some((adapter, held.iter().find(|held| held.grant.id == id)?.clone()))
    }

    /// The same, with what all that hold the token share.
    fn shared(&self, held: &Held) -> Held {
        let id = held.grant.id;
        let other = self.by_token.get(&id).and_then(|clients| self.of(clients.iter().next()?, id));
        Held { kind: held.kind, grant: other.map_or_else(|| held.grant.clone(), |(_, other)| other.grant) }
    }

    fn put(&mut self, client: &Client, adapter: Adapter, state: State, alarms: Vec<(u64, Option<TokenId>)>) -> u64 {
        self.forget(client);
        while self.clients.len() >= self.most
            && let Some((_, oldest)) = self.by_age.pop_first()
        {
            self.forget(&oldest);
        }
        self.last += 1;
        let number = self.last;
        match &state {
            State::LoggedIn(held) => held.iter().for_each(|held| {
                self.by_token.entry(held.grant.id).or_default().insert(client.clone());
            }),
            State::Ended(..) => self.ended += 1,
        }
        self.alarms.extend(alarms.iter().map(|(time, id)| (*time, client.clone(), *id)));
        self.by_age.insert(number, client.clone());
        self.touched.insert(client.clone());
        let session = Session { number, adapter, state, alarms, pause: PAUSE, absent: false };
        self.clients.insert(client.clone(), session);
        number
    }

    fn end(&mut self, client: Client, adapter: Adapter, kind: Kind, why: Invalid) -> Due {
        let number = self.put(&client, adapter, State::Ended(kind, why), Vec::new());
        Due { client, adapter, kind, event: Event::Ended(why), number }
    }

    /// What is owed to a client that is to be cut.
    fn owed(&self, client: Client) -> Option<Due> {
        let Session { number, adapter, state, .. } = self.clients.get(&client)?;
        let State::Ended(kind, why) = *state else { return None };
        Some(Due { client, adapter: *adapter, kind, event: Event::Ended(why), number: *number })
    }

    fn pop(&mut self, now: u64) -> Option<(u64, Client, Option<TokenId>)> {
        let passed = self.alarms.first().is_some_and(|(time, ..)| *time <= now);
        passed.then(|| self.alarms.pop_first()).flatten()
    }
}

#[cfg(test)]
mod tests;
