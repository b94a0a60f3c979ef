//! `check --connect`: what the brokers themselves say.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    cli::Columns,
    configuration::Configuration,
    mapping::{From, FromEvents, Park, Route, To, translation::Produces},
    message::Qos,
    mqtt::probe::{self, Report},
    presence::api,
    rocketmq::{
        sink::{
            self,
            probe::{BrokerProbe, Probe},
        },
        source,
    },
    settings::{MqttBroker, RocketMqCluster, TokenSettings, TokenTopic},
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
    for route in routes {
        if let From::Events(FromEvents { adapter, api: Some(api), .. }) = &route.from {
            let mut lines = Columns::default();
            match api::clients(api, *adapter).await {
                Ok(clients) => lines.row(["clients", &format!("{} are listed", clients.len())]),
                Err(error) => findings.problem(&mut lines, "clients", &error.to_string()),
            }
            findings.add(&format!("HTTP interface of the broker of {} ({})", route.name, api.url), &lines);
        }
    }
    for cluster in configuration.settings.rocketmq.values() {
        let mut topics = Topics::of(cluster, routes);
        topics.of_tokens(cluster, configuration.settings.lmq.tokens.as_ref());
        if !topics.is_empty() {
            rocketmq(cluster, &topics, &mut findings).await;
        }
    }
    findings
}

impl Findings {
    fn add(&mut self, title: &str, lines: &Columns) {
        self.text.extend([title, "\n", &lines.render("  "), "\n"]);
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
            if let Some(from) = route.from.session()
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
    match probe::probe(broker, &needs.filters).await {
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
            lines.row(["qos", &format!("at most {}; messages with a higher one are refused", report.max_qos.level())]);
        }
        if !report.retain_available {
            lines.row(["retain", "not kept by this broker; messages with the flag are refused"]);
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

/// The topics that routes read and write on a cluster, each with the names of its routes. What is written may be a set
/// of topics, such as `plant_*`.
#[derive(Default)]
struct Topics {
    read: BTreeMap<String, Vec<String>>,
    written: BTreeMap<String, Vec<String>>,
}

impl Topics {
    fn of(cluster: &Arc<RocketMqCluster>, routes: &[Route]) -> Self {
        let mut topics = Self::default();
        let mut note = |read: bool, topic: &str, route: &Route| {
            let side = if read { &mut topics.read } else { &mut topics.written };
            side.entry(topic.to_owned()).or_default().push(format!("`{}`", route.name));
        };
        for route in routes {
            if let From::RocketMq(from) = &route.from
                && from.cluster.name == cluster.name
            {
                note(true, &from.topic, route);
            }
            if let (To::RocketMq { cluster: to }, Produces::RocketMq(names)) = (&route.to, route.translation.produces())
                && to.name == cluster.name
            {
                for names in names {
                    note(false, &names.to_string(), route);
                }
            }
            if let Park::RocketMq { cluster: to, topic } = &route.park
                && to.name == cluster.name
            {
                note(false, topic, route);
            }
        }
        topics
    }

    /// What replicas tell each other of tokens is written and read.
    fn of_tokens(&mut self, cluster: &RocketMqCluster, service: Option<&TokenSettings>) {
        let topic = service.and_then(|service| service.topic.as_ref());
        if let Some(TokenTopic { topic, .. }) = topic.filter(|topic| topic.cluster.name == cluster.name) {
            for side in [&mut self.read, &mut self.written] {
                side.entry(topic.clone()).or_default().push("`lmq.tokens`".to_owned());
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.read.is_empty() && self.written.is_empty()
    }
}

async fn rocketmq(cluster: &Arc<RocketMqCluster>, topics: &Topics, findings: &mut Findings) {
    let mut lines = Columns::default();
    for (topic, routes) in &topics.read {
        let wait = format!("{} will wait", routes.join(", "));
        match source::probe::probe(cluster.clone(), topic).await {
            Err(error) => findings.problem(&mut lines, topic, &error.to_string()),
            Ok(None) => findings.problem(&mut lines, topic, &format!("there is no such topic; {wait} until there is")),
            Ok(Some(0)) => findings.problem(&mut lines, topic, &format!("no queue may be read; {wait}")),
            Ok(Some(queues)) => lines.row([topic, &format!("{queues} queues to read")]),
        }
    }
    for (topic, routes) in &topics.written {
        let wait = format!("{} will wait", routes.join(", "));
        // Of a set, only messages tell which they are.
        let known = (!topic.ends_with('*')).then_some(topic.as_str());
        match sink::probe::probe(cluster.clone(), known).await {
            Probe::Unreachable(reason) => findings.problem(&mut lines, topic, &reason),
            Probe::TopicMissing => {
                findings.problem(&mut lines, topic, &format!("there is no such topic; {wait} until there is"));
            }
            Probe::Topic { queues: 0, .. } => {
                findings.problem(&mut lines, topic, &format!("no queue takes messages; {wait}"));
            }
            Probe::Topic { queues, brokers } => {
                lines.row([topic, &format!("{queues} queues to write")]);
                for (broker, answer) in brokers {
                    if let BrokerProbe::Unauthorised(words) | BrokerProbe::Unusable(words) = answer {
                        findings.problem(&mut lines, topic, &format!("{broker}: {words}; {wait}"));
                    }
                }
            }
            Probe::Reachable => lines.row([topic, "the name servers answer"]),
        }
    }
    findings.add(&format!("RocketMQ {} ({})", cluster.name, cluster.name_servers.join(", ")), &lines);
}
