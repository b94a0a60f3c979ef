//! Makes routes of mapping files.
//!
//! Every fault of every file is noted, and reading goes on, so that a person sees all of them at once. A route that
//! is made holds only what can be used; whether the files may be used is for the faults to say. It must never read
//! a file or dial a broker.

mod across;
mod brokers;
mod case;
mod hosted;
mod p2p;
mod sink;
mod source;
mod start;
mod status;
mod translation;

use std::{path::PathBuf, sync::Arc};

use self::{sink::Sink, source::Source};
use super::{From, OnRefuse, Park, Place, Route, To, case::Case, names};
use crate::{
    diagnostic::{self, Fault, Faults},
    settings::{RocketMqCluster, Secret, Settings},
    toml_reader::{Found, Table, parse},
};

/// A mapping file's text.
#[derive(Debug)]
pub struct MappingFile {
    /// Where it was read.
    pub path: PathBuf,
    /// What it says.
    pub text: String,
}

/// What mapping files say.
#[derive(Debug, Default)]
pub struct Mapping {
    /// All routes, in the order of the files.
    pub routes: Vec<Route>,
    /// The tests in the files, each with the index of its route.
    pub tests: Vec<(usize, Case)>,
}

/// A route as far as it could be read.
struct Draft {
    name: Option<Found<String>>,
    source: Option<Source>,
    sink: Option<Sink>,
    route: Option<Route>,
    cases: Vec<Case>,
}

/// What all routes are read against.
#[derive(Clone, Copy)]
struct Context<'a> {
    settings: &'a Settings,
    loop_key: &'a Secret,
}

/// Reads the routes of all files. What is returned may be used only when no error was noted.
pub fn load(files: &[MappingFile], settings: &Settings, loop_key: &Secret, faults: &Faults) -> Mapping {
    let context = Context { settings, loop_key };
    let mut drafts = Vec::new();
    for file in files {
        let source = diagnostic::Source::new(file.path.display().to_string(), file.text.as_str());
        let document = parse(&source, &file.text, faults);
        let Some(root) = document.table("", faults) else {
            unreachable!("a document is a table");
        };
        let path = Arc::new(file.path.clone());
        drafts.extend(root.tables("route").into_iter().map(|table| draft(table, &path, context)));
        drafts.extend(root.tables("status").into_iter().map(|table| status::draft(table, &path, context)));
        root.finish();
    }
    across::unique_names(&drafts, faults);
    across::unique_identities(&drafts, faults);
    hosted::names(&drafts, faults);
    p2p::presence_is_known(&drafts, settings, faults);
    let mut mapping = Mapping::default();
    let mut places = Vec::new();
    for draft in drafts {
        if let (Some(route), Some(name)) = (draft.route, draft.name) {
            let index = mapping.routes.len();
            mapping.routes.push(route);
            mapping.tests.extend(draft.cases.into_iter().map(|case| (index, case)));
            places.push(name);
        }
    }
    across::no_loops(&mapping.routes, &places, faults);
    mapping
}

fn draft(table: Table<'_>, file: &Arc<PathBuf>, context: Context<'_>) -> Draft {
    let name = name(&table);
    let called = name.as_ref().map_or("", |name| &name.value);
    if table.key_at("from").is_none() {
        table.missing("from", "say what the route reads: `from.mqtt = \"plant/#\"`");
    }
    let source = table.table("from").and_then(|from| source::source(from, called, context.settings));
    let source_is_mqtt = source.as_ref().map(Source::is_mqtt);
    let sink = table.table_or_empty("to").and_then(|to| sink::sink(to, called, source_is_mqtt, context.settings));
    let on_refuse = on_refuse(&table);
    let park = park(&table, on_refuse.as_ref(), source.as_ref(), sink.as_ref(), context.settings);
    let translation = translation::translation(&table, source.as_ref(), sink.as_ref(), context.loop_key);
    let cases = case::cases(&table, source.as_ref(), file);
    let place = Place { file: file.clone(), line: table.at().line() };
    table.finish();
    let route = || {
        Some(Route {
            name: called.to_owned(),
            place,
            from: source.as_ref()?.from.clone()?,
            to: sink.as_ref()?.to.clone()?,
            drops_offline: sink.as_ref()?.drops_offline.is_some(),
            on_refuse: on_refuse.map_or(OnRefuse::Park, |found| found.value),
            park,
            translation: translation?,
        })
    };
    Draft { route: route(), name, source, sink, cases }
}

/// A route's name becomes a part of client ids, groups and file names.
fn name(route: &Table<'_>) -> Option<Found<String>> {
    let Some(name) = route.filled_text("name") else {
        if route.key_at("name").is_none() {
            route.missing("name", "a route needs a name of its own: `name = \"telemetry\"`");
        }
        return None;
    };
    let wrong = name.value.char_indices().find(|(_, c)| !(c.is_ascii_alphanumeric() || "_-".contains(*c)));
    if let Some((at, c)) = wrong {
        let at = name.at.within(&name.value, at..at + c.len_utf8());
        let message = format!("`{}` is not allowed in a route's name", c.escape_debug());
        route.faults().add(Fault::error(at, message, "letters, digits, `_` and `-` are"));
    }
    Some(name)
}

fn on_refuse(route: &Table<'_>) -> Option<Found<OnRefuse>> {
    route.choice("on_refuse", &[("park", OnRefuse::Park), ("stall", OnRefuse::Stall), ("drop", OnRefuse::Drop)])
}

fn park(
    route: &Table<'_>,
    on_refuse: Option<&Found<OnRefuse>>,
    source: Option<&Source>,
    sink: Option<&Sink>,
    settings: &Settings,
) -> Park {
    let Some(park) = route.table("park") else { return Park::File };
    let topic = park.filled_text("rocketmq");
    if let Some(topic) = &topic
        && let Some(objection) = names::objection(&topic.value)
    {
        park.faults().add(Fault::error(topic.at.clone(), objection, "not a topic"));
    }
    let at = park.key_at("rocketmq").unwrap_or_else(|| park.at().clone());
    if park.key_at("rocketmq").is_none() {
        park.missing("rocketmq", "name a topic: `park.rocketmq = \"parked\"`");
    }
    if let Some(other) = on_refuse.filter(|choice| choice.value != OnRefuse::Park) {
        let fault = Fault::error(at.clone(), "nothing is parked: `on_refuse` says otherwise", "not used");
        park.faults().add(fault.other(other.at.clone(), "this"));
    }
    // The cluster that the route is on anyway, unless the file names one.
    let near = match (sink.and_then(|sink| sink.to.as_ref()), source.and_then(|source| source.from.as_ref())) {
        (Some(To::RocketMq { cluster }), _) => Some(cluster.clone()),
        (_, Some(From::RocketMq(from))) => Some(from.cluster.clone()),
        _ => None,
    };
    let named = park.key_at("broker").is_some();
    let cluster = near.filter(|_| !named).or_else(|| brokers::pick::<RocketMqCluster>(&park, settings, &at));
    park.finish();
    match (cluster, topic) {
        (Some(cluster), Some(topic)) => Park::RocketMq { cluster, topic: topic.value },
        _ => Park::File,
    }
}

#[cfg(test)]
mod tests;
