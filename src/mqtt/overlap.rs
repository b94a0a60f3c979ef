//! Overlapping filters of one route: which of the copies of one publish counts. MQTT 5 alone tells them apart.
//!
//! A broker may send one copy per matching subscription. The copy of the lowest matching subscription id counts;
//! one that carries only higher ids is skipped. Nothing may ever be skipped of which no other copy comes, so:
//! ids are new in every process (what waited in the session carries others, and unknown ids are no reason to
//! drop), they rise in the order in which subscriptions are made, and one that the broker refused counts for
//! nothing; granted later, it gets a higher id than all others. Pure.

/// The largest subscription identifier.
const LARGEST_ID: usize = 268_435_455;

/// Ids of one process differ from those of another in the bits above these.
const FILTER_BITS: u32 = 12;

#[derive(Debug)]
pub(super) struct Subscription {
    /// As MQTT matches it, without `$share/group/`.
    pub(super) filter: String,
    pub(super) id: usize,
    pub(super) granted: bool,
}

#[derive(Debug)]
pub(super) struct Subscriptions {
    all: Vec<Subscription>,
    next_id: usize,
}

impl Subscriptions {
    /// Numbers the filters in their order; `seed` is any number that another process will hardly choose.
    pub(super) fn new(filters: &[String], seed: u32) -> Self {
        let base = ((seed as usize) << FILTER_BITS) & LARGEST_ID;
        let all = filters.iter().enumerate().map(|(index, filter)| Subscription {
            filter: filter.clone(),
            id: base + 1 + index,
            granted: false,
        });
        Self { all: all.collect(), next_id: base + 1 + filters.len() }
    }

    pub(super) fn all(&self) -> &[Subscription] {
        &self.all
    }

    /// Notes what the broker said. A refused one gets a new id, the highest, for its next try.
    pub(super) fn answered(&mut self, index: usize, granted: bool) {
        let Some(subscription) = self.all.get_mut(index) else { return };
        subscription.granted = granted;
        if !granted {
            subscription.id = self.next_id.min(LARGEST_ID);
            self.next_id += 1;
        }
    }

    /// Whether this copy is the one that counts.
    pub(super) fn counts(&self, topic: &str, ids: &[usize]) -> bool {
        if ids.is_empty() || self.all.len() < 2 {
            return true;
        }
        let mut matching = self.all.iter().filter(|one| one.granted && matches(&one.filter, topic)).map(|one| one.id);
        let Some(lowest) = matching.clone().min() else { return true };
        ids.contains(&lowest) || !ids.iter().all(|id| matching.any(|known| known == *id))
    }
}

/// Whether a topic matches a filter.
pub(super) fn matches(filter: &str, topic: &str) -> bool {
    if topic.starts_with('$') && !filter.starts_with('$') {
        return false;
    }
    let mut levels = topic.split('/');
    for wanted in filter.split('/') {
        match (wanted, levels.next()) {
            ("#", _) => return true,
            ("+", Some(_)) => {}
            (wanted, Some(level)) if wanted == level => {}
            _ => return false,
        }
    }
    levels.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn granted(filters: &[&str]) -> Subscriptions {
        let filters: Vec<String> = filters.iter().map(ToString::to_string).collect();
        let mut subscriptions = Subscriptions::new(&filters, 7);
        for index in 0..filters.len() {
            subscriptions.answered(index, true);
        }
        subscriptions
    }

    #[test]
    fn one_copy_of_several_counts() {
        let subscriptions = granted(&["a/#", "a/+", "b"]);
        let id = |index: usize| subscriptions.all()[index].id;
        assert!(subscriptions.counts("a/x", &[id(0)]));
        assert!(!subscriptions.counts("a/x", &[id(1)]));
        assert!(subscriptions.counts("a/x", &[id(1), id(0)]));
        assert!(subscriptions.counts("b", &[id(2)]));
    }

    #[test]
    fn unknown_absent_or_unfitting_ids_are_no_reason_to_drop() {
        let subscriptions = granted(&["a/#", "a/+", "b"]);
        let id = |index: usize| subscriptions.all()[index].id;
        assert!(subscriptions.counts("a/x", &[]));
        assert!(subscriptions.counts("a/x", &[LARGEST_ID]));
        assert!(subscriptions.counts("a/x", &[id(1), LARGEST_ID]));
        assert!(subscriptions.counts("a/x", &[id(2)]));
        assert!(subscriptions.counts("c", &[id(1)]));
    }

    #[test]
    fn a_refused_filter_drops_nothing_and_comes_last_when_granted() {
        let mut subscriptions = granted(&["a/#", "a/+"]);
        subscriptions.answered(0, false);
        let second = subscriptions.all()[1].id;
        assert!(subscriptions.counts("a/x", &[second]));
        subscriptions.answered(0, true);
        assert!(subscriptions.counts("a/x", &[second]), "it waited in the session since before the grant");
        assert!(!subscriptions.counts("a/x", &[subscriptions.all()[0].id]));
    }

    #[test]
    fn filters_match_as_mqtt_says() {
        for (filter, topic, expected) in [
            ("a/#", "a", true),
            ("a/#", "a/b/c", true),
            ("a/+", "a", false),
            ("a/+", "a/", true),
            ("+/+", "/x", true),
            ("#", "a", true),
            ("#", "$SYS/x", false),
            ("+/x", "$SYS/x", false),
            ("$SYS/#", "$SYS/x", true),
            ("a", "a/b", false),
            ("a/b", "a", false),
        ] {
            assert_eq!(matches(filter, topic), expected, "{filter} {topic}");
        }
    }
}
