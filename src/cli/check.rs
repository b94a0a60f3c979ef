//! `check`.

use std::path::Path;

use super::{Columns, End, Show, load, print};
use crate::{
    configuration::Configuration,
    mapping::{From, Route, To},
};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {}

impl Arguments {
    pub(super) fn run(&self, settings: &Path) -> anyhow::Result<End> {
        let Some(configuration) = load(settings, Show::All)? else { return Ok(End::Rejected) };
        print(&summary(&configuration))?;
        Ok(End::Fine)
    }
}

/// What the files say, in a line for each route.
fn summary(configuration: &Configuration) -> String {
    let mut lines = Columns::default();
    for route in &configuration.mapping.routes {
        let (from, to) = (source(route), sink(route));
        lines.row([&route.name, &from.0, &from.1, "->", &to.0, &to.1]);
    }
    let count = |count: usize, noun: &str| format!("{count} {noun}{}", if count == 1 { "" } else { "s" });
    let brokers = configuration.settings.mqtt.len() + configuration.settings.rocketmq.len();
    let routes = configuration.mapping.routes.len();
    let tests = configuration.mapping.tests.len();
    let totals = [count(brokers, "broker"), count(routes, "route"), count(tests, "test")].join(", ");
    format!("{}no faults: {totals}\n", lines.render(""))
}

/// The broker and what is read of it.
pub(super) fn source(route: &Route) -> (String, String) {
    match &route.from {
        From::Mqtt(from) => (format!("MQTT {}", from.broker.name), from.filters.join(", ")),
        From::RocketMq(from) => (format!("RocketMQ {}", from.cluster.name), from.topic.clone()),
    }
}

/// The broker and what is written to it.
pub(super) fn sink(route: &Route) -> (String, String) {
    let broker = match &route.to {
        To::Mqtt { broker, .. } => format!("MQTT {}", broker.name),
        To::RocketMq { cluster } => format!("RocketMQ {}", cluster.name),
    };
    (broker, String::new())
}
