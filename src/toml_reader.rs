//! Reads TOML key by key and notes every fault instead of stopping at the first.
//!
//! A [`Table`] hands out values of the type that is asked for, each with its place; what nobody asked for is an
//! unknown key. A value may also come from an environment variable, as text that becomes whatever is asked for.
//! It must never know what the keys mean.

mod table;
mod units;

use std::{collections::BTreeMap, ops::Range, sync::Arc};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
    value::Datetime,
};

pub use self::table::Table;
use crate::diagnostic::{At, Fault, Faults, Source};

/// A value with its place.
#[derive(Debug, Clone)]
pub struct Found<T> {
    /// The value.
    pub value: T,
    /// Where it stands.
    pub at: At,
}

impl<T> Found<T> {
    /// Turns the value into another, at the same place.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Found<U> {
        Found { value: change(self.value), at: self.at }
    }
}

/// A TOML value and all below it.
#[derive(Debug)]
pub struct Node {
    at: At,
    value: Value,
}

#[derive(Debug)]
enum Value {
    Text(String),
    Integer(i64),
    Float,
    Flag(bool),
    Time(Datetime),
    List(Vec<Node>),
    Table(BTreeMap<String, Entry>),
    /// An environment variable's text.
    Raw(String),
}

#[derive(Debug)]
struct Entry {
    key: At,
    node: Node,
}

impl Value {
    fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "text",
            Self::Integer(_) => "a number",
            Self::Float => "a fraction",
            Self::Flag(_) => "true or false",
            Self::Time(_) => "a time",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
            Self::Raw(_) => "the text of a variable",
        }
    }
}

/// Parses a document. Syntax errors are noted, and what could be read is given all the same.
pub fn parse(source: &Arc<Source>, text: &str, faults: &Faults) -> Node {
    let mut text = text.to_owned();
    while let Some(line) = line_that_ends_parsing(&text, source, faults) {
        text.replace_range(line.clone(), &" ".repeat(line.len()));
    }
    let (table, errors) = DeTable::parse_recoverable(&text);
    for error in &errors {
        note_syntax_error(error, source, faults);
    }
    let reader = Reader { source, faults };
    let span = table.span();
    Node { at: At::new(source, span), value: reader.table(table.into_inner()) }
}

/// The parser gives up at a key without a value and would hide all that follows: such a line is noted and blanked.
fn line_that_ends_parsing(text: &str, source: &Arc<Source>, faults: &Faults) -> Option<Range<usize>> {
    let (_, errors) = DeTable::parse_recoverable(text);
    let error = errors.iter().find(|error| error.message().starts_with("key with no value"))?;
    let at = error.span()?.start;
    note_syntax_error(error, source, faults);
    let start = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
    let end = text[at..].find('\n').map_or(text.len(), |newline| at + newline);
    (start < end).then_some(start..end)
}

fn note_syntax_error(error: &toml::de::Error, source: &Arc<Source>, faults: &Faults) {
    let fault = Fault::error(At::new(source, error.span().unwrap_or(0..0)), error.message(), "");
    faults.add(fault.maybe_hint(syntax_hint(error.message())));
    faults.mark_broken(source);
}

fn syntax_hint(message: &str) -> Option<String> {
    message.contains("duplicate key").then(|| "give each key once; a second route needs its own `[[route]]`".to_owned())
}

struct Reader<'a> {
    source: &'a Arc<Source>,
    faults: &'a Faults,
}

impl Reader<'_> {
    fn table(&self, table: DeTable<'_>) -> Value {
        let entries = table.into_iter().map(|(key, value)| {
            let at = At::new(self.source, key.span());
            (key.into_inner().into_owned(), Entry { key: at, node: self.node(value) })
        });
        Value::Table(entries.collect())
    }

    fn node(&self, value: Spanned<DeValue<'_>>) -> Node {
        let span = value.span();
        let at = At::new(self.source, span.clone());
        let value = match value.into_inner() {
            DeValue::String(text) => Value::Text(text.into_owned()),
            DeValue::Integer(number) => self.integer(number.as_str(), number.radix(), span),
            DeValue::Float(_) => Value::Float,
            DeValue::Boolean(flag) => Value::Flag(flag),
            DeValue::Datetime(time) => Value::Time(time),
            DeValue::Array(list) => Value::List(list.into_iter().map(|item| self.node(item)).collect()),
            DeValue::Table(table) => self.table(table),
        };
        Node { at, value }
    }

    fn integer(&self, digits: &str, radix: u32, span: Range<usize>) -> Value {
        Value::Integer(i64::from_str_radix(digits, radix).unwrap_or_else(|_| {
            self.faults.add(Fault::error(At::new(self.source, span), "the number is too large", "beyond 64 bits"));
            0
        }))
    }
}

impl Node {
    /// The table that this node is, for reading its keys; anything else is a fault. `path` names it, or is empty
    /// for a whole document.
    pub fn table<'a>(&'a self, path: &str, faults: &'a Faults) -> Option<Table<'a>> {
        match &self.value {
            Value::Table(entries) => Some(Table::new(entries, self.at.clone(), path, faults)),
            other => {
                let hint =
                    matches!(other, Value::Raw(_)).then(|| "set its keys one by one, as in `..._KEY`".to_owned());
                faults.add(
                    Fault::error(
                        self.at.clone(),
                        format!("`{path}` must be a table"),
                        format!("this is {}", other.kind()),
                    )
                    .maybe_hint(hint),
                );
                None
            }
        }
    }

    /// Puts an environment variable's text at a path of keys, over what the file says. Keys are compared without
    /// regard to case, `-` and `_` being alike, since a variable's name cannot tell them apart.
    pub fn override_with(&mut self, path: &[&str], name: &At, text: &str, at: At) {
        let [key, rest @ ..] = path else {
            *self = Self { at, value: Value::Raw(text.to_owned()) };
            return;
        };
        if !matches!(self.value, Value::Table(_)) {
            *self = Self { at: name.clone(), value: Value::Table(BTreeMap::new()) };
        }
        let Value::Table(entries) = &mut self.value else { return };
        let plain = |key: &str| key.to_lowercase().replace('-', "_");
        let existing = entries.keys().find(|existing| plain(existing) == plain(key)).cloned();
        entries
            .entry(existing.unwrap_or_else(|| key.to_lowercase()))
            .or_insert_with(|| Entry {
                key: name.clone(),
                node: Self { at: name.clone(), value: Value::Table(BTreeMap::new()) },
            })
            .node
            .override_with(rest, name, text, at);
    }
}
