//! The lanes of one topic: which queue a message goes to, and what may be sent there now.
//!
//! Each lane has one request under way, so that messages of one order key are stored in the order in which they
//! came, whatever is sent again. When the topic's list of queues changes, new messages are held until what is
//! unresolved has drained from the old lanes; a lane whose queue stays away gives up its messages after a grace.
//!
//! Pure: it is told what time it is and what became of a request.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::backlog::{Backlog, Batch, BatchLimits, Entry};
use crate::{
    delivery::{OrderKey, Ticket},
    message::Queue,
};

/// The lanes of one topic.
#[derive(Debug)]
pub(super) struct Lanes {
    limits: BatchLimits,
    /// How long a queue may be missing before its messages go elsewhere.
    grace: Duration,
    /// In the order of the route's list; none until a list is known.
    current: Vec<Lane>,
    /// The list that takes over once the lanes have drained.
    next: Option<Vec<Queue>>,
    /// What came since the list changed, or before there was one.
    held: Backlog,
    /// Numbers requests, so that a late answer is known as such.
    requests: u64,
    unresolved: usize,
}

#[derive(Debug)]
struct Lane {
    queue: Queue,
    /// Parts of one batch: the first is being sent.
    sending: Vec<Batch>,
    waiting: Backlog,
    /// The request under way.
    request: Option<u64>,
    failures: u32,
    retry_at: Option<Instant>,
    missing_since: Option<Instant>,
    problem: Option<String>,
}

/// Names a request to its lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RequestId {
    lane: usize,
    request: u64,
}

/// What to send now.
#[derive(Debug)]
pub(super) struct Send {
    pub(super) id: RequestId,
    pub(super) queue: Queue,
    pub(super) bytes: Bytes,
    pub(super) entries: usize,
    /// These messages were sent before.
    pub(super) again: bool,
}

impl Lanes {
    pub(super) fn new(limits: BatchLimits, grace: Duration) -> Self {
        Self { limits, grace, current: Vec::new(), next: None, held: Backlog::default(), requests: 0, unresolved: 0 }
    }

    /// Messages taken and not resolved.
    pub(super) fn unresolved(&self) -> usize {
        self.unresolved
    }

    /// True once a list of queues is known.
    pub(super) fn has_queues(&self) -> bool {
        !self.current.is_empty()
    }

    /// True while messages are held until lanes have drained.
    pub(super) fn is_changing(&self) -> bool {
        self.next.is_some()
    }

    /// Takes a message, written as an entry.
    pub(super) fn push(&mut self, entry: Entry, bytes: &[u8]) {
        self.unresolved += 1;
        self.place(entry, bytes);
    }

    fn place(&mut self, entry: Entry, bytes: &[u8]) {
        if self.next.is_some() || self.current.is_empty() {
            self.held.push(entry, bytes, self.limits);
            return;
        }
        let lane = lane_of(entry, self.current.len());
        self.current[lane].waiting.push(entry, bytes, self.limits);
    }

    /// Takes the topic's writable queues, sorted, as a name server says them now. An empty list changes nothing:
    /// there is nowhere else to go.
    pub(super) fn set_queues(&mut self, queues: Vec<Queue>, now: Instant) {
        if queues.is_empty() {
            return;
        }
        for lane in &mut self.current {
            let missing = !queues.contains(&lane.queue);
            lane.missing_since = missing.then(|| lane.missing_since.unwrap_or(now));
        }
        let same = queues.iter().eq(self.current.iter().map(|lane| &lane.queue));
        self.next = (!same).then_some(queues);
        if same {
            self.release();
        }
        self.advance(now);
    }

    /// Lets the new list take over as soon as the old lanes have drained, or their queues were missing for too long.
    pub(super) fn advance(&mut self, now: Instant) {
        let grace = self.grace;
        let given_up = |lane: &Lane| lane.missing_since.is_some_and(|since| now >= since + grace);
        if self.next.is_none() || !self.current.iter().all(|lane| lane.is_empty() || given_up(lane)) {
            return;
        }
        let Some(queues) = self.next.take() else { return };
        let new = queues.into_iter().map(Lane::new).collect();
        let mut moved: Vec<(Entry, Bytes)> =
            std::mem::replace(&mut self.current, new).into_iter().flat_map(Lane::into_entries).collect();
        moved.sort_by_key(|(entry, _)| entry.ticket);
        for (entry, bytes) in moved {
            self.place(entry, &bytes);
        }
        self.release();
    }

    fn release(&mut self) {
        let mut held = std::mem::take(&mut self.held);
        while let Some(batch) = held.take() {
            for (entry, bytes) in batch.into_entries() {
                self.place(entry, &bytes);
            }
        }
    }

    /// Appends what may be sent now, at most one request for each lane, and the tickets that have expired instead.
    pub(super) fn ready(&mut self, now: Instant, sends: &mut Vec<Send>, expired: &mut Vec<Ticket>) {
        let before = expired.len();
        for (index, lane) in self.current.iter_mut().enumerate() {
            if let Some((bytes, entries)) = lane.ready(now, expired) {
                self.requests += 1;
                lane.request = Some(self.requests);
                let id = RequestId { lane: index, request: self.requests };
                sends.push(Send { id, queue: lane.queue.clone(), bytes, entries, again: lane.failures > 0 });
            }
        }
        self.unresolved -= expired.len() - before;
    }

    /// The queue stored a request's messages: their tickets.
    pub(super) fn stored(&mut self, id: RequestId) -> impl Iterator<Item = Ticket> + use<> {
        let batch = self.answered(id).map(Lane::finished).unwrap_or_default();
        self.unresolved -= batch.entries.len();
        batch.entries.into_iter().map(|entry| entry.ticket)
    }

    /// The broker refuses a request's messages for good. If there is one, this is it; if there are several, each half
    /// is sent by itself.
    pub(super) fn refused(&mut self, id: RequestId) -> Option<Ticket> {
        let lane = self.answered(id)?;
        let batch = lane.finished();
        if let [entry] = batch.entries[..] {
            self.unresolved -= 1;
            return Some(entry.ticket);
        }
        let (first, second) = batch.halves();
        lane.sending.insert(0, second);
        lane.sending.insert(0, first);
        None
    }

    /// A request failed; the same is sent again at a time that depends on how often it has failed.
    pub(super) fn failed(&mut self, id: RequestId, problem: String, retry_at: impl FnOnce(u32) -> Instant) {
        if let Some(lane) = self.answered(id) {
            lane.failures += 1;
            lane.retry_at = Some(retry_at(lane.failures));
            lane.problem = Some(problem);
        }
    }

    /// The lane whose request was answered; nothing when the answer comes too late to count.
    fn answered(&mut self, id: RequestId) -> Option<&mut Lane> {
        let lane = self.current.get_mut(id.lane).filter(|lane| lane.request == Some(id.request))?;
        lane.request = None;
        Some(lane)
    }

    /// When to call [`Self::ready`] or [`Self::advance`] even if nothing else happens.
    pub(super) fn next_due(&self) -> Option<Instant> {
        let retries = self.current.iter().filter(|lane| lane.request.is_none()).filter_map(|lane| lane.retry_at);
        retries.chain(self.given_up_at()).min()
    }

    /// When the new list takes over though lanes have not drained; nothing while one of them still can.
    fn given_up_at(&self) -> Option<Instant> {
        self.next.as_ref()?;
        let undrained = || self.current.iter().filter(|lane| !lane.is_empty());
        let last = undrained().map(|lane| lane.missing_since).max()??;
        undrained().all(|lane| lane.missing_since.is_some()).then(|| last + self.grace)
    }

    /// Why a lane cannot send, if one cannot. A single failure is no news: brokers under load turn requests away.
    pub(super) fn problem(&self) -> Option<&str> {
        self.current.iter().filter(|lane| lane.failures > 1).find_map(|lane| lane.problem.as_deref())
    }
}

/// Equal keys share a lane. The upper bits of the product spread keys however their hash was made.
fn lane_of(entry: Entry, lanes: usize) -> usize {
    match entry.order {
        OrderKey::Hash(hash) => {
            let mixed = u128::from(hash.wrapping_mul(0x9E37_79B9_7F4A_7C15));
            usize::try_from((mixed * lanes as u128) >> 64).unwrap_or(0)
        }
        OrderKey::Shard(number) => number as usize % lanes,
    }
}

impl Lane {
    fn new(queue: Queue) -> Self {
        Self {
            queue,
            sending: Vec::new(),
            waiting: Backlog::default(),
            request: None,
            failures: 0,
            retry_at: None,
            missing_since: None,
            problem: None,
        }
    }

    fn is_empty(&self) -> bool {
        self.sending.is_empty() && self.waiting.is_empty()
    }

    fn ready(&mut self, now: Instant, expired: &mut Vec<Ticket>) -> Option<(Bytes, usize)> {
        if self.request.is_some() || self.retry_at.is_some_and(|at| now < at) {
            return None;
        }
        loop {
            if self.sending.is_empty() {
                self.sending.push(self.waiting.take()?);
            }
            let batch = self.sending.first_mut()?;
            expired.extend(batch.refresh(now));
            if !batch.entries.is_empty() {
                return Some((batch.bytes.clone(), batch.entries.len()));
            }
            self.finished();
        }
    }

    /// Takes out the batch that was sent: there is nothing to send again.
    fn finished(&mut self) -> Batch {
        self.failures = 0;
        self.retry_at = None;
        self.problem = None;
        self.sending.remove(0)
    }

    fn into_entries(mut self) -> impl Iterator<Item = (Entry, Bytes)> {
        let waiting = std::iter::from_fn(move || self.waiting.take());
        self.sending.into_iter().chain(waiting).flat_map(Batch::into_entries)
    }
}

#[cfg(test)]
mod tests;
