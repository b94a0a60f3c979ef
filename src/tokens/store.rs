//! What is known of tokens, on disk: those that were made, revocations, and where the reading of their topic goes on.
//!
//! One thread has the database. It does all that waits as one transaction and answers once that is on disk: a thousand
//! requests at a time cost as many syncs as one. It must never answer before, and holds no token's text.

mod tables;

use std::{collections::HashMap, path::Path, thread};

use redb::{Database, DatabaseError, WriteTransaction};
use tokio::sync::{mpsc, oneshot, watch};
use tracing::warn;

use self::tables::Tables;
use super::{
    record::Entry,
    sessions::{Client, State, Written},
};
use crate::{lmq::token::TokenId, message::Queue, presence::adapter::Adapter};

/// Requests that may wait.
const WAITING: usize = 4096;
/// Requests of one transaction.
const TOGETHER: usize = 512;

/// Why something was not stored, in words for whoever asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot write to `data_dir`: {0}")]
pub struct StoreError(String);

impl<E: Into<redb::Error>> From<E> for StoreError {
    fn from(error: E) -> Self {
        Self(error.into().to_string())
    }
}

/// What is there at the start.
#[derive(Debug, Default)]
pub struct Known {
    /// The tokens that are revoked, and until when they would have been some.
    pub revoked: HashMap<TokenId, u64>,
    /// Where to go on reading.
    pub positions: HashMap<Queue, u64>,
    /// Who is logged in with tokens, or to be cut.
    pub sessions: Vec<(Client, Adapter, State)>,
}

/// A handle of the database.
#[derive(Debug, Clone)]
pub struct Store {
    work: mpsc::Sender<Box<dyn Work>>,
    /// Closes when the thread has ended.
    ended: watch::Receiver<()>,
}

impl Store {
    /// Opens the database, or makes it. `topic` is the one in which replicas tell each other of tokens, with its cluster:
    /// positions in another count for nothing.
    pub fn open(path: &Path, topic: &str) -> Result<(Self, Known), StoreError> {
        let path = path.to_owned();
        Self::on(Box::new(move || Database::create(&path)), topic)
    }

    fn on(open: Open, topic: &str) -> Result<(Self, Known), StoreError> {
        let mut disk = Disk { open, database: None };
        let mut known = Known::default();
        disk.transaction(|transaction| {
            let mut tables = Tables::open(transaction)?;
            tables.read_topic(topic)?;
            known = Known { revoked: tables.revoked()?, positions: tables.positions()?, sessions: tables.sessions()? };
            Ok(Changes::Some)
        })?;
        let (work, wanted) = mpsc::channel(WAITING);
        let (running, ended) = watch::channel(());
        let run = move || {
            disk.serve(wanted);
            drop(running);
        };
        thread::Builder::new().name("tokens".to_owned()).spawn(run).map_err(|error| StoreError(error.to_string()))?;
        Ok((Self { work, ended }, known))
    }

    /// Stores what is known of a token, and that no other replica has been told; what was known is joined with it.
    pub async fn put(&self, entry: Entry) -> Result<(), StoreError> {
        self.write(move |tables| tables.merge(&entry, 0).map(drop)).await
    }

    /// Stores what was read of the topic, up to `next`.
    pub async fn heard(&self, entries: Vec<Entry>, queue: Queue, next: u64, now: u64) -> Result<(), StoreError> {
        let job = move |tables: &mut Tables<'_>| {
            for entry in entries.iter().filter(|entry| entry.grant.expires > now) {
                tables.merge(entry, now)?;
            }
            tables.read_to(&queue, next)
        };
        self.write(job).await
    }

    /// Tokens of which the other replicas were last told before this time or never, oldest first, as many as fit in a
    /// message.
    pub async fn untold(&self, before: u64) -> Result<Vec<Entry>, StoreError> {
        self.read(move |tables| tables.untold(before)).await
    }

    /// How many tokens there are, and how many of them the other replicas have never been told of.
    pub async fn count(&self) -> Result<(u64, u64), StoreError> {
        self.read(|tables| Ok((tables.count()?, tables.never_told()?))).await
    }

    /// The other replicas can read of these from now on.
    pub async fn told(&self, entries: Vec<Entry>, now: u64) -> Result<(), StoreError> {
        let job =
            move |tables: &mut Tables<'_>| entries.iter().try_for_each(|entry| tables.merge(entry, now).map(drop));
        self.write(job).await
    }

    /// The tokens after one in the order of their ids, at most `limit`.
    pub async fn page(&self, after: Option<TokenId>, limit: usize) -> Result<Vec<Entry>, StoreError> {
        self.read(move |tables| tables.page(after, limit)).await
    }

    /// Writes down who has logged in and who is gone.
    pub async fn remember(&self, changes: Vec<Written>) -> Result<(), StoreError> {
        self.write(move |tables| changes.iter().try_for_each(|change| tables.remember(change))).await
    }

    /// Forgets tokens whose time is over, some at a time. Where there are none, nothing is written.
    pub async fn sweep(&self, now: u64) -> Result<(), StoreError> {
        if self.read(move |tables| tables.has_ended(now)).await? {
            self.write(move |tables| tables.sweep(now)).await?;
        }
        Ok(())
    }

    /// Returns once what was asked for is done and the file is closed, if nobody else has a handle.
    pub async fn close(self) {
        let Self { work, mut ended } = self;
        drop(work);
        // Nothing is ever sent: it ends with the thread.
        let _closed = ended.changed().await;
    }

    async fn write<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Tables<'_>) -> Result<T, redb::Error> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.run(Changes::Some, job).await
    }

    async fn read<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Tables<'_>) -> Result<T, redb::Error> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.run(Changes::None, job).await
    }

    async fn run<T: Send + 'static>(
        &self,
        changes: Changes,
        job: impl FnOnce(&mut Tables<'_>) -> Result<T, redb::Error> + Send + 'static,
    ) -> Result<T, StoreError> {
        let gone = || StoreError("its thread has ended".to_owned());
        let (answer, answered) = oneshot::channel();
        let job = Job { changes, run: Some(job), outcome: None, answer };
        self.work.send(Box::new(job)).await.map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }
}

/// Whether a job writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Changes {
    None,
    Some,
}

/// Something to be done in a transaction, and somebody who waits for it.
trait Work: Send {
    fn run(&mut self, tables: &mut Tables<'_>) -> Result<Changes, redb::Error>;
    fn answer(self: Box<Self>, result: Result<(), StoreError>);
}

struct Job<T, F> {
    changes: Changes,
    run: Option<F>,
    outcome: Option<T>,
    answer: oneshot::Sender<Result<T, StoreError>>,
}

impl<T: Send, F: FnOnce(&mut Tables<'_>) -> Result<T, redb::Error> + Send> Work for Job<T, F> {
    fn run(&mut self, tables: &mut Tables<'_>) -> Result<Changes, redb::Error> {
        self.outcome = self.run.take().map(|run| run(tables)).transpose()?;
        Ok(self.changes)
    }

    fn answer(self: Box<Self>, result: Result<(), StoreError>) {
        let Self { outcome, answer, .. } = *self;
        let outcome = result.and_then(|()| outcome.ok_or_else(|| StoreError("it was not done".to_owned())));
        // Nobody waits any more: it is stored all the same.
        let _gone = answer.send(outcome);
    }
}

type Open = Box<dyn FnMut() -> Result<Database, DatabaseError> + Send>;

/// The database, opened again after a fault: it refuses everything from then on.
struct Disk {
    open: Open,
    database: Option<Database>,
}

impl Disk {
    /// Does what is asked for until nobody can ask any more, then closes the file.
    fn serve(mut self, mut wanted: mpsc::Receiver<Box<dyn Work>>) {
        let mut faulty = false;
        while let Some(first) = wanted.blocking_recv() {
            let mut together = vec![first];
            while let Some(next) = (together.len() < TOGETHER).then(|| wanted.try_recv().ok()).flatten() {
                together.push(next);
            }
            let done = self.transaction(|transaction| {
                let mut tables = Tables::open(transaction)?;
                let mut changes = Changes::None;
                for work in &mut together {
                    if work.run(&mut tables)? == Changes::Some {
                        changes = Changes::Some;
                    }
                }
                Ok(changes)
            });
            if let Err(error) = &done
                && !faulty
            {
                warn!(%error, "tokens are neither made nor revoked until this is mended");
            }
            faulty = done.is_err();
            for work in together {
                work.answer(done.clone());
            }
        }
    }

    /// Does all of a job or nothing of it, and returns once it is on disk.
    fn transaction(
        &mut self,
        job: impl FnOnce(&WriteTransaction) -> Result<Changes, redb::Error>,
    ) -> Result<(), StoreError> {
        let database = match self.database.take() {
            Some(database) => database,
            None => (self.open)()?,
        };
        let mut transaction = database.begin_write()?;
        // After a kill a start waits for nothing, however many tokens there are.
        transaction.set_quick_repair(true);
        match job(&transaction)? {
            Changes::Some => transaction.commit()?,
            Changes::None => transaction.abort()?,
        }
        self.database = Some(database);
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests;
