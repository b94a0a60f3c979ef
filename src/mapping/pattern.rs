//! Topic filters with captures: `plant/{line}/{machine}/up/{metric*}`.
//!
//! `{x}` is MQTT's `+` and `{x*}` its `#`; plain `+` and `#` work too. Wildcards are numbered from 1 in the order in
//! which they stand, so the first is `{1}` in a template, named or not. It must never accept what a broker refuses
//! as a filter (MQTT 4.7), nor match what a broker would not.

use std::ops::Range;

use super::{fault::Fault, template::VARIABLES};

/// MQTT strings are at most this many bytes long.
pub(crate) const MAX_TOPIC_BYTES: usize = 65_535;

/// A checked topic filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    /// All levels but a trailing `#`.
    levels: Vec<Level>,
    /// Whether it ends in `#`, which also matches the level above.
    rest: bool,
    /// The name of each wildcard in order, where it has one.
    names: Vec<Option<String>>,
    /// As MQTT writes it.
    filter: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Level {
    Literal(String),
    Any,
}

/// One wildcard of a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wildcard {
    /// Its place among the wildcards, from 0.
    pub index: usize,
    /// Whether it is `#`, so that its value may hold slashes or be absent.
    pub rest: bool,
}

/// What the wildcards of a pattern took of one topic, in their order.
#[derive(Debug, Clone, Default)]
pub struct Captures<'t>(Vec<Option<&'t str>>);

impl<'t> Captures<'t> {
    /// The value of a wildcard. Only a `#` has none: when the topic ends at the level above it.
    pub fn get(&self, index: usize) -> Option<&'t str> {
        self.0.get(index).copied().flatten()
    }
}

impl Pattern {
    /// Reads a filter; the fault points at the first thing that is wrong.
    pub fn parse(text: &str) -> Result<Self, Fault> {
        check_whole(text)?;
        let mut pattern = Self { levels: Vec::new(), rest: false, names: Vec::new(), filter: String::new() };
        let mut start = 0;
        let mut before = 0..0;
        for level in text.split('/') {
            if pattern.rest {
                return Err(Fault::new(before, "nothing may follow a wildcard that takes all further levels"));
            }
            let range = start..start + level.len();
            pattern.push(level, &range)?;
            start = range.end + 1;
            before = range;
        }
        Ok(pattern.written())
    }

    /// Reads a filter as MQTT has it, where braces are characters like others; nothing where a broker refuses it.
    pub fn plain(text: &str) -> Option<Self> {
        if text.is_empty() || text.len() > MAX_TOPIC_BYTES || text.contains(char::is_control) {
            return None;
        }
        let (above, rest) = match text.strip_suffix('#') {
            Some("") => (None, true),
            Some(above) => (Some(above.strip_suffix('/')?), true),
            None => (Some(text), false),
        };
        let level = |level: &str| match level {
            "+" => Some(None),
            _ => (!level.contains(['+', '#'])).then(|| Some(level.to_owned())),
        };
        let levels = above.map_or_else(|| Some(Vec::new()), |above| above.split('/').map(level).collect());
        Some(Self::of_levels(levels?, rest))
    }

    /// A filter of levels, `None` for `+`, and whether `#` follows.
    pub(super) fn of_levels(levels: Vec<Option<String>>, rest: bool) -> Self {
        let levels = levels.into_iter().map(|level| level.map_or(Level::Any, Level::Literal)).collect();
        Self { levels, rest, names: Vec::new(), filter: String::new() }.written()
    }

    /// Fills in what follows from the levels.
    fn written(mut self) -> Self {
        let wildcards = self.levels.iter().filter(|level| **level == Level::Any).count() + usize::from(self.rest);
        self.names.resize(wildcards, None);
        self.filter = self.write();
        self
    }

    fn push(&mut self, level: &str, range: &Range<usize>) -> Result<(), Fault> {
        let (name, rest) = match level {
            "+" => (None, false),
            "#" => (None, true),
            _ => {
                let Some((name, rest)) = capture_name(level, range)? else {
                    self.levels.push(Level::Literal(literal(level, range)?));
                    return Ok(());
                };
                (Some(name), rest)
            }
        };
        if let Some(name) = &name
            && self.names.iter().flatten().any(|other| other == name)
        {
            return Err(Fault::new(range.clone(), format!("the capture `{name}` stands here twice"))
                .hint("give each capture of a filter its own name"));
        }
        self.names.push(name);
        if rest {
            self.rest = true;
        } else {
            self.levels.push(Level::Any);
        }
        Ok(())
    }

    fn write(&self) -> String {
        let levels = self.levels.iter().map(|level| match level {
            Level::Literal(text) => text.as_str(),
            Level::Any => "+",
        });
        levels.chain(self.rest.then_some("#")).collect::<Vec<_>>().join("/")
    }

    /// The filter as MQTT writes it.
    pub fn filter(&self) -> &str {
        &self.filter
    }

    /// The first level, where it is not a wildcard.
    pub fn first_literal(&self) -> Option<&str> {
        match self.levels.first() {
            Some(Level::Literal(text)) => Some(text),
            _ => None,
        }
    }

    /// Its levels, without a `#` at the end: `None` for a `+`.
    pub fn levels(&self) -> impl ExactSizeIterator<Item = Option<&str>> {
        self.levels.iter().map(|level| match level {
            Level::Literal(text) => Some(text.as_str()),
            Level::Any => None,
        })
    }

    /// The wildcard of a name or, counted from 1, of a number.
    pub fn wildcard(&self, name: &str) -> Option<Wildcard> {
        let index = match name.parse::<usize>() {
            Ok(number) => number.checked_sub(1).filter(|index| *index < self.names.len())?,
            Err(_) => self.names.iter().position(|known| known.as_deref() == Some(name))?,
        };
        Some(Wildcard { index, rest: self.rest && index + 1 == self.names.len() })
    }

    /// What a template calls each wildcard: its name, or its number where it has none.
    pub fn capture_names(&self) -> impl Iterator<Item = String> {
        self.names.iter().enumerate().map(|(index, name)| name.clone().unwrap_or_else(|| (index + 1).to_string()))
    }

    /// Whether a broker would deliver this topic for this filter.
    pub fn matches(&self, topic: &str) -> bool {
        self.walk(topic, |_| ())
    }

    /// What the wildcards take of a topic, if it matches.
    pub fn captures<'t>(&self, topic: &'t str) -> Option<Captures<'t>> {
        let mut values = Vec::with_capacity(self.names.len());
        self.walk(topic, |value| values.push(value)).then_some(Captures(values))
    }

    fn walk<'t>(&self, topic: &'t str, mut take: impl FnMut(Option<&'t str>)) -> bool {
        // MQTT 4.7.2: `$SYS` and its like are no one's wildcard.
        if topic.starts_with('$') && self.first_literal().is_none() {
            return false;
        }
        let mut remaining = Some(topic);
        for level in &self.levels {
            let Some(text) = remaining else { return false };
            let (head, tail) = text.split_once('/').map_or((text, None), |(head, tail)| (head, Some(tail)));
            remaining = tail;
            match level {
                Level::Literal(literal) if literal != head => return false,
                Level::Literal(_) => {}
                Level::Any => take(Some(head)),
            }
        }
        if self.rest {
            take(remaining);
        }
        self.rest || remaining.is_none()
    }

    /// Whether every topic that another filter matches is matched by this one, too.
    pub fn covers(&self, other: &Self) -> bool {
        // A `#` at the beginning takes the first level, whatever it is, as `+/#` does.
        let everything = self.rest && matches!(self.levels[..], [] | [Level::Any]);
        let system = other.first_literal().is_some_and(|level| level.starts_with('$'));
        if system && self.first_literal().is_none() {
            return false;
        }
        if everything {
            return true;
        }
        let short = self.levels.len();
        let same = |(mine, others): (&Level, &Level)| *mine == Level::Any || mine == others;
        short <= other.levels.len()
            && self.levels.iter().zip(&other.levels).all(same)
            && (self.rest || (short == other.levels.len() && !other.rest))
    }

    /// Whether some topic matches both filters.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.intersection(other).is_some()
    }

    /// The filter of exactly the topics that match both; its wildcards have no names.
    pub fn intersection(&self, other: &Self) -> Option<Self> {
        let (short, long) = if self.levels.len() <= other.levels.len() { (self, other) } else { (other, self) };
        let both = short.levels.len();
        if long.levels.len() > both && !short.rest {
            return None;
        }
        let mut levels = Vec::with_capacity(long.levels.len());
        for (a, b) in short.levels.iter().zip(&long.levels) {
            levels.push(match (a, b) {
                (Level::Any, level) | (level, Level::Any) => level.clone(),
                (Level::Literal(a), Level::Literal(b)) if a == b => Level::Literal(a.clone()),
                (Level::Literal(_), Level::Literal(_)) => return None,
            });
        }
        levels.extend_from_slice(&long.levels[both..]);
        let rest = short.rest && long.rest;
        let shared = Self { levels, rest, names: Vec::new(), filter: String::new() };
        let system = shared.first_literal().is_some_and(|text| text.starts_with('$'));
        if system && (self.first_literal().is_none() || other.first_literal().is_none()) {
            return None;
        }
        Some(shared.written())
    }
}

fn check_whole(text: &str) -> Result<(), Fault> {
    if text.is_empty() {
        return Err(Fault::new(0..0, "a topic filter may not be empty").hint("`#` takes every topic"));
    }
    if text.len() > MAX_TOPIC_BYTES {
        return Err(Fault::new(0..text.len(), format!("a topic filter holds at most {MAX_TOPIC_BYTES} bytes")));
    }
    if text.starts_with("$share/") {
        return Err(Fault::new(0.."$share/".len(), "a shared subscription is not part of the filter")
            .hint("write `from.share = \"name\"`, and the filter without `$share/name/`"));
    }
    match text.char_indices().find(|(_, c)| c.is_control()) {
        Some((at, c)) => {
            Err(Fault::new(at..at + c.len_utf8(), "a topic filter may not hold control characters (MQTT 1.5.4)"))
        }
        None => Ok(()),
    }
}

/// The name of a level that is one capture, and whether it takes all further levels.
fn capture_name(level: &str, range: &Range<usize>) -> Result<Option<(String, bool)>, Fault> {
    let inner = level.strip_prefix('{').and_then(|inner| inner.strip_suffix('}'));
    let Some(inner) = inner.filter(|inner| !inner.contains(['{', '}'])) else {
        // Doubled braces, a capture that is only a part of its level, or a brace without a partner: `literal` says.
        return Ok(None);
    };
    let (name, rest) = inner.strip_suffix('*').map_or((inner, false), |name| (name, true));
    let mut characters = name.chars();
    let named = characters.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && characters.all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
    if !named {
        return Err(Fault::new(range.clone(), format!("`{name}` is no name for a capture"))
            .hint("a name is letters, digits, `_` and `-`, and starts with a letter or `_`"));
    }
    if VARIABLES.contains(&name) || name == "property" {
        return Err(Fault::new(range.clone(), format!("a capture may not be called `{name}`: that is a variable"))
            .hint("choose another name"));
    }
    Ok(Some((name.to_owned(), rest)))
}

/// A level without wildcards, its doubled braces made single.
fn literal(level: &str, range: &Range<usize>) -> Result<String, Fault> {
    let mut text = String::with_capacity(level.len());
    let mut characters = level.char_indices().peekable();
    while let Some((at, c)) = characters.next() {
        let here = range.start + at..range.start + at + c.len_utf8();
        match c {
            '+' | '#' => return Err(Fault::new(here, format!("`{c}` must be a whole level (MQTT 4.7.1)"))),
            '{' | '}' if characters.next_if(|(_, next)| *next == c).is_some() => text.push(c),
            '{' | '}' => {
                return Err(match level[at..].find('}') {
                    Some(end) if c == '{' => {
                        Fault::new(here.start..here.start + end + 1, "a capture must be a whole level")
                            .hint("take the level as a whole, or write `{{` and `}}` for braces")
                    }
                    _ => Fault::new(here, format!("this `{c}` has no partner in its level"))
                        .hint(format!("write `{c}{c}` for a brace")),
                });
            }
            _ => text.push(c),
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests;
