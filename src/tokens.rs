//! The tokens of this replica: which of them count, who is logged in with one, and who has to be cut. LMQ-9.
//!
//! The hooks of brokers ask at every login and at every publish and subscribe, so a question takes no lock that anybody
//! holds for long, and waits for no disk and no network. It must never take a token that it knows to be revoked, nor
//! say that one was made or revoked before that is on disk.

pub mod cutter;
pub mod reading;
pub mod record;
pub mod sessions;
pub mod store;
pub mod upload;

use std::{
    collections::HashMap,
    fmt,
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{sleep, timeout},
};

use self::{
    reading::{Piece, Reading},
    record::{BadRecord, Entry, pack, unpack},
    sessions::{Client, Due, Held, Outcome, Sessions, State},
    store::{Known, Store, StoreError},
};
use crate::{
    delivery::Tailed,
    lmq::{
        token::{Grant, Invalid, Kind, TokenId, TokenKey},
        token_request::Apply,
    },
    message::Queue,
    presence::adapter::Adapter,
    settings::TokenSettings,
};

/// The longest that nobody looks who is due: a clock may be set.
const LOOK: Duration = Duration::from_secs(1);
/// Logins that are written down at a time: whoever revokes a token waits for no more.
const SAVED_TOGETHER: usize = 2_000;
/// The other replicas are told of a token again after this long, in milliseconds, so that the topic always holds all
/// that count: RocketMQ keeps messages for some days, and tokens live for 30.
const TELL_AGAIN: u64 = 20 * 3600 * 1000;

/// All that is known of tokens.
pub struct Tokens {
    key: TokenKey,
    store: Store,
    /// Until when each revoked token would have been one.
    revoked: RwLock<HashMap<TokenId, u64>>,
    sessions: Mutex<Sessions>,
    /// Who is to be told or cut, and nobody has been yet.
    due: Mutex<Vec<Due>>,
    /// Something is due now, or earlier than it was.
    woken: Notify,
    reading: Mutex<Reading>,
    /// All that the others have told is known here, or this replica does without.
    ready: AtomicBool,
    /// There is something that the other replicas do not know.
    untold: Notify,
    /// After how long this replica tells the others again: no two do so at the same time.
    tell_again: u64,
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").field("sessions", &self.sessions().len()).finish_non_exhaustive()
    }
}

/// How the tokens are, in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Figures {
    /// Tokens that count, or would if they were not revoked.
    pub known: u64,
    /// Of them, those that the other replicas have not been told of.
    pub untold: u64,
    /// Clients that are logged in with tokens.
    pub clients: usize,
    /// Whether what the others have told may not be known here.
    pub behind: bool,
}

impl Tokens {
    /// Opens what is kept in the data folder; `now` is in milliseconds since the epoch, as everywhere here.
    pub fn open(data_dir: &Path, settings: &TokenSettings, now: u64) -> Result<Self, StoreError> {
        let topic = settings.topic.as_ref().map(|topic| format!("{}/{}", topic.cluster.name, topic.topic));
        let (store, known) = Store::open(&data_dir.join("tokens.redb"), topic.as_deref().unwrap_or_default())?;
        Ok(Self::kept_in(store, known, settings, now))
    }

    pub(crate) fn kept_in(store: Store, known: Known, settings: &TokenSettings, now: u64) -> Self {
        let reading = if settings.topic.is_some() { Reading::new(known.positions, now) } else { Reading::alone() };
        let mut sessions = Sessions::default();
        for (client, adapter, state) in &known.sessions {
            match state {
                State::LoggedIn(held) => sessions.login(client, *adapter, held, now),
                State::Ended(kind, why) => sessions.owe(client, *adapter, *kind, *why, now),
            }
        }
        // The process may have ended between the revocation and the cut.
        let due = known.revoked.keys().flat_map(|id| sessions.revoke(*id)).collect();
        Self {
            key: TokenKey::new(&settings.secret),
            store,
            revoked: RwLock::new(known.revoked),
            sessions: Mutex::new(sessions),
            due: Mutex::new(due),
            woken: Notify::new(),
            ready: AtomicBool::new(reading.is_ready(now)),
            reading: Mutex::new(reading),
            untold: Notify::new(),
            tell_again: fastrand::u64(TELL_AGAIN / 2..TELL_AGAIN),
        }
    }

    /// What a token grants, if it counts. Whether its access key is still known, and may still grant what it grants, is
    /// for whoever asks.
    pub fn check(&self, token: &str, now: u64) -> Result<Grant, Invalid> {
        let grant = self.key.open(token).ok_or(Invalid::Forged)?;
        self.still_counts(&grant, now)?;
        Ok(grant)
    }

    /// A broker lets a client in with these tokens, each of which [`Self::check`] found to count. From now on it is told
    /// of their end, and cut.
    pub fn logged_in(&self, client: &Client, adapter: Adapter, held: &[Held], now: u64) {
        self.sessions().login(client, adapter, held, now);
        self.woken.notify_one();
        for Held { grant, .. } in held {
            self.cut_if_revoked(grant.id);
        }
    }

    /// The tokens of a client that is logged in, if all of them still count: for the question what it may publish and
    /// subscribe to.
    pub fn held(&self, client: &Client, now: u64) -> Result<Arc<[Held]>, Invalid> {
        let held = self.sessions().held(client)?;
        held.iter().try_for_each(|held| self.still_counts(&held.grant, now))?;
        Ok(held)
    }

    /// A client has gone, or logged in without a token: it is not cut for those that it had.
    pub fn logged_out(&self, client: &Client) {
        self.sessions().forget(client);
    }

    /// A client sends another token (LMQ-9.5): it takes the place of the one that ends. One that does not count has the
    /// client told and cut.
    pub fn renew(&self, client: &Client, token: &str, kind: Kind, now: u64) -> Result<(), Invalid> {
        let held = self.sessions().held(client)?;
        let grant = self.check(token, now).and_then(|grant| {
            let same_key = held.iter().all(|held| held.grant.access_key == grant.access_key);
            match () {
                () if !same_key => Err(Invalid::Forged),
                () if !grant.allows(kind) => Err(Invalid::Permission),
                () => Ok(grant),
            }
        });
        match grant {
            Ok(grant) => {
                self.take_up(client, Held { kind, grant: Arc::new(grant) }, now);
                Ok(())
            }
            // Not the client's fault: it may send it again.
            Err(Invalid::Unknown) => Err(Invalid::Unknown),
            Err(why) => {
                let due = self.sessions().refuse(client, kind, why);
                self.add_due(due);
                Err(why)
            }
        }
    }

    /// Makes a token.
    pub async fn apply(&self, access_key: &str, wish: Apply, now: u64) -> Result<String, NotMade> {
        let Apply { instance, resources, read, write, expires } = wish;
        let id = TokenId(fastrand::u128(..).to_be_bytes());
        let grant = Grant { id, access_key: access_key.to_owned(), instance, resources, read, write, expires };
        let token = self.key.seal(&grant).ok_or(NotMade::TooLong)?;
        self.store.put(Entry { grant, issued: now, revoked: false }).await?;
        self.untold.notify_one();
        Ok(token)
    }

    /// What a token of an access key grants, whether or not it is revoked; one of another key is none.
    pub fn of(&self, access_key: &str, token: &str, now: u64) -> Result<Grant, Invalid> {
        let grant = self.key.open(token).filter(|grant| grant.access_key == access_key).ok_or(Invalid::Forged)?;
        if grant.expires <= now { Err(Invalid::Expired) } else { Ok(grant) }
    }

    /// Ends a token. Once this returns no client gets in with it here, and those that have it are being cut.
    pub async fn revoke(&self, grant: Grant) -> Result<(), StoreError> {
        let (id, expires) = (grant.id, grant.expires);
        self.store.put(Entry { grant, issued: 0, revoked: true }).await?;
        self.revoked.write().unwrap_or_else(PoisonError::into_inner).insert(id, expires);
        self.cut(id);
        self.untold.notify_one();
        Ok(())
    }

    /// The tokens after one in the order of their ids, at most `limit`, without their texts.
    pub async fn page(&self, after: Option<TokenId>, limit: usize) -> Result<Vec<Entry>, StoreError> {
        self.store.page(after, limit).await
    }

    /// Where to go on reading the topic.
    pub fn positions(&self) -> HashMap<Queue, u64> {
        self.reading().positions()
    }

    /// Takes in what was read of the topic: it counts from now on. Gives what is to be stored of it, and what was none of
    /// ours.
    pub fn tailed(&self, tailed: Tailed, now: u64) -> (Option<Piece>, Vec<BadRecord>) {
        self.reading().take(&tailed, now);
        let (mut piece, mut bad) = (None, Vec::new());
        if let Tailed::Read { queue, messages, next, .. } = tailed {
            let mut entries = Vec::new();
            for message in messages {
                match unpack(&message.payload, &self.key) {
                    Ok(some) => entries.extend(some),
                    Err(error) => bad.push(error),
                }
            }
            self.end_revoked(&entries, now);
            piece = Some(Piece { entries, queue, next });
        }
        self.look_whether_ready(now);
        (piece, bad)
    }

    /// Stores what was read of the topic. Those that come after one must not be stored before it: reading would go on
    /// behind it after a restart.
    pub async fn keep(&self, piece: &Piece, now: u64) -> Result<(), StoreError> {
        let Piece { entries, queue, next } = piece.clone();
        self.store.heard(entries, queue, next, now).await
    }

    /// The next message for the other replicas, if there is something to tell; returns what it tells of, for
    /// [`Self::told`].
    pub async fn to_tell(&self, now: u64) -> Result<Option<(String, Vec<Entry>)>, StoreError> {
        let entries = self.store.untold(now.saturating_sub(self.tell_again).max(1)).await?;
        Ok((!entries.is_empty()).then(|| (pack(&entries, &self.key), entries)))
    }

    /// The others can read of these from now on.
    pub async fn told(&self, entries: Vec<Entry>, now: u64) -> Result<(), StoreError> {
        self.store.told(entries, now).await
    }

    /// Returns once there may be something to tell, or after a while.
    pub async fn wait_for_news(&self, longest: Duration) {
        // Late is as good: it is looked anyway.
        let _late = timeout(longest, self.untold.notified()).await;
    }

    /// Writes down who has logged in and who is gone, some at a time: so that a client is cut when its token ends though
    /// this replica was killed meanwhile. Whether there was something to write.
    pub async fn save(&self) -> Result<bool, StoreError> {
        let changes = self.sessions().take_changes(SAVED_TOGETHER);
        if changes.is_empty() {
            return Ok(false);
        }
        let clients = changes.iter().map(|(client, _)| client.clone()).collect();
        let saved = self.store.remember(changes).await;
        if saved.is_err() {
            self.sessions().put_back(clients);
        }
        saved.map(|()| true)
    }

    /// Time passes: what is over is forgotten.
    pub async fn tick(&self, now: u64) -> Result<Figures, StoreError> {
        self.look_whether_ready(now);
        self.revoked.write().unwrap_or_else(PoisonError::into_inner).retain(|_, end| *end > now);
        self.store.sweep(now).await?;
        let (known, untold) = self.store.count().await?;
        Ok(Figures { known, untold, clients: self.sessions().len(), behind: self.is_behind(now) })
    }

    /// Whether what the others have told may not be known here.
    pub fn is_behind(&self, now: u64) -> bool {
        self.reading().is_behind(now)
    }

    /// Waits until somebody is to be told or cut.
    pub async fn due(&self, now: fn() -> u64) -> Vec<Due> {
        loop {
            let ended = self.sessions().tick(now());
            self.add_due(ended);
            let due = std::mem::take(&mut *self.due.lock().unwrap_or_else(PoisonError::into_inner));
            if !due.is_empty() {
                return due;
            }
            let next = self.sessions().next().map_or(LOOK, |next| Duration::from_millis(next.saturating_sub(now())));
            tokio::select! { () = self.woken.notified() => {} () = sleep(next.min(LOOK)) => {} }
        }
    }

    /// Whether something is still to be done about it: the client may have logged in again.
    pub fn is_wanted(&self, due: &Due) -> bool {
        self.sessions().is_wanted(due)
    }

    /// Somebody has tried to cut a client, and what is still owed comes again. Nothing else forgets it.
    pub fn tried(&self, due: &Due, outcome: Outcome, now: u64) {
        self.sessions().tried(due, outcome, now);
        self.woken.notify_one();
    }

    fn still_counts(&self, grant: &Grant, now: u64) -> Result<(), Invalid> {
        match () {
            () if grant.expires <= now => Err(Invalid::Expired),
            () if self.is_revoked(grant.id) => Err(Invalid::Revoked),
            () if !self.ready.load(Ordering::Acquire) => Err(Invalid::Unknown),
            () => Ok(()),
        }
    }

    fn is_revoked(&self, id: TokenId) -> bool {
        self.revoked.read().unwrap_or_else(PoisonError::into_inner).contains_key(&id)
    }

    /// Ends those tokens that are revoked.
    fn end_revoked(&self, entries: &[Entry], now: u64) {
        for Entry { grant, .. } in entries.iter().filter(|entry| entry.revoked && entry.grant.expires > now) {
            let mut revoked = self.revoked.write().unwrap_or_else(PoisonError::into_inner);
            let news = revoked.insert(grant.id, grant.expires).is_none();
            drop(revoked);
            if news {
                self.cut(grant.id);
            }
        }
    }

    fn take_up(&self, client: &Client, fresh: Held, now: u64) {
        let id = fresh.grant.id;
        self.sessions().renew(client, fresh, now);
        self.woken.notify_one();
        self.cut_if_revoked(id);
    }

    /// A token may have been revoked since it was checked.
    fn cut_if_revoked(&self, id: TokenId) {
        if self.is_revoked(id) {
            self.cut(id);
        }
    }

    /// Has the clients of a revoked token cut.
    fn cut(&self, id: TokenId) {
        let due = self.sessions().revoke(id);
        self.add_due(due);
    }

    fn add_due(&self, due: impl IntoIterator<Item = Due>) {
        let mut all = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        let before = all.len();
        all.extend(due);
        if all.len() > before {
            self.woken.notify_one();
        }
    }

    fn look_whether_ready(&self, now: u64) {
        self.ready.store(self.reading().is_ready(now), Ordering::Release);
    }

    fn sessions(&self) -> MutexGuard<'_, Sessions> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reading(&self) -> MutexGuard<'_, Reading> {
        self.reading.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why there is no token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotMade {
    /// It would be longer than tokens are.
    #[error("it would grant more than fits in a token")]
    TooLong,
    /// It could not be written down.
    #[error(transparent)]
    Store(#[from] StoreError),
}

#[cfg(test)]
mod tests;
