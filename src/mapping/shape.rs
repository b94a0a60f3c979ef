//! What a destination template may produce, whatever the messages hold: known when a file is loaded.
//!
//! Every answer errs on the wide side: a topic that a template can produce is always within its shape.

use super::{
    pattern::Pattern,
    template::{Part, Scope, Template, Value},
};

/// The pieces of all that a template may render.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Literal(String),
    /// Any text without a slash.
    Level,
    /// Nothing, or a slash and any text.
    Rest,
    /// Any text.
    Any,
}

impl Shape {
    /// The shape of a template over a source.
    pub fn of(template: &Template, scope: &Scope<'_>) -> Self {
        let mut shape = Self(Vec::new());
        for part in &template.parts {
            match part {
                Part::Literal(text) => shape.literal(text),
                Part::Value { value, .. } => shape.value(value, scope),
            }
        }
        shape
    }

    fn literal(&mut self, text: &str) {
        if let Some(Piece::Literal(before)) = self.0.last_mut() {
            before.push_str(text);
        } else if !text.is_empty() {
            self.0.push(Piece::Literal(text.to_owned()));
        }
    }

    fn value(&mut self, value: &Value, scope: &Scope<'_>) {
        match (value, scope) {
            (Value::Topic, Scope::Mqtt { pattern, .. }) => self.filter(pattern.filter()),
            (Value::Parent, Scope::Mqtt { pattern, .. }) => match pattern.first_literal() {
                Some(parent) => self.literal(parent),
                None => self.0.push(Piece::Level),
            },
            (Value::Parent | Value::Topic, Scope::RocketMq { topic }) => self.literal(topic),
            (Value::Subtopic, Scope::Mqtt { pattern, .. }) => match pattern.filter().split_once('/') {
                Some((_, levels)) => {
                    self.literal("/");
                    self.filter(levels);
                }
                None if pattern.filter() == "#" => self.0.push(Piece::Rest),
                None => {}
            },
            (Value::Subtopic, Scope::RocketMq { .. }) => self.0.push(Piece::Rest),
            (Value::Capture(wildcard), _) if wildcard.rest => self.rest(),
            _ => self.0.push(Piece::Level),
        }
    }

    fn filter(&mut self, filter: &str) {
        for (index, level) in filter.split('/').enumerate() {
            if index > 0 {
                self.literal("/");
            }
            match level {
                "+" => self.0.push(Piece::Level),
                "#" => self.rest(),
                _ => self.literal(level),
            }
        }
    }

    /// The value of a `#`: the slash before it goes where it has none.
    fn rest(&mut self) {
        match self.0.last_mut() {
            Some(Piece::Literal(before)) if before.ends_with('/') => {
                before.pop();
                if before.is_empty() {
                    self.0.pop();
                }
                self.0.push(Piece::Rest);
            }
            _ => self.0.push(Piece::Any),
        }
    }

    /// The text that everything starts with.
    pub fn prefix(&self) -> &str {
        match self.0.first() {
            Some(Piece::Literal(text)) => text,
            _ => "",
        }
    }

    /// The text itself, where it is the only one.
    pub fn exact(&self) -> Option<&str> {
        match self.0.as_slice() {
            [] => Some(""),
            [Piece::Literal(text)] => Some(text),
            _ => None,
        }
    }

    /// A topic filter that takes all that may be produced, but for topics that start with a `$` out of a value.
    pub fn pattern(&self) -> Pattern {
        let mut levels = vec![Some(String::new())];
        for (index, piece) in self.0.iter().enumerate() {
            match piece {
                Piece::Literal(text) => {
                    for (at, level) in text.split('/').enumerate() {
                        if at > 0 {
                            levels.push(Some(String::new()));
                        }
                        if let Some(Some(before)) = levels.last_mut() {
                            before.push_str(level);
                        }
                    }
                }
                Piece::Level => widen(&mut levels),
                Piece::Rest | Piece::Any => {
                    let glued = match self.0.get(index + 1) {
                        None => false,
                        Some(Piece::Literal(text)) => !text.starts_with('/'),
                        Some(_) => true,
                    };
                    if *piece == Piece::Any {
                        levels.pop();
                    } else if glued {
                        widen(&mut levels);
                    }
                    return Pattern::of_levels(levels, true);
                }
            }
        }
        Pattern::of_levels(levels, false)
    }
}

/// The level at hand may hold any text.
fn widen(levels: &mut [Option<String>]) {
    if let Some(level) = levels.last_mut() {
        *level = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shape_takes_all_that_a_template_may_produce() {
        for (filter, template, expected, prefix) in [
            ("plant/{l}/{r*}", "{topic}", "plant/+/#", "plant/"),
            ("plant/{l}/{r*}", "x/{l}/{r}", "x/+/#", "x/"),
            ("plant/{l}/{r*}", "x/dev-{l}/y", "x/+/y", "x/dev-"),
            ("plant/{l}/{r*}", "x{subtopic}", "x/+/#", "x/"),
            ("plant/{l}/{r*}", "x{subtopic}y", "x/+/#", "x/"),
            ("plant/{l}/{r*}", "{parent}_{l}", "+", "plant_"),
            ("plant/{l}/{r*}", "dev{r}", "#", "dev"),
            ("plant/{l}/{r*}", "{r}/x", "#", ""),
            ("#", "a{subtopic}", "a/#", "a"),
            ("#", "{topic}", "#", ""),
            ("a", "b{subtopic}", "b", "b"),
            ("+/b", "{property.p}{subtopic}", "+/b", ""),
        ] {
            let pattern = Pattern::parse(filter).unwrap();
            let scope = Scope::Mqtt { pattern: &pattern, properties: true };
            let shape = Shape::of(&Template::parse(template, &scope).unwrap(), &scope);
            assert_eq!((shape.pattern().filter(), shape.prefix()), (expected, prefix), "{filter} {template}");
        }
        let scope = Scope::RocketMq { topic: "cmd" };
        let shape = Shape::of(&Template::parse("{topic}{subtopic}", &scope).unwrap(), &scope);
        assert_eq!((shape.pattern().filter(), shape.prefix()), ("cmd/#", "cmd"));
    }
}
