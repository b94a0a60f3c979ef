//! The queues that this source holds: where each is read, what of it is settled, how sure its lock is.
//!
//! Pure: the time is handed in. All decisions that must not interleave (may this batch go on, under which
//! tickets?) are methods of [`Holds`], which its owner keeps under one lock.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    delivery::{Delivery, Ticket},
    message::Queue,
    rocketmq::{
        offsets::{Hold, Ledger},
        wire::consume::Span,
    },
};

/// Nothing is handed on when the lock was not confirmed for this long; a broker keeps it for 60 s.
pub(super) const LOCK_TRUST: Duration = Duration::from_secs(30);

/// A queue that the topic's route lacks for this long is gone: longer than a broker takes to start again.
pub(super) const GONE: Duration = Duration::from_secs(300);

/// One queue that is held.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) queue: Queue,
    /// Where to pull next: everything below was handed on, or is not for us.
    position: u64,
    /// What the broker confirmed.
    pub(super) committed: u64,
    /// Where the broker's next message will go, as it last said.
    max: u64,
    /// When the broker last confirmed our lock.
    pub(super) confirmed: Instant,
    /// It is being given up: nothing more is handed on.
    pub(super) leaving: bool,
    /// Since when the topic's route lacks it. One that vanished with its broker is kept for a while, in case it returns.
    pub(super) unlisted: Option<Instant>,
    /// Why it cannot be read now.
    fault: Option<String>,
}

/// What became of an attempt to hand on.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Handed {
    /// The batch has its tickets; it must be sent before the lock on the holds is released.
    On,
    /// The lock is not sure enough: wait until it is confirmed.
    Unconfirmed,
    /// The queue is no longer read under this hold.
    Gone,
}

/// All queues that are held.
#[derive(Debug, Default)]
pub(super) struct Holds {
    ledger: Ledger,
    readings: BTreeMap<Hold, Reading>,
    next: u32,
    /// One past the highest offset handed on in this process, to tell duplicates.
    seen: HashMap<Queue, u64>,
    /// Queues whose lock this member may have, read or not.
    pub(super) locked: BTreeSet<Queue>,
    /// Brokers that know this member.
    pub(super) joined: BTreeSet<Arc<str>>,
    /// Why membership does not work now.
    pub(super) group_fault: Option<String>,
}

impl Holds {
    /// Starts reading a queue at an offset that is committed.
    pub(super) fn open(&mut self, queue: Queue, position: u64, now: Instant) -> Hold {
        let hold = Hold(self.next);
        self.next += 1;
        let reading = Reading {
            queue,
            position,
            committed: position,
            max: position,
            confirmed: now,
            leaving: false,
            unlisted: None,
            fault: None,
        };
        self.readings.insert(hold, reading);
        hold
    }

    /// Stops reading a queue; what was handed on of it may be settled later, to no effect.
    pub(super) fn close(&mut self, hold: Hold) -> Option<Reading> {
        self.ledger.forget(hold);
        self.readings.remove(&hold)
    }

    pub(super) fn get_mut(&mut self, hold: Hold) -> Option<&mut Reading> {
        self.readings.get_mut(&hold)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Hold, &Reading)> {
        self.readings.iter().map(|(hold, reading)| (*hold, reading))
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Reading> {
        self.readings.values_mut()
    }

    pub(super) fn of(&self, queue: &Queue) -> Option<Hold> {
        self.readings.iter().find(|(_, reading)| reading.queue == *queue).map(|(hold, _)| *hold)
    }

    /// Notes which queues the topic's route has.
    pub(super) fn list(&mut self, readable: &[Queue], now: Instant) {
        for reading in self.readings.values_mut() {
            let since = reading.unlisted.unwrap_or(now);
            reading.unlisted = (!readable.contains(&reading.queue)).then_some(since);
        }
    }

    /// Holds of queues that are gone with their broker and of which nothing is under way.
    pub(super) fn gone(&self, now: Instant) -> Vec<Hold> {
        let gone =
            |reading: &Reading| reading.unlisted.is_some_and(|since| now.saturating_duration_since(since) >= GONE);
        self.iter()
            .filter(|(hold, reading)| gone(reading) && self.unsettled(*hold) == 0)
            .map(|(hold, _)| hold)
            .collect()
    }

    /// Queues that may be locked for nothing: not of our share, and not read.
    pub(super) fn strays(&self, share: &[Queue]) -> Vec<Queue> {
        self.locked.iter().filter(|queue| !share.contains(queue) && self.of(queue).is_none()).cloned().collect()
    }

    /// Where to pull next; nothing once the queue is no longer read.
    pub(super) fn position(&self, hold: Hold) -> Option<u64> {
        self.readings.get(&hold).filter(|reading| !reading.leaving).map(|reading| reading.position)
    }

    /// Whether a batch could be handed on now.
    pub(super) fn readiness(&self, hold: Hold, now: Instant) -> Handed {
        match self.readings.get(&hold) {
            Some(reading) if reading.leaving => Handed::Gone,
            Some(reading) if now.saturating_duration_since(reading.confirmed) >= LOCK_TRUST => Handed::Unconfirmed,
            Some(_) => Handed::On,
            None => Handed::Gone,
        }
    }

    /// Gives tickets to a batch, whose offsets are ascending and not below the position, and moves on behind it.
    pub(super) fn hand_on(
        &mut self,
        hold: Hold,
        batch: &mut [Delivery],
        offsets: &[u64],
        span: Span,
        now: Instant,
    ) -> Handed {
        let readiness = self.readiness(hold, now);
        let Some(reading) = self.readings.get_mut(&hold).filter(|_| readiness == Handed::On) else { return readiness };
        let seen = self.seen.get(&reading.queue).copied().unwrap_or(0);
        for ((delivery, offset), ticket) in batch.iter_mut().zip(offsets).zip(self.ledger.next_ticket()..) {
            delivery.ticket = ticket;
            delivery.suspected_duplicate |= *offset < seen;
        }
        self.ledger.hand_on(hold, offsets.iter().copied());
        let end = offsets.last().map_or(0, |last| last + 1);
        reading.position = reading.position.max(span.next).max(end);
        reading.max = span.max;
        if end > seen {
            self.seen.insert(reading.queue.clone(), end);
        }
        Handed::On
    }

    /// Moves on over messages that are not for us.
    pub(super) fn skip(&mut self, hold: Hold, span: Span) {
        if let Some(reading) = self.readings.get_mut(&hold) {
            reading.position = reading.position.max(span.next);
            reading.max = span.max;
        }
    }

    /// Reads a queue from another offset, forwards or backwards; the hold that goes on, if it is still held.
    pub(super) fn jump(&mut self, hold: Hold, span: Span) -> Option<Hold> {
        let reading = self.readings.get_mut(&hold)?;
        reading.max = span.max;
        if span.next >= reading.position {
            reading.position = span.next;
            return Some(hold);
        }
        // What comes has offsets that were used before, so what is unsettled of those no longer counts.
        let mut reading = self.close(hold)?;
        self.seen.remove(&reading.queue);
        reading.position = span.next;
        let hold = Hold(self.next);
        self.next += 1;
        self.readings.insert(hold, reading);
        Some(hold)
    }

    pub(super) fn settle(&mut self, tickets: &[Ticket]) {
        self.ledger.settle(tickets);
    }

    pub(super) fn unsettled(&self, hold: Hold) -> usize {
        self.ledger.unsettled(hold)
    }

    /// What is to be committed: holds whose settled offset the broker has not confirmed.
    pub(super) fn due(&self) -> Vec<(Hold, Queue, u64)> {
        let lowest = self.ledger.lowest_unsettled();
        self.readings
            .iter()
            .map(|(hold, reading)| (*hold, reading, lowest.get(hold).copied().unwrap_or(reading.position)))
            .filter(|(_, reading, offset)| *offset != reading.committed)
            .map(|(hold, reading, offset)| (hold, reading.queue.clone(), offset))
            .collect()
    }

    /// Notes what the broker confirmed.
    pub(super) fn committed(&mut self, hold: Hold, offset: u64) {
        if let Some(reading) = self.readings.get_mut(&hold) {
            reading.committed = offset;
        }
    }

    /// Messages that wait at the brokers or here: up to the end of each queue, from what is committed.
    pub(super) fn lag(&self) -> u64 {
        self.readings.values().map(|reading| reading.max.max(reading.position).saturating_sub(reading.committed)).sum()
    }

    /// Notes why a queue cannot be read, or that it can. True when that is news.
    pub(super) fn set_fault(&mut self, hold: Hold, fault: Option<String>) -> bool {
        let Some(reading) = self.readings.get_mut(&hold) else { return false };
        let news = reading.fault != fault;
        reading.fault = fault;
        news
    }

    /// Why this end cannot work: membership first, then the first queue that cannot be read.
    pub(super) fn fault(&self) -> Option<String> {
        let of_queue =
            |reading: &Reading| reading.fault.clone().filter(|_| reading.unlisted.is_none() && !reading.leaving);
        self.group_fault.clone().or_else(|| self.readings.values().find_map(of_queue))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Message, Topic};

    fn queue(id: u32) -> Queue {
        Queue { broker: "b".into(), id }
    }

    fn batch(count: usize) -> Vec<Delivery> {
        let message = Message::new(Topic::from_mqtt("t"), "");
        let delivery = || Delivery {
            ticket: 0,
            message: message.clone(),
            suspected_duplicate: false,
            packet_id: None,
            unreadable: None,
        };
        std::iter::repeat_with(delivery).take(count).collect()
    }

    fn span(next: u64, max: u64) -> Span {
        Span { next, min: 0, max }
    }

    fn hand_on(holds: &mut Holds, hold: Hold, offsets: &[u64], next: u64) -> Vec<(Ticket, bool)> {
        let mut batch = batch(offsets.len());
        assert_eq!(holds.hand_on(hold, &mut batch, offsets, span(next, 100), Instant::now()), Handed::On);
        batch.iter().map(|delivery| (delivery.ticket, delivery.suspected_duplicate)).collect()
    }

    #[test]
    fn tickets_rise_by_one_over_all_queues() {
        let mut holds = Holds::default();
        let (a, b) = (holds.open(queue(0), 5, Instant::now()), holds.open(queue(1), 0, Instant::now()));
        assert_eq!(hand_on(&mut holds, a, &[5, 6], 7), [(0, false), (1, false)]);
        assert_eq!(hand_on(&mut holds, b, &[0], 1), [(2, false)]);
        assert_eq!(hand_on(&mut holds, a, &[9], 12), [(3, false)]);
        holds.settle(&[0, 2, 3]);
        assert_eq!(holds.due(), [(a, queue(0), 6), (b, queue(1), 1)]);
        holds.settle(&[1]);
        assert_eq!(holds.due()[0], (a, queue(0), 12));
        assert_eq!(holds.lag(), 95 + 100);
    }

    #[test]
    fn what_was_handed_on_before_is_suspected() {
        let mut holds = Holds::default();
        let first = holds.open(queue(0), 0, Instant::now());
        hand_on(&mut holds, first, &[0, 1, 2], 3);
        holds.close(first);
        let again = holds.open(queue(0), 1, Instant::now());
        assert_eq!(hand_on(&mut holds, again, &[1, 2, 3], 4), [(3, true), (4, true), (5, false)]);
        holds.settle(&[0, 1, 2]);
        assert_eq!(holds.due(), [], "tickets of the earlier hold are stale");
    }

    #[test]
    fn nothing_is_handed_on_without_a_sure_lock() {
        let mut holds = Holds::default();
        let hold = holds.open(queue(0), 0, Instant::now());
        let later = Instant::now() + LOCK_TRUST;
        assert_eq!(holds.hand_on(hold, &mut batch(1), &[0], span(1, 1), later), Handed::Unconfirmed);
        assert_eq!(holds.position(hold), Some(0));
        holds.get_mut(hold).expect("reading").leaving = true;
        assert_eq!(holds.readiness(hold, Instant::now()), Handed::Gone);
        assert_eq!(holds.position(hold), None);
    }

    #[test]
    fn a_queue_that_begins_anew_commits_below_what_it_had() {
        let mut holds = Holds::default();
        let hold = holds.open(queue(0), 50, Instant::now());
        hand_on(&mut holds, hold, &[50, 51], 52);
        let anew = holds.jump(hold, span(0, 3)).expect("reading");
        assert_ne!(anew, hold);
        assert_eq!(holds.due(), [(anew, queue(0), 0)]);
        assert_eq!(hand_on(&mut holds, anew, &[0], 1), [(2, false)]);
        assert_eq!(holds.jump(anew, span(9, 9)), Some(anew), "forwards the hold stays");
        assert_eq!(holds.due(), [(anew, queue(0), 0)], "offset 0 is not settled yet");
    }

    #[test]
    fn a_queue_that_vanished_with_its_broker_is_no_fault() {
        let mut holds = Holds::default();
        let hold = holds.open(queue(0), 0, Instant::now());
        assert!(holds.set_fault(hold, Some("gone".into())));
        assert_eq!(holds.fault().as_deref(), Some("gone"));
        let now = Instant::now();
        holds.list(&[], now);
        assert_eq!(holds.fault(), None);
        holds.list(&[], now + GONE / 2);
        assert_eq!(holds.gone(now + GONE / 2), []);
        hand_on(&mut holds, hold, &[0], 1);
        assert_eq!(holds.gone(now + GONE), [], "something of it is still under way");
        holds.settle(&[0]);
        assert_eq!(holds.gone(now + GONE), [hold]);
        holds.list(&[queue(0)], now + GONE);
        assert_eq!(holds.gone(now + GONE), [], "it is back");
    }
}
