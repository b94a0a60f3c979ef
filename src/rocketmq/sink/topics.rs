//! The topics that a sink writes to, and when their routes are to be looked up. Pure: it is told what time it is.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    backlog::{BatchLimits, Entry},
    lanes::Lanes,
};
use crate::rocketmq::{client::CallError, wire::route::TopicRoute};

/// A route in use is looked up again after this.
const REFRESH: Duration = Duration::from_secs(30);
/// And after this while it is missing, changing or in doubt.
const RECHECK: Duration = Duration::from_secs(1);
/// Topics that are kept though nothing is under way there.
const IDLE_TOPICS: usize = 256;

/// All topics of one sink, under their names without the namespace.
#[derive(Debug)]
pub(super) struct Topics {
    batch: BatchLimits,
    grace: Duration,
    by_name: HashMap<Arc<str>, Topic>,
}

/// One topic.
#[derive(Debug)]
pub(super) struct Topic {
    /// With the namespace.
    pub(super) full_name: Arc<str>,
    pub(super) lanes: Lanes,
    added: Instant,
    /// When its route was last asked for.
    asked: Option<Instant>,
    asking: bool,
    /// Messages came since its route was last asked for.
    used: bool,
    /// A send failed in a way that a new route may mend.
    doubted: bool,
    /// Why there is no route.
    problem: Option<String>,
}

impl Topics {
    pub(super) fn new(batch: BatchLimits, grace: Duration) -> Self {
        Self { batch, grace, by_name: HashMap::new() }
    }

    /// Messages taken and not settled.
    pub(super) fn unresolved(&self) -> usize {
        self.by_name.values().map(|topic| topic.lanes.unresolved()).sum()
    }

    pub(super) fn get_mut(&mut self, name: &str) -> Option<&mut Topic> {
        self.by_name.get_mut(name)
    }

    /// Those with messages under way.
    pub(super) fn busy(&mut self) -> impl Iterator<Item = (&Arc<str>, &mut Topic)> {
        self.by_name.iter_mut().filter(|(_, topic)| topic.lanes.unresolved() > 0)
    }

    /// Adds a topic that is not there. Forgets those that nothing is sent to when there are very many.
    pub(super) fn add(&mut self, name: &str, full_name: String, now: Instant) -> &mut Topic {
        if self.by_name.len() >= IDLE_TOPICS {
            self.by_name.retain(|_, topic| topic.lanes.unresolved() > 0);
        }
        let lanes = Lanes::new(self.batch, self.grace);
        self.by_name.entry(name.into()).or_insert(Topic {
            full_name: full_name.into(),
            lanes,
            added: now,
            asked: None,
            asking: false,
            used: false,
            doubted: false,
            problem: None,
        })
    }

    /// When something is due though nothing else happens.
    pub(super) fn next_due(&self) -> Option<Instant> {
        let busy = self.by_name.values().filter(|topic| topic.lanes.unresolved() > 0);
        busy.flat_map(|topic| [topic.lanes.next_due(), topic.lookup_due()]).flatten().min()
    }

    /// Why some topic cannot be written to, if there is one.
    pub(super) fn problem(&self) -> Option<&str> {
        let busy = self.by_name.values().filter(|topic| topic.lanes.unresolved() > 0);
        busy.filter_map(|topic| topic.problem.as_deref().or_else(|| topic.lanes.problem())).min()
    }
}

impl Topic {
    /// Takes a message for it.
    pub(super) fn push(&mut self, entry: Entry, bytes: &[u8]) {
        self.used = true;
        self.lanes.push(entry, bytes);
    }

    /// A send failed and a new route may mend it.
    pub(super) fn doubt(&mut self) {
        self.doubted = true;
    }

    /// True when its route is to be asked for now; whoever asks passes the answer to [`Self::routed`].
    pub(super) fn ask(&mut self, now: Instant) -> bool {
        let wanted = self.lookup_due().is_some_and(|due| now >= due);
        if wanted {
            (self.asked, self.asking, self.used, self.doubted) = (Some(now), true, false, false);
        }
        wanted
    }

    fn lookup_due(&self) -> Option<Instant> {
        let Some(asked) = self.asked else { return Some(self.added) };
        let urgent = !self.lanes.has_queues() || self.lanes.is_changing() || self.doubted;
        match (self.asking, urgent, self.used) {
            (false, true, _) => Some(asked + RECHECK),
            (false, false, true) => Some(asked + REFRESH),
            _ => None,
        }
    }

    /// Takes what the name servers say. A failure counts only while there is no route to go on with.
    pub(super) fn routed(&mut self, route: Result<Arc<TopicRoute>, CallError>, cluster: &str, now: Instant) {
        self.asking = false;
        let queues = route.map(|route| route.writable());
        self.problem = match &queues {
            _ if self.lanes.has_queues() => None,
            Ok(queues) if queues.is_empty() => {
                Some(format!("topic {} has no writable queue on {cluster}", self.full_name))
            }
            Ok(_) => None,
            Err(CallError::TopicNotExist(_)) => Some(format!("topic {} does not exist on {cluster}", self.full_name)),
            Err(error) => Some(format!("the name servers of {cluster} say nothing: {error}")),
        };
        self.lanes.set_queues(queues.unwrap_or_default(), now);
    }
}
