//! `[rocketmq.NAME]`.

use std::{ops::RangeInclusive, time::Duration};

use super::{Context, secret, url::host_and_port};
use crate::{
    diagnostic::Fault,
    settings::{RocketMqCluster, Secret, StoredWhen},
    toml_reader::Table,
};

const REQUEST_TIMEOUTS: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(300);
const LANE_GRACES: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(24 * 3600);

pub(super) fn cluster(name: &str, table: Table<'_>, context: &Context<'_>) -> RocketMqCluster {
    let stored_when = [("durable", StoredWhen::Durable), ("accepted", StoredWhen::Accepted)];
    let cluster = RocketMqCluster {
        name: name.to_owned(),
        name_servers: name_servers(&table),
        access_key: table.filled_text("access_key").map(|found| found.value),
        secret_key: secret(&table, "secret_key", context).map(Secret::new),
        tls: table.table("tls").map(|tls| context.tls(tls)),
        namespace: namespace(&table),
        stored_when: table.choice("stored_when", &stored_when).map_or(StoredWhen::Durable, |found| found.value),
        request_timeout: table
            .duration("request_timeout", &REQUEST_TIMEOUTS)
            .map_or(Duration::from_secs(3), |found| found.value),
        max_message: table
            .size("max_message", &(1024..=1 << 30))
            .map_or(4 << 20, |found| usize::try_from(found.value).unwrap_or(usize::MAX)),
        lane_grace: table.duration("lane_grace", &LANE_GRACES).map_or(Duration::from_secs(30), |found| found.value),
    };
    match (table.key_at("access_key"), table.key_at("secret_key")) {
        (Some(_), None) => table.missing("secret_key", "an access key needs its secret key"),
        (None, Some(_)) => table.missing("access_key", "a secret key needs its access key"),
        _ => {}
    }
    table.finish();
    cluster
}

fn name_servers(table: &Table<'_>) -> Vec<String> {
    let Some(found) = table.texts("name_servers") else {
        if table.key_at("name_servers").is_none() {
            table.missing("name_servers", "say where they listen: `name_servers = [\"127.0.0.1:9876\"]`");
        }
        return Vec::new();
    };
    let mut servers = Vec::new();
    for server in found {
        match host_and_port(&server.value, 9876) {
            Some((host, port)) if host.contains(':') => servers.push(format!("[{host}]:{port}")),
            Some((host, port)) => servers.push(format!("{host}:{port}")),
            None => {
                let message = format!("`{}` is not a host and a port", server.value);
                table.faults().add(Fault::error(server.at, message, "write `host:9876`"));
            }
        }
    }
    servers
}

fn namespace(table: &Table<'_>) -> String {
    let Some(found) = table.text("namespace") else { return String::new() };
    if let Some(bad) = found.value.chars().find(|c| !(c.is_ascii_alphanumeric() || "_-".contains(*c))) {
        let message = format!("`{bad}` is not allowed in a RocketMQ namespace");
        table.faults().add(Fault::error(found.at.clone(), message, "use letters, digits, `-` and `_`"));
    }
    found.value
}
