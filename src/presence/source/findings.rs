//! What the bridge finds out by itself: what follows from the broker's life, and from its list of clients.
//!
//! It must never tell that all is known before what made it so is stored.

use tracing::{info, warn};

use super::{Source, delivery, of_group};
use crate::{
    message::{Message, Topic},
    presence::{
        connections::{Channel, When},
        event::{Connected, Said},
        ledger::Event,
        lifeline::Verdict,
        note::Note,
    },
    telemetry::Connection,
};

/// How long after a connection, in milliseconds, its broker has told what happened before at the latest: Mosquitto says
/// every 10 s for how long it has been running.
const CATCH_UP: u64 = 12_000;

impl Source {
    /// Sees whether the way to the broker has come or gone.
    pub(super) fn look(&mut self) {
        let Connection { beginnings, kept, lasts } = self.state.connection();
        if beginnings > self.beginnings {
            self.beginnings = beginnings;
            let now = self.later();
            self.lifeline.lost(now);
            let verdict = self.lifeline.found(kept, now);
            self.follow(verdict);
            if self.lifeline.catches_up() {
                self.catches_up = Some(now + CATCH_UP);
            } else {
                self.has_told();
            }
        }
        if !lasts {
            let now = self.later();
            self.lifeline.lost(now);
        }
    }

    /// Does what follows from the broker's life.
    pub(super) fn follow(&mut self, verdicts: impl IntoIterator<Item = Verdict>) {
        for verdict in verdicts {
            let route = self.options.route.clone();
            let now = self.lifeline.broker_time(self.clock);
            match verdict {
                Verdict::Gone => {
                    let clients = self.end(|_| true, now);
                    warn!(%route, clients, "the broker has been away for the grace time: its clients count as gone");
                }
                Verdict::Restarted { heard_before, began_before } => {
                    let over = |open: &Channel| open.heard < heard_before || open.at < began_before;
                    let clients = self.end(over, began_before.max(1));
                    info!(%route, clients, "the broker was restarted: what was connected to it is gone");
                }
                Verdict::Gap { until } => {
                    self.lister.gap();
                    self.compared = None;
                    info!(%route, until, "events may be missing: clients are unknown until something is heard of them");
                    self.note(&Note::Gap { source: route, until });
                }
                Verdict::Whole { since } => self.note(&Note::Whole { source: route, since }),
            }
            self.keep();
        }
    }

    /// Has what is known of the broker written down. Until then, and until all that went before is stored, the next
    /// process must not take the time for one without a gap.
    pub(super) fn keep(&mut self) {
        self.verdicts += 1;
        self.keep_heard(0);
        self.open(Event { broker: Some(self.lifeline.known()), ..Event::default() }, 0);
    }

    fn end(&mut self, over: impl Fn(&Channel) -> bool, at: u64) -> usize {
        let clients = self.connections.having(&over);
        for client_id in &clients {
            let notices = self.connections.lost(client_id, &over, at, self.clock);
            self.hand_on(None, client_id, notices);
        }
        clients.len()
    }

    /// Tells all views, through the topics that they read.
    fn note(&mut self, note: &Note) {
        let grouped = self.options.grouped;
        let clients =
            if grouped { self.groups.iter().map(|group| of_group(group)).collect() } else { vec![String::new()] };
        self.tell(note, clients);
    }

    /// Has the views of a group know of gaps, and of the one that there is.
    pub(super) fn concern(&mut self, group: &str) {
        if self.groups.contains(group) {
            return;
        }
        self.groups.insert(group.to_owned());
        self.journal.group(group);
        if let (Some(until), true) = (self.lifeline.known().gap, self.options.grouped) {
            self.tell(&Note::Gap { source: self.options.route.clone(), until }, vec![of_group(group)]);
        }
    }

    /// [`Self::concern`] for all groups that are asked for now.
    pub(super) fn concern_asked(&mut self) {
        let credentials = self.options.credentials.borrow().clone();
        credentials.asked_groups().for_each(|group| self.concern(group));
    }

    pub(super) fn tell(&mut self, note: &Note, clients: Vec<String>) {
        let first = self.open(Event::default(), clients.len());
        for (ticket, client_id) in (first..).zip(clients) {
            let mut message = Message::new(Topic::from_parts("", ""), note.to_body());
            message.tag = Some(Note::TAG.to_owned());
            message.client_id = Some(client_id);
            self.waiting.push_back(delivery(ticket, message));
        }
    }

    /// Sets right what is known by the broker's list of its clients, asked for at `asked`.
    pub(super) fn compare(&mut self, asked: u64, clients: &[Connected]) {
        if self.state.reason().is_some() {
            // What happened since may be missing: there will be a gap, and a list after it.
            return;
        }
        let now = self.now();
        let when = When { asked, now, broker: self.lifeline.broker_time(now) };
        let changed = self.connections.compare(clients, when);
        if !changed.is_empty() {
            let (route, listed, changed) = (&self.options.route, clients.len(), changed.len());
            info!(%route, listed, changed, "the broker's list of clients made good what events had not told");
        }
        for (client_id, notices) in changed {
            self.hand_on(None, &client_id, notices);
        }
        self.compared = Some((self.ledger.mark(), asked));
    }

    /// A broker tells of our own connection after all that happened before.
    pub(super) fn is_ours(&self, said: &Said) -> bool {
        matches!(said, Said::Connected(event) if Some(&event.client_id) == self.options.session.as_ref())
    }

    /// All that may have been missed has been told.
    pub(super) fn has_told(&mut self) {
        self.catches_up = None;
        self.told = Some(self.ledger.mark());
    }

    /// Once all that a list made is stored, nothing is missing any more.
    pub(super) fn conclude(&mut self) {
        if self.told.take_if(|mark| self.ledger.is_done(*mark)).is_some() {
            self.arrivals.arrived(&self.options.route);
        }
        let stored = self.compared.take_if(|(mark, _)| self.ledger.is_done(*mark));
        let whole = stored.and_then(|(_, asked)| self.lifeline.compared(asked));
        self.follow(whole);
    }
}
