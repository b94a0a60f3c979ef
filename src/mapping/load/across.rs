//! What only shows when all routes of all files are seen together.

use std::collections::BTreeMap;

use super::Draft;
use crate::{
    diagnostic::{At, Fault, Faults},
    mapping::{From, Route, To, loops},
    toml_reader::Found,
};

/// Two routes with one name would share metrics, parked files, sessions and groups.
pub(super) fn unique_names(drafts: &[Draft], faults: &Faults) {
    let mut seen: BTreeMap<&str, &At> = BTreeMap::new();
    for name in drafts.iter().filter_map(|draft| draft.name.as_ref()) {
        if let Some(first) = seen.get(name.value.as_str()) {
            let message = format!("two routes are called `{}`", name.value);
            faults.add(
                Fault::error(name.at.clone(), message, "used again here").other((*first).clone(), "first used here"),
            );
        } else {
            seen.insert(&name.value, &name.at);
        }
    }
}

/// Two sessions with one client id throw each other out; two consumers of one group with different routes read
/// each other's messages. Routes of equal names are left out: they are reported as such.
pub(super) fn unique_identities(drafts: &[Draft], faults: &Faults) {
    let mut seen: BTreeMap<Identity<'_>, (usize, &str, &At)> = BTreeMap::new();
    for (index, draft) in drafts.iter().enumerate() {
        let Some(name) = &draft.name else { continue };
        for (identity, at) in identities(draft) {
            let Some((owner, other, first)) = seen.get(&identity) else {
                seen.insert(identity, (index, &name.value, at));
                continue;
            };
            if *owner != index && *other == name.value {
                continue;
            }
            faults.add(clash(&identity, at).other((*first).clone(), format!("route `{other}` has it")));
        }
    }
}

/// Routes must not feed each other in a circle. `names` are those of the routes, in the same order.
pub(super) fn no_loops(routes: &[Route], names: &[Found<String>], faults: &Faults) {
    for found in loops::find(routes) {
        let mut places = found.routes.iter().filter_map(|name| names.iter().find(|known| known.value == *name));
        let Some(first) = places.next() else { continue };
        let fault = Fault::error(first.at.clone(), found.to_string(), "part of the circle").hint(found.hint());
        faults.add(match places.next() {
            Some(second) => fault.other(second.at.clone(), "and this"),
            None => fault,
        });
    }
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Identity<'a> {
    Session { broker: &'a str, client_id: &'a str },
    Group { cluster: &'a str, group: &'a str },
}

fn identities(draft: &Draft) -> impl Iterator<Item = (Identity<'_>, &At)> {
    let source = draft.source.as_ref().and_then(|source| {
        let identity = match source.from.as_ref()? {
            From::RocketMq(from) => Identity::Group { cluster: &from.cluster.name, group: &from.group },
            from => {
                let session = from.session()?;
                Identity::Session { broker: &session.broker.name, client_id: &session.client_id }
            }
        };
        Some((identity, &source.identity_at))
    });
    let sink = draft.sink.as_ref().and_then(|sink| match sink.to.as_ref()? {
        To::Mqtt { broker, client_id } => Some((Identity::Session { broker: &broker.name, client_id }, &sink.at)),
        To::RocketMq { .. } => None,
    });
    source.into_iter().chain(sink)
}

fn clash(identity: &Identity<'_>, at: &At) -> Fault {
    match identity {
        Identity::Session { broker, client_id } => {
            let message =
                format!("two sessions would have the client id `{client_id}` on `{broker}`, each ending the other");
            Fault::error(at.clone(), message, "the same id").hint("give one of them its own `from.client_id`")
        }
        Identity::Group { cluster, group } => {
            let message =
                format!("two routes would read `{cluster}` as the group `{group}`, each taking messages of the other");
            Fault::error(at.clone(), message, "the same group").hint("give one of them its own `from.group`")
        }
    }
}
