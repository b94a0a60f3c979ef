//! What templates render, refuse and do not parse as.

use proptest::prelude::*;

use super::*;
use crate::message::Topic;

fn render(filter: &str, template: &str, topic: &str) -> Result<String, &'static str> {
    let pattern = Pattern::parse(filter).unwrap();
    let template = Template::parse(template, &Scope::Mqtt { pattern: &pattern, properties: true }).unwrap();
    let mut message = Message::new(Topic::from_mqtt(topic), "");
    message.client_id = Some("GID_a@@@dev1".into());
    message.user_properties = vec![("site".into(), "x/y".into()), ("site".into(), "second".into())];
    let captures = pattern.captures(topic).unwrap();
    let mut out = String::new();
    template.render(Use::Topic, &message, &captures, &mut out).map(|()| out).map_err(|refusal| refusal.kind)
}

#[test]
fn variables_and_captures_render() {
    for (filter, template, topic, expected) in [
        ("p/{l}/{r*}", "{topic}", "p/a/b/c", Ok("p/a/b/c")),
        ("p/{l}/{r*}", "{parent}|{subtopic}", "p/a/b/c", Ok("p|/a/b/c")),
        ("p/{l}/{r*}", "q/{l}/{r*}", "p/a/b/c", Ok("q/a/b/c")),
        ("p/{l}/{r*}", "q/{l}/{r}", "p/a", Ok("q/a")),
        ("p/{l}/{r*}", "q/{l}/{r}", "p/a/", Ok("q/a/")),
        ("p/{l}/{r*}", "{r}", "p/a", Ok("")),
        ("p/+/#", "{2}-{1}", "p/a/b", Ok("b-a")),
        ("p/{l}", "q/{l}", "p/", Ok("q/")),
        ("p", "{{{group}}}/{device}/{client_id}/{qos}", "p", Ok("{GID_a}/dev1/GID_a@@@dev1/1")),
        ("p", "{property.site}", "p", Err("value_not_allowed")),
        ("p", "{property.none}", "p", Err("value_missing")),
        ("p", "no variable", "p", Ok("no variable")),
    ] {
        let expected = expected.map(str::to_owned);
        assert_eq!(render(filter, template, topic), expected, "{filter} {template} {topic}");
    }
}

#[test]
fn a_value_may_hold_slashes_outside_of_topics() {
    let template = Template::parse("{property.p}", &Scope::RocketMq { topic: "t" }).unwrap();
    let mut message = Message::new(Topic::from_parts("t", ""), "");
    message.user_properties = vec![("p".into(), "a/+".into())];
    let mut out = String::new();
    template.render(Use::Text, &message, &Captures::default(), &mut out).unwrap();
    assert_eq!(out, "a/+");
}

#[test]
fn the_topic_of_a_rocketmq_source_is_without_its_subtopic() {
    let template = Template::parse("{topic}|{parent}|{subtopic}", &Scope::RocketMq { topic: "t" }).unwrap();
    let mut out = String::new();
    let message = Message::new(Topic::from_parts("t", "a/b"), "");
    template.render(Use::Topic, &message, &Captures::default(), &mut out).unwrap();
    assert_eq!(out, "t|t|/a/b");
}

#[test]
fn faults_point_at_what_is_wrong_and_say_what_was_meant() {
    let pattern = Pattern::parse("p/{machine}/#").unwrap();
    let mqtt = Scope::Mqtt { pattern: &pattern, properties: false };
    let rocketmq = Scope::RocketMq { topic: "t" };
    for (scope, text, pointed, said) in [
        (mqtt, "a/{machin}", "{machin}", "did you mean `{machine}`?"),
        (mqtt, "a/{suptopic}", "{suptopic}", "did you mean `{subtopic}`?"),
        (mqtt, "\u{e9}{zzz}", "{zzz}", "known here: `{machine}`, `{2}`, `{topic}`"),
        (mqtt, "{machine*}", "{machine*}", "did you mean `{machine}`?"),
        (mqtt, "{3}", "{3}", "known here"),
        (mqtt, "{tag}", "{tag}", "give that level a name"),
        (mqtt, "{property.x}", "{property.x}", "version = \"5\""),
        (rocketmq, "{property.}", "{property.}", "name it"),
        (rocketmq, "{machine}", "{machine}", "known here: `{topic}`"),
        (rocketmq, "a{", "{", "write `{{`"),
        (rocketmq, "a{b{c}", "{", "write `{{`"),
        (rocketmq, "a}", "}", "write `}}`"),
        (rocketmq, "a{}", "{}", "braces"),
    ] {
        let fault = Template::parse(text, &scope).unwrap_err();
        assert_eq!(text.get(fault.range.clone()), Some(pointed), "{text}: {fault}");
        assert!(fault.hint.as_ref().unwrap().contains(said), "{text}: {fault:?}");
    }
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic_and_every_fault_is_inside_it(text in "[a{}*/.x\u{e9}]{0,12}|\\{property.[a{}]*") {
        if let Err(fault) = Template::parse(&text, &Scope::RocketMq { topic: "t" }) {
            prop_assert!(text.get(fault.range).is_some());
        }
    }

    #[test]
    fn a_single_level_value_never_adds_levels_or_wildcards(value in "[a/+#\0\u{e9}]{0,6}") {
        let template = Template::parse("a/{property.p}/b", &Scope::RocketMq { topic: "t" }).unwrap();
        let mut message = Message::new(Topic::from_parts("t", ""), "");
        message.user_properties = vec![("p".into(), value)];
        let mut out = String::new();
        if template.render(Use::Topic, &message, &Captures::default(), &mut out).is_ok() {
            prop_assert_eq!(out.split('/').count(), 3);
            prop_assert!(!out.contains(['+', '#', '\0']));
        }
    }
}
