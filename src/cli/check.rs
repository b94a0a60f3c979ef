//! `check`.

mod connect;

use std::path::Path;

use super::{Columns, End, Show, count, load, print, runtime};
use crate::{
    configuration::Configuration,
    mapping::{From, Route, To, Via, translation::Produces},
};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Also dial the brokers: logins, limits, subscriptions and topics
    #[arg(long)]
    connect: bool,
}

impl Arguments {
    pub(super) fn run(&self, settings: &Path) -> anyhow::Result<End> {
        let Some(configuration) = load(settings, Show::All)? else { return Ok(End::Rejected) };
        print(&summary(&configuration))?;
        if !self.connect {
            return Ok(End::Fine);
        }
        let findings = runtime()?.block_on(connect::connect(&configuration));
        print(&format!("\n{}", findings.text))?;
        Ok(if findings.fine { End::Fine } else { End::Rejected })
    }
}

/// What the files say, in a line for each route.
fn summary(configuration: &Configuration) -> String {
    let mut lines = Columns::default();
    for route in &configuration.mapping.routes {
        let (from, to) = (source(route), sink(route));
        lines.row([&route.name, &from.0, &from.1, "->", &to.0, &to.1]);
    }
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
        From::Events(events) => {
            let broker = match &events.via {
                Via::Mqtt(session) => format!("MQTT {}", session.broker.name),
                Via::Webhook => "webhook".to_owned(),
            };
            (broker, format!("clients ({})", events.adapter.name()))
        }
    }
}

/// The broker and what is written to it.
pub(super) fn sink(route: &Route) -> (String, String) {
    let broker = match &route.to {
        To::Mqtt { broker, .. } => format!("MQTT {}", broker.name),
        To::RocketMq { cluster } => format!("RocketMQ {}", cluster.name),
    };
    let topics: Vec<_> = match route.translation.produces() {
        Produces::Mqtt(patterns) => patterns.iter().map(|pattern| pattern.filter().to_owned()).collect(),
        Produces::RocketMq(names) => names.iter().map(ToString::to_string).collect(),
    };
    (broker, topics.join(", "))
}
