//! Publishing to MQTT: a session that is one lane, so that everything arrives in the order in which it came.
//!
//! A message is settled when the broker has confirmed it, and never before: at PUBACK for QoS 1, at PUBCOMP for
//! QoS 2 (a broker may pass a message on at PUBREL only, and forgets it with the session), once written for
//! QoS 0. What the broker does not take now goes again for ever, in order.

#[cfg(test)]
mod tests;
mod verdict;

use std::{collections::VecDeque, future::pending, mem, sync::Arc, time::Duration};

use tokio::time::{Instant, sleep_until};

use self::verdict::{Verdict, judge};
use super::{
    login::Login,
    outbox::{IDS, Outbox, Suspicion},
    packet::{self, Ack, AckKind, Codec, Incoming, Prepared},
    reason::NO_MATCHING_SUBSCRIBERS,
    session::{self, Duty, Ending, Link},
};
use crate::{
    delivery::{Outcome, Outgoing, Refusal, Settled, SinkLink, Ticket},
    settings::{Limits, MqttBroker, MqttVersion},
};

/// Encoded bytes that may wait for the socket.
const OUT_LIMIT: usize = 256 * 1024;

/// Publishes with QoS 2 in flight on MQTT 3.1.1, where a broker cannot say its limit: Mosquitto forgets what is over
/// its own (20 by default) and answers PUBREC all the same.
const V4_EXACTLY_ONCE: usize = 10;

/// Outcomes are told once they are one to so many in flight.
const TELL: usize = 8;

/// So many confirmations have to come before more can be sent: they need not be read one by one.
const PATIENT: usize = 64;

/// Between tries of a publish that the broker does not take: at first, and at most.
const FIRST_RETRY: Duration = Duration::from_millis(200);
const LAST_RETRY: Duration = Duration::from_secs(10);

/// Publishes until the route closes its link and all is settled, or until nobody waits for settlements any more.
/// Never fails; what is wrong shows in the link's state.
pub async fn run(broker: Arc<MqttBroker>, client_id: &str, limits: Limits, link: SinkLink) {
    let login = Login::lasting(&broker, client_id);
    let mut sink = Sink::new(&broker, limits, link);
    session::run(&login, &mut sink).await;
}

/// [`run`] beside a running bridge, as often as one likes: with a session that no other has, and that leaves nothing
/// behind.
pub async fn replay(broker: Arc<MqttBroker>, route: &str, limits: Limits, link: SinkLink) {
    let login = Login::aside(&broker, &format!("replay.{route}.{:08x}", fastrand::u32(..)));
    let mut sink = Sink::new(&broker, limits, link);
    session::run(&login, &mut sink).await;
}

struct Content {
    packet: Prepared,
    deadline: Option<Instant>,
}

struct Sink {
    link: SinkLink,
    codec: Codec,
    /// Ours; the broker's may be smaller.
    max_window: u16,
    window: u16,
    outbox: Outbox<Content>,
    /// Taken from the route and not yet in the outbox.
    waiting: VecDeque<Outgoing>,
    settled: Vec<Settled>,
    /// The first session of this process starts clean: nothing is known of an older one's packet ids.
    has_session: bool,
    steady: bool,
    /// Why the broker does not take what we send, while it does not.
    trouble: Option<String>,
    rejections: u32,
    resume_at: Option<Instant>,
    intake: Intake,
}

#[derive(PartialEq, Eq)]
enum Intake {
    Open,
    /// The route passes nothing more.
    Closed,
    /// The route wants nothing more, not even settlements.
    Abandoned,
}

enum Event {
    Batch(Vec<Outgoing>),
    Closed,
    Abandoned,
    Resume,
}

impl Sink {
    fn new(broker: &MqttBroker, limits: Limits, link: SinkLink) -> Self {
        let outbox = match broker.version {
            MqttVersion::V4 => Outbox::with_most_exactly_once(V4_EXACTLY_ONCE),
            MqttVersion::V5 => Outbox::default(),
        };
        let max_window = broker.window.min(u16::try_from(limits.messages).unwrap_or(IDS)).clamp(1, IDS);
        Self {
            link,
            codec: Codec { version: broker.version, max_packet: broker.max_packet },
            max_window,
            window: max_window,
            outbox,
            waiting: VecDeque::new(),
            settled: Vec::new(),
            has_session: false,
            steady: false,
            trouble: None,
            rejections: 0,
            resume_at: None,
            intake: Intake::Open,
        }
    }

    fn settle(&mut self, ticket: Ticket, outcome: Outcome) {
        self.settled.push(Settled { ticket, outcome });
    }

    /// Tells the route what became of messages once there is enough to tell: what is still in flight brings the
    /// next occasion, so none waits for long, and there are few messages between tasks.
    fn report_many(&mut self) {
        if self.settled.len() * TELL >= self.outbox.in_flight() {
            self.report();
        }
    }

    /// Tells the route what became of messages, all at once.
    fn report(&mut self) {
        if !self.settled.is_empty() && self.link.settled.send(mem::take(&mut self.settled)).is_err() {
            self.intake = Intake::Abandoned;
        }
    }

    /// Encodes what the window and the socket allow: first what goes again, then what is new.
    fn pump(&mut self, link: &mut Link) {
        while link.out.len() < OUT_LIMIT {
            if let Some((packet_id, slot)) = self.outbox.next_to_send(self.window) {
                let ticket = slot.ticket;
                if let Err(refusal) = write(&mut slot.content, packet_id, slot.dup, link) {
                    self.outbox.withdrawn(packet_id);
                    self.settle(ticket, Outcome::Refused(refusal));
                }
            } else if !self.outbox.has_room(self.window) || !self.take_new() {
                break;
            }
        }
        self.report_many();
    }

    /// Moves one message into the outbox, or settles it as one that cannot go there. Says whether there was one.
    fn take_new(&mut self) -> bool {
        if self.waiting.is_empty()
            && let Ok(batch) = self.link.outgoing.try_recv()
        {
            self.waiting.extend(batch);
        }
        let Some(outgoing) = self.waiting.pop_front() else { return false };
        let Outgoing { ticket, message, deadline, .. } = outgoing;
        if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            self.settle(ticket, Outcome::Expired);
            return true;
        }
        match self.codec.prepare(message) {
            Ok(packet) => self.outbox.push(ticket, packet.qos(), Content { packet, deadline }),
            Err(refusal) => self.settle(ticket, Outcome::Refused(refusal)),
        }
        true
    }

    fn answered(&mut self, ack: &Ack, link: &mut Link) {
        let id = ack.packet_id;
        if ack.reason.code == NO_MATCHING_SUBSCRIBERS {
            self.link.state.unheard();
        }
        match (ack.kind, judge(&ack.reason)) {
            (AckKind::PubRec, Verdict::Stored) => {
                if self.outbox.received(id) {
                    packet::write_ack(&mut link.out, AckKind::PubRel, id);
                }
            }
            (AckKind::PubAck, Verdict::Stored) => self.confirmed(id, Outcome::Stored),
            (AckKind::PubAck | AckKind::PubRec, Verdict::Refused(refusal)) => {
                self.confirmed(id, Outcome::Refused(refusal));
            }
            (AckKind::PubAck | AckKind::PubRec, Verdict::Retry) => {
                if let Some(content) = self.outbox.rejected(id) {
                    let topic = content.packet.topic();
                    self.trouble = Some(format!("the broker does not take a publish to {topic:?}: {}", ack.reason));
                    self.show_state();
                }
            }
            (AckKind::PubComp, _) => {
                if let Some(ticket) = self.outbox.completed(id) {
                    self.settle(ticket, Outcome::Stored);
                    self.went_through();
                }
            }
            (AckKind::PubRel, _) => packet::write_ack(&mut link.out, AckKind::PubComp, id),
        }
    }

    fn confirmed(&mut self, packet_id: u16, outcome: Outcome) {
        if let Some(ticket) = self.outbox.confirmed(packet_id) {
            self.settle(ticket, outcome);
            self.went_through();
        }
    }

    /// The broker takes publishes again. What was in flight behind a rejected one proves nothing.
    fn went_through(&mut self) {
        if self.trouble.is_some() && !self.outbox.is_halted() {
            self.trouble = None;
            self.rejections = 0;
            self.show_state();
        }
    }

    /// Once all in flight is answered after a rejection, waits a while before it goes on from there.
    fn plan_resume(&mut self) {
        if self.resume_at.is_none() && self.outbox.is_drained() {
            let whole = FIRST_RETRY.saturating_mul(1 << self.rejections.min(10)).min(LAST_RETRY);
            self.rejections += 1;
            self.resume_at = Some(Instant::now() + whole.mul_f64(0.5 + fastrand::f64() / 2.0));
        }
    }

    fn show_state(&self) {
        match &self.trouble {
            Some(trouble) => self.link.state.down(trouble),
            None if self.steady => self.link.state.up(),
            None => {}
        }
    }
}

fn write(content: &mut Content, packet_id: u16, dup: bool, link: &mut Link) -> Result<(), Refusal> {
    content.packet.fits(&link.limits)?;
    // What was sent before is sent again whole: only the broker knows whether it took it in time.
    let expiry = content.deadline.map(|deadline| {
        let left = deadline.saturating_duration_since(Instant::now()).as_millis().div_ceil(1000);
        u32::try_from(left).unwrap_or(u32::MAX).max(1)
    });
    content.packet.write(&mut link.out, packet_id, dup, expiry).map_err(|error| Refusal::new("not_encodable", error))
}

impl Duty for Sink {
    type Event = Event;

    fn clean_start(&self) -> bool {
        !self.has_session
    }

    fn connected(&mut self, link: &mut Link) {
        self.has_session = true;
        self.resume_at = None;
        self.window = self.max_window.min(link.limits.receive_maximum);
        let again = self.outbox.connected(link.limits.session_present, |packet_id| {
            packet::write_ack(&mut link.out, AckKind::PubRel, packet_id);
        });
        self.link.state.retried.inc_by(again as u64);
        self.pump(link);
    }

    fn steady(&mut self) {
        self.steady = true;
        self.show_state();
    }

    fn away(&mut self, reason: String) {
        self.link.state.down(reason);
    }

    fn disconnected(&mut self, ending: &Ending) {
        self.steady = false;
        self.resume_at = None;
        if let Suspicion::Culprit(ticket) = self.outbox.disconnected(ending.blame()) {
            self.outbox.condemn(ticket);
            let reason = format!("each time that it was sent, alone, the connection ended: {ending}");
            self.settle(ticket, Outcome::Refused(Refusal::new("closed_by_broker", reason)));
        }
        self.report();
    }

    async fn next(&mut self) -> Event {
        let resume_at = self.resume_at;
        let wants_more = self.intake == Intake::Open && self.waiting.is_empty() && self.outbox.has_room(self.window);
        tokio::select! {
            biased;
            () = self.link.settled.closed() => Event::Abandoned,
            () = async { match resume_at { Some(at) => sleep_until(at).await, None => pending().await } } => Event::Resume,
            batch = self.link.outgoing.recv(), if wants_more => batch.map_or(Event::Closed, Event::Batch),
        }
    }

    fn event(&mut self, event: Event, link: Option<&mut Link>) {
        match event {
            Event::Batch(batch) => self.waiting.extend(batch),
            Event::Closed => self.intake = Intake::Closed,
            Event::Abandoned => self.intake = Intake::Abandoned,
            Event::Resume => {
                self.resume_at = None;
                self.outbox.resume();
                self.link.state.retried.inc();
            }
        }
        if let Some(link) = link {
            self.pump(link);
        }
    }

    fn is_patient(&self) -> bool {
        self.outbox.to_drain(self.window) >= PATIENT
    }

    fn accepts(&self, _first: u8) -> bool {
        true
    }

    fn packet(&mut self, packet: Incoming, link: &mut Link) -> Result<(), Ending> {
        match packet {
            Incoming::Ack(ack) => self.answered(&ack, link),
            Incoming::Aside { qos, packet_id, .. } => packet::acknowledge(&mut link.out, qos, packet_id),
            Incoming::Disconnect(reason) => return Err(Ending::Disconnected(reason)),
            // Nothing is subscribed to; a session that another client left here may still bring something.
            Incoming::Publish(_)
            | Incoming::ConnAck(_)
            | Incoming::SubAck { .. }
            | Incoming::UnsubAck { .. }
            | Incoming::PingResp
            | Incoming::Other => {}
        }
        Ok(())
    }

    fn parsed(&mut self, link: &mut Link) {
        self.plan_resume();
        self.pump(link);
    }

    fn flushed(&mut self, link: &mut Link) {
        let settled = &mut self.settled;
        self.outbox.flushed(|ticket| settled.push(Settled { ticket, outcome: Outcome::Stored }));
        self.plan_resume();
        self.pump(link);
    }

    fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    fn is_blameless(&self) -> bool {
        self.outbox.is_empty()
    }

    fn is_finished(&self) -> bool {
        match self.intake {
            Intake::Open => false,
            Intake::Closed => self.waiting.is_empty() && self.outbox.is_empty(),
            Intake::Abandoned => true,
        }
    }

    fn ends_session(&self) -> bool {
        // Nothing is in flight, and the next process would start clean.
        true
    }
}
