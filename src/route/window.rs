//! What a route has read and not yet settled: pure bookkeeping, time is an argument.
//!
//! It bounds memory (invariant 5), keeps the originals that parking needs, and knows the oldest. It never decides
//! when to acknowledge: it only says which ticket is settled.

use std::collections::VecDeque;

use tokio::time::Instant;

use crate::{delivery::Ticket, message::Message, settings::Limits};

/// A message in flight.
#[derive(Debug)]
pub(super) struct InFlight {
    /// As it was read, so that a refused message can be put aside whole.
    pub(super) message: Message,
    /// When the route took it.
    pub(super) since: Instant,
    /// When it was refused. It waits to be put aside since, and before that for the sink.
    refused: Option<Instant>,
    weight: usize,
}

/// The messages in flight, in the order of their tickets.
#[derive(Debug)]
pub(super) struct Window {
    limits: Limits,
    /// The ticket of the first slot.
    first: Ticket,
    /// A settled message leaves `None` until all before it are settled too.
    slots: VecDeque<Option<InFlight>>,
    messages: usize,
    /// How many of them are refused.
    refused: usize,
    bytes: usize,
}

impl Window {
    /// An empty window with its bounds.
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, first: 0, slots: VecDeque::new(), messages: 0, refused: 0, bytes: 0 }
    }

    /// Whether another batch may be read. A batch may overshoot the bounds by its own size.
    pub(super) fn has_room(&self) -> bool {
        self.messages < self.limits.messages && self.bytes < self.limits.bytes
    }

    /// Takes a message in. Tickets must rise; a gap counts as settled.
    pub(super) fn admit(&mut self, ticket: Ticket, message: Message, since: Instant) {
        if self.slots.is_empty() {
            self.first = ticket;
        }
        let index = self.index(ticket).filter(|index| *index >= self.slots.len()).expect("tickets of a source rise");
        while self.slots.len() < index {
            self.slots.push_back(None);
        }
        let weight = message.weight();
        self.messages += 1;
        self.bytes += weight;
        self.slots.push_back(Some(InFlight { message, since, refused: None, weight }));
    }

    /// Takes a message out. `None` when it is not in flight: settled before, or never admitted.
    pub(super) fn settle(&mut self, ticket: Ticket) -> Option<InFlight> {
        let index = self.index(ticket)?;
        let settled = self.slots.get_mut(index)?.take()?;
        self.messages -= 1;
        self.refused -= usize::from(settled.refused.is_some());
        self.bytes -= settled.weight;
        while let Some(None) = self.slots.front() {
            self.slots.pop_front();
            self.first += 1;
        }
        Some(settled)
    }

    /// Notes that a message, which it gives if it is in flight, waits no longer for the sink but to be put aside.
    pub(super) fn refuse(&mut self, ticket: Ticket, now: Instant) -> Option<&InFlight> {
        let index = self.index(ticket)?;
        let message = self.slots.get_mut(index)?.as_mut()?;
        self.refused += usize::from(message.refused.replace(now).is_none());
        Some(message)
    }

    /// Since when the message that has waited longest for the sink waits.
    pub(super) fn waits_for_sink(&self) -> Option<Instant> {
        self.in_flight().find(|message| message.refused.is_none()).map(|message| message.since)
    }

    /// Since when the message that has waited longest to be put aside waits.
    pub(super) fn waits_for_parking(&self) -> Option<Instant> {
        self.in_flight().filter_map(|message| message.refused).take(self.refused).min()
    }

    fn in_flight(&self) -> impl Iterator<Item = &InFlight> {
        self.slots.iter().flatten()
    }

    /// Messages in flight.
    pub(super) fn len(&self) -> usize {
        self.messages
    }

    /// Whether nothing is in flight.
    pub(super) fn is_empty(&self) -> bool {
        self.messages == 0
    }

    /// Bytes in flight.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// When the oldest message in flight was taken.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.slots.front().and_then(Option::as_ref).map(|oldest| oldest.since)
    }

    fn index(&self, ticket: Ticket) -> Option<usize> {
        usize::try_from(ticket.checked_sub(self.first)?).ok()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::message::Topic;

    fn message() -> Message {
        Message::new(Topic::from_mqtt("a/b"), "payload")
    }

    fn window(messages: usize) -> Window {
        Window::new(Limits { messages, bytes: usize::MAX })
    }

    #[tokio::test]
    async fn a_full_window_has_room_again_once_something_is_settled() {
        let mut window = window(2);
        window.admit(0, message(), Instant::now());
        assert!(window.has_room());
        window.admit(1, message(), Instant::now());
        assert!(!window.has_room());
        assert!(window.settle(1).is_some());
        assert!(window.has_room());
        assert!(window.settle(1).is_none(), "a ticket is settled once");
    }

    #[tokio::test]
    async fn a_message_waits_for_the_sink_until_it_is_refused_and_then_to_be_put_aside() {
        let now = Instant::now();
        let later = |seconds| now + std::time::Duration::from_secs(seconds);
        let mut window = window(10);
        (0..3).for_each(|ticket| window.admit(ticket, message(), later(ticket)));
        assert_eq!((window.waits_for_sink(), window.waits_for_parking()), (Some(now), None));
        assert!(window.refuse(0, later(20)).is_some() && window.refuse(1, later(10)).is_some());
        assert!(window.refuse(1, later(10)).is_some(), "refused twice is refused once");
        assert_eq!((window.waits_for_sink(), window.waits_for_parking()), (Some(later(2)), Some(later(10))));
        assert!(window.settle(1).is_some() && window.settle(2).is_some());
        assert_eq!((window.waits_for_sink(), window.waits_for_parking()), (None, Some(later(20))));
        assert!(window.settle(0).is_some() && window.refuse(0, now).is_none());
        assert_eq!((window.waits_for_sink(), window.waits_for_parking()), (None, None));
    }

    #[tokio::test]
    async fn bytes_bound_it_too() {
        let mut window = Window::new(Limits { messages: 100, bytes: 1 });
        window.admit(0, message(), Instant::now());
        assert!(!window.has_room());
        window.settle(0);
        assert_eq!(window.bytes(), 0);
    }

    proptest! {
        #[test]
        fn any_order_of_settling_empties_it(count in 1_u64..50, seed in any::<u64>(), gap in 0_u64..3) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
            let _guard = runtime.enter();
            let mut window = window(1_000);
            let mut tickets: Vec<Ticket> = (0..count).map(|n| 7 + n * (gap + 1)).collect();
            for ticket in &tickets {
                window.admit(*ticket, message(), Instant::now());
            }
            fastrand::Rng::with_seed(seed).shuffle(&mut tickets);
            for (settled, ticket) in tickets.iter().enumerate() {
                prop_assert_eq!(window.len(), tickets.len() - settled);
                prop_assert!(window.oldest().is_some());
                prop_assert!(window.settle(*ticket).is_some());
            }
            prop_assert!(window.is_empty() && window.oldest().is_none() && window.slots.is_empty());
        }
    }
}
