//! Which events wait for which notices, and what is known once they are stored.
//!
//! Events are done in the order in which they came: what is kept on disk is always what a prefix of them made, so
//! that after a crash the rest can be read again and make the same. Pure.

use std::collections::VecDeque;

use super::{connections::Client, lifeline::Known};
use crate::delivery::Ticket;

/// Names an event of one session of the broker: its packet id, and a hash of what it says.
pub type Key = (u16, u64);

/// An event that is done, or nearly.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// What its source wants back; nothing for what the bridge found out by itself.
    pub source: Option<Ticket>,
    /// Recognises it.
    pub key: Option<Key>,
    /// The clients that it changed, as they are since.
    pub changed: Vec<(String, Client)>,
    /// A peer that has opened a connection and not said who it is.
    pub opened: Option<String>,
    /// What is known of the broker since.
    pub broker: Option<Known>,
    /// When it happened, in milliseconds since the epoch by the bridge's clock.
    pub happened: u64,
}

/// The events of one status route.
#[derive(Debug, Default)]
pub struct Ledger {
    /// Each with how many notices it waits for.
    events: VecDeque<(Event, usize)>,
    first_event: u64,
    /// The event that each notice belongs to, from `first_notice` on; nothing once it is settled.
    notices: VecDeque<Option<u64>>,
    first_notice: Ticket,
    /// By packet id, the hash of the last event that had it; 0 for none. A broker gives packet ids in turn, so an event
    /// that it sends again is the last one of its packet id, however many wait for their acknowledgements: Mosquitto
    /// 2.0 forgets its window when a session is taken up again.
    keys: Vec<u64>,
}

impl Ledger {
    /// Takes up which events were done by the last process, in their order.
    pub fn restore(&mut self, keys: impl IntoIterator<Item = Key>) {
        for key in keys {
            self.know(key);
        }
    }

    /// Whether an event that is marked as sent again came before.
    pub fn knows(&self, (id, hash): Key) -> bool {
        self.keys.get(usize::from(id)) == Some(&hash)
    }

    /// The keys that are known. Where events are not done, theirs are among them.
    pub fn keys(&self) -> impl Iterator<Item = Key> {
        (0..=u16::MAX).zip(&self.keys).filter(|(_, hash)| **hash != 0).map(|(id, hash)| (id, *hash))
    }

    /// Takes an event in. Its notices get tickets from the one that is returned on.
    pub fn open(&mut self, event: Event, notices: usize) -> Ticket {
        if let Some(key) = event.key {
            self.know(key);
        }
        let number = self.mark();
        let ticket = self.first_notice + self.notices.len() as u64;
        self.notices.extend(std::iter::repeat_n(Some(number), notices));
        self.events.push_back((event, notices));
        ticket
    }

    /// When the first of the events happened that are not done.
    pub fn oldest(&self) -> Option<u64> {
        self.events.front().map(|(event, _)| event.happened)
    }

    /// A notice is stored. One that is unknown or was settled before is ignored.
    pub fn settle(&mut self, ticket: Ticket) {
        let slot = ticket.checked_sub(self.first_notice).and_then(|index| usize::try_from(index).ok());
        let event = slot.and_then(|index| self.notices.get_mut(index)).and_then(Option::take);
        let index = event.and_then(|event| usize::try_from(event - self.first_event).ok());
        if let Some((_, waiting)) = index.and_then(|index| self.events.get_mut(index)) {
            *waiting -= 1;
        }
        while let Some(None) = self.notices.front() {
            self.notices.pop_front();
            self.first_notice += 1;
        }
    }

    /// The events at the front whose notices are all stored.
    pub fn done(&mut self) -> Vec<Event> {
        let ready = self.events.iter().take_while(|(_, waiting)| *waiting == 0).count();
        self.first_event += ready as u64;
        self.events.drain(..ready).map(|(event, _)| event).collect()
    }

    /// What to ask [`Self::is_done`] for to learn when all events so far are done.
    pub fn mark(&self) -> u64 {
        self.first_event + self.events.len() as u64
    }

    /// Whether all events up to a mark are done.
    pub fn is_done(&self, mark: u64) -> bool {
        mark <= self.first_event
    }

    /// Events that are not done.
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Whether all events are done.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    fn know(&mut self, (id, hash): Key) {
        let at = usize::from(id);
        if self.keys.len() <= at {
            self.keys.resize(at + 1, 0);
        }
        self.keys[at] = hash;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(source: Option<Ticket>, key: Option<Key>) -> Event {
        Event { source, key, ..Event::default() }
    }

    fn sources(events: Vec<Event>) -> Vec<Option<Ticket>> {
        events.into_iter().map(|event| event.source).collect()
    }

    #[test]
    fn events_are_done_in_the_order_in_which_they_came() {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.open(of(Some(7), None), 2), 0);
        assert_eq!(ledger.open(of(Some(8), None), 0), 2);
        assert_eq!(ledger.open(of(Some(9), None), 1), 2);
        ledger.settle(2);
        ledger.settle(0);
        ledger.settle(0);
        assert_eq!(sources(ledger.done()), []);
        ledger.settle(1);
        assert_eq!(sources(ledger.done()), [Some(7), Some(8), Some(9)]);
        assert!(ledger.is_empty());
        assert_eq!(ledger.open(of(None, None), 1), 3);
        ledger.settle(99);
        ledger.settle(3);
        assert_eq!(sources(ledger.done()), [None]);
    }

    #[test]
    fn a_mark_is_reached_when_all_before_it_is_done() {
        let mut ledger = Ledger::default();
        assert!(ledger.is_done(ledger.mark()));
        ledger.open(of(None, None), 1);
        let mark = ledger.mark();
        ledger.open(of(None, None), 1);
        ledger.settle(1);
        ledger.done();
        assert!(!ledger.is_done(mark));
        ledger.settle(0);
        ledger.done();
        assert!(ledger.is_done(mark));
    }

    #[test]
    fn an_event_is_recognised_until_its_packet_id_is_used_again() {
        let mut ledger = Ledger::default();
        ledger.restore([(1, 10), (2, 20)]);
        assert!(ledger.knows((1, 10)) && !ledger.knows((1, 20)) && !ledger.knows((3, 0)));
        for id in 2..=u16::MAX {
            ledger.open(of(None, Some((id, 30))), 0);
            ledger.done();
        }
        assert!(ledger.knows((1, 10)) && !ledger.knows((2, 20)) && ledger.knows((u16::MAX, 30)));
        assert_eq!(ledger.keys().count(), usize::from(u16::MAX));
        assert_eq!(ledger.keys().next(), Some((1, 10)));
    }
}
