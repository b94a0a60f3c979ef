//! Which broker an end of a route means.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    diagnostic::{At, Fault, did_you_mean},
    settings::Settings,
    toml_reader::Table,
};

/// One of the two kinds of brokers.
pub(super) trait Kind: Sized {
    /// What a person calls it.
    const NAME: &str;
    /// Its section in the settings.
    const SECTION: &str;
    fn all(settings: &Settings) -> &BTreeMap<String, Arc<Self>>;
    /// The names of the other kind, which may have been meant by mistake.
    fn others(settings: &Settings) -> Vec<&str>;
}

impl Kind for crate::settings::MqttBroker {
    const NAME: &str = "MQTT broker";
    const SECTION: &str = "mqtt";
    fn all(settings: &Settings) -> &BTreeMap<String, Arc<Self>> {
        &settings.mqtt
    }
    fn others(settings: &Settings) -> Vec<&str> {
        settings.rocketmq.keys().map(String::as_str).collect()
    }
}

impl Kind for crate::settings::RocketMqCluster {
    const NAME: &str = "RocketMQ cluster";
    const SECTION: &str = "rocketmq";
    fn all(settings: &Settings) -> &BTreeMap<String, Arc<Self>> {
        &settings.rocketmq
    }
    fn others(settings: &Settings) -> Vec<&str> {
        settings.mqtt.keys().map(String::as_str).collect()
    }
}

/// The broker that `broker` of a table names, or the only one of its kind. `needed_at` is where it is needed.
pub(super) fn pick<B: Kind>(table: &Table<'_>, settings: &Settings, needed_at: &At) -> Option<Arc<B>> {
    let all = B::all(settings);
    let faults = table.faults();
    let names = || all.keys().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    if table.key_at("broker").is_some() {
        let found = table.text("broker")?;
        if let Some(broker) = all.get(&found.value) {
            return Some(broker.clone());
        }
        let hint = if B::others(settings).contains(&found.value.as_str()) {
            format!("the settings have `{}` as a broker of the other kind", found.value)
        } else if all.is_empty() {
            format!("the settings have no `[{}.NAME]`", B::SECTION)
        } else {
            let known = || format!("the settings have {}", names());
            did_you_mean(&found.value, all.keys().map(String::as_str)).unwrap_or_else(known)
        };
        let message = format!("there is no {} `{}`", B::NAME, found.value);
        faults.add(Fault::error(found.at, message, "not in the settings").hint(hint));
        return None;
    }
    let mut brokers = all.values();
    match (brokers.next(), brokers.next()) {
        (Some(only), None) => Some(only.clone()),
        (Some(_), Some(_)) => {
            let message = format!("which {}? The settings have {}", B::NAME, names());
            let hint = format!("add `{} = \"NAME\"`", table.name("broker"));
            faults.add(Fault::error(needed_at.clone(), message, "needs one").hint(hint));
            None
        }
        _ => {
            let fault = Fault::error(needed_at.clone(), format!("the settings have no {}", B::NAME), "needs one");
            faults.add(fault.hint(format!("add `[{}.NAME]` to the settings", B::SECTION)));
            None
        }
    }
}
