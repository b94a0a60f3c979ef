//! What a client that was let in may do (LMQ-1.6, LMQ-5). Pure.
//!
//! - It may publish to a topic that one of its filters for publishing matches: to P2P topics of others, too, where a
//!   filter holds them (LMQ-5.1).
//! - It may subscribe to a filter that one of its filters for subscribing covers whole: each topic that it would get
//!   must be permitted. A union of permitted filters is not looked for.
//! - With tokens, one of them must grant it as well: its resources hold the topic, and its type stands for the deed. To
//!   publish to one client alone, any resource of the parent topic will do: the vendor's devices ask for no other. To
//!   read what is sent to others alone, a resource must name `p2p`.
//! - It may always subscribe to its own P2P topics, of every parent: LMQ-5.3 delivers to it without asking. To those
//!   of others never, unless its permission says so: not by a wildcard either.
//! - It may always publish to the two system topics of the contract (LMQ-9.5, LMQ-10.1) and be sent the notices of
//!   LMQ-9.5. No wildcard of a permission holds other topics that begin with `$`.

use std::fmt;

use super::{Accepted, Refusal};
use crate::{
    lmq::{
        notice::GROUP_END,
        p2p,
        token::{
            Kind,
            system_topics::{EXPIRES, INVALID, UPLOAD},
        },
    },
    mapping::pattern::{MAX_TOPIC_BYTES, Pattern},
    message::Topic,
};

/// Where clients of the contract publish whatever their permission is.
const SYSTEM_WRITTEN: [&str; 2] = [UPLOAD, "$SYS/enableOrderMsg"];
/// What they are sent, for brokers that ask at each delivery.
const SYSTEM_READ: [&str; 2] = [EXPIRES, INVALID];
const P2P: &str = "p2p";

/// What a client wants to do with a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Publish to it.
    Publish,
    /// Subscribe to a filter, or be sent a message of a topic.
    Subscribe,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Publish => "publish to",
            Self::Subscribe => "subscribe to",
        })
    }
}

impl Accepted<'_> {
    /// Whether a client may do something with a topic or, where it subscribes, with a filter. `strict` says whether all
    /// client ids are as LMQ-2.1 has them.
    pub fn may(&self, client_id: &str, action: Action, topic: &str, strict: bool) -> Result<(), Refusal> {
        match action {
            Action::Publish => self.may_publish(topic),
            Action::Subscribe => self.may_subscribe(client_id, topic, strict),
        }
    }

    fn may_publish(&self, topic: &str) -> Result<(), Refusal> {
        if topic.is_empty() || topic.len() > MAX_TOPIC_BYTES || topic.contains(['+', '#', '\0']) {
            return Err(Refusal::Topic("this is not the name of a topic"));
        }
        let permitted = || self.permission.publish.iter().any(|filter| filter.matches(topic));
        if SYSTEM_WRITTEN.contains(&topic)
            || (permitted() && self.granted(Kind::writes, |it| it.matches(topic) || is_p2p_beside(topic, it)))
        {
            return Ok(());
        }
        Err(Refusal::Permission { action: Action::Publish, topic: topic.to_owned() })
    }

    fn may_subscribe(&self, client_id: &str, asked: &str, strict: bool) -> Result<(), Refusal> {
        let bare = unshared(asked).ok_or(Refusal::Topic("a shared subscription needs a name and a filter"))?;
        let filter = Pattern::plain(bare).ok_or(Refusal::Topic("this is not a topic filter"))?;
        if is_own_p2p(&filter, client_id) || SYSTEM_READ.contains(&bare) {
            return Ok(());
        }
        let permitted = self.permission.subscribe.iter().any(|permitted| permitted.covers(&filter));
        if !permitted || !self.granted(Kind::reads, |granted| granted.covers(&filter)) {
            return Err(Refusal::Permission { action: Action::Subscribe, topic: asked.to_owned() });
        }
        let reads_all =
            || self.permission.reads_all_p2p && self.granted(Kind::reads, |it| names_p2p(it) && it.covers(&filter));
        if reads_p2p_of_others(&filter, client_id, strict) && !reads_all() {
            return Err(Refusal::PointToPoint(asked.to_owned()));
        }
        Ok(())
    }

    /// Whether a token grants it too, where there must be tokens: one of the right type with a resource that fits.
    fn granted(&self, right: fn(Kind) -> bool, fits: impl Fn(&Pattern) -> bool) -> bool {
        let Some(tokens) = &self.tokens else { return true };
        let resources = tokens.iter().filter(|(kind, _)| right(*kind)).flat_map(|(_, grant)| &grant.resources);
        resources.filter_map(|resource| Pattern::plain(resource)).any(|resource| fits(&resource))
    }
}

/// A filter without `$share/<name>/` before it; nothing where that is cut short.
fn unshared(filter: &str) -> Option<&str> {
    match filter.strip_prefix("$share/") {
        Some(rest) => rest.split_once('/').filter(|(name, _)| !name.is_empty()).map(|(_, filter)| filter),
        None => Some(filter),
    }
}

/// Whether a filter is for what is sent to this client alone: `<parent>/p2p/<clientId>`, where the parent may be `+`. A
/// client id with a `/` has no P2P topic (LMQ-5.1: it is one level).
pub fn is_own_p2p(filter: &Pattern, client_id: &str) -> bool {
    let levels: Vec<_> = filter.levels().collect();
    let whole = !filter.filter().ends_with('#');
    match levels[..] {
        [parent, Some(P2P), Some(own)] => {
            whole && own == client_id && parent.is_none_or(|level| !level.starts_with('$'))
        }
        _ => false,
    }
}

/// Whether a topic is `<parent>/p2p/<clientId>`, and a filter has the same parent topic.
fn is_p2p_beside(topic: &str, filter: &Pattern) -> bool {
    let topic = Topic::from_mqtt(topic);
    // LMQ-5.1: a client id is one level.
    let to_one = p2p::target(&topic).is_some_and(|client_id| !client_id.contains('/'));
    let parent = topic.parent();
    to_one && !parent.starts_with('$') && filter.levels().next().flatten().is_none_or(|level| level == parent)
}

/// Whether a filter is for nothing but what is sent to clients alone.
fn names_p2p(filter: &Pattern) -> bool {
    filter.levels().nth(1).flatten() == Some(P2P)
}

/// Whether a filter matches some `<parent>/p2p/<clientId>` of another client.
fn reads_p2p_of_others(filter: &Pattern, client_id: &str, strict: bool) -> bool {
    let levels: Vec<_> = filter.levels().collect();
    let rest = filter.filter().ends_with('#');
    let literal = |index: usize| levels.get(index).copied().flatten();
    if literal(0).is_some_and(|parent| parent.starts_with('$')) || literal(1).is_some_and(|level| level != P2P) {
        return false;
    }
    if levels.len() > 3 || (levels.len() < 3 && !rest) {
        // Nobody has a P2P topic of more levels, but some may be taken to.
        return levels.len() > 3 && literal(1).is_some();
    }
    match literal(2) {
        None => true,
        // Beside a wildcard it may only look like a client id, where there can be no client of that name.
        Some(other) => {
            let a_client = literal(1).is_some() || !strict || other.contains(GROUP_END);
            other != client_id && a_client
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{
        super::{
            Mode,
            tests::{grant, permission},
        },
        *,
    };
    use crate::settings::Permission;

    #[test]
    fn a_token_writes_to_one_client_of_the_parent_topics_that_its_resources_have() {
        let all = permission(&["TopicA/#", "TopicB/#", "TopicC/up", "$x/#"], &[]);
        let held = |kind, resources| Some([(kind, Arc::new(grant("AK", resources, kind, 9)))].into());
        for (kind, resources, topic, allowed) in [
            (Kind::Write, &["TopicA/up/+"][..], "TopicA/p2p/GID_Test@@@2", true),
            (Kind::Write, &["TopicA"], "TopicA/p2p/GID_Test@@@2", true),
            (Kind::Write, &["+/up"], "TopicB/p2p/GID_Test@@@2", true),
            (Kind::Write, &["TopicA/up", "TopicB/up"], "TopicB/p2p/GID_Test@@@2", true),
            (Kind::Write, &["TopicA/up"], "TopicB/p2p/GID_Test@@@2", false),
            (Kind::Read, &["TopicA/up"], "TopicA/p2p/GID_Test@@@2", false),
            (Kind::Write, &["TopicA/up"], "TopicA/down", false),
            (Kind::Write, &["TopicA/up"], "TopicA/p2p", false),
            (Kind::Write, &["TopicA/up"], "TopicA/p2p/", false),
            (Kind::Write, &["TopicA/up"], "TopicA/p2p/GID_Test@@@2/x", false),
            (Kind::Write, &["TopicA/up"], "TopicA/live/p2p/GID_Test@@@2", false),
            (Kind::Write, &["$x/up"], "$x/p2p/GID_Test@@@2", false),
            // The access key must have the topic itself.
            (Kind::Write, &["TopicC/up"], "TopicC/p2p/GID_Test@@@2", false),
        ] {
            let accepted = Accepted { mode: Mode::Token, permission: &all, tokens: held(kind, resources) };
            let answer = accepted.may("GID_Test@@@1", Action::Publish, topic, true);
            assert_eq!(answer.is_ok(), allowed, "{kind:?} {resources:?} {topic}: {answer:?}");
        }
    }

    #[test]
    fn a_token_reads_what_is_sent_to_others_only_where_it_names_that() {
        let all = Permission { reads_all_p2p: true, ..permission(&[], &["#"]) };
        let held = |resources| Some([(Kind::Read, Arc::new(grant("AK", resources, Kind::Read, 9)))].into());
        for (resources, filter, allowed) in [
            (&["TopicA/#"][..], "TopicA/down", true),
            (&["TopicA/#"], "TopicA/p2p/GID_Test@@@1", true),
            (&["TopicA/#"], "TopicA/p2p/GID_Test@@@2", false),
            (&["TopicA/#"], "TopicA/#", false),
            (&["#", "TopicA/+/+"], "TopicA/p2p/+", false),
            (&["TopicA/#", "TopicA/p2p/+"], "TopicA/p2p/GID_Test@@@2", true),
            (&["TopicA/#", "TopicA/p2p/+"], "TopicA/#", false),
            (&["+/p2p/#"], "TopicA/p2p/+", true),
        ] {
            let accepted = Accepted { mode: Mode::Token, permission: &all, tokens: held(resources) };
            let answer = accepted.may("GID_Test@@@1", Action::Subscribe, filter, true);
            assert_eq!(answer.is_ok(), allowed, "{resources:?} {filter}: {answer:?}");
        }
    }
}
