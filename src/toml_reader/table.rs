//! One table, read key by key.

use std::{cell::RefCell, collections::BTreeMap, ops::RangeInclusive, time::Duration};

use toml::value::Datetime;

use super::{Entry, Found, Node, Value, units};
use crate::diagnostic::{At, Fault, Faults, did_you_mean};

/// A table that is being read. Every key that is asked for is known; [`Table::finish`] reports the others.
#[derive(Debug)]
pub struct Table<'a> {
    entries: &'a BTreeMap<String, Entry>,
    at: At,
    path: String,
    faults: &'a Faults,
    known: RefCell<Vec<&'a str>>,
}

impl<'a> Table<'a> {
    pub(super) fn new(entries: &'a BTreeMap<String, Entry>, at: At, path: &str, faults: &'a Faults) -> Self {
        Self { entries, at, path: path.to_owned(), faults, known: RefCell::default() }
    }

    /// Where the table stands.
    pub fn at(&self) -> &At {
        &self.at
    }

    /// Where faults go.
    pub fn faults(&self) -> &'a Faults {
        self.faults
    }

    /// A key's full name, for messages.
    pub fn name(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// Where a key stands, if it is given.
    pub fn key_at(&self, key: &'a str) -> Option<At> {
        self.entry(key).map(|entry| entry.key.clone())
    }

    /// The names of all keys, with the place of each, for tables whose keys are the writer's own.
    pub fn keys(&self) -> impl Iterator<Item = Found<&'a str>> + use<'a> {
        self.entries.iter().map(|(key, entry)| Found { value: key.as_str(), at: entry.key.clone() })
    }

    /// Notes that a key must be given. Says nothing in a file with syntax errors, which may have hidden the key.
    pub fn missing(&self, key: &str, hint: &str) {
        if self.faults.is_broken(&self.at) {
            return;
        }
        let place = if self.path.is_empty() { String::new() } else { format!(" in `{}`", self.path) };
        self.faults.add(Fault::error(self.at.clone(), format!("missing `{key}`{place}"), "needed here").hint(hint));
    }

    fn entry(&self, key: &'a str) -> Option<&'a Entry> {
        if !self.known.borrow().contains(&key) {
            self.known.borrow_mut().push(key);
        }
        self.entries.get(key)
    }

    fn node(&self, key: &'a str) -> Option<&'a Node> {
        self.entry(key).map(|entry| &entry.node)
    }

    fn wrong(&self, key: &str, node: &Node, wanted: &str) {
        let label = match &node.value {
            Value::Raw(_) => format!("not {wanted}"),
            other => format!("this is {}", other.kind()),
        };
        self.faults.add(Fault::error(node.at.clone(), format!("`{}` must be {wanted}", self.name(key)), label));
    }

    fn wrong_value<T>(&self, key: &str, at: &At, wanted: &str, hint: Option<String>) -> Option<T> {
        let fault = Fault::error(at.clone(), format!("`{}` must be {wanted}", self.name(key)), "not this");
        self.faults.add(fault.maybe_hint(hint));
        None
    }

    /// A text.
    pub fn text(&self, key: &'a str) -> Option<Found<String>> {
        let node = self.node(key)?;
        let Some(text) = node.as_text() else {
            self.wrong(key, node, "text");
            return None;
        };
        Some(Found { value: text.to_owned(), at: node.at.clone() })
    }

    /// A text that says something.
    pub fn filled_text(&self, key: &'a str) -> Option<Found<String>> {
        let found = self.text(key)?;
        if found.value.trim().is_empty() {
            return self.wrong_value(key, &found.at, "text that is not empty", None);
        }
        Some(found)
    }

    /// A text or a list of texts, at least one and none of them empty.
    pub fn texts(&self, key: &'a str) -> Option<Vec<Found<String>>> {
        let node = self.node(key)?;
        let texts: Option<Vec<_>> = match &node.value {
            Value::Text(text) => Some(vec![Found { value: text.clone(), at: node.at.clone() }]),
            Value::Raw(text) => {
                let parts =
                    text.split([',', ';']).map(|part| Found { value: part.trim().to_owned(), at: node.at.clone() });
                Some(parts.collect())
            }
            Value::List(items) => items
                .iter()
                .map(|item| item.as_text().map(|text| Found { value: text.to_owned(), at: item.at.clone() }))
                .collect(),
            _ => None,
        };
        match texts {
            None => {
                self.wrong(key, node, "text, or a list of texts");
                None
            }
            Some(texts) if texts.is_empty() => self.wrong_value(key, &node.at, "at least one text", None),
            Some(texts) => match texts.iter().find(|text| text.value.is_empty()) {
                Some(empty) => self.wrong_value(key, &empty.at, "text that is not empty", None),
                None => Some(texts),
            },
        }
    }

    /// `true` or `false`.
    pub fn flag(&self, key: &'a str) -> Option<Found<bool>> {
        let node = self.node(key)?;
        let value = match &node.value {
            Value::Flag(flag) => Some(*flag),
            Value::Raw(text) => text.parse().ok(),
            _ => None,
        };
        self.found(key, node, value, "true or false")
    }

    /// A whole number in a range.
    pub fn integer(&self, key: &'a str, range: &RangeInclusive<u64>) -> Option<Found<u64>> {
        let node = self.node(key)?;
        let wanted = format!("a whole number from {} to {}", range.start(), range.end());
        let value = match &node.value {
            Value::Integer(number) => u64::try_from(*number).ok(),
            Value::Raw(text) => text.parse().ok(),
            _ => {
                self.wrong(key, node, &wanted);
                return None;
            }
        };
        match value.filter(|value| range.contains(value)) {
            Some(value) => Some(Found { value, at: node.at.clone() }),
            None => self.wrong_value(key, &node.at, &wanted, None),
        }
    }

    /// A size in bytes: a number, or text such as `16MiB`.
    pub fn size(&self, key: &'a str, range: &RangeInclusive<u64>) -> Option<Found<u64>> {
        let node = self.node(key)?;
        let bounds = (units::show_size(*range.start()), units::show_size(*range.end()));
        let wanted = format!("a size from {} to {}", bounds.0, bounds.1);
        let value = match &node.value {
            Value::Integer(number) => u64::try_from(*number).ok(),
            Value::Text(text) | Value::Raw(text) => units::size(text),
            _ => {
                self.wrong(key, node, &wanted);
                return None;
            }
        };
        match value.filter(|value| range.contains(value)) {
            Some(value) => Some(Found { value, at: node.at.clone() }),
            None => self.wrong_value(key, &node.at, &wanted, Some("write it as `64KiB` or `16MiB`".to_owned())),
        }
    }

    /// A duration such as `60s`, in a range.
    pub fn duration(&self, key: &'a str, range: &RangeInclusive<Duration>) -> Option<Found<Duration>> {
        let node = self.node(key)?;
        let show = |duration: &Duration| humantime::format_duration(*duration).to_string().replace(' ', "");
        let wanted = format!("a duration from {} to {}", show(range.start()), show(range.end()));
        let value = node.as_text().and_then(units::duration);
        match value.filter(|value| range.contains(value)) {
            Some(value) => Some(Found { value, at: node.at.clone() }),
            None => self.wrong_value(key, &node.at, &wanted, Some("write it as `500ms`, `60s` or `5m`".to_owned())),
        }
    }

    /// One of a few words.
    pub fn choice<T: Copy>(&self, key: &'a str, choices: &[(&str, T)]) -> Option<Found<T>> {
        let node = self.node(key)?;
        let names = choices.iter().map(|(name, _)| *name);
        let wanted = names.clone().map(|name| format!("`\"{name}\"`")).collect::<Vec<_>>().join(" or ");
        let Some(text) = node.as_text() else {
            self.wrong(key, node, &wanted);
            return None;
        };
        match choices.iter().find(|(name, _)| *name == text) {
            Some((_, value)) => Some(Found { value: *value, at: node.at.clone() }),
            None => self.wrong_value(key, &node.at, &wanted, did_you_mean(text, names)),
        }
    }

    /// A table below this one.
    pub fn table(&self, key: &'a str) -> Option<Table<'a>> {
        self.node(key)?.table(&self.name(key), self.faults)
    }

    /// A table below this one; when it is not given, an empty one in this one's place.
    pub fn table_or_empty(&self, key: &'a str) -> Option<Table<'a>> {
        const EMPTY: &BTreeMap<String, Entry> = &BTreeMap::new();
        if self.entry(key).is_none() {
            return Some(Table::new(EMPTY, self.at.clone(), &self.name(key), self.faults));
        }
        self.table(key)
    }

    /// A list of tables, as `[[key]]` makes it.
    pub fn tables(&self, key: &'a str) -> Vec<Table<'a>> {
        let Some(node) = self.node(key) else { return Vec::new() };
        let name = self.name(key);
        if let Value::List(items) = &node.value {
            // Its keys are called as they are written below `[[key]]`.
            return items.iter().filter_map(|item| item.table("", self.faults)).collect();
        }
        let fault = Fault::error(node.at.clone(), format!("`{name}` must be a list of tables"), "only one here");
        self.faults.add(fault.hint(format!("write `[[{name}]]` with two brackets")));
        Vec::new()
    }

    /// Whether the value of a key is text (and not a table, a list or something else).
    pub fn is_text(&self, key: &'a str) -> bool {
        self.node(key).is_some_and(|node| node.as_text().is_some())
    }

    /// Whether the value of a key is a certain word.
    pub fn is_word(&self, key: &'a str, word: &str) -> bool {
        self.node(key).is_some_and(|node| node.as_text() == Some(word))
    }

    /// Whether the value of a key comes from an environment variable.
    pub fn is_override(&self, key: &'a str) -> bool {
        self.node(key).is_some_and(|node| matches!(node.value, Value::Raw(_)))
    }

    /// A TOML time, if the value is one.
    pub fn time(&self, key: &'a str) -> Option<Found<Datetime>> {
        let node = self.node(key)?;
        match &node.value {
            Value::Time(time) => Some(Found { value: *time, at: node.at.clone() }),
            _ => None,
        }
    }

    fn found<T>(&self, key: &str, node: &Node, value: Option<T>, wanted: &str) -> Option<Found<T>> {
        if value.is_none() {
            self.wrong(key, node, wanted);
        }
        value.map(|value| Found { value, at: node.at.clone() })
    }

    /// Reports the keys that nobody asked for.
    pub fn finish(self) {
        let known = self.known.borrow();
        for (key, entry) in self.entries.iter().filter(|(key, _)| !known.contains(&key.as_str())) {
            let place = if self.path.is_empty() { String::new() } else { format!(" in `{}`", self.path) };
            let hint =
                did_you_mean(key, known.iter().copied()).unwrap_or_else(|| format!("known here: {}", known.join(", ")));
            self.faults.add(
                Fault::error(entry.key.clone(), format!("unknown key `{key}`{place}"), "not known here").hint(hint),
            );
        }
    }
}

impl Node {
    fn as_text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) | Value::Raw(text) => Some(text),
            _ => None,
        }
    }
}
