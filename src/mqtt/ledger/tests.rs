//! The ledger against a broker that loses connections, acknowledgements and sessions.

use std::collections::HashSet;

use proptest::prelude::*;

use super::*;

/// A publish as the broker keeps it.
#[derive(Debug, Clone)]
struct Held {
    message: usize,
    qos: Qos,
    packet_id: u16,
    /// QoS 2: PUBREC arrived.
    received: bool,
}

/// What a broker does by the book: in order, with packet ids that it reuses as soon as it may.
#[derive(Debug, Default)]
struct Broker {
    held: Vec<Held>,
    next_message: usize,
}

impl Broker {
    fn publish(&mut self, qos: Qos) -> Held {
        let packet_id = (1..=u16::MAX).find(|id| self.held.iter().all(|held| held.packet_id != *id)).unwrap();
        let held = Held { message: self.next_message, qos, packet_id, received: false };
        self.next_message += 1;
        self.held.push(held.clone());
        held
    }

    /// Gives a packet id whose PUBREL follows.
    fn acknowledged(&mut self, kind: AckKind, packet_id: u16) -> Option<u16> {
        let at = self.held.iter().position(|held| held.packet_id == packet_id)?;
        if kind == AckKind::PubAck {
            self.held.remove(at);
            return None;
        }
        self.held[at].received = true;
        Some(packet_id)
    }
}

/// Both sides, and what must hold between them.
#[derive(Debug, Default)]
struct World {
    broker: Broker,
    ledger: Ledger,
    /// Message of each ticket.
    handed_on: Vec<usize>,
    unsettled: Vec<Ticket>,
    settled: HashSet<usize>,
    /// Packet ids in the order in which they came on this connection.
    came: VecDeque<u16>,
}

impl World {
    fn deliver(&mut self, held: &Held, dup: bool) {
        match self.ledger.receive(held.qos, held.packet_id, dup, 1) {
            Received::New(ticket) => {
                assert_eq!(ticket, self.handed_on.len() as u64, "tickets rise by one");
                self.handed_on.push(held.message);
                self.unsettled.push(ticket);
            }
            Received::Known => assert!(dup && (held.qos == Qos::ExactlyOnce || self.came.contains(&held.packet_id))),
        }
        if !self.came.contains(&held.packet_id) {
            self.came.push_back(held.packet_id);
        }
    }

    /// Sends what is not acknowledged again, on the same connection, as brokers of 3.1.1 may.
    fn resend(&mut self, which: usize) {
        if !self.broker.held.is_empty() {
            let held = self.broker.held[which % self.broker.held.len()].clone();
            let before = self.handed_on.len();
            self.deliver(&held, true);
            assert_eq!(self.handed_on.len(), before, "it came on this connection before");
        }
    }

    /// Writes what may be acknowledged; `arrives` says whether the broker gets it.
    fn acknowledge(&mut self, arrives: bool) {
        while let Some((kind, packet_id)) = self.ledger.next_ack() {
            assert_eq!(self.came.pop_front(), Some(packet_id), "in the order of receipt, on their own connection");
            let held = self.broker.held.iter().find(|held| held.packet_id == packet_id).unwrap();
            assert!(self.settled.contains(&held.message), "nothing is acknowledged that is not settled");
            if arrives && let Some(released) = self.broker.acknowledged(kind, packet_id) {
                self.ledger.release(released);
                self.broker.held.retain(|held| held.packet_id != released);
            }
        }
    }

    fn settle(&mut self, which: usize) {
        if !self.unsettled.is_empty() {
            let ticket = self.unsettled.swap_remove(which % self.unsettled.len());
            self.settled.insert(self.handed_on[usize::try_from(ticket).unwrap()]);
            self.ledger.settle(ticket);
        }
    }

    fn reconnect(&mut self, session_present: bool) {
        self.came.clear();
        self.ledger.connected(session_present);
        if !session_present {
            self.broker.held.clear();
        }
        for held in self.broker.held.clone() {
            if held.received {
                self.ledger.release(held.packet_id);
                self.broker.held.retain(|other| other.packet_id != held.packet_id);
            } else {
                self.deliver(&held, true);
            }
        }
    }
}

#[derive(Debug, Clone)]
enum Step {
    Publish(Qos),
    Resend(usize),
    Settle(usize),
    Acknowledge { arrives: bool },
    Reconnect { session_present: bool },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => prop_oneof![Just(Qos::AtLeastOnce), Just(Qos::ExactlyOnce)].prop_map(Step::Publish),
        1 => any::<usize>().prop_map(Step::Resend),
        6 => any::<usize>().prop_map(Step::Settle),
        4 => Just(Step::Acknowledge { arrives: true }),
        1 => Just(Step::Acknowledge { arrives: false }),
        1 => prop::bool::weighted(0.8).prop_map(|session_present| Step::Reconnect { session_present }),
    ];
    prop::collection::vec(step, 0..200)
}

proptest! {
    #[test]
    fn acknowledgements_follow_settlements_in_the_order_of_receipt(steps in steps()) {
        let mut world = World::default();
        let mut exactly_once_ends_with_a_session = true;
        for step in steps {
            match step {
                Step::Publish(qos) => {
                    let held = world.broker.publish(qos);
                    world.deliver(&held, false);
                }
                Step::Resend(which) => world.resend(which),
                Step::Settle(which) => world.settle(which),
                Step::Acknowledge { arrives } => {
                    world.acknowledge(arrives);
                    // What did not arrive was lost with its connection.
                    if !arrives {
                        world.reconnect(true);
                    }
                }
                Step::Reconnect { session_present } => {
                    exactly_once_ends_with_a_session &= session_present;
                    world.reconnect(session_present);
                }
            }
        }
        while !world.unsettled.is_empty() {
            world.settle(0);
        }
        world.acknowledge(true);
        prop_assert!(world.broker.held.is_empty(), "all that was settled is acknowledged");
        prop_assert_eq!((world.ledger.in_flight(), world.ledger.in_flight_bytes()), (0, 0));
        prop_assert!(world.ledger.owes_nothing() && world.ledger.tickets.is_empty());
        prop_assert!(world.ledger.exactly_once.is_empty() || !exactly_once_ends_with_a_session);
    }
}

#[test]
fn a_ticket_of_an_earlier_connection_acknowledges_nothing() {
    let mut ledger = Ledger::default();
    ledger.connected(false);
    assert_eq!(ledger.receive(Qos::AtLeastOnce, 7, false, 1), Received::New(0));
    ledger.connected(false);
    assert_eq!(ledger.receive(Qos::AtLeastOnce, 7, false, 1), Received::New(1));
    ledger.settle(0);
    assert_eq!(ledger.next_ack(), None, "packet id 7 is another message now");
    ledger.settle(1);
    assert_eq!(ledger.next_ack(), Some((AckKind::PubAck, 7)));
}

#[test]
fn a_qos_2_publish_sent_again_is_handed_on_once() {
    let mut ledger = Ledger::default();
    ledger.connected(false);
    assert_eq!(ledger.receive(Qos::ExactlyOnce, 1, false, 1), Received::New(0));
    // Sent again while the far side still works on it.
    ledger.connected(true);
    assert_eq!(ledger.receive(Qos::ExactlyOnce, 1, true, 1), Received::Known);
    assert_eq!(ledger.next_ack(), None);
    ledger.settle(0);
    assert_eq!(ledger.next_ack(), Some((AckKind::PubRec, 1)));
    // Sent again since the PUBREC got lost.
    ledger.connected(true);
    assert_eq!(ledger.receive(Qos::ExactlyOnce, 1, true, 1), Received::Known);
    assert_eq!(ledger.next_ack(), Some((AckKind::PubRec, 1)));
    ledger.release(1);
    assert_eq!(ledger.receive(Qos::ExactlyOnce, 1, false, 1), Received::New(1));
}

#[test]
fn a_qos_2_packet_id_of_another_message_is_not_taken_for_a_repeat() {
    let mut ledger = Ledger::default();
    ledger.connected(false);
    assert_eq!(ledger.receive(Qos::ExactlyOnce, 1, false, 1), Received::New(0));
    ledger.connected(true);
    assert_eq!(ledger.receive(Qos::ExactlyOnce, 1, false, 1), Received::New(1), "not marked as sent again");
    ledger.settle(0);
    assert_eq!(ledger.next_ack(), None);
    ledger.connected(false);
    assert_eq!(ledger.receive(Qos::ExactlyOnce, 1, true, 1), Received::New(2), "another session");
}

#[test]
fn a_publish_sent_again_while_it_waits_is_owed_one_acknowledgement() {
    for (qos, kind) in [(Qos::AtLeastOnce, AckKind::PubAck), (Qos::ExactlyOnce, AckKind::PubRec)] {
        let mut ledger = Ledger::default();
        ledger.connected(false);
        assert_eq!(ledger.receive(qos, 1, false, 1), Received::New(0));
        assert_eq!(ledger.receive(qos, 2, false, 1), Received::New(1));
        assert_eq!(ledger.receive(qos, 1, true, 1), Received::Known);
        ledger.skip(qos, 2, true);
        ledger.settle(1);
        assert_eq!(ledger.next_ack(), None);
        ledger.settle(0);
        let acks: Vec<_> = std::iter::from_fn(|| ledger.next_ack()).collect();
        assert_eq!(acks, [(kind, 1), (kind, 2)]);
        assert!(ledger.owes_nothing());
    }
}

#[test]
fn a_packet_id_that_comes_anew_is_owed_only_for_what_came_last() {
    let mut ledger = Ledger::default();
    ledger.connected(false);
    assert_eq!(ledger.receive(Qos::AtLeastOnce, 1, false, 1), Received::New(0));
    ledger.settle(0);
    assert_eq!(ledger.next_ack(), Some((AckKind::PubAck, 1)));
    // Sent again before the acknowledgement reached the broker, which then uses the id for another message.
    assert_eq!(ledger.receive(Qos::AtLeastOnce, 1, true, 1), Received::New(1));
    assert_eq!(ledger.receive(Qos::AtLeastOnce, 1, false, 1), Received::New(2));
    ledger.settle(1);
    assert_eq!(ledger.next_ack(), None, "the broker would take it for the other message's");
    ledger.settle(2);
    assert_eq!(ledger.next_ack(), Some((AckKind::PubAck, 1)));
    assert!(ledger.owes_nothing());
}

#[test]
fn what_is_skipped_is_acknowledged_in_its_turn() {
    let mut ledger = Ledger::default();
    ledger.connected(false);
    assert_eq!(ledger.receive(Qos::AtLeastOnce, 1, false, 1), Received::New(0));
    ledger.skip(Qos::AtLeastOnce, 2, false);
    ledger.skip(Qos::ExactlyOnce, 3, false);
    ledger.skip(Qos::AtMostOnce, 0, false);
    assert_eq!(ledger.next_ack(), None);
    ledger.settle(0);
    let acks: Vec<_> = std::iter::from_fn(|| ledger.next_ack()).collect();
    assert_eq!(acks, [(AckKind::PubAck, 1), (AckKind::PubAck, 2), (AckKind::PubRec, 3)]);
}

#[test]
fn qos_0_is_counted_and_never_acknowledged() {
    let mut ledger = Ledger::default();
    ledger.connected(false);
    assert_eq!(ledger.receive(Qos::AtMostOnce, 0, false, 10), Received::New(0));
    assert_eq!((ledger.in_flight(), ledger.in_flight_bytes()), (1, 10));
    ledger.settle(0);
    ledger.settle(0);
    assert_eq!((ledger.in_flight(), ledger.next_ack()), (0, None));
}
