//! Messages that wait for a lane, already written as entries and gathered into the batches they will be sent in.
//!
//! Pure: no clock and no socket.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use tokio::time::Instant;

use crate::{
    delivery::{OrderKey, Ticket},
    lmq::properties::names::EXPIRY,
    rocketmq::wire::batch::put_entry_with,
};

/// How large batches grow.
#[derive(Debug, Clone, Copy)]
pub(super) struct BatchLimits {
    /// Bytes of entries. A larger single entry makes a batch of its own.
    pub(super) bytes: usize,
    /// Entries.
    pub(super) entries: usize,
}

/// What is known of one entry besides its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) ticket: Ticket,
    pub(super) order: OrderKey,
    /// Bytes that it takes in its batch.
    pub(super) length: usize,
    pub(super) expiry: Option<Expiry>,
}

/// When a message expires, and what its bytes say of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Expiry {
    pub(super) deadline: Instant,
    pub(super) written: u64,
}

impl Expiry {
    /// The seconds that are left, begun ones included; nothing when the time is over.
    pub(super) fn left(deadline: Instant, now: Instant) -> Option<u64> {
        let left = deadline.checked_duration_since(now).filter(|left| !left.is_zero())?;
        Some(left.as_secs() + u64::from(left.subsec_nanos() > 0))
    }
}

/// Entries that go in one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Batch {
    pub(super) bytes: Bytes,
    pub(super) entries: Vec<Entry>,
}

impl Batch {
    /// Cuts a batch of several entries in two.
    pub(super) fn halves(mut self) -> (Self, Self) {
        let tail = self.entries.split_off(self.entries.len() / 2);
        let bytes = self.bytes.split_off(self.entries.iter().map(|entry| entry.length).sum());
        (self, Self { bytes, entries: tail })
    }

    /// Takes out what has expired, and writes the time that is left of the rest.
    pub(super) fn refresh(&mut self, now: Instant) -> Vec<Ticket> {
        let stale = |entry: &Entry| entry.expiry.is_some_and(|e| Expiry::left(e.deadline, now) != Some(e.written));
        if !self.entries.iter().any(stale) {
            return Vec::new();
        }
        let mut expired = Vec::new();
        let mut bytes = BytesMut::with_capacity(self.bytes.len());
        let mut kept = Vec::with_capacity(self.entries.len());
        for (mut entry, old) in std::mem::take(self).into_entries() {
            if let Some(expiry) = &mut entry.expiry {
                let Some(left) = Expiry::left(expiry.deadline, now) else {
                    expired.push(entry.ticket);
                    continue;
                };
                expiry.written = left;
                entry.length = put_entry_with(&mut bytes, &old, EXPIRY, &left.to_string());
            } else {
                bytes.extend_from_slice(&old);
            }
            kept.push(entry);
        }
        *self = Self { bytes: bytes.freeze(), entries: kept };
        expired
    }

    /// Each entry with its bytes.
    pub(super) fn into_entries(mut self) -> impl Iterator<Item = (Entry, Bytes)> {
        self.entries.into_iter().map(move |entry| (entry, self.bytes.split_to(entry.length)))
    }
}

impl Default for Batch {
    fn default() -> Self {
        Self { bytes: Bytes::new(), entries: Vec::new() }
    }
}

/// Waiting batches; the last one grows.
#[derive(Debug, Default)]
pub(super) struct Backlog(VecDeque<Growing>);

#[derive(Debug, Default)]
struct Growing {
    bytes: BytesMut,
    entries: Vec<Entry>,
}

impl Backlog {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Appends an entry.
    pub(super) fn push(&mut self, entry: Entry, bytes: &[u8], limits: BatchLimits) {
        let full = |growing: &Growing| {
            growing.entries.len() >= limits.entries || growing.bytes.len() + bytes.len() > limits.bytes
        };
        if self.0.back().is_none_or(full) {
            self.0.push_back(Growing::default());
        }
        if let Some(growing) = self.0.back_mut() {
            growing.bytes.extend_from_slice(bytes);
            growing.entries.push(entry);
        }
    }

    /// The next batch to send.
    pub(super) fn take(&mut self) -> Option<Batch> {
        let Growing { bytes, entries } = self.0.pop_front()?;
        Some(Batch { bytes: bytes.freeze(), entries })
    }
}
