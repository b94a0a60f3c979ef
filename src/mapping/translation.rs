//! The translation of one route: a message as its source read it becomes a message as its sink stores it.
//!
//! It is a pure function, made once, by [`Translation::check`], from what the mapping file says; all that could be known to be wrong
//! was refused then. Without options it follows the LMQ contract: parent topic = RocketMQ topic (LMQ-3.1), the rest =
//! `mqttSecondTopic` (LMQ-3.2, LMQ-4.1). A message can never choose a topic that the mapping does not allow.
//!
//! `mqttRealTopic` (LMQ-4.3) is carried and followed only where the mapping says so: it is what the receiver is shown, and
//! a broker of one's own shows the topic that it routes by.

mod check;
pub mod draft;
#[cfg(test)]
mod tests;

use super::{
    hash::Hash,
    mark::{Marker, Passed, Stations},
    names::{self, Names},
    pattern::{Captures, MAX_TOPIC_BYTES, Pattern},
    template::{Template, Use},
};
use crate::{
    delivery::{OrderKey, Refusal},
    lmq::{self, shard},
    message::{Message, Qos, Topic},
};

/// How a route turns messages of its source into messages of its sink.
#[derive(Debug, Clone)]
pub struct Translation {
    /// One for each filter of an MQTT source, in the order of the file; one for a RocketMQ source.
    rules: Vec<Rule>,
    sink: Sink,
    produces: Produces,
    /// What destinations must be within, where the file says so.
    within: Option<Produces>,
    order: Order,
    strict_lmq: bool,
    marker: Marker,
    from: Stations,
    to: Stations,
}

/// The templates of one filter: a capture may stand in another place in each.
#[derive(Debug, Clone)]
struct Rule {
    /// `None` takes every message: a RocketMQ source reads one topic.
    pattern: Option<Pattern>,
    needs_captures: bool,
    topic: Template,
    tag: Option<Template>,
    key: Option<Template>,
    client_id: Option<Template>,
    order: Option<Template>,
}

#[derive(Debug, Clone, Copy)]
enum Sink {
    Mqtt { qos: Option<Qos>, retain: Option<bool>, real_topic: bool },
    RocketMq,
}

/// The destinations that a route may have, at the most.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Produces {
    /// MQTT topics.
    Mqtt(Vec<Pattern>),
    /// RocketMQ topics.
    RocketMq(Vec<Names>),
}

impl Produces {
    fn holds(&self, topic: &Topic) -> bool {
        match self {
            Self::Mqtt(filters) => filters.iter().any(|filter| filter.matches(topic.as_str())),
            Self::RocketMq(names) => names.iter().any(|names| names.hold(topic.parent())),
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Order {
    /// The topic of an MQTT source.
    Topic,
    /// The queue of a RocketMQ source.
    Queue,
    /// The client of a status route.
    Client,
    /// What the rule's template says.
    Template,
    /// What the rule's template says, by the vendor's rule and under its name (LMQ-10.2).
    Shard,
    /// No order: messages spread.
    None,
}

/// What becomes of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "almost every message is sent, and moves on at once")]
pub enum Translated {
    /// It goes to the sink.
    Send {
        /// Messages with equal keys keep their order.
        order: OrderKey,
        /// The message, its topic now that of the destination.
        message: Message,
    },
    /// It would go back to where it came from (loop guard): to be acknowledged and counted, not sent.
    Echo,
}

impl Translation {
    /// Translates one message.
    ///
    /// Refused are `value_missing`, `value_not_allowed`, `topic_not_allowed` (the far side cannot hold it),
    /// `outside_within`, `lmq_limit` (strict mode) and `not_taken` (no filter of the route takes the topic).
    pub fn translate(&self, message: &Message) -> Result<Translated, Refusal> {
        let (rule, captures) = self.rule(message).ok_or_else(|| not_taken(message))?;
        let topic = self.destination(rule, message, &captures)?;
        let (from, to) = (self.from.at(message.topic.as_str()), self.to.at(topic.as_str()));
        let Passed::On(mark) = self.marker.pass(message.mark.as_deref(), from, to, &message.payload) else {
            return Ok(Translated::Echo);
        };
        let mut sent = message.clone();
        sent.topic = topic;
        sent.mark = Some(mark);
        for (template, field) in
            [(&rule.tag, &mut sent.tag), (&rule.key, &mut sent.keys), (&rule.client_id, &mut sent.client_id)]
        {
            if let Some(template) = template {
                let text = render(template, Use::Text, message, &captures)?;
                *field = Some(text).filter(|text| !text.is_empty());
            }
        }
        let order = self.order(rule, message, &captures, &mut sent)?;
        if let Sink::Mqtt { qos, retain, .. } = self.sink {
            sent.qos = qos.unwrap_or(sent.qos);
            sent.retain = retain.unwrap_or(sent.retain);
        }
        if self.strict_lmq {
            lmq::topics::check(&sent)?;
        }
        Ok(Translated::Send { order, message: sent })
    }

    /// The first rule whose filter takes the message.
    fn rule<'m>(&self, message: &'m Message) -> Option<(&Rule, Captures<'m>)> {
        let topic = message.topic.as_str();
        self.rules.iter().find_map(|rule| match &rule.pattern {
            Some(pattern) if rule.needs_captures => Some((rule, pattern.captures(topic)?)),
            Some(pattern) if !pattern.matches(topic) => None,
            _ => Some((rule, Captures::default())),
        })
    }

    fn destination(&self, rule: &Rule, message: &Message, captures: &Captures<'_>) -> Result<Topic, Refusal> {
        let topic = match self.sink {
            Sink::Mqtt { real_topic, .. } => {
                let topic = match message.real_topic.as_deref().filter(|_| real_topic) {
                    Some(topic) => check_wildcards(topic)?.to_owned(),
                    None => render(&rule.topic, Use::Topic, message, captures)?,
                };
                check_mqtt_topic(&topic)?;
                Topic::from_mqtt(topic)
            }
            Sink::RocketMq => {
                let name = render(&rule.topic, Use::Text, message, captures)?;
                if let Some(objection) = names::objection(&name) {
                    return Err(Refusal::new("topic_not_allowed", objection));
                }
                Topic::from_parts(&name, message.topic.subtopic())
            }
        };
        match &self.within {
            Some(within) if !within.holds(&topic) => {
                let name = if matches!(self.sink, Sink::RocketMq) { topic.parent() } else { topic.as_str() };
                Err(Refusal::new("outside_within", format!("`{name}` is outside what `to.within` allows")))
            }
            _ => Ok(topic),
        }
    }

    /// Templates see the client as it is sent: `to.client_id` may have named it.
    fn order(
        &self,
        rule: &Rule,
        message: &Message,
        captures: &Captures<'_>,
        sent: &mut Message,
    ) -> Result<OrderKey, Refusal> {
        let topic = || Hash::NEW.over(message.topic.as_str());
        let rendered = |template, sent: &Message| match &rule.client_id {
            Some(_) => {
                let named = Message { client_id: sent.client_id.clone(), ..message.clone() };
                render(template, Use::Text, &named, captures)
            }
            None => render(template, Use::Text, message, captures),
        };
        let hash = match (self.order, &rule.order, &message.queue) {
            (Order::Shard, Some(template), _) => {
                let key = rendered(template, sent)?;
                let number = shard::number(&key);
                sent.sharding_key = Some(key);
                return Ok(OrderKey::Shard(number));
            }
            (Order::Template, Some(template), _) => Hash::NEW.over(rendered(template, sent)?),
            (Order::Queue, _, Some(queue)) => Hash::NEW.over(&*queue.broker).over("\0").over(queue.id.to_be_bytes()),
            (Order::Client, ..) => Hash::NEW.over(message.client_id.as_deref().unwrap_or_default()),
            (Order::None, ..) => {
                let sample = &message.payload[..message.payload.len().min(64)];
                topic().over(message.payload.len().to_be_bytes()).over(sample)
            }
            _ => topic(),
        };
        Ok(OrderKey::Hash(hash.finish()))
    }

    /// Whether the order that it keeps is that of RocketMQ's queues.
    pub fn keeps_queues(&self) -> bool {
        matches!(self.order, Order::Queue)
    }

    /// Whether the route's source takes this topic. A RocketMQ source knows its topic itself: see `FromRocketMq`.
    pub fn takes(&self, topic: &Topic) -> bool {
        self.rules.iter().any(|rule| rule.pattern.as_ref().is_none_or(|pattern| pattern.matches(topic.as_str())))
    }

    /// The filters of an MQTT source, in the order of the file; none for a RocketMQ source.
    pub fn filters(&self) -> impl Iterator<Item = &Pattern> {
        self.rules.iter().filter_map(|rule| rule.pattern.as_ref())
    }

    /// The destinations that it may have, at the most.
    pub fn produces(&self) -> &Produces {
        &self.produces
    }

    /// Every user property that some template names.
    pub fn properties(&self) -> impl Iterator<Item = &str> {
        self.rules.iter().flat_map(Rule::templates).flat_map(Template::properties)
    }

    /// What the wildcards took of a topic, by name, for the first filter that takes it.
    pub fn captures(&self, topic: &Topic) -> Vec<(String, String)> {
        let taken = self.filters().find_map(|pattern| Some((pattern, pattern.captures(topic.as_str())?)));
        let Some((pattern, captures)) = taken else { return Vec::new() };
        let value = |index| captures.get(index).unwrap_or_default().to_owned();
        pattern.capture_names().enumerate().map(|(index, name)| (name, value(index))).collect()
    }
}

impl Rule {
    fn templates(&self) -> impl Iterator<Item = &Template> {
        [&self.tag, &self.key, &self.client_id, &self.order].into_iter().flatten().chain([&self.topic])
    }
}

fn render(template: &Template, how: Use, message: &Message, captures: &Captures<'_>) -> Result<String, Refusal> {
    if let Some(text) = template.as_literal() {
        return Ok(text.to_owned());
    }
    let mut out = String::with_capacity(64);
    template.render(how, message, captures, &mut out)?;
    Ok(out)
}

/// A message may not choose topics with wildcards either.
fn check_wildcards(topic: &str) -> Result<&str, Refusal> {
    if topic.contains(['+', '#']) {
        return Err(Refusal::new("value_not_allowed", "its `mqttRealTopic` holds a wildcard"));
    }
    Ok(topic)
}

/// What MQTT cannot hold as a topic; wildcards cannot get here.
fn check_mqtt_topic(topic: &str) -> Result<(), Refusal> {
    let objection = if topic.is_empty() {
        "an MQTT topic may not be empty".to_owned()
    } else if topic.len() > MAX_TOPIC_BYTES {
        format!("an MQTT topic of {} bytes is over {MAX_TOPIC_BYTES}", topic.len())
    } else if let Some(c) = topic.chars().find(|c| c.is_control()) {
        // MQTT 1.5.4: a broker may close the connection over one.
        format!("an MQTT topic may not hold the control character `{}`", c.escape_default())
    } else {
        return Ok(());
    };
    Err(Refusal::new("topic_not_allowed", objection))
}

fn not_taken(message: &Message) -> Refusal {
    Refusal::new("not_taken", format!("no filter of the route takes `{}`", message.topic.as_str()))
}
