//! Says in the log, once, what is wrong and by its first reason, and once that it is over.
//!
//! It must never say a thing again for each try: brokers stay away for long.

use std::{collections::BTreeSet, mem};

use tracing::{info, warn};

use crate::{delivery::Tailed, message::Queue};

/// Something that works, or does not.
#[derive(Debug)]
pub(super) struct Trouble {
    topic: String,
    what: &'static str,
    over: &'static str,
    said: bool,
}

impl Trouble {
    /// It works so far; `what` and `over` say that it does not, and that it does again.
    pub(super) fn new(topic: &str, what: &'static str, over: &'static str) -> Self {
        Self { topic: topic.to_owned(), what, over, said: false }
    }

    /// It does not work.
    pub(super) fn is(&mut self, reason: &str) {
        if !mem::replace(&mut self.said, true) {
            warn!(topic = self.topic, reason, "{}", self.what);
        }
    }

    /// It works.
    pub(super) fn over(&mut self) {
        if mem::take(&mut self.said) {
            info!(topic = self.topic, "{}", self.over);
        }
    }
}

/// The trouble of reading all queues of a topic, over when none of them has any.
#[derive(Debug)]
pub(super) struct TailTrouble {
    trouble: Trouble,
    /// Queues, and the topic itself, that cannot be read.
    faulty: BTreeSet<Option<Queue>>,
}

impl TailTrouble {
    /// Nothing is wrong so far.
    pub(super) fn new(trouble: Trouble) -> Self {
        Self { trouble, faulty: BTreeSet::new() }
    }

    /// Takes in how the reading goes.
    pub(super) fn take(&mut self, tailed: &Tailed) {
        match tailed {
            Tailed::Fault { queue, reason } => {
                self.faulty.insert(queue.clone());
                self.trouble.is(reason);
            }
            // The topic is well again, and what it has no more cannot be.
            Tailed::Queues(queues) => {
                self.faulty.retain(|queue| queue.as_ref().is_some_and(|queue| queues.contains(queue)));
            }
            Tailed::Read { queue, .. } | Tailed::AtEnd(queue) | Tailed::Well(queue) => {
                self.faulty.remove(&Some(queue.clone()));
            }
        }
        if self.faulty.is_empty() {
            self.trouble.over();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_is_over_when_no_queue_and_not_the_topic_has_any() {
        let queue = |id| Queue { broker: "broker-0".into(), id };
        let fault = |queue| Tailed::Fault { queue, reason: "away".into() };
        let mut tail = TailTrouble::new(Trouble::new("t", "broken", "mended"));
        for (tailed, said) in [
            (Tailed::Well(queue(0)), false),
            (fault(Some(queue(0))), true),
            (fault(Some(queue(1))), true),
            (fault(None), true),
            (Tailed::Well(queue(0)), true),
            (Tailed::Queues(vec![queue(0), queue(1)]), true),
            (Tailed::AtEnd(queue(1)), false),
            (fault(Some(queue(1))), true),
            (Tailed::Queues(vec![queue(0)]), false),
        ] {
            tail.take(&tailed);
            assert_eq!(tail.trouble.said, said, "{tailed:?}");
        }
    }
}
