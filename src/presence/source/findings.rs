//! What the bridge finds out by itself: what follows from the broker's life, and from its list of clients.
//!
//! It must never tell that all is known before what made it so is stored.

use tracing::{info, warn};

use super::{Source, delivery, of_group};
use crate::{
    message::{Message, Topic},
    presence::{
        connections::{Channel, When},
        event::Connected,
        ledger::Event,
        lifeline::Verdict,
        note::Note,
    },
};

impl Source {
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

    /// Once all that a list made is stored, nothing is missing any more.
    pub(super) fn conclude(&mut self) {
        let stored = self.compared.take_if(|(mark, _)| self.ledger.is_done(*mark));
        let whole = stored.and_then(|(_, asked)| self.lifeline.compared(asked));
        self.follow(whole);
    }
}
