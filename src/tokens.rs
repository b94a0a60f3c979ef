//! The tokens of this replica: which of them count, who is logged in with one, and who has to be cut.
//!
//! The hooks of brokers ask at every login and at every publish and subscribe, so a question takes no lock that anybody
//! holds for long, and waits for no disk and no network. It must never take a token that it knows to be revoked.

pub mod record;
pub mod sessions;
pub mod store;

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
};

use tokio::sync::Notify;

use self::sessions::{Client, Due, Full, Held, Sessions};
use crate::{
    lmq::token::{Grant, Invalid, TokenId, TokenKey},
    presence::adapter::Adapter,
    settings::Secret,
};

/// All that is known of tokens.
pub struct Tokens {
    key: TokenKey,
    /// Until when each revoked token would have been one.
    revoked: RwLock<HashMap<TokenId, u64>>,
    sessions: Mutex<Sessions>,
    /// Who is to be told or cut, and nobody has been yet.
    due: Mutex<Vec<Due>>,
    /// Something is due now, or earlier than it was.
    woken: Notify,
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").field("sessions", &self.sessions().len()).finish_non_exhaustive()
    }
}

impl Tokens {
    /// Knows of no token yet. `secret` is the one that all replicas share.
    pub fn new(secret: &Secret) -> Self {
        Self {
            key: TokenKey::new(secret),
            revoked: RwLock::default(),
            sessions: Mutex::default(),
            due: Mutex::default(),
            woken: Notify::new(),
        }
    }

    /// What a token grants, if it counts; `now` is in milliseconds since the epoch. Whether its access key is still
    /// known, and may still grant what it grants, is for whoever asks.
    pub fn check(&self, token: &str, now: u64) -> Result<Grant, Invalid> {
        let grant = self.key.open(token).ok_or(Invalid::Forged)?;
        self.still_counts(&grant, now)?;
        Ok(grant)
    }

    /// A broker has let a client in with these tokens, each of which [`Self::check`] found to count. From now on it is
    /// told of their end, and cut.
    pub fn logged_in(&self, client: &Client, adapter: Adapter, held: &[Held], now: u64) -> Result<(), Full> {
        self.sessions().login(client, adapter, held, now)?;
        self.woken.notify_one();
        // One may have been revoked since it was checked.
        let revoked: Vec<TokenId> = held.iter().map(|held| held.grant.id).filter(|id| self.is_revoked(*id)).collect();
        revoked.into_iter().for_each(|id| self.cut(id));
        Ok(())
    }

    /// The tokens of a client that is logged in, if all of them still count: for the question what it may publish and
    /// subscribe to.
    pub fn held(&self, client: &Client, now: u64) -> Result<Arc<[Held]>, Invalid> {
        let held = self.sessions().held(client).ok_or(Invalid::Unknown)?;
        held.iter().try_for_each(|held| self.still_counts(&held.grant, now))?;
        Ok(held)
    }

    /// A client has gone.
    pub fn logged_out(&self, client: &Client) {
        self.sessions().forget(client);
    }

    fn still_counts(&self, grant: &Grant, now: u64) -> Result<(), Invalid> {
        match () {
            () if grant.expires <= now => Err(Invalid::Expired),
            () if self.is_revoked(grant.id) => Err(Invalid::Revoked),
            () => Ok(()),
        }
    }

    fn is_revoked(&self, id: TokenId) -> bool {
        self.revoked.read().unwrap_or_else(PoisonError::into_inner).contains_key(&id)
    }

    /// Has the clients of a revoked token cut.
    fn cut(&self, id: TokenId) {
        let due = self.sessions().revoke(id);
        if !due.is_empty() {
            self.due.lock().unwrap_or_else(PoisonError::into_inner).extend(due);
            self.woken.notify_one();
        }
    }

    fn sessions(&self) -> MutexGuard<'_, Sessions> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
