//! `[mqtt.NAME]`.

use std::{ops::RangeInclusive, time::Duration};

use super::{Context, api, login, secret, url::mqtt_url};
use crate::{
    diagnostic::Fault,
    settings::{MqttBroker, MqttTransport, MqttUrl, MqttVersion, Secret, TlsFiles, Will},
    toml_reader::Table,
};

const KEEP_ALIVES: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(18 * 3600);
const SESSION_EXPIRIES: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(0xffff_fffe);
const CONNECT_TIMEOUTS: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(300);
/// MQTT's own bound: a remaining length of four bytes, and the fixed header before it.
const MAX_PACKETS: RangeInclusive<u64> = 1024..=256 << 20;

pub(super) fn broker(name: &str, table: Table<'_>, context: &Context<'_>) -> MqttBroker {
    let url = url(&table);
    let versions = [("5", MqttVersion::V5), ("3.1.1", MqttVersion::V4)];
    let version = table.choice("version", &versions).map_or(MqttVersion::V5, |found| found.value);
    let client_id = table.filled_text("client_id");
    let broker = MqttBroker {
        name: name.to_owned(),
        tls: tls(&table, &url, context),
        url,
        version,
        username: table.filled_text("username").map(|found| found.value),
        password: secret(&table, "password", context).map(Secret::new),
        login: login::of_broker(&table, client_id.as_ref(), context),
        client_id: client_id.map_or_else(|| "rocketbridge".to_owned(), |found| found.value),
        will: table.table("will").and_then(will),
        keep_alive: table.duration("keep_alive", &KEEP_ALIVES).map_or(Duration::from_secs(60), |found| found.value),
        session_expiry: session_expiry(&table, version),
        window: table
            .integer("window", &(1..=u64::from(u16::MAX)))
            .map_or(1000, |found| u16::try_from(found.value).unwrap_or(u16::MAX)),
        max_packet: table
            .size("max_packet", &MAX_PACKETS)
            .map_or(16 << 20, |found| u32::try_from(found.value).unwrap_or(u32::MAX)),
        connect_timeout: table
            .duration("connect_timeout", &CONNECT_TIMEOUTS)
            .map_or(Duration::from_secs(10), |found| found.value),
        api: table.table("api").map(|table| api::of_broker(table, context)),
    };
    if let Some(at) = table.key_at("password").filter(|_| table.key_at("username").is_none())
        && version == MqttVersion::V4
    {
        let fault = Fault::error(at, "MQTT 3.1.1 has no password without a user name", "no `username` beside it");
        table.faults().add(fault);
    }
    table.finish();
    broker
}

fn url(table: &Table<'_>) -> MqttUrl {
    let stand_in = MqttUrl { transport: MqttTransport::Tcp, host: String::new(), port: 1883, path: String::new() };
    let Some(found) = table.text("url") else {
        if table.key_at("url").is_none() {
            table.missing("url", "say where the broker listens: `url = \"mqtt://host:1883\"`");
        }
        return stand_in;
    };
    mqtt_url(&found.value).unwrap_or_else(|(label, hint)| {
        let message = format!("`{}` is not the URL of an MQTT broker", table.name("url"));
        table.faults().add(Fault::error(found.at, message, label).hint(hint));
        stand_in
    })
}

fn tls(table: &Table<'_>, url: &MqttUrl, context: &Context<'_>) -> TlsFiles {
    let Some(tls) = table.table("tls") else { return TlsFiles::default() };
    if let Some(at) = table.key_at("tls").filter(|_| matches!(url.transport, MqttTransport::Tcp | MqttTransport::Ws))
        && !url.host.is_empty()
    {
        let message = format!("`{}` has no effect: the connection is not encrypted", table.name("tls"));
        table.faults().add(Fault::error(at, message, "not used").hint("use `mqtts://` or `wss://`"));
    }
    context.tls(tls)
}

fn session_expiry(table: &Table<'_>, version: MqttVersion) -> Option<Duration> {
    if let Some(at) = table.key_at("session_expiry").filter(|_| version == MqttVersion::V4) {
        let message = "MQTT 3.1.1 has no session expiry: the broker's own settings say how long it keeps sessions";
        table.faults().add(Fault::error(at, message, "only with `version = \"5\"`"));
    }
    if table.is_word("session_expiry", "never") {
        return None;
    }
    table.duration("session_expiry", &SESSION_EXPIRIES).map(|found| found.value)
}

fn will(table: Table<'_>) -> Option<Will> {
    let topic = table.filled_text("topic");
    let or = |key, default: &str| table.text(key).map_or_else(|| default.to_owned(), |found| found.value);
    let (online, offline) = (or("online", "online"), or("offline", "offline"));
    match &topic {
        None if table.key_at("topic").is_none() => {
            table.missing("topic", "say where the state is published: `topic = \"bridge/{client_id}\"`");
        }
        Some(topic) if topic.value.replace("{client_id}", "").contains(['+', '#', '{', '}', '\0']) => {
            let message = format!("`{}` is not a topic to publish to", table.name("topic"));
            let fault = Fault::error(topic.at.clone(), message, "no wildcards and no braces but `{client_id}`");
            table.faults().add(fault);
        }
        _ => {}
    }
    table.finish();
    topic.map(|topic| Will { topic: topic.value, online, offline })
}
