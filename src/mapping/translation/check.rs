//! From a draft to a translation, or to the faults of all its strings at once.

use super::{
    Order, Produces, Rule, Sink, Translation,
    draft::{Draft, DraftFault, DraftFrom, DraftTo, Field},
};
use crate::mapping::{
    fault::Fault,
    mark::{Marker, Stations},
    names::{self, Names},
    pattern::Pattern,
    shape::Shape,
    template::{Scope, Template},
};

impl Translation {
    /// Checks a draft as a whole; on failure, the first fault of each of its strings.
    pub fn check(draft: &Draft<'_>) -> Result<Self, Vec<DraftFault>> {
        let mut faults = Faults(Vec::new());
        let within = within(draft, &mut faults);
        let (rules, shapes): (Vec<_>, Vec<_>) =
            sources(draft, &mut faults).iter().filter_map(|source| rule(draft, source, &mut faults)).unzip();
        let produces = produces(draft, &shapes, within.as_ref(), &mut faults);
        if !faults.0.is_empty() {
            return Err(faults.0);
        }
        let (from, to) = draft.kinds();
        let order = match (draft.order_by, &draft.from) {
            _ if matches!(draft.to, DraftTo::RocketMq { shard_key: Some(_), .. }) => Order::Shard,
            (Some("none"), _) => Order::None,
            (Some(_), _) => Order::Template,
            (None, DraftFrom::Mqtt { .. }) => Order::Topic,
            (None, DraftFrom::RocketMq { .. }) => Order::Queue,
            (None, DraftFrom::Clients) => Order::Client,
        };
        let sink = match draft.to {
            DraftTo::Mqtt { qos, retain, real_topic, .. } => Sink::Mqtt { qos, retain, real_topic },
            DraftTo::RocketMq { .. } => Sink::RocketMq,
        };
        Ok(Self {
            rules,
            sink,
            produces,
            within,
            order,
            strict_lmq: draft.strict_lmq,
            marker: Marker::new(draft.loop_key),
            from: Stations::new(from, draft.from_broker),
            to: Stations::new(to, draft.to_broker),
        })
    }
}

/// The faults so far: of each string the first.
struct Faults(Vec<DraftFault>);

impl Faults {
    fn add(&mut self, field: Field, fault: Fault) {
        if !self.in_field(|known| known == field) {
            self.0.push(DraftFault { field, fault });
        }
    }

    fn in_field(&self, is: impl Fn(Field) -> bool) -> bool {
        self.0.iter().any(|known| is(known.field))
    }

    fn keep<T>(&mut self, field: Field, result: Result<T, Fault>) -> Option<T> {
        result.map_err(|fault| self.add(field, fault)).ok()
    }
}

/// What the templates of one rule are read against.
enum Source<'a> {
    Mqtt { pattern: Pattern, version_5: bool },
    RocketMq { topic: &'a str },
    Clients,
}

impl Source<'_> {
    fn scope(&self) -> Scope<'_> {
        match self {
            Self::Mqtt { pattern, version_5 } => Scope::Mqtt { pattern, properties: *version_5 },
            Self::RocketMq { topic } => Scope::RocketMq { topic },
            Self::Clients => Scope::Clients,
        }
    }
}

fn sources<'a>(draft: &'a Draft<'_>, faults: &mut Faults) -> Vec<Source<'a>> {
    match &draft.from {
        DraftFrom::Mqtt { filters, version_5 } => {
            let mut parse = |(index, filter): (usize, &&str)| {
                let pattern = faults.keep(Field::Filter(index), Pattern::parse(filter))?;
                Some(Source::Mqtt { pattern, version_5: *version_5 })
            };
            filters.iter().enumerate().filter_map(&mut parse).collect()
        }
        DraftFrom::RocketMq { topic } => {
            if let Some(objection) = names::objection(topic) {
                faults.add(Field::FromTopic, Fault::new(0..topic.len(), objection));
            }
            vec![Source::RocketMq { topic }]
        }
        DraftFrom::Clients => vec![Source::Clients],
    }
}

fn within(draft: &Draft<'_>, faults: &mut Faults) -> Option<Produces> {
    let texts = || draft.within.iter().enumerate();
    if draft.within.is_empty() {
        return None;
    }
    Some(match draft.to {
        DraftTo::Mqtt { .. } => {
            let parse = |(index, text): (usize, &&str)| faults.keep(Field::Within(index), Pattern::parse(text));
            Produces::Mqtt(texts().filter_map(parse).collect())
        }
        DraftTo::RocketMq { .. } => {
            let parse = |(index, text): (usize, &&str)| faults.keep(Field::Within(index), Names::parse(text));
            Produces::RocketMq(texts().filter_map(parse).collect())
        }
    })
}

/// The rule of one source, and what its destinations look like.
fn rule(draft: &Draft<'_>, source: &Source<'_>, faults: &mut Faults) -> Option<(Rule, Shape)> {
    let scope = source.scope();
    let mut optional =
        |field, text: Option<&str>| text.and_then(|text| faults.keep(field, Template::parse(text, &scope)));
    let (tag, key, client_id, shard_key) = match draft.to {
        DraftTo::Mqtt { .. } => (None, None, None, None),
        DraftTo::RocketMq { tag, key, client_id, shard_key, .. } => (
            optional(Field::Tag, tag),
            optional(Field::Key, key),
            optional(Field::ClientId, client_id),
            optional(Field::ShardKey, shard_key),
        ),
    };
    let order = shard_key.or_else(|| optional(Field::OrderBy, draft.order_by.filter(|text| *text != "none")));
    let text = draft.topic();
    let topic = faults.keep(Field::Topic, Template::parse(text, &scope))?;
    faults.keep(Field::Topic, check_literals(text, matches!(draft.to, DraftTo::Mqtt { .. })))?;
    let pattern = match source {
        Source::Mqtt { pattern, .. } => Some(pattern.clone()),
        Source::RocketMq { .. } | Source::Clients => None,
    };
    let shape = Shape::of(&topic, &scope);
    let mut rule = Rule { pattern, needs_captures: false, topic, tag, key, client_id, order };
    let needs_captures = rule.templates().any(Template::needs_captures);
    rule.needs_captures = needs_captures;
    Some((rule, shape))
}

/// What stands in a destination outside of braces must be fit for a topic.
fn check_literals(text: &str, mqtt: bool) -> Result<(), Fault> {
    if text.is_empty() {
        return Err(Fault::new(0..0, "a topic may not be empty"));
    }
    let mut variable = false;
    for (at, c) in text.char_indices() {
        let here = at..at + c.len_utf8();
        match c {
            '{' => variable = true,
            '}' => variable = false,
            _ if variable => {}
            '+' | '#' if mqtt => {
                return Err(Fault::new(here, format!("a topic to publish to may not hold the wildcard `{c}`"))
                    .hint("name the wildcards of the source's filter, and use their names here: `{x}`"));
            }
            '/' if !mqtt => {
                return Err(Fault::new(here, "a RocketMQ topic has no levels")
                    .hint("the levels below the parent topic cross by themselves, as `mqttSecondTopic`"));
            }
            _ if !mqtt && !names::is_allowed(c) => {
                return Err(Fault::new(here, format!("a RocketMQ topic may not hold `{}`", c.escape_debug())));
            }
            _ => {}
        }
    }
    match names::objection(text) {
        Some(objection) if !mqtt && !text.contains('{') => Err(Fault::new(0..text.len(), objection)),
        _ => Ok(()),
    }
}

/// All that may come out, narrowed to what `to.within` allows.
fn produces(draft: &Draft<'_>, shapes: &[Shape], within: Option<&Produces>, faults: &mut Faults) -> Produces {
    let text = draft.topic();
    // What a group's notices go to is bounded by its end, as the contract has it (LMQ-7.1).
    let bounded = matches!(draft.from, DraftFrom::Clients) && !text.ends_with('}');
    let unbounded = !bounded && shapes.iter().any(|shape| shape.prefix().trim_matches('/').is_empty());
    if let (DraftTo::Mqtt { real_topic: true, .. }, Some(within)) = (&draft.to, within) {
        return within.clone();
    }
    let unbounded = unbounded || matches!(draft.to, DraftTo::Mqtt { real_topic: true, .. });
    let all = match draft.to {
        DraftTo::Mqtt { .. } => Produces::Mqtt(shapes.iter().map(Shape::pattern).collect()),
        DraftTo::RocketMq { .. } => Produces::RocketMq(shapes.iter().map(Names::of).collect()),
    };
    let Some(within) = within else {
        if unbounded {
            let example = if matches!(all, Produces::Mqtt(_)) { "dev/#" } else { "plant_*" };
            let fault = Fault::new(0..text.len(), format!("with `{text}`, a message could choose any topic")).hint(
                format!("say what it may produce, as in `to.within = [\"{example}\"]`, or start it with fixed text"),
            );
            faults.add(Field::Topic, fault);
        }
        return all;
    };
    let narrowed = match (&all, within) {
        (Produces::Mqtt(all), Produces::Mqtt(within)) => {
            Produces::Mqtt(pairs(all, within).filter_map(|(a, b)| a.intersection(b)).collect())
        }
        (Produces::RocketMq(all), Produces::RocketMq(within)) => {
            Produces::RocketMq(pairs(all, within).filter_map(|(a, b)| a.intersection(b)).collect())
        }
        _ => all.clone(),
    };
    let nothing = matches!(&narrowed, Produces::Mqtt(none) if none.is_empty())
        || matches!(&narrowed, Produces::RocketMq(none) if none.is_empty());
    if nothing && !shapes.is_empty() && !faults.in_field(|field| matches!(field, Field::Within(_))) {
        let fault = Fault::new(0..text.len(), format!("nothing that `{text}` can produce is within `to.within`"));
        faults.add(Field::Topic, fault.hint("every message would be refused: widen `to.within`, or change the topic"));
    }
    narrowed
}

fn pairs<'a, T>(left: &'a [T], right: &'a [T]) -> impl Iterator<Item = (&'a T, &'a T)> {
    left.iter().flat_map(move |a| right.iter().map(move |b| (a, b)))
}
