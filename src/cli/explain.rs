//! `explain`: which routes take a message, and what they make of it.

use std::path::Path;

use anyhow::bail;

use super::{
    Columns, End, Show,
    check::{sink, source},
    load, print,
};
use crate::{
    lmq::properties::{self, names},
    mapping::{
        OnRefuse, Route, To,
        case::stored,
        explain::{Explained, On, explain},
        translation::Translated,
    },
    message::{Message, Qos, Topic},
};

const EXAMPLES: &str = "\
Examples:
  rocketbridge explain plant/a/m7/up/temp
  rocketbridge explain plant/a/m7/up/temp --property site=north --qos 2
  rocketbridge explain --rocketmq cmd --property mqttSecondTopic=/a/m7 --tag urgent";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// An MQTT topic, or with --rocketmq a RocketMQ topic
    topic: String,
    /// The message stands in RocketMQ
    #[arg(long)]
    rocketmq: bool,
    /// A user property on MQTT, any property on RocketMQ; may be repeated
    #[arg(long = "property", value_name = "NAME=VALUE", value_parser = property)]
    properties: Vec<(String, String)>,
    /// The RocketMQ message's tag
    #[arg(long, requires = "rocketmq")]
    tag: Option<String>,
    /// The RocketMQ message's keys
    #[arg(long, requires = "rocketmq")]
    key: Option<String>,
    /// The publish's QoS
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(0..=2), conflicts_with = "rocketmq")]
    qos: u8,
    /// The publish has the retain flag
    #[arg(long, conflicts_with = "rocketmq")]
    retain: bool,
    /// The publisher's client id, where the broker says it
    #[arg(long, value_name = "ID", conflicts_with = "rocketmq")]
    client_id: Option<String>,
    /// The payload
    #[arg(long, value_name = "TEXT", default_value = "")]
    payload: String,
}

fn property(text: &str) -> Result<(String, String), &'static str> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write NAME=VALUE"),
    }
}

impl Arguments {
    pub(super) fn run(&self, settings: &Path) -> anyhow::Result<End> {
        if !self.rocketmq && self.topic.contains(['+', '#']) {
            bail!("`{}` is a filter; explain takes one topic, as a device publishes to it", self.topic);
        }
        let Some(configuration) = load(settings, Show::Errors)? else { return Ok(End::Rejected) };
        let routes = &configuration.mapping.routes;
        let on = if self.rocketmq { On::RocketMq } else { On::Mqtt };
        let explained = explain(routes, on, &self.message());
        if explained.is_empty() {
            print(&self.nothing(routes))?;
            return Ok(End::Rejected);
        }
        let answers: Vec<_> = explained.iter().map(answer).collect();
        print(&answers.join("\n"))?;
        Ok(End::Fine)
    }

    fn message(&self) -> Message {
        let payload = self.payload.clone();
        if self.rocketmq {
            return stored(&self.topic, self.tag.as_deref(), self.key.as_deref(), &self.properties, payload);
        }
        let mut message = Message::new(Topic::from_mqtt(self.topic.as_str()), payload);
        message.qos = Qos::from_level(self.qos).unwrap_or(message.qos);
        message.retain = self.retain;
        message.client_id.clone_from(&self.client_id);
        message.user_properties.clone_from(&self.properties);
        message
    }

    /// What is said when no route takes the message: which there are.
    fn nothing(&self, routes: &[Route]) -> String {
        let place = if self.rocketmq { "RocketMQ" } else { "MQTT" };
        let mut there = Columns::default();
        for route in routes {
            let (broker, topics) = source(route);
            there.row([&route.name, &broker, &topics]);
        }
        format!("no route takes `{}` from {place}; the routes are:\n{}", self.topic, there.render("  "))
    }
}

fn answer(explained: &Explained<'_>) -> String {
    let route = explained.route;
    let (from, to) = (source(route).0, sink(route).0);
    let place = &route.place;
    let mut lines = Columns::default();
    for (name, value) in &explained.captures {
        lines.row([&format!("{{{name}}}"), value]);
    }
    match &explained.result {
        Ok(Translated::Send { message, .. }) => sent(route, message, &mut lines),
        Ok(Translated::Echo) => {
            lines.row(["not sent", "the loop guard holds it back: it would go where it comes from"]);
        }
        Err(refusal) => refused(route, &refusal.to_string(), &mut lines),
    }
    let title = format!("route {} ({}:{}): {from} -> {to}\n", route.name, place.file.display(), place.line);
    title + &lines.render("  ")
}

fn refused(route: &Route, reason: &str, lines: &mut Columns) {
    lines.row(["refused", reason]);
    let then = match route.on_refuse {
        OnRefuse::Park => "it is parked with the reason",
        OnRefuse::Stall => "the route stands still",
        OnRefuse::Drop => "it is dropped and counted",
    };
    lines.row(["then", then]);
}

fn sent(route: &Route, message: &Message, lines: &mut Columns) {
    match route.to {
        To::Mqtt { .. } => published(message, lines),
        To::RocketMq { .. } => match properties::encode(message) {
            Ok(pairs) => {
                lines.row(["topic", message.topic.parent()]);
                lines.row(["tag", message.tag.as_deref().unwrap_or("none")]);
                lines.row(["key", message.keys.as_deref().unwrap_or("none")]);
                // The mark is signed at run time; tag and key are above.
                let shown =
                    pairs.iter().filter(|(name, _)| ![names::TAGS, names::KEYS, names::MARK].contains(&&**name));
                for (name, value) in shown {
                    lines.row(["property", &format!("{name} = {value}")]);
                }
            }
            Err(refusal) => refused(route, &refusal.to_string(), lines),
        },
    }
}

fn published(message: &Message, lines: &mut Columns) {
    lines.row(["topic", message.topic.as_str()]);
    lines.row(["qos", &message.qos.level().to_string()]);
    lines.row(["retain", if message.retain { "yes" } else { "no" }]);
    let expiry = message.expiry.map(|seconds| format!("{seconds} s"));
    for (name, value) in
        [("content type", &message.content_type), ("response topic", &message.response_topic), ("expiry", &expiry)]
    {
        if let Some(value) = value {
            lines.row([name, value]);
        }
    }
    for (name, value) in &message.user_properties {
        lines.row(["property", &format!("{name} = {value}")]);
    }
}
