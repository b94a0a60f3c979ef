//! One running route: read, translate, write, settle.
//!
//! It stands between a source and a sink and knows neither protocol. It holds what is in flight, has refused
//! messages put aside, and tells the source which tickets are settled: never before the sink has confirmed, or the
//! refused message is safely parked.

mod held;
#[cfg(test)]
mod tests;
mod window;

use std::time::Duration;

use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior, interval},
};
use tracing::{debug, error, info, warn};

use crate::{
    clock::epoch_millis,
    delivery::{Delivery, Outcome, Outgoing, Refusal, Settled, SinkHandle, SourceHandle, Ticket},
    lmq::p2p,
    mapping::{self, OnRefuse, translation::Translated},
    message::Message,
    parking::{ParkHandle, Record},
    presence::ask::Absences,
    settings::Limits,
    telemetry::RouteTelemetry,
};
use held::{Candidate, Held};
use window::Window;

/// How often the slow gauges are brought up to date.
const TICK: Duration = Duration::from_millis(500);
/// Messages wait for the sink, or to be put aside, and none of them was taken for this long: the route is called stalled.
const STALL: Duration = Duration::from_secs(5);

/// Why a route ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It was told to, or its source has no more; everything in flight is settled.
    Settled,
    /// It was told to end at once with this many messages in flight, which their source will hand on again.
    Left(usize),
    /// One of its ends broke, which none does by itself.
    Broken(&'static str),
}

/// What a route is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Work.
    Run,
    /// Read no more, settle what is in flight, end.
    Drain,
    /// End now.
    Abandon,
}

/// What a route stands between.
#[derive(Debug)]
pub struct Ends {
    /// Where messages come from.
    pub source: SourceHandle,
    /// Where they go.
    pub sink: SinkHandle,
    /// Where refused ones go.
    pub park: ParkHandle,
}

struct Running<'a> {
    route: &'a mapping::Route,
    absences: Option<&'a dyn Absences>,
    telemetry: &'a RouteTelemetry,
    window: Window,
    /// Translated, for clients that seem to be offline.
    held: Held,
    /// Translated, waiting for room in the sink.
    ready: Vec<Outgoing>,
    /// Something was refused under `on_refuse = "stall"`: nothing is read any more.
    stands_still: bool,
    /// When the sink last confirmed a message.
    stored: Instant,
    /// When a message was last put aside.
    parked: Instant,
    stalled: bool,
}

/// Runs a route until it is told to end, its source has no more, or one of its ends breaks.
pub async fn run(
    route: &mapping::Route,
    limits: Limits,
    telemetry: &RouteTelemetry,
    absences: Option<&dyn Absences>,
    ends: &mut Ends,
    orders: watch::Receiver<Order>,
) -> Ended {
    // It may have run before, and broken.
    telemetry.stand_still(None);
    telemetry.stalled.set(0);
    let running = Running {
        route,
        absences: absences.filter(|_| route.drops_offline),
        telemetry,
        window: Window::new(limits),
        held: Held::new(limits),
        ready: Vec::new(),
        stands_still: false,
        stored: Instant::now(),
        parked: Instant::now(),
        stalled: false,
    };
    running.run(ends, orders).await
}

impl Running<'_> {
    async fn run(mut self, ends: &mut Ends, mut orders: watch::Receiver<Order>) -> Ended {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut reading = true;
        let ended = loop {
            if !reading && self.window.is_empty() {
                break Ended::Settled;
            }
            let may_read = reading && self.ready.is_empty() && !self.stands_still && self.window.has_room();
            tokio::select! { biased;
                told = orders.changed() => match *orders.borrow() {
                    _ if told.is_err() => break Ended::Left(self.window.len()),
                    Order::Run => {}
                    Order::Drain => ends.source.deliveries.close(),
                    Order::Abandon => break Ended::Left(self.window.len()),
                },
                settled = ends.sink.settled.recv() => match settled {
                    Some(settled) => self.settle(settled, ends),
                    None => break Ended::Broken("sink"),
                },
                parked = ends.park.parked.recv() => match parked {
                    Some(tickets) => self.parked(tickets, ends),
                    None => break Ended::Broken("parking"),
                },
                permit = ends.sink.outgoing.reserve(), if !self.ready.is_empty() => match permit {
                    Ok(permit) => permit.send(std::mem::take(&mut self.ready)),
                    Err(_) => break Ended::Broken("sink"),
                },
                batch = ends.source.deliveries.recv(), if may_read => match batch {
                    Some(batch) => self.take(batch, ends),
                    None => reading = false,
                },
                _ = tick.tick() => {
                    self.release(ends);
                    self.observe();
                }
            }
        };
        self.observe();
        ended
    }

    /// Translates a batch; what is refused or an echo never reaches the sink.
    fn take(&mut self, batch: Vec<Delivery>, ends: &Ends) {
        let now = Instant::now();
        self.telemetry.received.inc_by(batch.len() as u64);
        self.ready.reserve(batch.len());
        let (mut echoes, mut refused) = (Vec::new(), Vec::new());
        for Delivery { ticket, message, suspected_duplicate, unreadable, .. } in batch {
            if suspected_duplicate {
                self.telemetry.suspected_duplicates.inc();
            }
            match unreadable.map_or_else(|| self.route.translation.translate(&message), Err) {
                Ok(Translated::Send { order, message: translated }) => {
                    let deadline = translated.expiry.map(|seconds| now + Duration::from_secs(seconds.into()));
                    let outgoing = Outgoing { ticket, order, message: translated, deadline };
                    let outgoing = self.hold(outgoing, &message, now);
                    self.ready.extend(outgoing);
                }
                Ok(Translated::Echo) => echoes.push(ticket),
                Err(refusal) => refused.push((ticket, refusal)),
            }
            self.window.admit(ticket, message, now);
        }
        if !echoes.is_empty() {
            self.telemetry.dropped("echo", echoes.len() as u64);
            self.acknowledge(echoes, ends);
        }
        if !refused.is_empty() {
            self.refuse(refused, ends);
        }
        self.telemetry.set_in_flight(self.window.len(), self.window.bytes());
    }

    /// Has a message wait where the one client that it is for, now, seems to be offline; else gives it back.
    fn hold(&mut self, outgoing: Outgoing, read: &Message, now: Instant) -> Option<Outgoing> {
        let Some(absences) = self.absences else { return Some(outgoing) };
        let candidate = Candidate {
            outgoing,
            client_id: p2p::target(&read.topic).map(str::to_owned),
            may_miss: p2p::only_while_online(read).is_some(),
            // A queue has the messages of many clients: one that waits must not hold up the others.
            keyed: !self.route.translation.keeps_queues(),
        };
        self.held.hold(candidate, now, |client_id| absences.is_offline(client_id))
    }

    /// Sends or drops what has waited.
    fn release(&mut self, ends: &Ends) {
        let Some(absences) = self.absences else { return };
        let released = self.held.release(Instant::now(), |client_id| absences.is_offline(client_id));
        self.ready.extend(released.sent);
        if !released.dropped.is_empty() {
            self.telemetry.dropped("offline_client", released.dropped.len() as u64);
            self.acknowledge(released.dropped, ends);
        }
    }

    fn settle(&mut self, batch: Vec<Settled>, ends: &Ends) {
        let (mut tickets, mut refused) = (Vec::with_capacity(batch.len()), Vec::new());
        let mut expired = 0;
        for Settled { ticket, outcome } in batch {
            match outcome {
                Outcome::Stored => tickets.push(ticket),
                Outcome::Refused(refusal) => refused.push((ticket, refusal)),
                Outcome::Expired => {
                    expired += 1;
                    tickets.push(ticket);
                }
            }
        }
        let stored = tickets.len() as u64 - expired;
        if stored > 0 {
            self.stored = Instant::now();
            self.telemetry.stored.inc_by(stored);
        }
        if expired > 0 {
            self.telemetry.dropped("expired", expired);
        }
        self.acknowledge(tickets, ends);
        if !refused.is_empty() {
            self.refuse(refused, ends);
        }
    }

    fn parked(&mut self, tickets: Vec<Ticket>, ends: &Ends) {
        self.telemetry.parked.inc_by(tickets.len() as u64);
        self.parked = Instant::now();
        self.acknowledge(tickets, ends);
    }

    /// Lets the source acknowledge. A source that is gone hands the messages on again: a duplicate, never a loss.
    fn acknowledge(&mut self, mut tickets: Vec<Ticket>, ends: &Ends) {
        if tickets.is_empty() {
            return;
        }
        let now = Instant::now();
        tickets.retain(|ticket| match self.window.settle(*ticket) {
            Some(settled) => {
                self.telemetry.latency.observe((now - settled.since).as_secs_f64());
                true
            }
            None => false,
        });
        let _gone = ends.source.settled.send(tickets);
        self.telemetry.set_in_flight(self.window.len(), self.window.bytes());
    }

    fn refuse(&mut self, refused: Vec<(Ticket, Refusal)>, ends: &Ends) {
        for (_, refusal) in &refused {
            self.telemetry.refused(refusal.kind);
            debug!(route = %self.route.name, %refusal, "refused");
        }
        let now = Instant::now();
        match self.route.on_refuse {
            OnRefuse::Park => {
                let parked_at = epoch_millis();
                let records = refused.into_iter().filter_map(|(ticket, refusal)| {
                    let in_flight = self.window.refuse(ticket, now)?;
                    Some((ticket, Record::new(&self.route.name, &in_flight.message, &refusal, parked_at)))
                });
                let _gone = ends.park.refused.send(records.collect());
            }
            OnRefuse::Stall => {
                for (ticket, _) in &refused {
                    self.window.refuse(*ticket, now);
                }
                let (_, refusal) = refused.into_iter().next().expect("called with a refusal");
                error!(route = %self.route.name, %refusal, "stands still: a message can never be sent, and on_refuse is \"stall\"");
                if !std::mem::replace(&mut self.stands_still, true) {
                    self.telemetry.stand_still(Some(refusal.to_string()));
                }
            }
            OnRefuse::Drop => {
                self.telemetry.dropped("refused", refused.len() as u64);
                self.acknowledge(refused.into_iter().map(|(ticket, _)| ticket).collect(), ends);
            }
        }
    }

    /// Brings the slow gauges up to date, and says when a stall begins and ends.
    fn observe(&mut self) {
        let now = Instant::now();
        let age = self.window.oldest().map_or(Duration::ZERO, |oldest| now - oldest);
        self.telemetry.set_in_flight(self.window.len(), self.window.bytes());
        self.telemetry.oldest_age.set(age.as_secs_f64());
        let stuck = |waits: Option<Instant>, taken: Instant| waits.is_some_and(|since| now - since.max(taken) >= STALL);
        let stalled =
            stuck(self.window.waits_for_sink(), self.stored) || stuck(self.window.waits_for_parking(), self.parked);
        if stalled == self.stalled {
            return;
        }
        self.stalled = stalled;
        self.telemetry.stalled.set(i64::from(stalled));
        let (route, waiting) = (&self.route.name, self.window.len());
        if stalled {
            let reason = self.telemetry.blocked_by();
            warn!(%route, waiting, reason = reason.as_deref().unwrap_or("no confirmation comes"), "stalled");
        } else {
            info!(%route, waiting, "flows again");
        }
    }
}
