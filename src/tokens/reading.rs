//! How far this replica has read what the others tell of tokens. Pure: time is an argument.
//!
//! It must never call this replica ready while a revocation that was told before its start may be unread, unless it has
//! waited long enough for RocketMQ, and then it says that it is behind.

use std::collections::HashMap;

use super::record::Entry;
use crate::{delivery::Tailed, message::Queue};

/// How long a replica that has just started refuses tokens while it cannot read what was revoked, in milliseconds.
/// After that it goes by what it knew when it stopped.
pub const PATIENCE: u64 = 10_000;
/// How long a queue may be out of reach before this replica counts as behind, in milliseconds.
const OLD: u64 = 5_000;

/// Where reading is.
#[derive(Debug)]
pub struct Reading {
    /// Nothing is read: there are no others.
    alone: bool,
    since: u64,
    /// All queues of the topic are known.
    looked: bool,
    queues: HashMap<Queue, Place>,
}

#[derive(Debug, Default)]
struct Place {
    next: u64,
    at_end: bool,
    fault_since: Option<u64>,
}

/// What was read of a queue of the topic, up to a place.
#[derive(Debug, Clone)]
pub struct Piece {
    pub(super) entries: Vec<Entry>,
    pub(super) queue: Queue,
    pub(super) next: u64,
}

impl Reading {
    /// Reads on from these positions.
    pub fn new(positions: HashMap<Queue, u64>, now: u64) -> Self {
        let place = |next| Place { next, ..Place::default() };
        let queues = positions.into_iter().map(|(queue, next)| (queue, place(next))).collect();
        Self { alone: false, since: now, looked: false, queues }
    }

    /// There are no other replicas.
    pub fn alone() -> Self {
        Self { alone: true, ..Self::new(HashMap::new(), 0) }
    }

    /// Where to go on.
    pub fn positions(&self) -> HashMap<Queue, u64> {
        self.queues.iter().map(|(queue, place)| (queue.clone(), place.next)).collect()
    }

    /// Takes in how the reading goes.
    pub fn take(&mut self, tailed: &Tailed, now: u64) {
        match tailed {
            Tailed::Queues(queues) => {
                self.looked = true;
                self.queues.retain(|queue, _| queues.contains(queue));
                for queue in queues {
                    self.queues.entry(queue.clone()).or_default();
                }
            }
            Tailed::Read { queue, next, .. } => self.place(queue).next = *next,
            Tailed::AtEnd(queue) => self.place(queue).at_end = true,
            Tailed::Fault { queue: Some(queue), .. } => {
                self.place(queue).fault_since.get_or_insert(now);
            }
            Tailed::Fault { queue: None, .. } => {}
            Tailed::Well(queue) => self.place(queue).fault_since = None,
        }
    }

    /// Whether tokens may be taken: all that was told before the start is known, or could not be had for [`PATIENCE`].
    pub fn is_ready(&self, now: u64) -> bool {
        self.has_caught_up() || now.saturating_sub(self.since) >= PATIENCE
    }

    /// Whether what the others tell may not be known here.
    pub fn is_behind(&self, now: u64) -> bool {
        let old = |place: &Place| place.fault_since.is_some_and(|since| now.saturating_sub(since) >= OLD);
        !self.has_caught_up() || self.queues.values().any(old)
    }

    fn has_caught_up(&self) -> bool {
        self.alone || (self.looked && self.queues.values().all(|place| place.at_end))
    }

    fn place(&mut self, queue: &Queue) -> &mut Place {
        self.queues.entry(queue.clone()).or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_566_000_000_000;

    fn queue(id: u32) -> Queue {
        Queue { broker: "broker-0".into(), id }
    }

    fn fault(queue: Option<Queue>) -> Tailed {
        Tailed::Fault { queue, reason: "away".to_owned() }
    }

    #[test]
    fn a_replica_is_ready_once_all_queues_are_read_to_their_end() {
        let mut reading = Reading::new([(queue(0), 7)].into(), NOW);
        assert_eq!(reading.positions(), [(queue(0), 7)].into());
        reading.take(&Tailed::AtEnd(queue(0)), NOW);
        assert!(!reading.is_ready(NOW), "there may be more queues");
        reading.take(&Tailed::Queues(vec![queue(0), queue(1)]), NOW);
        assert!(!reading.is_ready(NOW) && reading.is_behind(NOW));
        reading.take(&Tailed::Read { queue: queue(1), messages: Vec::new(), next: 3, lost: false }, NOW);
        reading.take(&Tailed::AtEnd(queue(1)), NOW);
        assert!(reading.is_ready(NOW) && !reading.is_behind(NOW));
        assert_eq!(reading.positions(), [(queue(0), 7), (queue(1), 3)].into());
    }

    #[test]
    fn a_replica_that_cannot_read_waits_and_then_says_that_it_is_behind() {
        let mut reading = Reading::new(HashMap::new(), NOW);
        reading.take(&fault(None), NOW);
        assert!(!reading.is_ready(NOW + PATIENCE - 1));
        assert!(reading.is_ready(NOW + PATIENCE) && reading.is_behind(NOW + PATIENCE));
    }

    #[test]
    fn a_queue_that_stays_away_puts_a_replica_behind() {
        let mut reading = Reading::new(HashMap::new(), NOW);
        reading.take(&Tailed::Queues(vec![queue(0)]), NOW);
        reading.take(&Tailed::AtEnd(queue(0)), NOW);
        reading.take(&fault(Some(queue(0))), NOW);
        reading.take(&fault(Some(queue(0))), NOW + OLD);
        assert!(reading.is_ready(NOW + OLD) && reading.is_behind(NOW + OLD) && !reading.is_behind(NOW + OLD - 1));
        reading.take(&Tailed::Well(queue(0)), NOW + OLD);
        assert!(!reading.is_behind(NOW + OLD));
    }

    #[test]
    fn a_replica_without_others_is_never_behind() {
        assert!(Reading::alone().is_ready(NOW) && !Reading::alone().is_behind(NOW));
    }
}
