//! The strings of a route that say what it does to a message.

use super::{
    sink::Sink,
    source::{Kind, Source},
};
use crate::{
    diagnostic::{At, Fault},
    mapping::{
        From, To,
        translation::{
            Translation,
            draft::{Draft, DraftFrom, DraftTo, Field},
        },
    },
    settings::Secret,
    toml_reader::{Found, Table},
};

/// Checks all templates and filters of a route at once, and points at what is wrong in each.
pub(super) fn translation(
    route: &Table<'_>,
    source: Option<&Source>,
    sink: Option<&Sink>,
    loop_key: &Secret,
) -> Option<Translation> {
    let order_by = route.filled_text("order_by");
    let strict_lmq = route.choice("strict", &[("lmq", true)]).is_some();
    if let (Some(order), Some(shard)) = (&order_by, sink.and_then(|sink| sink.shard_key.as_ref())) {
        let fault = Fault::error(order.at.clone(), "`order_by` has no effect beside `to.shard_key`", "not used");
        route.faults().add(fault.other(shard.at.clone(), "this is the order"));
    }
    refuse_shared_order(source?, order_by.as_ref(), route);
    check(route, &Strings { source: source?, sink: sink?, order_by: order_by.as_ref() }, strict_lmq, loop_key)
}

/// The translation of a status route, whose notices are in order for each client.
pub(super) fn notices(
    route: &Table<'_>,
    source: Option<&Source>,
    sink: Option<&Sink>,
    loop_key: &Secret,
) -> Option<Translation> {
    check(route, &Strings { source: source?, sink: sink?, order_by: None }, false, loop_key)
}

fn check(route: &Table<'_>, strings: &Strings<'_>, strict_lmq: bool, loop_key: &Secret) -> Option<Translation> {
    match Translation::check(&strings.draft(strict_lmq, loop_key)?) {
        Ok(translation) => Some(translation),
        Err(faults) => {
            for fault in faults {
                let at = strings.place(fault.field, fault.fault.range);
                route.faults().add(Fault::error(at, fault.fault.message, "here").maybe_hint(fault.fault.hint));
            }
            None
        }
    }
}

/// A shared subscription spreads the messages of one key over replicas, which then store them in any order.
fn refuse_shared_order(source: &Source, order_by: Option<&Found<String>>, route: &Table<'_>) {
    let Kind::Mqtt { shared: Some(share), .. } = &source.kind else { return };
    if order_by.is_some_and(|order| order.value == "none") {
        return;
    }
    let message = "a shared subscription keeps no order: replicas share the messages of one key";
    let fault = Fault::error(share.clone(), message, "this gives up order");
    let fault = match order_by {
        Some(order) => fault.other(order.at.clone(), "this asks for order"),
        None => fault,
    };
    route.faults().add(fault.hint("say so with `order_by = \"none\"`"));
}

struct Strings<'a> {
    source: &'a Source,
    sink: &'a Sink,
    order_by: Option<&'a Found<String>>,
}

fn text(found: Option<&Found<String>>) -> Option<&str> {
    found.map(|found| found.value.as_str())
}

impl<'a> Strings<'a> {
    /// Nothing without a filter or topic to read, which is a fault already.
    fn draft(&self, strict_lmq: bool, loop_key: &'a Secret) -> Option<Draft<'a>> {
        let (source, sink) = (self.source, self.sink);
        let from = match &source.kind {
            Kind::Mqtt { filters, .. } if filters.is_empty() => return None,
            Kind::Mqtt { filters, version_5, .. } => DraftFrom::Mqtt {
                filters: filters.iter().map(|filter| filter.value.as_str()).collect(),
                version_5: *version_5,
            },
            Kind::RocketMq { topic } => DraftFrom::RocketMq { topic: &topic.as_ref()?.value },
            Kind::Events => DraftFrom::Clients,
        };
        let to = if sink.mqtt {
            DraftTo::Mqtt {
                topic: text(sink.topic.as_ref()),
                qos: sink.qos,
                retain: sink.retain,
                real_topic: sink.real_topic,
            }
        } else {
            DraftTo::RocketMq {
                topic: text(sink.topic.as_ref()),
                tag: text(sink.tag.as_ref()),
                key: text(sink.key.as_ref()),
                client_id: text(sink.client_id.as_ref()),
                shard_key: text(sink.shard_key.as_ref()),
            }
        };
        Some(Draft {
            from,
            from_broker: source.from.as_ref().map_or("", From::broker_name),
            to,
            to_broker: sink.to.as_ref().map_or("", To::broker_name),
            within: sink.within.iter().map(|within| within.value.as_str()).collect(),
            order_by: text(self.order_by),
            strict_lmq,
            loop_key,
        })
    }

    /// The place of a part of a string.
    fn place(&self, field: Field, part: std::ops::Range<usize>) -> At {
        let (source, sink) = (self.source, self.sink);
        let found = match field {
            Field::Filter(index) => match &source.kind {
                Kind::Mqtt { filters, .. } => filters.get(index),
                Kind::RocketMq { .. } | Kind::Events => None,
            },
            Field::FromTopic => match &source.kind {
                Kind::RocketMq { topic } => topic.as_ref(),
                Kind::Mqtt { .. } | Kind::Events => None,
            },
            Field::Topic => sink.topic.as_ref(),
            Field::Tag => sink.tag.as_ref(),
            Field::Key => sink.key.as_ref(),
            Field::ClientId => sink.client_id.as_ref(),
            Field::ShardKey => sink.shard_key.as_ref(),
            Field::Within(index) => sink.within.get(index),
            Field::OrderBy => self.order_by,
        };
        found.map_or_else(|| sink.at.clone(), |found| found.at.within(&found.value, part))
    }
}
