//! Templates: text with variables in braces, such as `line/{line}{subtopic}`.
//!
//! A template is parsed when its file is loaded, against the [`Scope`] of its route's source, so that at run time
//! only a value that the message itself lacks can be missing. A value from a message never adds a level or a wildcard
//! to a topic, unless its variable stands for several levels.

use std::ops::Range;

use crate::{delivery::Refusal, diagnostic::nearest, message::Message};

use super::{
    fault::Fault,
    pattern::{Captures, Pattern, Wildcard},
};

/// The variables that every source knows or that some source may know; no capture takes such a name.
pub const VARIABLES: [&str; 9] = ["topic", "parent", "subtopic", "tag", "key", "group", "device", "client_id", "qos"];

/// What a template may name, given its route's source.
#[derive(Debug, Clone, Copy)]
pub enum Scope<'a> {
    /// An MQTT source.
    Mqtt {
        /// The filter that the topic matches. A template of a route with several filters is parsed for each.
        pattern: &'a Pattern,
        /// Whether its messages have user properties: MQTT 5 only.
        properties: bool,
    },
    /// A RocketMQ source.
    RocketMq {
        /// The RocketMQ topic that it reads.
        topic: &'a str,
    },
    /// A status route: what happened to a client.
    Clients,
}

/// What a rendered template becomes part of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// An MQTT topic: values may not change its levels.
    Topic,
    /// Free text: a tag, a key, an order key; also a RocketMQ topic, which is checked as a whole.
    Text,
}

/// A checked template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    pub(super) parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    Literal(String),
    Value { value: Value, name: String },
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    /// The whole topic of an MQTT source.
    Topic,
    /// The parent topic; the topic of a RocketMQ source.
    Parent,
    Subtopic,
    Tag,
    Key,
    Group,
    Device,
    ClientId,
    Qos,
    Property(String),
    Capture(Wildcard),
}

impl Template {
    /// Reads a template; the fault points at the first thing that is wrong.
    pub fn parse(text: &str, scope: &Scope<'_>) -> Result<Self, Fault> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut characters = text.char_indices().peekable();
        while let Some((at, c)) = characters.next() {
            match c {
                '{' | '}' if characters.next_if(|(_, next)| *next == c).is_some() => literal.push(c),
                '{' => {
                    let range = variable_range(text, at)?;
                    let name = &text[at + 1..range.end - 1];
                    while characters.next_if(|(next, _)| *next < range.end).is_some() {}
                    if !literal.is_empty() {
                        parts.push(Part::Literal(std::mem::take(&mut literal)));
                    }
                    parts.push(Part::Value { value: scope.value(name, &range)?, name: name.to_owned() });
                }
                '}' => {
                    return Err(Fault::new(at..at + 1, "this `}` has no partner").hint("write `}}` for a brace"));
                }
                _ if c.is_control() => {
                    return Err(Fault::new(at..at + c.len_utf8(), "a template may not hold control characters"));
                }
                _ => literal.push(c),
            }
        }
        if !literal.is_empty() {
            parts.push(Part::Literal(literal));
        }
        Ok(Self { parts })
    }

    /// The text, where there is no variable in it.
    pub fn as_literal(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [] => Some(""),
            [Part::Literal(text)] => Some(text),
            _ => None,
        }
    }

    /// Whether rendering needs the captures of the filter.
    pub fn needs_captures(&self) -> bool {
        self.values().any(|value| matches!(value, Value::Capture(_)))
    }

    /// The user properties that it names.
    pub fn properties(&self) -> impl Iterator<Item = &str> {
        self.values().filter_map(|value| match value {
            Value::Property(name) => Some(name.as_str()),
            _ => None,
        })
    }

    fn values(&self) -> impl Iterator<Item = &Value> {
        self.parts.iter().filter_map(|part| match part {
            Part::Value { value, .. } => Some(value),
            Part::Literal(_) => None,
        })
    }

    /// Appends the rendered text to `out`.
    ///
    /// Refused are `value_missing` and, in a topic, `value_not_allowed`.
    pub fn render(
        &self,
        how: Use,
        message: &Message,
        captures: &Captures<'_>,
        out: &mut String,
    ) -> Result<(), Refusal> {
        let mut after_slash = false;
        for part in &self.parts {
            match part {
                Part::Literal(text) => out.push_str(text),
                // `a/#` also matches `a`: then the slash before the wildcard goes too.
                Part::Value { value: Value::Capture(wildcard), .. } if captures.get(wildcard.index).is_none() => {
                    if after_slash {
                        out.pop();
                    }
                }
                Part::Value { value, name } => {
                    let text = value.read(message, captures).ok_or_else(|| missing(name))?;
                    if how == Use::Topic {
                        check_levels(name, text, value.may_hold_slashes())?;
                    }
                    out.push_str(text);
                }
            }
            after_slash = matches!(part, Part::Literal(text) if text.ends_with('/'));
        }
        Ok(())
    }
}

impl Value {
    fn read<'m>(&self, message: &'m Message, captures: &Captures<'m>) -> Option<&'m str> {
        let client = || message.client_id.as_deref();
        match self {
            Self::Topic => Some(message.topic.as_str()),
            Self::Parent => Some(message.topic.parent()),
            Self::Subtopic => Some(message.topic.subtopic()),
            Self::Tag => message.tag.as_deref(),
            Self::Key => message.keys.as_deref(),
            // LMQ-2.1: `<GroupID>@@@<DeviceID>`.
            Self::Group => client()?.split_once("@@@").map(|(group, _)| group),
            Self::Device => client()?.split_once("@@@").map(|(_, device)| device),
            Self::ClientId => client(),
            Self::Qos => Some(["0", "1", "2"][usize::from(message.qos.level())]),
            Self::Property(name) => {
                message.user_properties.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
            }
            Self::Capture(wildcard) => captures.get(wildcard.index),
        }
    }

    /// Whether it stands for several levels.
    pub(super) fn may_hold_slashes(&self) -> bool {
        matches!(self, Self::Topic | Self::Subtopic | Self::Capture(Wildcard { rest: true, .. }))
    }
}

impl Scope<'_> {
    /// Finds what a name means, or says what may have been meant.
    fn value(&self, name: &str, range: &Range<usize>) -> Result<Value, Fault> {
        if matches!(self, Self::Clients) {
            return match name {
                "group" => Ok(Value::Group),
                "device" => Ok(Value::Device),
                "client_id" => Ok(Value::ClientId),
                _ => Err(Fault::new(range.clone(), format!("a status route has no `{{{name}}}`"))
                    .hint("known here: `{group}`, `{device}`, `{client_id}`")),
            };
        }
        if let Some(property) = name.strip_prefix("property.") {
            return self.property(property, range);
        }
        let rocketmq = matches!(self, Self::RocketMq { .. });
        let value = match name {
            "topic" if rocketmq => Value::Parent,
            "topic" => Value::Topic,
            "parent" => Value::Parent,
            "subtopic" => Value::Subtopic,
            "group" => Value::Group,
            "device" => Value::Device,
            "client_id" => Value::ClientId,
            "qos" => Value::Qos,
            "tag" if rocketmq => Value::Tag,
            "key" if rocketmq => Value::Key,
            "tag" | "key" => {
                return Err(Fault::new(range.clone(), format!("a message from MQTT has no {name}"))
                    .hint("take it from a level of the topic: give that level a name in `from.mqtt`"));
            }
            _ => return self.capture(name, range),
        };
        Ok(value)
    }

    fn property(&self, name: &str, range: &Range<usize>) -> Result<Value, Fault> {
        if name.is_empty() {
            return Err(Fault::new(range.clone(), "the property has no name").hint("name it as in `{property.site}`"));
        }
        if matches!(self, Self::Mqtt { properties: false, .. }) {
            return Err(Fault::new(range.clone(), "MQTT 3.1.1 has no user properties")
                .hint("set `version = \"5\"` for this broker, or take the value from the topic"));
        }
        Ok(Value::Property(name.to_owned()))
    }

    fn capture(&self, name: &str, range: &Range<usize>) -> Result<Value, Fault> {
        // `{x*}` in the filter may be written `{x*}` or `{x}` here.
        let bare = name.strip_suffix('*').unwrap_or(name);
        let pattern = match self {
            Self::Mqtt { pattern, .. } => Some(*pattern),
            Self::RocketMq { .. } | Self::Clients => None,
        };
        if let Some(wildcard) = pattern.and_then(|pattern| pattern.wildcard(bare))
            && (bare == name || wildcard.rest)
        {
            return Ok(Value::Capture(wildcard));
        }
        let mut known: Vec<String> = pattern.into_iter().flat_map(Pattern::capture_names).collect();
        known.extend(self.variables().map(str::to_owned));
        let what = match pattern {
            Some(pattern) => format!("`{name}` is neither a variable nor a capture of `{}`", pattern.filter()),
            None => format!("`{name}` is not a variable of a RocketMQ source"),
        };
        let fault = Fault::new(range.clone(), what);
        if let Some(meant) = nearest(name, known.iter().map(String::as_str)) {
            return Err(fault.hint(format!("did you mean `{{{meant}}}`?")));
        }
        let list: Vec<_> = known.iter().map(|name| format!("`{{{name}}}`")).collect();
        Err(fault.hint(format!("known here: {}, `{{property.NAME}}`", list.join(", "))))
    }

    fn variables(&self) -> impl Iterator<Item = &'static str> {
        let mqtt = matches!(self, Self::Mqtt { .. });
        VARIABLES.into_iter().filter(move |name| !(mqtt && matches!(*name, "tag" | "key")))
    }
}

/// The bytes of a variable with its braces, the first of which is at `open`.
fn variable_range(text: &str, open: usize) -> Result<Range<usize>, Fault> {
    let inner = &text[open + 1..];
    match inner.find(['{', '}']) {
        Some(0) => Err(Fault::new(open..open + 2, "a variable without a name").hint("write `{{` and `}}` for braces")),
        Some(end) if inner.as_bytes()[end] == b'}' => Ok(open..open + end + 2),
        _ => Err(Fault::new(open..open + 1, "this `{` has no partner").hint("write `{{` for a brace")),
    }
}

fn missing(name: &str) -> Refusal {
    Refusal::new("value_missing", format!("the message has no value for `{{{name}}}`"))
}

fn check_levels(name: &str, text: &str, slashes: bool) -> Result<(), Refusal> {
    let bad = text.bytes().find(|byte| matches!(byte, b'+' | b'#' | 0) || (*byte == b'/' && !slashes));
    match bad {
        None => Ok(()),
        Some(b'/') => Err(not_allowed(name, "would add a level to the topic")),
        Some(0) => Err(not_allowed(name, "holds U+0000, which no topic may hold")),
        Some(_) => Err(not_allowed(name, "would add a wildcard to the topic")),
    }
}

fn not_allowed(name: &str, why: &str) -> Refusal {
    Refusal::new("value_not_allowed", format!("the value of `{{{name}}}` {why}"))
}

#[cfg(test)]
mod tests;
