//! Messages for clients that seem to be offline. They wait for a moment, since the `connect` of a client that has just come may
//! still be on its way, while the answer to what it asked is here already.
//!
//! Pure bookkeeping, time is an argument. No message overtakes one that waits for the same client, or with the same key.
//! It must never drop what it is in doubt about.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    delivery::{OrderKey, Outgoing, Ticket},
    settings::Limits,
};

/// How long a client must be known to be offline before a message is dropped. A route that waits this long is not stalled.
pub(super) const WAIT: Duration = Duration::from_secs(3);

/// A message that may have to wait.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) outgoing: Outgoing,
    /// The one client that it is for, if it is for one.
    pub(super) client_id: Option<String>,
    /// Whether that client may miss it.
    pub(super) may_miss: bool,
    /// Whether others with the same order key wait for it.
    pub(super) keyed: bool,
}

impl Candidate {
    fn key(&self) -> Option<OrderKey> {
        self.keyed.then_some(self.outgoing.order)
    }
}

/// The messages that wait, in the order in which they came, each with the time at which it is dropped.
#[derive(Debug)]
pub(super) struct Held {
    waiting: VecDeque<(Candidate, Instant)>,
    most: usize,
    clients: HashSet<String>,
    keys: HashSet<OrderKey>,
}

/// What has become of messages that waited.
#[derive(Debug, Default)]
pub(super) struct Released {
    pub(super) sent: Vec<Outgoing>,
    pub(super) dropped: Vec<Ticket>,
}

impl Held {
    /// Nothing waits. What waits takes up half of the window at most, so that the others go on.
    pub(super) fn new(limits: Limits) -> Self {
        let most = limits.messages / 2;
        Self { waiting: VecDeque::new(), most, clients: HashSet::new(), keys: HashSet::new() }
    }

    /// Has a message wait if it must, or gives it back to be sent.
    pub(super) fn hold(
        &mut self,
        candidate: Candidate,
        now: Instant,
        is_offline: impl FnOnce(&str) -> bool,
    ) -> Option<Outgoing> {
        let client_id = candidate.client_id.as_deref();
        let is_behind = client_id.is_some_and(|client_id| self.clients.contains(client_id))
            || candidate.key().is_some_and(|key| self.keys.contains(&key));
        let has_room = self.waiting.len() < self.most;
        if is_behind || (has_room && candidate.may_miss && client_id.is_some_and(is_offline)) {
            self.keep(candidate, now + WAIT);
            return None;
        }
        Some(candidate.outgoing)
    }

    /// Sends what is for a client that is not known to be offline any more, and drops what is for one that was all the time.
    pub(super) fn release(&mut self, now: Instant, is_offline: impl Fn(&str) -> bool) -> Released {
        let (mut released, mut known) = (Released::default(), HashMap::new());
        self.clients.clear();
        self.keys.clear();
        for (candidate, until) in std::mem::take(&mut self.waiting) {
            let client_id = candidate.client_id.as_deref().unwrap_or_default();
            let is_offline =
                candidate.may_miss && *known.entry(client_id.to_owned()).or_insert_with(|| is_offline(client_id));
            let is_behind =
                self.clients.contains(client_id) || candidate.key().is_some_and(|key| self.keys.contains(&key));
            if is_offline && now >= until {
                released.dropped.push(candidate.outgoing.ticket);
            } else if is_offline || is_behind {
                self.keep(candidate, until);
            } else {
                released.sent.push(candidate.outgoing);
            }
        }
        released
    }

    fn keep(&mut self, candidate: Candidate, until: Instant) {
        self.clients.extend(candidate.client_id.clone());
        self.keys.extend(candidate.key());
        self.waiting.push_back((candidate, until));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Message, Topic};

    fn candidate(ticket: Ticket, client_id: &str, may_miss: bool, key: u64) -> Candidate {
        let message = Message::new(Topic::from_mqtt("a"), "");
        let outgoing = Outgoing { ticket, order: OrderKey::Hash(key), message, deadline: None };
        let client_id = Some(client_id.to_owned()).filter(|client_id| !client_id.is_empty());
        Candidate { outgoing, client_id, may_miss, keyed: key > 0 }
    }

    fn tickets(released: &Released) -> (Vec<Ticket>, &[Ticket]) {
        (released.sent.iter().map(|outgoing| outgoing.ticket).collect(), &released.dropped)
    }

    fn held(messages: usize) -> Held {
        Held::new(Limits { messages, bytes: usize::MAX })
    }

    #[test]
    fn a_message_is_dropped_only_after_a_client_was_offline_all_the_time() {
        let (mut held, now) = (held(10), Instant::now());
        assert!(held.hold(candidate(0, "a", true, 0), now, |_| true).is_none());
        assert!(held.hold(candidate(1, "b", true, 0), now, |_| true).is_none());
        assert!(held.hold(candidate(2, "c", true, 0), now, |_| false).is_some(), "not offline");
        assert!(held.hold(candidate(3, "d", false, 0), now, |_| true).is_some(), "to be kept");
        assert_eq!(tickets(&held.release(now + WAIT / 2, |client_id| client_id != "b")), (vec![1], &[][..]));
        let late = now + WAIT;
        assert_eq!(tickets(&held.release(late - Duration::from_millis(1), |_| true)), (vec![], &[][..]));
        assert_eq!(tickets(&held.release(late, |_| true)), (vec![], &[0][..]));
        assert!(held.hold(candidate(4, "a", false, 0), now, |_| true).is_some(), "nothing waits any more");
    }

    #[test]
    fn nothing_overtakes_what_waits_for_the_same_client_or_with_the_same_key() {
        let (mut held, now) = (held(10), Instant::now());
        assert!(held.hold(candidate(0, "a", true, 7), now, |_| true).is_none());
        assert!(held.hold(candidate(1, "a", false, 0), now, |_| true).is_none(), "for the same client, to be kept");
        assert!(held.hold(candidate(2, "", false, 7), now, |_| true).is_none(), "with the same key");
        assert!(held.hold(candidate(3, "b", true, 7), now, |_| false).is_none(), "with the same key, for one online");
        assert!(held.hold(candidate(4, "b", false, 0), now, |_| false).is_none(), "behind that one");
        assert!(held.hold(candidate(5, "c", false, 8), now, |_| true).is_some(), "of another key and client");
        assert_eq!(tickets(&held.release(now, |client_id| client_id == "a")), (vec![], &[][..]));
        assert_eq!(tickets(&held.release(now + WAIT, |client_id| client_id == "a")), (vec![1, 2, 3, 4], &[0][..]));
    }

    #[test]
    fn half_of_the_window_stays_free() {
        let (mut held, now) = (held(4), Instant::now());
        for ticket in 0..2 {
            assert!(held.hold(candidate(ticket, &ticket.to_string(), true, 0), now, |_| true).is_none());
        }
        assert!(held.hold(candidate(2, "other", true, 0), now, |_| true).is_some(), "in doubt it is sent");
    }
}
