//! What in-file tests see, and how they say it; and what `explain` finds.

use super::*;
use crate::{
    mapping::{
        explain::{On, explain},
        fixtures::{route, tagged_route},
    },
    message::Topic,
};

fn case(given: Message, expect: Expect) -> Case {
    Case { place: route("any", "edge:a", "main!a").place, given, expect }
}

fn sent(expected: Expected) -> Expect {
    Expect::Sent(Box::new(expected))
}

fn text(text: &str) -> String {
    text.to_owned()
}

#[test]
fn a_rocketmq_sink_is_compared_as_it_is_stored() {
    let route = route("up", "edge:plant/#", "main!plant");
    let given = Message::new(Topic::from_mqtt("plant/a/m7/up"), "21.5");
    let property = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let fine = Expected {
        topic: Some(text("plant")),
        tag: Some(text("")),
        qos: Some(Qos::AtLeastOnce),
        retain: Some(false),
        payload: Some("21.5".into()),
        properties: vec![property("mqttSecondTopic", "/a/m7/up"), property("qoslevel", "1"), property("clientId", "")],
        ..Expected::default()
    };
    assert_eq!(run(&route, &case(given.clone(), sent(fine))), Vec::<String>::new());
    let wrong = Expected {
        topic: Some(text("plant/a")),
        tag: Some(text("a")),
        retain: Some(true),
        payload: Some("x\n".into()),
        properties: vec![property("qoslevel", "2"), property("none", "x")],
        ..Expected::default()
    };
    let expected = [
        "topic: expected `plant/a`, got `plant`",
        "tag: expected `a`, got none",
        "retain: expected `true`, got `false`",
        "property `qoslevel`: expected `2`, got `1`",
        "property `none`: expected `x`, got none",
        "payload: expected `x\\n`, got `21.5`",
    ];
    assert_eq!(run(&route, &case(given, sent(wrong))), expected);
}

#[test]
fn a_rocketmq_message_is_read_by_the_contract() {
    let route = tagged_route("down", "main!cmd", &["MQ2MQTT"], "edge:{topic}{subtopic}");
    let own = [("mqttSecondTopic".to_owned(), "p2p/GID_a@@@d".to_owned()), ("qoslevel".to_owned(), "0".to_owned())];
    let given = stored("cmd", Some("MQ2MQTT"), None, &own, "on");
    let expected =
        Expected { topic: Some(text("cmd/p2p/GID_a@@@d")), qos: Some(Qos::AtMostOnce), ..Expected::default() };
    assert_eq!(run(&route, &case(given.clone(), sent(expected))), Vec::<String>::new());
    let untagged = Message { tag: None, ..given };
    assert_eq!(
        run(&route, &case(untagged, sent(Expected::default()))),
        ["the route does not take `cmd/p2p/GID_a@@@d`"]
    );
}

#[test]
fn refusals_are_expected_by_kind() {
    let route = route("down", "main!cmd", "edge:dev/{property.id}");
    let refused = |kind: &str| Expect::Refused(kind.to_owned());
    let given = stored("cmd", None, None, &[], "on");
    assert_eq!(run(&route, &case(given.clone(), refused("value_missing"))), Vec::<String>::new());
    let differences = run(&route, &case(given.clone(), refused("topic_not_allowed")));
    assert!(
        differences[0].starts_with("expected a refusal `topic_not_allowed`, got `value_missing`"),
        "{differences:?}"
    );
    assert!(run(&route, &case(given, sent(Expected::default())))[0].starts_with("refused: "));
    let given = stored("cmd", None, None, &[("id".to_owned(), "7".to_owned())], "on");
    let differences = run(&route, &case(given, refused("value_missing")));
    assert_eq!(differences, ["expected a refusal `value_missing`, but it is sent to `dev/7`"]);
}

#[test]
fn explain_shows_every_route_that_takes_a_message() {
    let routes = [
        route("up", "edge:plant/{line}/#", "main!plant"),
        route("copy", "edge:plant/a/#", "other:{topic}"),
        route("else", "edge:other/#", "main!other"),
        route("down", "main!plant", "edge:cmd{subtopic}"),
    ];
    let message = Message::new(Topic::from_mqtt("plant/a/x"), "");
    let found = explain(&routes, On::Mqtt, &message);
    let names: Vec<_> = found.iter().map(|found| found.route.name.as_str()).collect();
    assert_eq!(names, ["up", "copy"]);
    assert_eq!(found[0].captures, [("line".to_owned(), "a".to_owned()), ("2".to_owned(), "x".to_owned())]);
    assert!(matches!(&found[0].result, Ok(Translated::Send { message, .. }) if message.topic.parent() == "plant"));
    let found = explain(&routes, On::RocketMq, &Message::new(Topic::from_parts("plant", "/x"), ""));
    assert!(found.len() == 1 && found[0].route.name == "down");
}
