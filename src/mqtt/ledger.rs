//! The acknowledgement ledger of a source: which packet ids wait for which tickets, and in which order.
//!
//! Acknowledgements leave in the order in which the publishes came (MQTT 4.6), on the connection on which they
//! came and on no other: each connection has its own queue, and a ticket of an earlier one finds no place in it.
//! Pure: no socket, clock, task or log.

#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet, VecDeque};

use super::packet::AckKind;
use crate::{delivery::Ticket, message::Qos};

/// The place of a message that waits for no acknowledgement; no queue ever grows that long.
const NOWHERE: u64 = u64::MAX;

/// What a publish is to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Received {
    /// To be handed on under this ticket.
    New(Ticket),
    /// One sent again, which was handed on before: its acknowledgement is seen to.
    Known,
}

#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// One entry per ticket from `first_ticket` on, in the order of receipt, over all connections.
    tickets: VecDeque<Entry>,
    first_ticket: Ticket,
    in_flight: usize,
    in_flight_bytes: usize,
    /// Publishes of this connection that are not acknowledged, in the order of receipt, from `first_place` on.
    queue: VecDeque<Waiting>,
    first_place: u64,
    /// Their packet ids.
    waiting: HashSet<u16>,
    /// QoS 2 packet ids of this session between PUBLISH and PUBREL.
    exactly_once: HashMap<u16, ExactlyOnce>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    state: State,
    weight: usize,
    /// Its place in the queue of its connection.
    place: u64,
    /// Its packet id at QoS 2, else 0.
    exactly_once: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    InFlight,
    Settled,
}

#[derive(Debug, Clone, Copy)]
struct Waiting {
    kind: AckKind,
    packet_id: u16,
    settled: bool,
    /// The broker has used the packet id for another publish since, so it waits for no acknowledgement of this one.
    superseded: bool,
}

#[derive(Debug, Clone, Copy)]
struct ExactlyOnce {
    /// Nothing for a message that was not handed on.
    ticket: Option<Ticket>,
    settled: bool,
}

impl Ledger {
    /// Messages handed on and not settled.
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Their weight.
    pub(super) fn in_flight_bytes(&self) -> usize {
        self.in_flight_bytes
    }

    /// Whether the broker is owed nothing on this connection.
    pub(super) fn owes_nothing(&self) -> bool {
        self.queue.is_empty()
    }

    /// A new connection: what came on earlier ones is not acknowledged any more, since the broker sends it again.
    /// `session_present`: packet ids of QoS 2 still mean what they meant.
    pub(super) fn connected(&mut self, session_present: bool) {
        self.first_place += self.queue.len() as u64;
        self.queue.clear();
        self.waiting.clear();
        if !session_present {
            self.exactly_once.clear();
        }
    }

    /// Takes note of a publish that is to be handed on.
    pub(super) fn receive(&mut self, qos: Qos, packet_id: u16, dup: bool, weight: usize) -> Received {
        if dup && self.recognise(qos, packet_id) {
            return Received::Known;
        }
        let ticket = self.first_ticket + self.tickets.len() as u64;
        let place = self.wait(qos, packet_id, false);
        let exactly_once = if qos == Qos::ExactlyOnce { packet_id } else { 0 };
        if exactly_once != 0 {
            self.exactly_once.insert(packet_id, ExactlyOnce { ticket: Some(ticket), settled: false });
        }
        self.tickets.push_back(Entry { state: State::InFlight, weight, place, exactly_once });
        self.in_flight += 1;
        self.in_flight_bytes += weight;
        Received::New(ticket)
    }

    /// Takes note of a publish that is not handed on, and is acknowledged all the same, in its turn.
    pub(super) fn skip(&mut self, qos: Qos, packet_id: u16, dup: bool) {
        if dup && self.recognise(qos, packet_id) {
            return;
        }
        if qos == Qos::ExactlyOnce {
            self.exactly_once.insert(packet_id, ExactlyOnce { ticket: None, settled: true });
        }
        self.wait(qos, packet_id, true);
    }

    /// Whether a publish that is marked as sent again is one that we hold. One that came on this connection before
    /// waits for its acknowledgement already; a QoS 2 one of an earlier connection waits for its PUBREC anew. Without
    /// the mark it is another message: the broker lost its memory, or has another client.
    fn recognise(&mut self, qos: Qos, packet_id: u16) -> bool {
        if self.waiting.contains(&packet_id) {
            return true;
        }
        let known = self.exactly_once.get(&packet_id).filter(|_| qos == Qos::ExactlyOnce);
        let Some(known) = known.copied() else { return false };
        let place = self.wait(qos, packet_id, known.settled);
        if let Some(entry) = known.ticket.and_then(|ticket| self.entry(ticket)) {
            entry.place = place;
        }
        true
    }

    fn wait(&mut self, qos: Qos, packet_id: u16, settled: bool) -> u64 {
        let kind = match qos {
            Qos::AtMostOnce => return NOWHERE,
            Qos::AtLeastOnce => AckKind::PubAck,
            Qos::ExactlyOnce => AckKind::PubRec,
        };
        if !self.waiting.insert(packet_id) {
            let earlier = self.queue.iter_mut().filter(|waiting| waiting.packet_id == packet_id);
            earlier.for_each(|waiting| waiting.superseded = true);
        }
        self.queue.push_back(Waiting { kind, packet_id, settled, superseded: false });
        self.first_place + self.queue.len() as u64 - 1
    }

    fn entry(&mut self, ticket: Ticket) -> Option<&mut Entry> {
        let index = usize::try_from(ticket.checked_sub(self.first_ticket)?).ok()?;
        self.tickets.get_mut(index)
    }

    /// A ticket is settled: its publish may be acknowledged. A ticket that is unknown or settled before is ignored.
    pub(super) fn settle(&mut self, ticket: Ticket) {
        let Some(entry) = self.entry(ticket).filter(|entry| entry.state == State::InFlight) else { return };
        entry.state = State::Settled;
        let Entry { place, weight, exactly_once, .. } = *entry;
        self.in_flight -= 1;
        self.in_flight_bytes -= weight;
        if let Some(known) = self.exactly_once.get_mut(&exactly_once)
            && known.ticket == Some(ticket)
        {
            known.settled = true;
        }
        if let Some(index) = place.checked_sub(self.first_place)
            && let Some(waiting) = usize::try_from(index).ok().and_then(|index| self.queue.get_mut(index))
        {
            waiting.settled = true;
        }
        while self.tickets.front().is_some_and(|entry| entry.state == State::Settled) {
            self.tickets.pop_front();
            self.first_ticket += 1;
        }
    }

    /// The next acknowledgement that may leave on this connection.
    pub(super) fn next_ack(&mut self) -> Option<(AckKind, u16)> {
        while let Some(waiting) = self.queue.front().filter(|waiting| waiting.settled).copied() {
            self.queue.pop_front();
            self.first_place += 1;
            if !waiting.superseded {
                self.waiting.remove(&waiting.packet_id);
                return Some((waiting.kind, waiting.packet_id));
            }
        }
        None
    }

    /// The broker released a QoS 2 packet id: the next publish with it is another message.
    pub(super) fn release(&mut self, packet_id: u16) {
        self.exactly_once.remove(&packet_id);
    }
}
