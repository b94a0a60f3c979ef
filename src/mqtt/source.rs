//! Reading from MQTT: a lasting session whose acknowledgements wait for the far side.
//!
//! What the route cannot take yet stays unread in the socket, which is the backpressure of QoS 1 and 2. It never
//! acknowledges what is not settled, and never holds a message back because of what it is marked with.

mod memory;
mod subscribe;
#[cfg(test)]
mod tests;

use std::{mem, path::Path};

use tokio::time::Instant;
use tracing::warn;

use self::subscribe::Subscriber;
use super::{
    ledger::{Ledger, Received},
    login::Login,
    packet::{self, AckKind, Incoming, Publish},
    retained::Retained,
    session::{self, Duty, Ending, Link},
};
use crate::{
    delivery::{Delivery, SourceLink, Ticket},
    mapping::FromMqtt,
    message::Qos,
    settings::{Limits, MqttVersion},
};

/// The most messages that are handed on at once: memory for more is so large that the system gives it anew each time.
const BATCH: usize = 256;

/// Packets start like this when they are publishes.
const PUBLISH: u8 = 3;

/// Reads until the route closes its link: no more deliveries first, then, when the settled channel is closed too,
/// the end. Never fails; what is wrong shows in the link's state. Keeps in the data folder what the session is
/// subscribed to.
pub async fn run(from: FromMqtt, route_name: &str, limits: Limits, data_dir: &Path, link: SourceLink) {
    let login = Login::lasting(&from.broker, &from.client_id);
    let mut source = Source::new(&from, route_name, limits, data_dir, link);
    session::run(&login, &mut source).await;
}

struct Source {
    route: String,
    client_id: String,
    broker: String,
    limits: Limits,
    link: SourceLink,
    ledger: Ledger,
    subscriber: Subscriber,
    /// On 3.1.1, unless all retained copies are wanted.
    retained: Option<Retained>,
    /// Taken and not handed on.
    batch: Vec<Delivery>,
    dropped: u64,
    later_copies: u64,
    had_session: bool,
    steady: bool,
    /// What this connection brings next, and is too large to be taken. It can be neither held nor parked, so all waits
    /// until a person raises the limit: to acknowledge it would lose it.
    too_large: Option<String>,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Reading,
    /// The route takes no more deliveries; what it has is still settled.
    Draining,
    Finished,
}

enum Event {
    Settled(Vec<Ticket>),
    HandedOn,
    ReadNoMore,
    Stop,
}

impl Source {
    fn new(from: &FromMqtt, route: &str, limits: Limits, data_dir: &Path, link: SourceLink) -> Self {
        let expects_copies = from.broker.version == MqttVersion::V4 && !from.forward_retained;
        Self {
            route: route.to_owned(),
            client_id: from.client_id.clone(),
            broker: from.broker.name.clone(),
            limits,
            link,
            ledger: Ledger::default(),
            subscriber: Subscriber::new(from, data_dir),
            retained: expects_copies.then(|| Retained::new(Instant::now())),
            batch: Vec::new(),
            dropped: 0,
            later_copies: 0,
            had_session: false,
            steady: false,
            too_large: None,
            stage: Stage::Reading,
        }
    }

    fn is_full(&self) -> bool {
        self.ledger.in_flight() >= self.limits.messages || self.ledger.in_flight_bytes() >= self.limits.bytes
    }

    fn publish(&mut self, publish: Publish) {
        let Publish { packet_id, dup, subscription_ids, message } = publish;
        let qos = message.qos;
        let skips_copy = |retained: &mut Retained| retained.is_later_copy(message.retain, dup, Instant::now());
        let later_copy = self.retained.as_mut().is_some_and(skips_copy);
        self.later_copies += u64::from(later_copy);
        if later_copy || !self.subscriber.counts(message.topic.as_str(), &subscription_ids) {
            self.ledger.skip(qos, packet_id, dup);
            return;
        }
        if qos == Qos::AtMostOnce && self.is_full() {
            self.dropped += 1;
            return;
        }
        if let Received::New(ticket) = self.ledger.receive(qos, packet_id, dup, message.weight()) {
            let packet_id = (qos != Qos::AtMostOnce).then_some(packet_id);
            self.batch.push(Delivery { ticket, message, suspected_duplicate: dup, packet_id, unreadable: None });
        }
    }

    fn acknowledge(&mut self, link: &mut Link) {
        while let Some((kind, packet_id)) = self.ledger.next_ack() {
            packet::write_ack(&mut link.out, kind, packet_id);
        }
    }

    fn take_batch(&mut self) -> Vec<Delivery> {
        let capacity = self.batch.len();
        mem::replace(&mut self.batch, Vec::with_capacity(capacity))
    }

    fn show_state(&self) {
        if !self.steady {
            return;
        }
        if let Some(trouble) = self.trouble() {
            self.link.state.down(trouble);
        } else if self.subscriber.is_subscribed() {
            self.link.state.up();
        }
    }
}

impl Duty for Source {
    type Event = Event;

    fn clean_start(&self) -> bool {
        false
    }

    fn connected(&mut self, link: &mut Link) {
        let present = link.limits.session_present;
        if self.had_session && !present {
            warn!(route = %self.route, broker = %self.broker, client_id = %self.client_id,
                "the broker forgot the session: what it held for us there is lost on its side");
        }
        self.had_session = true;
        self.too_large = None;
        self.link.state.began(present);
        self.ledger.connected(present);
        if let Some(retained) = &mut self.retained {
            retained.connected(present, Instant::now());
        }
        // Also when the session is present: one that another client replaced has lost its subscriptions.
        self.subscriber.subscribe(link);
    }

    fn steady(&mut self) {
        self.steady = true;
        self.show_state();
    }

    fn away(&mut self, reason: String) {
        self.link.state.down(reason);
    }

    fn disconnected(&mut self, _ending: &Ending) {
        self.steady = false;
        self.link.state.ended();
        if let Some(retained) = &mut self.retained {
            retained.disconnected(self.ledger.owes_nothing(), Instant::now());
        }
    }

    async fn next(&mut self) -> Event {
        let reading = self.stage == Stage::Reading;
        tokio::select! {
            biased;
            settled = self.link.settled.recv() => settled.map_or(Event::Stop, Event::Settled),
            permit = self.link.deliveries.reserve(), if reading && !self.batch.is_empty() => match permit {
                Ok(permit) => {
                    permit.send(mem::take(&mut self.batch));
                    Event::HandedOn
                }
                Err(_) => Event::ReadNoMore,
            },
            () = self.link.deliveries.closed(), if reading && self.batch.is_empty() => Event::ReadNoMore,
        }
    }

    fn event(&mut self, event: Event, link: Option<&mut Link>) {
        match event {
            Event::HandedOn => {}
            // What was taken and not handed on is not acknowledged, so the broker keeps it.
            Event::ReadNoMore => {
                self.stage = Stage::Draining;
                self.batch = Vec::new();
            }
            Event::Stop => self.stage = Stage::Finished,
            Event::Settled(tickets) => {
                for ticket in tickets {
                    self.ledger.settle(ticket);
                }
                while let Ok(tickets) = self.link.settled.try_recv() {
                    for ticket in tickets {
                        self.ledger.settle(ticket);
                    }
                }
            }
        }
        if let Some(link) = link {
            self.acknowledge(link);
        }
    }

    fn accepts(&self, first: u8) -> bool {
        match self.stage {
            _ if first >> 4 != PUBLISH => true,
            Stage::Reading if self.too_large.is_some() => false,
            Stage::Reading => self.batch.len() < BATCH && !(packet::is_held_publish(first) && self.is_full()),
            Stage::Draining | Stage::Finished => false,
        }
    }

    fn packet(&mut self, packet: Incoming, link: &mut Link) -> Result<(), Ending> {
        match packet {
            Incoming::Publish(publish) => self.publish(*publish),
            Incoming::Aside { qos, packet_id, dup } => self.ledger.skip(qos, packet_id, dup),
            Incoming::Ack(ack) if ack.kind == AckKind::PubRel => {
                self.ledger.release(ack.packet_id);
                packet::write_ack(&mut link.out, AckKind::PubComp, ack.packet_id);
            }
            Incoming::SubAck { packet_id, codes, text } => {
                let refused = self.subscriber.refusal().is_some();
                self.subscriber.answered(packet_id, &codes, text.as_deref(), &self.route, link);
                if refused && self.subscriber.is_subscribed() {
                    // What came meanwhile was not for us.
                    self.link.state.began(false);
                }
                self.show_state();
            }
            Incoming::UnsubAck { packet_id, codes } => self.subscriber.left(packet_id, &codes, &self.route),
            Incoming::Disconnect(reason) => return Err(Ending::Disconnected(reason)),
            Incoming::Ack(_) | Incoming::ConnAck(_) | Incoming::PingResp | Incoming::Other => {}
        }
        Ok(())
    }

    fn leaves_unread(&mut self, too_large: &str) -> bool {
        self.link.state.down(too_large);
        self.too_large = Some(too_large.to_owned());
        true
    }

    fn parsed(&mut self, link: &mut Link) {
        self.acknowledge(link);
        if self.dropped > 0 {
            self.link.state.dropped("qos0_at_limit", mem::take(&mut self.dropped));
        }
        if self.later_copies > 0 {
            self.link.state.dropped("retained_copy", mem::take(&mut self.later_copies));
        }
        if !self.batch.is_empty() && self.link.deliveries.capacity() > 0 {
            let batch = self.take_batch();
            if let Err(refused) = self.link.deliveries.try_send(batch) {
                self.batch = refused.into_inner();
            }
        }
    }

    fn tick(&mut self, link: &mut Link) {
        if self.subscriber.tick(link)
            && let Some(retained) = &mut self.retained
        {
            retained.asked_again(Instant::now());
        }
    }

    fn trouble(&self) -> Option<&str> {
        self.too_large.as_deref().or_else(|| self.subscriber.refusal())
    }

    fn is_blameless(&self) -> bool {
        true
    }

    fn is_finished(&self) -> bool {
        self.stage == Stage::Finished
    }

    fn ends_session(&self) -> bool {
        false
    }
}
