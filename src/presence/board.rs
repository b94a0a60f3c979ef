//! The view of one replica, made of the topics of notices: which of them are read to their end, and what they say.
//!
//! Time is an argument. It must never answer from a view that is not at the end of its topics: until then, and while
//! a topic cannot be read, a client is unknown.

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::sync::broadcast;

use super::{
    ask::{Answer, Change, Online, Presences},
    note::Note,
    view::{
        self, View,
        snapshot::{self, Position, Snapshot, SnapshotError},
    },
};
use crate::{
    delivery::Tailed,
    lmq::notice::{Notice, group_and_device},
    message::{Message, Queue},
};

/// How long, in milliseconds, a queue may be out of reach before its view counts as old.
const OLD: u64 = 10_000;
/// Changes that a slow reader may be behind.
const BEHIND: usize = 1_024;

/// Who is online, as this replica knows.
#[derive(Debug, Default)]
pub struct Board {
    state: Mutex<State>,
}

/// The topics that each group's notices are in.
pub type Groups = HashMap<String, Vec<String>>;

#[derive(Debug, Default)]
struct State {
    groups: Groups,
    /// By group, those that somebody has asked for.
    feeds: HashMap<String, broadcast::Sender<Change>>,
    view: View,
    topics: BTreeMap<String, Topic>,
    /// The status routes that have been heard of.
    sources: Vec<String>,
    now: u64,
    /// What the last snapshot does not have.
    changed: bool,
}

#[derive(Debug, Default)]
struct Topic {
    queues: BTreeMap<Queue, Place>,
    looked: bool,
}

#[derive(Debug, Default)]
struct Place {
    next: u64,
    at_end: bool,
    fault_since: Option<u64>,
}

impl Topic {
    fn place(&mut self, queue: &Queue) -> &mut Place {
        self.queues.entry(queue.clone()).or_default()
    }
}

impl Board {
    /// Says where the notices of each group are; a group that is not among them is unknown.
    pub fn follow(&self, groups: Groups) {
        self.state().groups = groups;
    }

    /// Takes up a snapshot.
    pub fn restore(&self, bytes: &[u8]) -> Result<(), SnapshotError> {
        let Snapshot { view, positions } = snapshot::decode(bytes)?;
        let mut state = self.state();
        state.view = view;
        for Position { topic, queue, offset } in positions {
            state.topics.entry(topic).or_default().queues.insert(queue, Place { next: offset, ..Place::default() });
        }
        Ok(())
    }

    /// A snapshot, if anything has changed since the last one.
    pub fn snapshot(&self) -> Option<Vec<u8>> {
        let mut state = self.state();
        if !std::mem::take(&mut state.changed) {
            return None;
        }
        let position = |topic: &String, (queue, place): (&Queue, &Place)| Position {
            topic: topic.clone(),
            queue: queue.clone(),
            offset: place.next,
        };
        let queues = |(topic, reading): (&String, &Topic)| -> Vec<_> {
            reading.queues.iter().map(|queue| position(topic, queue)).collect()
        };
        let positions: Vec<Position> = state.topics.iter().flat_map(queues).collect();
        let content = snapshot::content(&state.view, &positions);
        // Questions wait for no more than they must.
        drop(state);
        Some(snapshot::seal(content))
    }

    /// Where to go on reading a topic.
    pub fn positions(&self, topic: &str) -> HashMap<Queue, u64> {
        let state = self.state();
        let queues = state.topics.get(topic).into_iter().flat_map(|topic| &topic.queues);
        queues.map(|(queue, place)| (queue.clone(), place.next)).collect()
    }

    /// Takes in what was read of a topic; `now` in milliseconds since the epoch.
    pub fn tailed(&self, topic: &str, tailed: &Tailed, now: u64) {
        // Questions do not wait while messages are taken apart.
        let told: Vec<Told<'_>> = match tailed {
            Tailed::Read { messages, .. } => messages.iter().filter_map(Told::read).collect(),
            _ => Vec::new(),
        };
        let mut state = self.state();
        let state = &mut *state;
        state.now = now;
        let reading = state.topics.entry(topic.to_owned()).or_default();
        match tailed {
            Tailed::Queues(queues) => {
                reading.looked = true;
                reading.queues.retain(|queue, _| queues.contains(queue));
                for queue in queues {
                    reading.place(queue);
                }
            }
            Tailed::Read { queue, next, lost, .. } => {
                reading.place(queue).next = *next;
                state.changed = true;
                if *lost {
                    state.lost(&told);
                }
                for told in told {
                    state.take(told);
                }
            }
            Tailed::AtEnd(queue) => reading.place(queue).at_end = true,
            Tailed::Fault { queue: Some(queue), .. } => {
                reading.place(queue).fault_since.get_or_insert(now);
            }
            Tailed::Fault { queue: None, .. } => {}
            Tailed::Well(queue) => reading.place(queue).fault_since = None,
        }
    }

    /// Time passes: what is over is forgotten.
    pub fn tick(&self, now: u64) {
        let mut state = self.state();
        state.now = now;
        state.view.forget(now);
    }

    /// Whether a client is known to be offline, by topics all of which can be read at this moment.
    pub fn is_offline(&self, client_id: &str) -> bool {
        let state = self.state();
        state.is_current(group_of(client_id), 0) && state.view.online(client_id) == view::Answer::Known(0)
    }

    /// How many clients are online, in all groups.
    pub fn clients(&self) -> usize {
        self.state().view.clients()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a message says.
enum Told<'m> {
    Notice {
        /// The status route that made it, where it was a bridge.
        source: Option<&'m str>,
        notice: Notice,
    },
    Gap {
        source: String,
        group: &'m str,
        until: u64,
    },
    Whole {
        source: String,
        since: u64,
    },
}

impl<'m> Told<'m> {
    /// What no bridge and no back end wrote is passed over.
    fn read(message: &'m Message) -> Option<Self> {
        if message.tag.as_deref() == Some(Note::TAG) {
            return match Note::from_body(&message.payload).ok()? {
                Note::Gap { source, until } => {
                    let group = message.client_id.as_deref().map_or("", group_of);
                    Some(Self::Gap { source, group, until })
                }
                Note::Whole { source, since } => Some(Self::Whole { source, since }),
            };
        }
        let source = message.user_properties.iter().find(|(name, _)| name == Note::SOURCE);
        let notice = Notice::from_body(&message.payload).ok()?;
        Some(Self::Notice { source: source.map(|(_, route)| route.as_str()), notice })
    }
}

impl State {
    fn take(&mut self, told: Told<'_>) {
        match told {
            Told::Notice { source, notice } => self.notice(source, notice),
            Told::Gap { source, group, until } => {
                self.view.concerns(&source, group);
                self.view.gap(&source, until);
                self.heard_of(&source);
            }
            Told::Whole { source, since } => self.view.reset(&source, since),
        }
    }

    fn notice(&mut self, source: Option<&str>, notice: Notice) {
        if let Some(source) = source {
            self.heard_of(source);
        }
        let changed = self.view.apply(source, &notice, self.now);
        let group = group_of(&notice.client_id);
        if let (Some(change), Some(feed)) = (changed, self.feeds.get(group)) {
            let Notice { client_id, time, .. } = notice;
            // Nobody listens: nothing is missed.
            let _nobody = feed.send(Change { client_id, online: change.after.into(), at: time });
        }
    }

    /// Whether a group's topics are all read to their end; for less than `old` milliseconds they may be out of reach.
    fn is_current(&self, group: &str, old: u64) -> bool {
        let reached =
            |place: &Place| place.at_end && place.fault_since.is_none_or(|since| self.now.saturating_sub(since) < old);
        let current = |topic: &String| {
            self.topics.get(topic).is_some_and(|topic| topic.looked && topic.queues.values().all(reached))
        };
        self.groups.get(group).is_some_and(|topics| topics.iter().all(current))
    }

    fn heard_of(&mut self, source: &str) {
        if !self.sources.iter().any(|known| known == source) {
            self.sources.push(source.to_owned());
        }
    }

    /// Messages before these are gone: what they said of clients is not known.
    fn lost(&mut self, next: &[Told<'_>]) {
        let first = next.iter().find_map(|told| match told {
            Told::Notice { notice, .. } => Some(notice.time),
            Told::Gap { .. } | Told::Whole { .. } => None,
        });
        let until = first.map_or(self.now, |time| time.saturating_sub(1));
        for source in self.sources.clone() {
            self.view.gap(&source, until);
        }
    }
}

impl Presences for Board {
    fn online(&self, client_id: &str) -> Answer {
        let state = self.state();
        if state.is_current(group_of(client_id), OLD) { state.view.online(client_id).into() } else { Answer::Unknown }
    }

    fn count(&self, group: &str) -> Answer {
        let state = self.state();
        let count = state.view.count(group);
        if state.is_current(group, OLD) && count.exact {
            Answer::Known(u32::try_from(count.online).unwrap_or(u32::MAX))
        } else {
            Answer::Unknown
        }
    }

    fn list(&self, group: &str, after: &str, limit: usize) -> Vec<Online> {
        let state = self.state();
        if !state.is_current(group, OLD) {
            return Vec::new();
        }
        let page = state.view.list(group, Some(after).filter(|after| !after.is_empty()), limit);
        let online = |listed: view::Listed<'_>| {
            let latest = listed.channels.iter().max_by_key(|channel| channel.connected_at)?;
            Some(Online {
                channels: u32::try_from(listed.channels.len()).unwrap_or(u32::MAX),
                connected_at: latest.connected_at,
                client_ip: latest.client_ip.to_string(),
                client_id: listed.client_id,
            })
        };
        page.clients.into_iter().filter_map(online).collect()
    }

    fn changes(&self, group: &str) -> broadcast::Receiver<Change> {
        let mut state = self.state();
        state.feeds.retain(|_, feed| feed.receiver_count() > 0);
        state.feeds.entry(group.to_owned()).or_insert_with(|| broadcast::channel(BEHIND).0).subscribe()
    }
}

/// The group of a client id; no name for one that has none.
fn group_of(client_id: &str) -> &str {
    group_and_device(client_id).map_or("", |(group, _)| group)
}

impl From<view::Answer> for Answer {
    fn from(answer: view::Answer) -> Self {
        match answer {
            view::Answer::Known(channels) => Self::Known(channels),
            view::Answer::Unknown => Self::Unknown,
        }
    }
}
