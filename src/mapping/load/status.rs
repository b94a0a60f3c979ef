//! `[[status]]`: a route from what a broker says of its clients to status notices (LMQ-7).

use std::{ops::RangeInclusive, path::PathBuf, sync::Arc, time::Duration};

use super::{
    Context, Draft,
    brokers::pick,
    name, on_refuse, park, sink,
    source::{Kind, Source, share},
    translation,
};
use crate::{
    diagnostic::{At, Fault, did_you_mean},
    mapping::{From, FromEvents, FromMqtt, OnRefuse, Place, Route, Via},
    message::Qos,
    presence::{adapter::Adapter, roster::Roster},
    settings::{BrokerApi, MqttBroker, Settings},
    toml_reader::Table,
};

/// How long a broker may be away before its clients count as gone.
const GRACE: Duration = Duration::from_secs(30);
const GRACES: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(86_400);

/// Reads a status route.
pub(super) fn draft(table: Table<'_>, file: &Arc<PathBuf>, context: Context<'_>) -> Draft {
    let name = name(&table);
    let called = name.as_ref().map_or("", |name| &name.value);
    if table.key_at("from").is_none() {
        table.missing("from", "say whose events it reads: `from = { events = \"mosquitto\" }`");
    }
    let mut source = table.table("from").and_then(|from| events(from, called, context.settings));
    let sink = table.table_or_empty("to").and_then(|to| sink::notices(to, called, context.settings));
    let on_refuse = on_refuse(&table);
    let park = park(&table, on_refuse.as_ref(), source.as_ref(), sink.as_ref(), context.settings);
    let translation = translation::notices(&table, source.as_ref(), sink.as_ref(), context.loop_key);
    let place = Place { file: file.clone(), line: table.at().line() };
    table.finish();
    let topic = sink.as_ref().and_then(|sink| sink.topic.as_ref());
    if let Some(Source { from: Some(From::Events(from)), .. }) = &mut source {
        let of_group = |topic: &str| topic.contains("{group}") || topic.contains("{device}");
        from.grouped = topic.is_none_or(|topic| of_group(&topic.value));
    }
    let route = || {
        Some(Route {
            name: called.to_owned(),
            place,
            from: source.as_ref()?.from.clone()?,
            to: sink.as_ref()?.to.clone()?,
            drops_offline: false,
            on_refuse: on_refuse.map_or(OnRefuse::Park, |found| found.value),
            park,
            translation: translation?,
        })
    };
    Draft { route: route(), name, source, sink, cases: Vec::new() }
}

fn events(from: Table<'_>, route: &str, settings: &Settings) -> Option<Source> {
    let source = match (from.key_at("events"), from.key_at("webhook")) {
        (Some(at), None) => Some(subscribed(&from, &at, route, settings)),
        (None, Some(at)) => Some(posted(&from, at, settings)),
        (Some(events), Some(webhook)) => {
            let fault = Fault::error(webhook, "a status route has one source", "a second source");
            from.faults().add(fault.other(events, "the first").hint("write a route for each"));
            None
        }
        (None, None) => {
            from.missing("events` or `webhook", "say whose events it reads: `from = { events = \"mosquitto\" }`");
            None
        }
    };
    if source.is_none() {
        for key in SESSION_KEYS.into_iter().chain(["broker", "events", "webhook"]) {
            let _ = from.key_at(key);
        }
    }
    from.finish();
    source
}

const SESSION_KEYS: [&str; 3] = ["grace", "share", "client_id"];

/// Events that the broker publishes.
fn subscribed(from: &Table<'_>, at: &At, route: &str, settings: &Settings) -> Source {
    let adapter = adapter(from, "events", |adapter| !adapter.filters().is_empty());
    let broker = pick::<MqttBroker>(from, settings, at);
    let client_id = from.filled_text("client_id");
    let share = share(from);
    let grace = grace(from);
    let end = |(adapter, broker): (Adapter, Arc<MqttBroker>)| {
        let api = api(from, adapter, &broker, at);
        let client_id =
            client_id.as_ref().map_or_else(|| format!("{}-{route}", broker.client_id), |id| id.value.clone());
        let session = FromMqtt {
            client_id,
            broker,
            filters: adapter.filters().iter().map(|filter| (*filter).to_owned()).collect(),
            share: share.map(|share| share.value),
            qos: Qos::AtLeastOnce,
            forward_retained: true,
        };
        From::Events(FromEvents { adapter, via: Via::Mqtt(session), grace, grouped: true, api })
    };
    let identity_at = client_id.as_ref().map_or_else(|| at.clone(), |id| id.at.clone());
    Source { from: adapter.zip(broker).map(end), kind: Kind::Events, identity_at }
}

/// Events that the broker posts.
fn posted(from: &Table<'_>, at: At, settings: &Settings) -> Source {
    let adapter = adapter(from, "webhook", Adapter::has_webhook);
    for key in SESSION_KEYS {
        if let Some(at) = from.key_at(key) {
            let message = format!("`{}` has no meaning for a webhook", from.name(key));
            from.faults().add(Fault::error(at, message, "not used"));
        }
    }
    let api = adapter.and_then(|adapter| posted_api(from, adapter, settings));
    if settings.http.hooks.is_none() {
        let fault = Fault::error(at.clone(), "no listener takes webhooks", "needs one");
        from.faults().add(fault.hint("add `hooks = \"127.0.0.1:8482\"` to `[http]` in the settings"));
    }
    let end = |adapter| From::Events(FromEvents { adapter, via: Via::Webhook, grace: None, grouped: true, api });
    Source { from: adapter.map(end), kind: Kind::Events, identity_at: at }
}

/// Who posts needs no broker; one that is named is asked for its list of clients.
fn posted_api(from: &Table<'_>, adapter: Adapter, settings: &Settings) -> Option<BrokerApi> {
    let at = from.key_at("broker")?;
    let broker = pick::<MqttBroker>(from, settings, &at)?;
    if broker.api.is_none() {
        let message =
            format!("`{}` has no effect: `{}` has no `api` in the settings", from.name("broker"), broker.name);
        let hint = format!("of who posts, only the list of clients is asked for: add `[mqtt.{}.api]`", broker.name);
        from.faults().add(Fault::error(at.clone(), message, "not used").hint(hint));
    }
    api(from, adapter, &broker, &at)
}

/// Where the list of clients is asked for, if it is.
fn api(from: &Table<'_>, adapter: Adapter, broker: &MqttBroker, at: &At) -> Option<BrokerApi> {
    let api = broker.api.clone()?;
    if Roster::new(adapter).is_none() {
        let message = format!("the list of clients of `{}` is not understood", adapter.name());
        let hint = format!("take `[mqtt.{}.api]` out of the settings; it is for `emqx` and `rmqtt`", broker.name);
        from.faults().add(Fault::error(at.clone(), message, "has an `api`").hint(hint));
    }
    Some(api)
}

fn adapter(from: &Table<'_>, key: &'static str, fits: impl Fn(Adapter) -> bool) -> Option<Adapter> {
    let found = from.filled_text(key)?;
    let fitting: Vec<&str> =
        Adapter::NAMES.iter().copied().filter(|name| Adapter::from_name(name).is_some_and(&fits)).collect();
    let adapter = Adapter::from_name(&found.value).filter(|adapter| fits(*adapter));
    if adapter.is_none() {
        let list = fitting.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        let message = format!("events of `{}` are not understood here", found.value);
        let hint = did_you_mean(&found.value, fitting.iter().copied()).unwrap_or_else(|| format!("known are {list}"));
        from.faults().add(Fault::error(found.at.clone(), message, "not known").hint(hint));
    }
    adapter
}

fn grace(from: &Table<'_>) -> Option<Duration> {
    if from.is_word("grace", "never") {
        return None;
    }
    Some(from.duration("grace", &GRACES).map_or(GRACE, |found| found.value))
}
