//! The slots of a sink: publishes that a broker has not confirmed, in the order in which they must reach it.
//!
//! The session is the lane, so nothing overtakes: after a lost connection or a refusal that may be temporary,
//! everything unconfirmed goes again, in order, before anything new. Pure: no socket, clock, task or log.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use super::packet::OWN_ID;
use crate::{delivery::Ticket, message::Qos};

/// Packet ids go round from 1.
pub(super) const IDS: u16 = OWN_ID - 1;

/// The oldest publish in flight met by so many ended connections: one of those in flight may be their cause.
const SUSPICIOUS: u32 = 3;

/// A publish, alone in flight, met by so many connections that the broker closed: it is their cause.
const CERTAIN: u32 = 5;

/// A publish and how far it has come. `P` is what is written to the broker.
#[derive(Debug)]
pub(super) struct Slot<P> {
    pub(super) ticket: Ticket,
    pub(super) qos: Qos,
    pub(super) content: P,
    stage: Stage,
    /// It was written before, on this session: the next time goes with DUP.
    pub(super) dup: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// To be written, for the first time or again.
    Unsent,
    /// Written, not confirmed.
    Sent,
    /// QoS 2: PUBREC came, PUBCOMP did not. A broker may drop it until PUBREL, so it counts as in flight.
    Received,
    /// Confirmed; waits only for those before it, whose packet ids are counted from.
    Done,
}

/// How likely it is that a connection ended because of what was sent on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Blame {
    /// For reasons that lie elsewhere.
    None,
    /// It broke.
    Possible,
    /// The broker closed it.
    Likely,
}

/// What a connection that ended means for the oldest publish on it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Suspicion {
    None,
    /// This publish alone was in flight, and each time the broker closed the connection.
    Culprit(Ticket),
}

#[derive(Debug)]
pub(super) struct Outbox<P> {
    slots: VecDeque<Slot<P>>,
    /// The packet id of the first slot; the others follow without a gap.
    first_id: u16,
    /// Slots from here on may be `Unsent`; none before is.
    next: usize,
    sent: usize,
    /// Those of them with QoS 2, and how many there may be.
    exactly_once: usize,
    most_exactly_once: usize,
    /// The window was full and has not drained to three quarters since: refilling it in parts, not one by one, lets
    /// many publishes go in one write.
    filled: bool,
    unflushed: bool,
    /// Sending stopped at a publish that the broker did not take.
    halted: bool,
    /// One at a time until this ticket is confirmed.
    one_by_one: Option<Ticket>,
    suspect: Option<(Ticket, u32)>,
}

impl<P> Default for Outbox<P> {
    fn default() -> Self {
        Self {
            slots: VecDeque::new(),
            first_id: 1,
            next: 0,
            sent: 0,
            exactly_once: 0,
            most_exactly_once: usize::MAX,
            filled: false,
            unflushed: false,
            halted: false,
            one_by_one: None,
            suspect: None,
        }
    }
}

impl<P> Outbox<P> {
    /// An outbox that keeps no more than so many publishes with QoS 2 in flight, whatever the window.
    pub(super) fn with_most_exactly_once(most: usize) -> Self {
        Self { most_exactly_once: most, ..Self::default() }
    }

    /// Whether nothing waits for the broker.
    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Whether a new publish may be added: those before it are all written, and the window has room.
    pub(super) fn has_room(&self, window: u16) -> bool {
        !self.halted
            && self.next == self.slots.len()
            && self.slots.len() < usize::from(self.window(window))
            && !self.is_filled(window)
    }

    /// Publishes that are written and not confirmed.
    pub(super) fn in_flight(&self) -> usize {
        self.sent
    }

    /// How many confirmations have to come before a window that was full is refilled.
    pub(super) fn to_drain(&self, window: u16) -> usize {
        let low = usize::from(self.window(window)) * 3 / 4;
        if self.filled { self.sent.saturating_sub(low) } else { 0 }
    }

    fn is_filled(&self, window: u16) -> bool {
        self.to_drain(window) > 0
    }

    fn window(&self, window: u16) -> u16 {
        if self.one_by_one.is_some() { 1 } else { window }
    }

    /// Adds a publish behind all others; it is the next to be written.
    pub(super) fn push(&mut self, ticket: Ticket, qos: Qos, content: P) {
        self.slots.push_back(Slot { ticket, qos, content, stage: Stage::Unsent, dup: false });
    }

    /// The next publish to be written, with its packet id; it counts as written from now on.
    pub(super) fn next_to_send(&mut self, window: u16) -> Option<(u16, &mut Slot<P>)> {
        while self.slots.get(self.next).is_some_and(|slot| slot.stage != Stage::Unsent) {
            self.next += 1;
        }
        let most = usize::from(self.window(window));
        self.filled = self.is_filled(window);
        if self.halted || self.next >= self.slots.len() || self.sent >= most || self.filled {
            return None;
        }
        let id = self.id_at(self.next);
        let slot = &mut self.slots[self.next];
        if slot.qos == Qos::ExactlyOnce {
            if self.exactly_once >= self.most_exactly_once {
                return None;
            }
            self.exactly_once += 1;
        }
        slot.stage = Stage::Sent;
        self.unflushed |= slot.qos == Qos::AtMostOnce;
        self.sent += 1;
        self.filled = self.sent >= most;
        self.next += 1;
        Some((id, slot))
    }

    fn id_at(&self, index: usize) -> u16 {
        let offset = usize::from(self.first_id - 1) + index;
        u16::try_from(offset % usize::from(IDS)).unwrap_or(0) + 1
    }

    fn index_of(&self, packet_id: u16) -> Option<usize> {
        let ids = usize::from(IDS);
        let index = (usize::from(packet_id) + ids - usize::from(self.first_id)) % ids;
        (packet_id != 0 && index < self.slots.len()).then_some(index)
    }

    fn sent_slot(&mut self, packet_id: u16) -> Option<&mut Slot<P>> {
        let index = self.index_of(packet_id)?;
        self.slots.get_mut(index).filter(|slot| slot.stage == Stage::Sent && slot.qos != Qos::AtMostOnce)
    }

    /// The broker confirmed a publish, or refused it for good. Gives its ticket, to be settled.
    pub(super) fn confirmed(&mut self, packet_id: u16) -> Option<Ticket> {
        let slot = self.sent_slot(packet_id)?;
        slot.stage = Stage::Done;
        let (ticket, qos) = (slot.ticket, slot.qos);
        self.left_flight(ticket, qos);
        self.retire();
        Some(ticket)
    }

    /// PUBREC: whether a PUBREL is due.
    pub(super) fn received(&mut self, packet_id: u16) -> bool {
        let Some(index) = self.index_of(packet_id) else { return false };
        let slot = &mut self.slots[index];
        if slot.qos == Qos::ExactlyOnce && matches!(slot.stage, Stage::Sent | Stage::Received) {
            slot.stage = Stage::Received;
            return true;
        }
        false
    }

    /// PUBCOMP: the exchange of a QoS 2 publish is over. Gives its ticket, to be settled.
    pub(super) fn completed(&mut self, packet_id: u16) -> Option<Ticket> {
        let index = self.index_of(packet_id)?;
        let slot = self.slots.get_mut(index).filter(|slot| slot.stage == Stage::Received)?;
        slot.stage = Stage::Done;
        let ticket = slot.ticket;
        self.left_flight(ticket, Qos::ExactlyOnce);
        self.retire();
        Some(ticket)
    }

    fn left_flight(&mut self, ticket: Ticket, qos: Qos) {
        self.sent -= 1;
        self.exactly_once -= usize::from(qos == Qos::ExactlyOnce);
        if self.one_by_one.is_some_and(|last| ticket >= last) {
            self.one_by_one = None;
        }
        if self.suspect.is_some_and(|(suspect, _)| suspect == ticket) {
            self.suspect = None;
        }
    }

    fn retire(&mut self) {
        while self.slots.front().is_some_and(|slot| slot.stage == Stage::Done) {
            self.slots.pop_front();
            self.first_id = self.first_id % IDS + 1;
            self.next = self.next.saturating_sub(1);
        }
    }

    /// The broker did not take a publish, and may later: sending stops until [`Self::resume`]. Gives the publish.
    pub(super) fn rejected(&mut self, packet_id: u16) -> Option<&P> {
        let index = self.index_of(packet_id)?;
        let slot = self.sent_slot(packet_id)?;
        slot.stage = Stage::Unsent;
        slot.dup = false;
        let (ticket, qos) = (slot.ticket, slot.qos);
        self.sent -= 1;
        self.exactly_once -= usize::from(qos == Qos::ExactlyOnce);
        self.halted = true;
        // That one first, alone; the rest only when it went through.
        self.one_by_one = Some(self.one_by_one.map_or(ticket, |last| last.max(ticket)));
        Some(&self.slots[index].content)
    }

    /// Whether sending stopped at a publish that the broker did not take.
    pub(super) fn is_halted(&self) -> bool {
        self.halted
    }

    /// Whether sending stopped and all that was in flight is answered: time to wait and [`Self::resume`].
    pub(super) fn is_drained(&self) -> bool {
        self.halted && self.sent == 0
    }

    /// Goes on after [`Self::rejected`], from the oldest publish that is not confirmed.
    pub(super) fn resume(&mut self) {
        self.halted = false;
        self.next = 0;
    }

    /// All that was written has left: QoS 0 is settled by that. Gives the tickets.
    pub(super) fn flushed(&mut self, mut settle: impl FnMut(Ticket)) {
        if !std::mem::take(&mut self.unflushed) {
            return;
        }
        for index in 0..self.next {
            let slot = &mut self.slots[index];
            if slot.qos == Qos::AtMostOnce && slot.stage == Stage::Sent {
                slot.stage = Stage::Done;
                let ticket = slot.ticket;
                self.left_flight(ticket, Qos::AtMostOnce);
                settle(ticket);
            }
        }
        self.retire();
    }

    /// A publish that is not to be written after all, as the broker's limits do not allow it: the one that
    /// [`Self::next_to_send`] gave.
    pub(super) fn withdrawn(&mut self, packet_id: u16) {
        if let Some(index) = self.index_of(packet_id)
            && self.slots[index].stage == Stage::Sent
        {
            let slot = &mut self.slots[index];
            slot.stage = Stage::Done;
            let (ticket, qos) = (slot.ticket, slot.qos);
            self.left_flight(ticket, qos);
            self.retire();
        }
    }

    /// The connection ended. Of several publishes in flight the cause is looked for one by one, and only a
    /// connection that the broker closed counts against one that was alone.
    pub(super) fn disconnected(&mut self, blame: Blame) -> Suspicion {
        let oldest = self.slots.iter().find(|slot| slot.stage == Stage::Sent).map(|slot| slot.ticket);
        let alone = self.one_by_one.is_some();
        let counts = blame == Blame::Likely || (blame == Blame::Possible && !alone);
        let (true, Some(oldest)) = (counts, oldest) else { return Suspicion::None };
        let closes = match self.suspect {
            Some((ticket, closes)) if ticket == oldest => closes + 1,
            _ => 1,
        };
        self.suspect = Some((oldest, closes));
        if closes < if alone { CERTAIN } else { SUSPICIOUS } {
            return Suspicion::None;
        }
        self.suspect = None;
        if alone {
            return Suspicion::Culprit(oldest);
        }
        self.one_by_one = self.slots.iter().rev().find(|slot| slot.stage == Stage::Sent).map(|slot| slot.ticket);
        Suspicion::None
    }

    /// Gives up the culprit: its slot is done. Called between connections.
    pub(super) fn condemn(&mut self, ticket: Ticket) {
        if let Some(slot) = self.slots.iter_mut().find(|slot| slot.ticket == ticket && slot.stage == Stage::Sent) {
            slot.stage = Stage::Done;
            let qos = slot.qos;
            self.left_flight(ticket, qos);
            self.retire();
        }
    }

    /// A new connection: all that is not confirmed goes again, in order. Gives the packet ids whose PUBREL goes
    /// again, and says how many publishes do.
    pub(super) fn connected(&mut self, session_present: bool, mut release: impl FnMut(u16)) -> usize {
        self.next = 0;
        self.sent = 0;
        self.exactly_once = 0;
        self.halted = false;
        self.unflushed = false;
        let mut again = 0;
        for index in 0..self.slots.len() {
            let id = self.id_at(index);
            let slot = &mut self.slots[index];
            match slot.stage {
                Stage::Sent => {
                    slot.stage = Stage::Unsent;
                    slot.dup = session_present;
                    again += 1;
                }
                Stage::Unsent => slot.dup &= session_present,
                Stage::Received if session_present => {
                    release(id);
                    self.sent += 1;
                    self.exactly_once += 1;
                }
                // The new session knows nothing of it.
                Stage::Received => {
                    slot.stage = Stage::Unsent;
                    slot.dup = false;
                    again += 1;
                }
                Stage::Done => {}
            }
        }
        self.retire();
        again
    }
}
