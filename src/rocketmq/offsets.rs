//! What a source has handed on and what of it is settled, for all its queues. Pure.
//!
//! It answers one question: up to where may the offset of a queue be committed? Up to its lowest message that is
//! not settled (invariant 3). Only unsettled messages are remembered, so that one that stays unsettled for hours
//! costs nothing for those that pass it.

use std::collections::{BTreeMap, HashMap};

use crate::delivery::Ticket;

/// Names one spell of holding a queue: a queue that is lost and taken again gets a new one, so that tickets of the
/// earlier spell are harmless.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Hold(pub u32);

/// How many messages one run may hold.
const RUN: u64 = u64::BITS as u64;

/// Neighbours: consecutive tickets with consecutive offsets of one queue.
#[derive(Debug)]
struct Run {
    hold: Hold,
    first_offset: u64,
    length: u64,
    /// Bit n is the message at `first_offset + n`: 1 while it is not settled.
    pending: u64,
}

/// The ledger of one source.
#[derive(Debug, Default)]
pub struct Ledger {
    next: Ticket,
    runs: BTreeMap<Ticket, Run>,
    unsettled: HashMap<Hold, usize>,
}

impl Ledger {
    /// The ticket that the next message handed on gets.
    pub fn next_ticket(&self) -> Ticket {
        self.next
    }

    /// Notes that the messages at these offsets, ascending and above all earlier ones of this hold, are handed on,
    /// with tickets from `next_ticket` on.
    pub fn hand_on(&mut self, hold: Hold, offsets: impl IntoIterator<Item = u64>) {
        let mut open: Option<(Ticket, Run)> = None;
        for offset in offsets {
            *self.unsettled.entry(hold).or_default() += 1;
            match &mut open {
                Some((_, run)) if run.first_offset + run.length == offset && run.length < RUN => {
                    run.pending |= 1 << run.length;
                    run.length += 1;
                }
                _ => {
                    let run = Run { hold, first_offset: offset, length: 1, pending: 1 };
                    if let Some((ticket, full)) = open.replace((self.next, run)) {
                        self.runs.insert(ticket, full);
                    }
                }
            }
            self.next += 1;
        }
        if let Some((ticket, run)) = open {
            self.runs.insert(ticket, run);
        }
    }

    /// Notes that these tickets are settled. Unknown ones, and ones settled before, are ignored.
    pub fn settle(&mut self, tickets: &[Ticket]) {
        let mut rest = tickets;
        while let Some(&ticket) = rest.first() {
            let Some((&first, run)) = self.runs.range_mut(..=ticket).next_back() else {
                rest = &rest[1..];
                continue;
            };
            let before = run.pending.count_ones();
            let of_run = rest.iter().take_while(|ticket| (first..first + run.length).contains(ticket)).count();
            for ticket in &rest[..of_run] {
                run.pending &= !(1 << (ticket - first));
            }
            let settled = before - run.pending.count_ones();
            let (hold, done) = (run.hold, run.pending == 0);
            if let Some(count) = self.unsettled.get_mut(&hold) {
                *count -= settled as usize;
            }
            if done {
                self.runs.remove(&first);
            }
            rest = &rest[of_run.max(1)..];
        }
    }

    /// How many messages of this hold are not settled.
    pub fn unsettled(&self, hold: Hold) -> usize {
        self.unsettled.get(&hold).copied().unwrap_or(0)
    }

    /// The lowest unsettled offset of each hold that has one. Any other hold may be committed up to where it was
    /// read.
    pub fn lowest_unsettled(&self) -> HashMap<Hold, u64> {
        let mut lowest = HashMap::new();
        for run in self.runs.values() {
            lowest.entry(run.hold).or_insert(run.first_offset + u64::from(run.pending.trailing_zeros()));
        }
        lowest
    }

    /// Forgets a queue that is no longer held; what was handed on of it may be settled later, to no effect.
    pub fn forget(&mut self, hold: Hold) {
        self.runs.retain(|_, run| run.hold != hold);
        self.unsettled.remove(&hold);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    const A: Hold = Hold(0);
    const B: Hold = Hold(1);

    #[test]
    fn the_lowest_unsettled_message_holds_the_offset() {
        let mut ledger = Ledger::default();
        ledger.hand_on(A, 10..13);
        ledger.settle(&[2, 1]);
        assert_eq!(ledger.lowest_unsettled()[&A], 10);
        ledger.settle(&[0]);
        assert_eq!(ledger.lowest_unsettled().get(&A), None);
        assert_eq!(ledger.unsettled(A), 0);
    }

    #[test]
    fn gaps_between_offsets_are_no_messages() {
        let mut ledger = Ledger::default();
        ledger.hand_on(A, [3, 7, 8, 200]);
        ledger.settle(&[0, 1]);
        assert_eq!(ledger.lowest_unsettled()[&A], 8);
        ledger.settle(&[2]);
        assert_eq!(ledger.lowest_unsettled()[&A], 200);
    }

    #[test]
    fn tickets_of_a_forgotten_hold_are_harmless() {
        let mut ledger = Ledger::default();
        ledger.hand_on(A, 0..5);
        ledger.forget(A);
        ledger.hand_on(B, 0..5);
        ledger.settle(&[0, 1, 2, 3, 4, 99]);
        assert_eq!(ledger.lowest_unsettled(), HashMap::from([(B, 0)]));
        assert_eq!((ledger.unsettled(A), ledger.unsettled(B)), (0, 5));
    }

    #[test]
    fn a_message_that_stays_unsettled_costs_nothing_for_those_that_pass_it() {
        let mut ledger = Ledger::default();
        ledger.hand_on(A, 0..1);
        for offset in (0..100_000).step_by(32) {
            let first = ledger.next_ticket();
            ledger.hand_on(B, offset..offset + 32);
            ledger.settle(&(first..first + 32).collect::<Vec<_>>());
        }
        assert_eq!(ledger.runs.len(), 1);
    }

    proptest! {
        /// Against the plain definition: a set of unsettled (queue, offset).
        #[test]
        fn it_agrees_with_a_set(
            batches in proptest::collection::vec((0u32..3, proptest::collection::vec(1u64..4, 0..100)), 1..10),
            picks in proptest::collection::vec(any::<prop::sample::Index>(), 0..300),
        ) {
            let (mut ledger, mut model, mut all) = (Ledger::default(), BTreeSet::new(), Vec::new());
            let mut next_offset = [0u64; 3];
            for (queue, steps) in &batches {
                let position = &mut next_offset[*queue as usize];
                let offsets: Vec<u64> = steps.iter().map(|step| { *position += step; *position }).collect();
                let first = ledger.next_ticket();
                ledger.hand_on(Hold(*queue), offsets.iter().copied());
                for (ticket, offset) in (first..).zip(offsets) {
                    model.insert((*queue, offset));
                    all.push((ticket, *queue, offset));
                }
            }
            if all.is_empty() { return Ok(()); }
            let settled: Vec<_> = picks.iter().map(|pick| *pick.get(&all)).collect();
            for chunk in settled.chunks(7) {
                ledger.settle(&chunk.iter().map(|(ticket, ..)| *ticket).collect::<Vec<_>>());
                for (_, queue, offset) in chunk { model.remove(&(*queue, *offset)); }
            }
            for queue in 0..3 {
                let lowest = model.range((queue, 0)..=(queue, u64::MAX)).next().map(|(_, offset)| *offset);
                prop_assert_eq!(ledger.lowest_unsettled().get(&Hold(queue)).copied(), lowest);
                prop_assert_eq!(ledger.unsettled(Hold(queue)), model.iter().filter(|(q, _)| *q == queue).count());
            }
        }
    }
}
