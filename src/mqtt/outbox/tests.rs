//! The outbox against a broker that loses connections and sessions, and rejects publishes.

use proptest::prelude::*;

use super::*;

const MOST_EXACTLY_ONCE: usize = 3;

/// What a broker by the book keeps of an inbound session, and what it has passed on.
#[derive(Debug, Default)]
struct Broker {
    /// Answers on their way: packet id, kind.
    answers: VecDeque<(u16, Answer)>,
    /// QoS 2 packet ids between PUBLISH and PUBREL, with their message.
    exactly_once: Vec<(u16, Ticket)>,
    arrived: Vec<Ticket>,
}

#[derive(Debug, Clone, Copy)]
enum Answer {
    Ack,
    Rejected,
    Rec,
    Comp,
}

impl Broker {
    fn publish(&mut self, packet_id: u16, qos: Qos, ticket: Ticket, rejects: bool) {
        if rejects {
            self.answers.push_back((packet_id, Answer::Rejected));
        } else if qos == Qos::ExactlyOnce {
            if !self.exactly_once.iter().any(|(id, _)| *id == packet_id) {
                self.exactly_once.push((packet_id, ticket));
            }
            self.answers.push_back((packet_id, Answer::Rec));
        } else {
            self.arrived.push(ticket);
            self.answers.push_back((packet_id, Answer::Ack));
        }
    }

    fn release(&mut self, packet_id: u16) {
        if let Some(at) = self.exactly_once.iter().position(|(id, _)| *id == packet_id) {
            self.arrived.push(self.exactly_once.remove(at).1);
        }
        self.answers.push_back((packet_id, Answer::Comp));
    }
}

#[derive(Debug, Clone)]
enum Step {
    Push(Qos),
    Send { rejects: bool },
    Answer,
    Reconnect { session_present: bool },
}

fn steps(rejections: bool) -> impl Strategy<Value = Vec<Step>> {
    let rejects = if rejections { 0.1 } else { 0.0 };
    let step = prop_oneof![
        4 => prop_oneof![3 => Just(Qos::AtLeastOnce), 1 => Just(Qos::ExactlyOnce)].prop_map(Step::Push),
        6 => prop::bool::weighted(rejects).prop_map(|rejects| Step::Send { rejects }),
        6 => Just(Step::Answer),
        1 => prop::bool::weighted(0.7).prop_map(|session_present| Step::Reconnect { session_present }),
    ];
    prop::collection::vec(step, 0..300)
}

struct World {
    broker: Broker,
    outbox: Outbox<()>,
    window: u16,
    pushed: Ticket,
    settled: Vec<Ticket>,
}

impl World {
    fn new(window: u16, first_id: u16) -> Self {
        let outbox = Outbox { first_id, ..Outbox::with_most_exactly_once(MOST_EXACTLY_ONCE) };
        Self { broker: Broker::default(), outbox, window, pushed: 0, settled: Vec::new() }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Push(qos) if self.outbox.has_room(self.window) => {
                self.outbox.push(self.pushed, *qos, ());
                self.pushed += 1;
            }
            Step::Push(_) => {}
            Step::Send { rejects } => {
                if let Some((id, slot)) = self.outbox.next_to_send(self.window) {
                    self.broker.publish(id, slot.qos, slot.ticket, *rejects);
                    assert!(self.broker.exactly_once.len() <= MOST_EXACTLY_ONCE, "a broker may forget what is over it");
                }
            }
            Step::Answer => self.answer(),
            Step::Reconnect { session_present } => {
                self.broker.answers.clear();
                if !session_present {
                    self.broker.exactly_once.clear();
                }
                self.outbox.disconnected(Blame::None);
                let broker = &mut self.broker;
                self.outbox.connected(*session_present, |id| broker.release(id));
            }
        }
        if self.outbox.is_drained() {
            self.outbox.resume();
        }
        assert!(self.outbox.slots.len() <= usize::from(self.window), "the window bounds what is in flight");
    }

    fn answer(&mut self) {
        let Some((id, answer)) = self.broker.answers.pop_front() else { return };
        let settled = match answer {
            Answer::Ack => self.outbox.confirmed(id),
            Answer::Comp => self.outbox.completed(id),
            Answer::Rejected => {
                self.outbox.rejected(id);
                None
            }
            Answer::Rec => {
                if self.outbox.received(id) {
                    self.broker.release(id);
                }
                None
            }
        };
        if let Some(ticket) = settled {
            assert!(self.broker.arrived.contains(&ticket), "settled means that the broker has it");
            self.settled.push(ticket);
        }
    }

    fn finish(&mut self) {
        for _ in 0..10_000 {
            if self.outbox.is_empty() {
                return;
            }
            self.step(&Step::Send { rejects: false });
            self.step(&Step::Answer);
        }
        panic!("it does not come to an end: {:?}", self.outbox);
    }

    fn first_arrivals(&self) -> Vec<Ticket> {
        let mut first = Vec::new();
        for ticket in &self.broker.arrived {
            if !first.contains(ticket) {
                first.push(*ticket);
            }
        }
        first
    }
}

proptest! {
    #[test]
    fn everything_is_settled_once_whatever_happens(
        steps in steps(true), window in 1u16..20, first_id in prop_oneof![Just(1u16), 65_520u16..=IDS]
    ) {
        let mut world = World::new(window, first_id);
        for step in &steps {
            world.step(step);
        }
        world.finish();
        world.settled.sort_unstable();
        prop_assert_eq!(world.settled, (0..world.pushed).collect::<Vec<_>>());
    }

    #[test]
    fn first_arrivals_keep_their_order_over_lost_connections_and_sessions(
        steps in steps(false), window in 1u16..20
    ) {
        let mut world = World::new(window, 1);
        // QoS 2 arrives at its PUBREL, so its order against QoS 1 is the broker's affair.
        for step in steps.iter().filter(|step| !matches!(step, Step::Push(Qos::ExactlyOnce))) {
            world.step(step);
        }
        world.finish();
        prop_assert_eq!(world.first_arrivals(), (0..world.pushed).collect::<Vec<_>>());
    }
}

fn filled(count: Ticket) -> Outbox<()> {
    let mut outbox = Outbox::default();
    for ticket in 0..count {
        outbox.push(ticket, Qos::AtLeastOnce, ());
    }
    outbox
}

fn send_all(outbox: &mut Outbox<()>, window: u16) -> Vec<(u16, Ticket, bool)> {
    std::iter::from_fn(|| outbox.next_to_send(window).map(|(id, slot)| (id, slot.ticket, slot.dup))).collect()
}

#[test]
fn a_full_window_is_refilled_once_a_quarter_of_it_is_free() {
    for (window, free) in [(8, 2), (2, 1), (1, 1)] {
        let mut outbox = filled(20);
        let sent = send_all(&mut outbox, window);
        assert_eq!(sent.len(), usize::from(window));
        for (id, ..) in &sent[..free] {
            assert_eq!(send_all(&mut outbox, window), []);
            outbox.confirmed(*id);
        }
        assert_eq!(send_all(&mut outbox, window).len(), free, "window {window}");
    }
}

#[test]
fn a_rejected_publish_goes_again_alone_before_any_other() {
    let mut outbox = filled(3);
    assert_eq!(send_all(&mut outbox, 10).len(), 3);
    assert_eq!(outbox.confirmed(1), Some(0));
    outbox.rejected(2);
    assert!(!outbox.is_drained() && !outbox.has_room(10) && outbox.next_to_send(10).is_none());
    outbox.rejected(3);
    assert!(outbox.is_drained());
    outbox.resume();
    assert_eq!(send_all(&mut outbox, 10), [(2, 1, false)]);
    assert_eq!(outbox.confirmed(2), Some(1));
    assert_eq!(send_all(&mut outbox, 10), [(3, 2, false)]);
}

#[test]
fn what_is_sent_again_is_marked_when_the_session_is_present() {
    let mut outbox = filled(2);
    send_all(&mut outbox, 10);
    outbox.disconnected(Blame::Likely);
    assert_eq!(outbox.connected(true, |_| {}), 2);
    assert_eq!(send_all(&mut outbox, 10), [(1, 0, true), (2, 1, true)]);
    outbox.disconnected(Blame::Likely);
    assert_eq!(outbox.connected(false, |_| {}), 2);
    assert_eq!(send_all(&mut outbox, 10), [(1, 0, false), (2, 1, false)]);
}

#[test]
fn a_publish_that_closes_the_connection_is_found_and_nothing_else_is_blamed() {
    let mut outbox = filled(5);
    let bad: Ticket = 3;
    let mut confirmed = Vec::new();
    let mut culprits = Vec::new();
    for _ in 0..50 {
        outbox.connected(true, |_| {});
        // This broker closes before it has answered anything that came with the bad one.
        loop {
            let sent = send_all(&mut outbox, 10);
            if sent.is_empty() || sent.iter().any(|(_, ticket, _)| *ticket == bad) {
                break;
            }
            for (id, ..) in sent {
                confirmed.extend(outbox.confirmed(id));
            }
        }
        if let Suspicion::Culprit(ticket) = outbox.disconnected(Blame::Likely) {
            outbox.condemn(ticket);
            culprits.push(ticket);
        }
    }
    assert_eq!(culprits, [bad]);
    assert_eq!(confirmed, [0, 1, 2, 4]);
    assert!(outbox.is_empty());
}

#[test]
fn connections_that_end_for_other_reasons_blame_nobody() {
    let mut outbox = filled(1);
    for blame in [Blame::None, Blame::Possible].repeat(20) {
        outbox.connected(true, |_| {});
        send_all(&mut outbox, 10);
        assert_eq!(outbox.disconnected(blame), Suspicion::None);
    }
    outbox.connected(true, |_| {});
    assert_eq!(send_all(&mut outbox, 10), [(1, 0, true)]);
}

#[test]
fn qos_0_is_settled_once_written_and_in_its_turn() {
    let mut outbox = Outbox::default();
    outbox.push(0, Qos::AtMostOnce, ());
    outbox.push(1, Qos::AtLeastOnce, ());
    let mut settled = Vec::new();
    outbox.flushed(|ticket| settled.push(ticket));
    assert_eq!(settled, [0; 0], "nothing was written");
    send_all(&mut outbox, 10);
    // The connection ends before it was flushed: it goes again.
    outbox.disconnected(Blame::Likely);
    outbox.connected(true, |_| {});
    assert_eq!(send_all(&mut outbox, 10).len(), 2);
    outbox.flushed(|ticket| settled.push(ticket));
    assert_eq!(settled, [0]);
    assert_eq!(outbox.confirmed(2), Some(1));
    assert!(outbox.is_empty());
}

#[test]
fn answers_that_nobody_waits_for_are_ignored() {
    let mut outbox = filled(1);
    for id in [0, 1, 2, u16::MAX] {
        assert_eq!((outbox.confirmed(id), outbox.completed(id), outbox.received(id)), (None, None, false));
        outbox.rejected(id);
    }
    assert_eq!(send_all(&mut outbox, 10), [(1, 0, false)]);
}
