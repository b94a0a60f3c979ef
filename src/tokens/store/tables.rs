//! The tables of the database, within one transaction. It must never leave a token without its places in the indexes.

use std::collections::HashMap;

use redb::{ReadableTable as _, ReadableTableMetadata as _, Table, TableDefinition, WriteTransaction};

use super::{
    super::{
        record::Login,
        sessions::{Client, State, Written},
    },
    Entry,
};
use crate::{lmq::token::TokenId, message::Queue, presence::adapter::Adapter};

/// By id: when other replicas were last told of it, in 8 bytes, and what is known of it.
const TOKENS: TableDefinition<u128, &[u8]> = TableDefinition::new("tokens");
/// The ids by the end of their time.
const BY_END: TableDefinition<(u64, u128), ()> = TableDefinition::new("tokens_by_end");
/// The ids by when the other replicas were last told of them.
const BY_TOLD: TableDefinition<(u64, u128), ()> = TableDefinition::new("tokens_by_told");
/// The ids that are revoked, and the end of their time.
const REVOKED: TableDefinition<u128, u64> = TableDefinition::new("revoked");
/// Where reading goes on, by broker and queue.
const POSITIONS: TableDefinition<(&str, u32), u64> = TableDefinition::new("positions");
/// Who is logged in with tokens or to be cut, by broker and client id, in JSON.
const SESSIONS: TableDefinition<(&str, &str), &[u8]> = TableDefinition::new("sessions");
/// What stands once: the topic that positions are of.
const NAMES: TableDefinition<&str, &str> = TableDefinition::new("names");
const TOPIC: &str = "topic";

/// Tokens that a message tells of at most, and their bytes.
const TOLD_TOGETHER: usize = 200;
const TOLD_BYTES: usize = 256 << 10;
/// Tokens that are forgotten at a time, so that nobody waits long.
const SWEPT: usize = 1000;

/// All tables.
pub(super) struct Tables<'t> {
    tokens: Table<'t, u128, &'static [u8]>,
    by_end: Table<'t, (u64, u128), ()>,
    by_told: Table<'t, (u64, u128), ()>,
    revoked: Table<'t, u128, u64>,
    positions: Table<'t, (&'static str, u32), u64>,
    sessions: Table<'t, (&'static str, &'static str), &'static [u8]>,
    names: Table<'t, &'static str, &'static str>,
}

/// What is stored of a token.
pub(super) struct Row {
    told: u64,
    entry: Entry,
}

impl Row {
    fn read(bytes: &[u8]) -> Result<Self, redb::Error> {
        let corrupted = |what: String| redb::Error::Corrupted(what);
        let (told, json) = bytes.split_first_chunk().ok_or_else(|| corrupted("a token without its time".to_owned()))?;
        let entry = Entry::from_json(json).map_err(|error| corrupted(error.to_string()))?;
        Ok(Self { told: u64::from_be_bytes(*told), entry })
    }

    fn bytes(&self) -> Vec<u8> {
        [&self.told.to_be_bytes()[..], self.entry.to_json().as_bytes()].concat()
    }
}

fn key(id: TokenId) -> u128 {
    u128::from_be_bytes(id.0)
}

impl<'t> Tables<'t> {
    pub(super) fn open(transaction: &'t WriteTransaction) -> Result<Self, redb::Error> {
        Ok(Self {
            tokens: transaction.open_table(TOKENS)?,
            by_end: transaction.open_table(BY_END)?,
            by_told: transaction.open_table(BY_TOLD)?,
            revoked: transaction.open_table(REVOKED)?,
            positions: transaction.open_table(POSITIONS)?,
            sessions: transaction.open_table(SESSIONS)?,
            names: transaction.open_table(NAMES)?,
        })
    }

    /// Joins what is known of a token with what is heard of it. Other replicas know of it since `told`, if they know all
    /// that is known here then. Whether it says something new.
    pub(super) fn merge(&mut self, heard: &Entry, told: u64) -> Result<bool, redb::Error> {
        let id = key(heard.grant.id);
        let old = self.row(id)?;
        let (mut row, mut news) = (Row { told, entry: heard.clone() }, true);
        if let Some(old) = old {
            self.by_told.remove((old.told, id))?;
            row.entry = old.entry;
            news = row.entry.merge(heard);
            // Who told of less than is known here has not told of all.
            row.told = match news {
                _ if row.entry == *heard => told,
                true => 0,
                false => old.told,
            };
        }
        self.by_told.insert((row.told, id), ())?;
        self.by_end.insert((row.entry.grant.expires, id), ())?;
        if row.entry.revoked {
            self.revoked.insert(id, row.entry.grant.expires)?;
        }
        self.tokens.insert(id, &*row.bytes())?;
        Ok(news)
    }

    fn row(&self, id: u128) -> Result<Option<Row>, redb::Error> {
        self.tokens.get(id)?.map(|bytes| Row::read(bytes.value())).transpose()
    }

    pub(super) fn untold(&self, before: u64) -> Result<Vec<Entry>, redb::Error> {
        let (mut found, mut bytes) = (Vec::new(), 0);
        for place in self.by_told.range(..(before, 0))?.take(TOLD_TOGETHER) {
            let (_, id) = place?.0.value();
            let Some(row) = self.row(id)? else { continue };
            bytes += row.bytes().len();
            if bytes > TOLD_BYTES && !found.is_empty() {
                break;
            }
            found.push(row.entry);
        }
        Ok(found)
    }

    pub(super) fn never_told(&self) -> Result<u64, redb::Error> {
        Ok(self.by_told.range(..(1, 0))?.count() as u64)
    }

    pub(super) fn page(&self, after: Option<TokenId>, limit: usize) -> Result<Vec<Entry>, redb::Error> {
        let first = after.map_or(Some(0), |after| key(after).checked_add(1));
        let Some(first) = first else { return Ok(Vec::new()) };
        let rows = self.tokens.range(first..)?.take(limit);
        rows.map(|row| Ok(Row::read(row?.1.value())?.entry)).collect()
    }

    pub(super) fn count(&self) -> Result<u64, redb::Error> {
        Ok(self.tokens.len()?)
    }

    pub(super) fn has_ended(&self, now: u64) -> Result<bool, redb::Error> {
        let first = self.by_end.first()?;
        Ok(first.is_some_and(|(place, _)| place.value().0 < now))
    }

    pub(super) fn sweep(&mut self, now: u64) -> Result<(), redb::Error> {
        let ended = self.by_end.range(..(now, 0))?.take(SWEPT);
        let ended = ended.map(|place| Ok(place?.0.value())).collect::<Result<Vec<_>, redb::Error>>()?;
        for (end, id) in ended {
            let told = self.row(id)?.map(|row| row.told);
            self.by_end.remove((end, id))?;
            self.tokens.remove(id)?;
            self.revoked.remove(id)?;
            if let Some(told) = told {
                self.by_told.remove((told, id))?;
            }
        }
        Ok(())
    }

    pub(super) fn revoked(&self) -> Result<HashMap<TokenId, u64>, redb::Error> {
        let mut found = HashMap::new();
        for row in self.revoked.iter()? {
            let (id, end) = row?;
            found.insert(TokenId(id.value().to_be_bytes()), end.value());
        }
        Ok(found)
    }

    pub(super) fn positions(&self) -> Result<HashMap<Queue, u64>, redb::Error> {
        let mut found = HashMap::new();
        for row in self.positions.iter()? {
            let (place, next) = row?;
            let (broker, id) = place.value();
            found.insert(Queue { broker: broker.into(), id }, next.value());
        }
        Ok(found)
    }

    pub(super) fn read_to(&mut self, queue: &Queue, next: u64) -> Result<(), redb::Error> {
        self.positions.insert((&*queue.broker, queue.id), next)?;
        Ok(())
    }

    pub(super) fn remember(&mut self, (client, session): &Written) -> Result<(), redb::Error> {
        let key = (&*client.broker, &*client.client_id);
        match session {
            Some((adapter, state)) => {
                let json = Login::new(*adapter, state).to_json();
                self.sessions.insert(key, json.as_bytes())?;
            }
            None => drop(self.sessions.remove(key)?),
        }
        Ok(())
    }

    pub(super) fn sessions(&self) -> Result<Vec<(Client, Adapter, State)>, redb::Error> {
        let mut found = Vec::new();
        for row in self.sessions.iter()? {
            let (key, json) = row?;
            let (broker, client_id) = key.value();
            let client = Client { broker: broker.into(), client_id: client_id.into() };
            // One of another version logs in anew.
            if let Some((adapter, state)) = Login::read(json.value()) {
                found.push((client, adapter, state));
            }
        }
        Ok(found)
    }

    /// Forgets the positions in another topic.
    pub(super) fn read_topic(&mut self, topic: &str) -> Result<(), redb::Error> {
        let same = self.names.get(TOPIC)?.is_some_and(|known| known.value() == topic);
        if !same {
            self.positions.retain(|_, _| false)?;
            self.names.insert(TOPIC, topic)?;
        }
        Ok(())
    }
}
