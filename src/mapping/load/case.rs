//! `[[route.test]]`: a message and what must come of it.

use std::{path::PathBuf, sync::Arc};

use super::source::{Kind, Source, qos};
use crate::{
    diagnostic::Fault,
    mapping::{
        Place,
        case::{Case, Expect, Expected, stored},
    },
    message::{Message, Topic},
    toml_reader::Table,
};

/// Reads the tests of a route. Without a source, their keys cannot be told right from wrong.
pub(super) fn cases(route: &Table<'_>, source: Option<&Source>, file: &Arc<PathBuf>) -> Vec<Case> {
    let tables = route.tables("test");
    let Some(source) = source else { return Vec::new() };
    tables.into_iter().filter_map(|test| case(test, source, file)).collect()
}

fn case(test: Table<'_>, source: &Source, file: &Arc<PathBuf>) -> Option<Case> {
    let (key, other, example) = match source.kind {
        Kind::Mqtt { .. } => ("publish", "send", "publish = { topic = \"plant/a\", payload = \"21.5\" }"),
        Kind::RocketMq { .. } | Kind::Events => ("send", "publish", "send = { tag = \"t\", payload = \"stop\" }"),
    };
    if let Some(at) = test.key_at(other) {
        let fault = Fault::error(at, format!("`{other}` is for the other kind of source"), "not here");
        test.faults().add(fault.hint(format!("write `{example}`")));
    } else if test.key_at(key).is_none() {
        test.missing(key, &format!("say what the source reads: `{example}`"));
    }
    if test.key_at("expect").is_none() {
        test.missing(
            "expect",
            "say what comes out: `expect = { topic = \"plant\" }`, or `{ refused = \"value_missing\" }`",
        );
    }
    let place = Place { file: file.clone(), line: test.at().line() };
    let given = test.table(key).and_then(|given| match &source.kind {
        Kind::Mqtt { .. } => published(given),
        Kind::RocketMq { topic } => Some(sent(given, topic.as_ref().map_or("", |topic| &topic.value))),
        Kind::Events => None,
    });
    let expect = test.table("expect").map(expect);
    test.finish();
    Some(Case { place, given: given?, expect: expect? })
}

fn published(publish: Table<'_>) -> Option<Message> {
    let topic = publish.filled_text("topic");
    match &topic {
        None if publish.key_at("topic").is_none() => {
            publish.missing("topic", "for example `topic = \"plant/a/m7/up\"`");
        }
        Some(topic) if topic.value.contains(['+', '#', '\0']) => {
            let fault = Fault::error(topic.at.clone(), "nobody can publish to a topic with wildcards", "not one topic");
            publish.faults().add(fault);
        }
        _ => {}
    }
    let mut message =
        Message::new(Topic::from_mqtt(topic.as_ref().map_or("", |topic| &topic.value)), payload(&publish));
    message.qos = qos(&publish).unwrap_or(message.qos);
    message.retain = publish.flag("retain").is_some_and(|found| found.value);
    message.client_id = text(&publish, "client_id");
    message.content_type = text(&publish, "content_type");
    message.response_topic = text(&publish, "response_topic");
    message.user_properties = properties(&publish);
    publish.finish();
    topic.map(|_| message)
}

fn sent(send: Table<'_>, topic: &str) -> Message {
    let (tag, key) = (text(&send, "tag"), text(&send, "key"));
    let message = stored(topic, tag.as_deref(), key.as_deref(), &properties(&send), payload(&send));
    send.finish();
    message
}

fn expect(expect: Table<'_>) -> Expect {
    let refused = expect.filled_text("refused");
    let expected = Expected {
        topic: text(&expect, "topic"),
        tag: text(&expect, "tag"),
        key: text(&expect, "key"),
        qos: qos(&expect),
        retain: expect.flag("retain").map(|found| found.value),
        properties: properties(&expect),
        payload: text(&expect, "payload").map(Into::into),
    };
    if let Some(refused) = &refused
        && expected != Expected::default()
    {
        let fault = Fault::error(refused.at.clone(), "a message that is refused is not sent", "says nothing comes out");
        expect.faults().add(fault.hint("give `refused` alone"));
    }
    expect.finish();
    match refused {
        Some(refused) => Expect::Refused(refused.value),
        None => Expect::Sent(Box::new(expected)),
    }
}

fn text(table: &Table<'_>, key: &'static str) -> Option<String> {
    table.text(key).map(|found| found.value)
}

fn payload(table: &Table<'_>) -> String {
    text(table, "payload").unwrap_or_default()
}

/// A table whose keys are the names of properties.
fn properties(table: &Table<'_>) -> Vec<(String, String)> {
    let Some(properties) = table.table("properties") else { return Vec::new() };
    let names = properties.keys();
    names.filter_map(|name| Some((name.value.to_owned(), properties.text(name.value)?.value))).collect()
}
