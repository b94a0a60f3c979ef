//! A source of status notices: takes what a broker says of its clients from another source, and hands on notices.
//!
//! To the route it is a source like any other. An event is acknowledged only when all its notices are stored and what
//! it changed is on disk; an event that comes again makes nothing twice. It must never take silence for knowledge:
//! where events may be missing, it says so (see `presence::lifeline`).

mod findings;
mod lister;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeSet, VecDeque},
    path::Path,
    sync::Arc,
    time::Duration,
};

use tokio::time::{MissedTickBehavior, interval};
use tracing::{debug, warn};

use self::lister::Lister;
use super::{
    adapter::{Adapter, Reading},
    arrivals::Arrivals,
    connections::{Channel, Connections},
    event::Said,
    journal::{Journal, Restored},
    ledger::{Event, Key, Ledger},
    lifeline::{Lifeline, Reliance},
    note::Note,
};
use crate::{
    clock::epoch_millis,
    delivery::{Delivery, SourceHandle, SourceLink, Ticket},
    lmq::notice::{EventType, GROUP_END, Notice, group_and_device},
    mapping::hash::Hash,
    message::{Message, Topic},
    settings::{BrokerApi, CurrentCredentials},
    telemetry::EndState,
};

/// The most that is handed on at once.
const BATCH: usize = 256;
/// No more events are read while so many notices wait for room.
const WAITING: usize = 1_024;
const TICK: Duration = Duration::from_secs(1);
/// How often what is over is forgotten, in ticks.
const FORGET: u32 = 10;

/// What a status route reads.
#[derive(Debug, Clone)]
pub struct Options {
    /// The route's name.
    pub route: String,
    /// How its broker speaks of its clients.
    pub adapter: Adapter,
    /// How long the broker may be away before its clients count as gone; never to wait for it.
    pub grace: Option<Duration>,
    /// Whether only clients whose ids have a group make notices.
    pub grouped: bool,
    /// Whose groups are asked for: they must know of gaps though none of their clients has been heard of.
    pub credentials: CurrentCredentials,
    /// The client id of the session that reads the events, if one does.
    pub session: Option<String>,
    /// Whether events are posted: their topic is the name of the hook then.
    pub webhook: bool,
    /// Where the broker lists its clients, if it does.
    pub api: Option<BrokerApi>,
}

/// Reads events from `events` until the link closes, and hands on notices. Gives up only when the disk cannot be read.
pub async fn run(
    options: Options,
    data_dir: &Path,
    events: SourceHandle,
    arrivals: Arrivals,
    link: SourceLink,
) -> std::io::Result<()> {
    let (journal, restored) = Journal::open(data_dir, &options.route, options.adapter.in_order() && !options.webhook)?;
    Source::new(options, journal, restored, arrivals, link.state.clone()).run(events, link).await;
    Ok(())
}

struct Source {
    options: Options,
    journal: Journal,
    connections: Connections,
    ledger: Ledger,
    lifeline: Lifeline,
    groups: BTreeSet<String>,
    state: Arc<EndState>,
    /// Notices that wait for room in the route.
    waiting: VecDeque<Delivery>,
    /// Connections of the events' source that were taken note of.
    beginnings: u64,
    /// What is known of the broker and not written down yet.
    verdicts: usize,
    lister: Lister,
    /// A list was compared: up to where what it made is to be stored, and when it was asked for.
    compared: Option<(u64, u64)>,
    arrivals: Arrivals,
    /// When what happened while we were away has been told at the latest.
    catches_up: Option<u64>,
    /// It was told: up to where that is to be stored.
    told: Option<u64>,
    /// The bridge's clock, which never runs back.
    clock: u64,
}

impl Source {
    fn new(options: Options, journal: Journal, restored: Restored, arrivals: Arrivals, state: Arc<EndState>) -> Self {
        let now = epoch_millis();
        let grace = options.grace.map(|grace| u64::try_from(grace.as_millis()).unwrap_or(u64::MAX));
        let reliance = if options.webhook { Reliance::WhileConnected } else { options.adapter.reliance() };
        let lifeline = Lifeline::new(reliance, grace, restored.known, now);
        let lister = Lister::new(&options.route, options.adapter, options.api.clone());
        let Restored { connections, ledger, groups, .. } = restored;
        Self {
            options,
            journal,
            connections,
            ledger,
            lifeline,
            groups: groups.into_iter().collect(),
            state,
            waiting: VecDeque::new(),
            beginnings: 0,
            verdicts: 0,
            lister,
            compared: None,
            arrivals,
            catches_up: None,
            told: None,
            clock: now,
        }
    }

    async fn run(mut self, mut events: SourceHandle, link: SourceLink) {
        let SourceLink { deliveries, mut settled, .. } = link;
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut ticks, mut reading) = (0, true);
        loop {
            tokio::select! { biased;
                tickets = settled.recv() => match tickets {
                    Some(tickets) => {
                        self.settle(tickets);
                        while let Ok(more) = settled.try_recv() {
                            self.settle(more);
                        }
                        self.acknowledge(&events).await;
                    }
                    None => break,
                },
                permit = deliveries.reserve(), if reading && !self.waiting.is_empty() => match permit {
                    Ok(permit) => {
                        let most = self.waiting.len().min(BATCH);
                        permit.send(self.waiting.drain(..most).collect());
                    }
                    Err(_) => reading = self.stop_reading(&mut events),
                },
                () = deliveries.closed(), if reading && self.waiting.is_empty() => reading = self.stop_reading(&mut events),
                batch = events.deliveries.recv(), if reading && self.has_room() => match batch {
                    Some(batch) => {
                        self.look();
                        self.take(batch);
                        self.acknowledge(&events).await;
                    }
                    None => break,
                },
                (asked, clients) = self.lister.listed(), if reading => {
                    self.look();
                    self.compare(asked, &clients);
                    self.acknowledge(&events).await;
                }
                _ = tick.tick() => {
                    ticks += 1;
                    self.tick(ticks % FORGET == 0);
                    self.acknowledge(&events).await;
                }
            }
        }
    }

    fn settle(&mut self, tickets: Vec<Ticket>) {
        for ticket in tickets {
            self.ledger.settle(ticket);
        }
    }

    /// What waits is not acknowledged, so the broker keeps its events.
    fn stop_reading(&mut self, events: &mut SourceHandle) -> bool {
        events.deliveries.close();
        self.waiting.clear();
        false
    }

    fn has_room(&self) -> bool {
        self.waiting.len() < WAITING && !self.journal.is_overdue(&self.connections)
    }

    fn now(&mut self) -> u64 {
        self.clock = epoch_millis().max(self.clock);
        self.clock
    }

    /// A time that is later than that of all that was heard so far. Not for each event: of a thousand in a second, that
    /// clock would run ahead of the others'.
    fn later(&mut self) -> u64 {
        self.clock = epoch_millis().max(self.clock + 1);
        self.clock
    }

    fn tick(&mut self, forget: bool) {
        self.concern_asked();
        self.look();
        let now = self.now();
        let gone = self.lifeline.tick(now);
        let over = gone.is_some() || self.catches_up.is_some_and(|latest| latest <= now);
        self.follow(gone);
        if over {
            self.has_told();
        }
        if self.state.reason().is_none() {
            self.lister.tick(now);
        }
        if forget {
            for (client_id, notices) in self.connections.forget(self.lifeline.broker_time(now)) {
                self.hand_on(None, &client_id, notices);
            }
        }
    }

    fn take(&mut self, batch: Vec<Delivery>) {
        for Delivery { ticket, message, suspected_duplicate, packet_id, .. } in batch {
            let key = packet_id.map(|id| (id, hash(&message)));
            if suspected_duplicate && key.is_some_and(|key| self.ledger.knows(key)) {
                self.open(Event { source: Some(ticket), ..Event::default() }, 0);
                continue;
            }
            let now = self.now();
            let read = self.read(&message, now);
            let said = read.unwrap_or_else(|unreadable| {
                debug!(route = %self.options.route, %unreadable, "an event cannot be read");
                self.state.dropped("unreadable_event", 1);
                Vec::new()
            });
            self.event(ticket, key, &said, now);
        }
    }

    fn read(&self, message: &Message, now: u64) -> Reading {
        let (adapter, topic) = (self.options.adapter, message.topic.as_str());
        if self.options.webhook {
            return adapter.from_webhook(Some(topic).filter(|hook| !hook.is_empty()), &message.payload, now);
        }
        adapter.from_publish(topic, &message.payload, now)
    }

    /// Takes in all that one message says; the last of it carries the ticket.
    fn event(&mut self, ticket: Ticket, key: Option<Key>, said: &[Said], now: u64) {
        for said in said {
            let (client_id, at, notices) = match said {
                Said::Opened(peer) => {
                    self.connections.opened(peer);
                    self.open(Event { key, opened: Some(peer.clone()), ..Event::default() }, 0);
                    continue;
                }
                Said::Dropped(count) => {
                    let verdict = self.lifeline.dropped(*count, now);
                    self.follow(verdict);
                    continue;
                }
                Said::Uptime(seconds) => {
                    let knew = self.lifeline.known().started.is_some();
                    let verdicts = self.lifeline.uptime(*seconds, now);
                    self.follow(verdicts);
                    if !knew {
                        // Else the next process could not tell a restart that came while nobody listened.
                        self.keep();
                    }
                    continue;
                }
                Said::Connected(event) => (&event.client_id, event.at, self.connections.connected(event, now)),
                Said::Disconnected(event) => (&event.client_id, event.at, self.connections.disconnected(event, now)),
            };
            let late = self.lifeline.heard(Some(at), now);
            self.hand_on(key, client_id, notices);
            self.follow(late);
        }
        self.open(Event { source: Some(ticket), ..Event::default() }, 0);
        if self.catches_up.is_some() && said.iter().any(|said| self.is_ours(said)) {
            self.has_told();
        }
    }

    /// Takes into the ledger what happened last.
    fn open(&mut self, event: Event, notices: usize) -> Ticket {
        self.ledger.open(Event { happened: self.lifeline.known().heard, ..event }, notices)
    }

    /// Queues the notices of one change of one client.
    fn hand_on(&mut self, key: Option<Key>, client_id: &str, mut notices: Vec<Notice>) {
        let group = group_and_device(client_id).map(|(group, _)| group);
        match group {
            Some(group) => self.concern(group),
            None if self.options.grouped => notices.clear(),
            None => {}
        }
        let client = self.connections.client(client_id).cloned().unwrap_or_default();
        if key.is_none() {
            let begins = |open: &&Channel| {
                notices.iter().any(|told| told.event_type == EventType::Connect && told.channel_id == open.id)
            };
            client.open().iter().filter(begins).for_each(|open| self.journal.tells(client_id, open));
        }
        let changed = vec![(client_id.to_owned(), client)];
        let first = self.open(Event { key, changed, ..Event::default() }, notices.len());
        for (ticket, notice) in (first..).zip(notices) {
            self.waiting.push_back(delivery(ticket, message(&self.options.route, &notice)));
        }
    }

    /// Acknowledges what is done, once it is on disk. What cannot be written waits, and so do its events.
    async fn acknowledge(&mut self, events: &SourceHandle) {
        let done = self.ledger.done();
        self.journal.note(&done);
        let mut written = self.journal.sync().await;
        while let Err(error) = &written {
            self.state.down(format!("cannot write what is known of clients: {error}"));
            tokio::time::sleep(TICK).await;
            written = self.journal.sync().await;
            if written.is_ok() {
                self.state.up();
            }
        }
        self.verdicts -= done.iter().filter(|event| event.broker.is_some()).count();
        if self.verdicts == 0 {
            // What is not done comes again, or is dropped.
            let heard = self.lifeline.known().heard;
            self.keep_heard(self.ledger.oldest().map_or(heard, |oldest| oldest.min(heard)));
        }
        self.conclude();
        let tickets: Vec<Ticket> = done.iter().filter_map(|event| event.source).collect();
        if !tickets.is_empty() {
            // A source that is gone hands its events on again.
            let _gone = events.settled.send(tickets);
        }
        let known = self.lifeline.known();
        if let Err(error) = self.journal.compact(&self.connections, &self.ledger, known, &self.groups).await {
            warn!(route = %self.options.route, %error, "cannot write the file of clients anew; it grows until that works");
        }
    }

    fn keep_heard(&self, at: u64) {
        if let Err(error) = self.journal.heard(at, self.lifeline.known().ahead) {
            debug!(route = %self.options.route, %error, "cannot note up to when all was heard of the broker");
        }
    }
}

/// What stands for a whole group where a client id is expected.
fn of_group(group: &str) -> String {
    format!("{group}{GROUP_END}")
}

fn delivery(ticket: Ticket, message: Message) -> Delivery {
    Delivery { ticket, message, suspected_duplicate: false, packet_id: None, unreadable: None }
}

fn message(route: &str, notice: &Notice) -> Message {
    let mut message = Message::new(Topic::from_parts("", ""), notice.to_body());
    message.tag = Some(notice.event_type.as_str().to_owned());
    message.client_id = Some(notice.client_id.clone());
    message.user_properties = vec![(Note::SOURCE.to_owned(), route.to_owned())];
    message
}

fn hash(message: &Message) -> u64 {
    Hash::NEW.over(message.topic.as_str()).over("\0").over(&message.payload).finish()
}
