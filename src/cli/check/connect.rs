//! `check --connect`: what the brokers themselves say.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    cli::Columns,
    configuration::Configuration,
    mapping::{From, Park, Route, To, translation::Produces},
    message::Qos,
    mqtt::probe::{self, Report},
    rocketmq,
    settings::{MqttBroker, RocketMqCluster},
};

/// What was found, in words, and whether all of it will do.
pub(super) struct Findings {
    pub(super) text: String,
    pub(super) fine: bool,
}

/// Dials every broker that a route uses.
pub(super) async fn connect(configuration: &Configuration) -> Findings {
    let mut findings = Findings { text: String::new(), fine: true };
    let routes = &configuration.mapping.routes;
    for broker in configuration.settings.mqtt.values() {
        if let Some(needs) = MqttNeeds::of(broker, routes) {
            mqtt(broker, &needs, &mut findings).await;
        }
    }
    for cluster in configuration.settings.rocketmq.values() {
        let topics = topics(cluster, routes);
        if !topics.is_empty() {
            rocketmq(cluster, &topics, &mut findings).await;
        }
    }
    findings
}

impl Findings {
    fn add(&mut self, title: &str, lines: &Columns) {
        self.text += &format!("{title}\n{}\n", lines.render("  "));
    }

    /// A line of something that will not work.
    fn problem(&mut self, lines: &mut Columns, what: &str, words: &str) {
        self.fine = false;
        lines.row([what, &format!("PROBLEM: {words}")]);
    }
}

/// What routes need of an MQTT broker.
struct MqttNeeds {
    /// Filters as they are subscribed to.
    filters: Vec<String>,
    /// The name of a route with several filters, whose copies must be told apart.
    several: Option<String>,
    publishes: bool,
}

impl MqttNeeds {
    fn of(broker: &Arc<MqttBroker>, routes: &[Route]) -> Option<Self> {
        let mut needs = Self { filters: Vec::new(), several: None, publishes: false };
        for route in routes {
            if let From::Mqtt(from) = &route.from
                && from.broker.name == broker.name
            {
                let share = from.share.as_ref().map_or_else(String::new, |share| format!("$share/{share}/"));
                needs.filters.extend(from.filters.iter().map(|filter| format!("{share}{filter}")));
                if from.filters.len() > 1 {
                    needs.several = Some(route.name.clone());
                }
            }
            needs.publishes |= matches!(&route.to, To::Mqtt { broker: to, .. } if to.name == broker.name);
        }
        (needs.publishes || !needs.filters.is_empty()).then_some(needs)
    }
}

async fn mqtt(broker: &Arc<MqttBroker>, needs: &MqttNeeds, findings: &mut Findings) {
    let title = format!("MQTT {} ({})", broker.name, broker.url);
    let mut lines = Columns::default();
    match probe::probe(broker, &broker.client_id, &needs.filters).await {
        Err(error) => findings.problem(&mut lines, "login", &error.to_string()),
        Ok(report) => {
            lines.row(["login", "accepted"]);
            limits(broker, needs, &report, &mut lines, findings);
            for (filter, answer) in &report.filters {
                match answer {
                    Ok(_) => lines.row([filter, "may be subscribed to"]),
                    Err(reason) => findings.problem(&mut lines, filter, reason),
                }
            }
        }
    }
    findings.add(&title, &lines);
}

/// What the broker's own limits will do to the routes.
fn limits(broker: &MqttBroker, needs: &MqttNeeds, report: &Report, lines: &mut Columns, findings: &mut Findings) {
    if needs.publishes {
        let window = report.receive_maximum.min(broker.window);
        let whose = if report.receive_maximum < broker.window { "the broker's limit" } else { "`window`" };
        lines.row(["publishes", &format!("up to {window} unacknowledged ({whose})")]);
        if let Some(bytes) = report.max_packet {
            lines.row(["packets", &format!("up to {bytes} bytes; larger messages are refused")]);
        }
        if report.max_qos < Qos::ExactlyOnce {
            lines.row(["qos", &format!("at most {}; higher ones are lowered", report.max_qos.level())]);
        }
        if !report.retain_available {
            lines.row(["retain", "not kept by this broker; the flag is left out"]);
        }
    }
    if let Some(keep_alive) = report.keep_alive.filter(|asked| *asked != broker.keep_alive) {
        lines.row(["keep-alive", &format!("{} s, as the broker wants", keep_alive.as_secs())]);
    }
    if let Some(route) = &needs.several
        && !report.subscription_ids
    {
        let words = "the broker has no subscription identifiers: where the filters overlap, messages come twice";
        lines.row([&format!("route {route}"), words]);
    }
    if !report.wildcards && needs.filters.iter().any(|filter| filter.contains(['+', '#'])) {
        findings.problem(lines, "filters", "the broker takes no wildcards");
    }
    if !report.shared && needs.filters.iter().any(|filter| filter.starts_with("$share/")) {
        findings.problem(lines, "filters", "the broker has no shared subscriptions");
    }
}

/// What routes do with a topic.
#[derive(Default)]
struct Uses {
    read: Vec<String>,
    written: Vec<String>,
}

fn topics(cluster: &Arc<RocketMqCluster>, routes: &[Route]) -> BTreeMap<String, Uses> {
    let mut topics: BTreeMap<String, Uses> = BTreeMap::new();
    for route in routes {
        if let From::RocketMq(from) = &route.from
            && from.cluster.name == cluster.name
        {
            topics.entry(from.topic.clone()).or_default().read.push(route.name.clone());
        }
        if let (To::RocketMq { cluster: to }, Produces::RocketMq(names)) = (&route.to, route.translation.produces())
            && to.name == cluster.name
        {
            for name in names.iter().filter_map(|names| names.only()) {
                topics.entry(name.to_owned()).or_default().written.push(route.name.clone());
            }
        }
        if let Park::RocketMq { cluster: to, topic } = &route.park
            && to.name == cluster.name
        {
            topics.entry(topic.clone()).or_default().written.push(route.name.clone());
        }
    }
    topics
}

async fn rocketmq(cluster: &Arc<RocketMqCluster>, topics: &BTreeMap<String, Uses>, findings: &mut Findings) {
    let names: BTreeSet<String> = topics.keys().cloned().collect();
    let mut lines = Columns::default();
    for (topic, answer) in rocketmq::probe::probe(cluster, &names).await {
        let Some(uses) = topics.get(&topic) else { continue };
        let waiting = || {
            let routes: Vec<_> = uses.read.iter().chain(&uses.written).map(|name| format!("`{name}`")).collect();
            routes.join(", ")
        };
        match answer {
            Err(error) => findings.problem(&mut lines, &topic, &error.to_string()),
            Ok(None) => {
                let words = format!("there is no such topic: {} will wait until there is", waiting());
                findings.problem(&mut lines, &topic, &words);
            }
            Ok(Some(report)) if !uses.read.is_empty() && report.readable == 0 => {
                findings.problem(&mut lines, &topic, &format!("no queue may be read: {} will wait", waiting()));
            }
            Ok(Some(report)) if !uses.written.is_empty() && report.writable == 0 => {
                findings.problem(&mut lines, &topic, &format!("no queue takes messages: {} will wait", waiting()));
            }
            Ok(Some(report)) => {
                let queues = format!("{} queues to read, {} to write", report.readable, report.writable);
                lines.row([&topic, &format!("{queues}, on {}", report.brokers.join(", "))]);
            }
        }
    }
    findings.add(&format!("RocketMQ {} ({})", cluster.name, cluster.name_servers.join(", ")), &lines);
}
