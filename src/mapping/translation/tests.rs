//! What routes of all four kinds make of a message, and which drafts are refused.

use proptest::prelude::*;

use super::{
    draft::{Draft, DraftFault, DraftFrom, DraftTo, Field},
    *,
};
use crate::settings::Secret;

/// A draft with defaults for everything but its two ends.
fn draft<'a>(from: DraftFrom<'a>, to: DraftTo<'a>, key: &'a Secret) -> Draft<'a> {
    Draft {
        from,
        from_broker: "one",
        to,
        to_broker: "two",
        within: Vec::new(),
        order_by: None,
        strict_lmq: false,
        loop_key: key,
    }
}

fn key() -> Secret {
    Secret::new("test")
}

fn from_mqtt(filter: &str) -> DraftFrom<'_> {
    DraftFrom::Mqtt { filters: vec![filter], version_5: true }
}

fn to_mqtt(topic: &str) -> DraftTo<'_> {
    DraftTo::Mqtt { topic: Some(topic), qos: None, retain: None, real_topic: false }
}

fn to_rocketmq(topic: &str) -> DraftTo<'_> {
    DraftTo::RocketMq { topic: Some(topic), tag: None, key: None, client_id: None, shard_key: None }
}

fn published(topic: &str) -> Message {
    Message::new(Topic::from_mqtt(topic), "21.5")
}

fn sent(translation: &Translation, message: &Message) -> (OrderKey, Message) {
    match translation.translate(message) {
        Ok(Translated::Send { order, message }) => (order, message),
        other => panic!("{other:?}"),
    }
}

fn refused(translation: &Translation, message: &Message) -> &'static str {
    translation.translate(message).unwrap_err().kind
}

#[test]
fn mqtt_to_rocketmq_names_parent_subtopic_tag_and_keys() {
    let key = key();
    let to = DraftTo::RocketMq {
        topic: Some("plant"),
        tag: Some("{line}"),
        key: Some("{machine}"),
        client_id: Some("GID_plant@@@{machine}"),
        shard_key: None,
    };
    let mut draft = draft(from_mqtt("plant/{line}/{machine}/up/{metric*}"), to, &key);
    draft.order_by = Some("{machine}");
    let translation = Translation::check(&draft).unwrap();
    let (order, message) = sent(&translation, &published("plant/a/m7/up/temp"));
    assert_eq!((message.topic.parent(), message.topic.subtopic()), ("plant", "/a/m7/up/temp"));
    assert_eq!((message.tag.as_deref(), message.keys.as_deref()), (Some("a"), Some("m7")));
    assert_eq!(message.client_id.as_deref(), Some("GID_plant@@@m7"));
    assert_eq!(&message.payload[..], b"21.5");
    assert_eq!(order, sent(&translation, &published("plant/b/m7/up")).0, "ordered by machine alone");
    assert_ne!(order, sent(&translation, &published("plant/a/m8/up")).0);
    assert_eq!(sent(&translation, &published("plant//m7/up")).1.tag, None, "an empty tag is none");
    assert_eq!(refused(&translation, &published("plant/a")), "not_taken");
}

#[test]
fn each_of_several_filters_has_its_own_captures() {
    let key = key();
    let from = DraftFrom::Mqtt { filters: vec!["a/{x}/{y}", "b/{y}/+/{x}"], version_5: true };
    let translation = Translation::check(&draft(from, to_mqtt("out/{x}/{y}"), &key)).unwrap();
    assert_eq!(sent(&translation, &published("a/1/2")).1.topic.as_str(), "out/1/2");
    assert_eq!(sent(&translation, &published("b/2/z/1")).1.topic.as_str(), "out/1/2");
}

#[test]
fn rocketmq_to_mqtt_joins_topic_and_subtopic_by_default() {
    let key = key();
    let to = DraftTo::Mqtt { topic: None, qos: None, retain: None, real_topic: false };
    let translation = Translation::check(&draft(DraftFrom::RocketMq { topic: "cmd" }, to, &key)).unwrap();
    for (subtopic, whole) in
        [("/p2p/GID_a@@@d", "cmd/p2p/GID_a@@@d"), ("a/b", "cmd/a/b"), ("", "cmd"), ("//x/", "cmd//x/")]
    {
        let message = Message::new(Topic::from_parts("cmd", subtopic), "");
        assert_eq!(sent(&translation, &message).1.topic.as_str(), whole);
    }
    for subtopic in ["/+/a", "/#", "/a\0"] {
        let message = Message::new(Topic::from_parts("cmd", subtopic), "");
        assert_eq!(refused(&translation, &message), "value_not_allowed", "{subtopic}");
    }
    let control = Message::new(Topic::from_parts("cmd", "/a\u{7}"), "");
    assert_eq!(refused(&translation, &control), "topic_not_allowed");
    let real = Message { real_topic: Some("other/topic".into()), ..Message::new(Topic::from_parts("cmd", "/a"), "") };
    let (_, message) = sent(&translation, &real);
    assert_eq!((message.topic.as_str(), message.real_topic.as_deref()), ("cmd/a", Some("other/topic")), "LMQ-4.3");
}

#[test]
fn equal_ends_keep_their_topics() {
    let key = key();
    let to = DraftTo::Mqtt { topic: None, qos: Some(Qos::AtMostOnce), retain: Some(true), real_topic: false };
    let mqtt = Translation::check(&draft(from_mqtt("plant/#"), to, &key)).unwrap();
    let (_, message) = sent(&mqtt, &published("plant//a/"));
    assert_eq!((message.topic.as_str(), message.qos, message.retain), ("plant//a/", Qos::AtMostOnce, true));
    let rocketmq = draft(DraftFrom::RocketMq { topic: "plant" }, to_rocketmq("copy_{topic}"), &key);
    let mut source = Message::new(Topic::from_parts("plant", "/a/b"), "");
    (source.tag, source.keys) = (Some("t".into()), Some("k1 k2".into()));
    let (_, message) = sent(&Translation::check(&rocketmq).unwrap(), &source);
    assert_eq!((message.topic.parent(), message.topic.subtopic()), ("copy_plant", "/a/b"));
    assert_eq!((message.tag, message.keys), (source.tag, source.keys));
}

#[test]
fn a_rocketmq_topic_must_be_legal_and_within() {
    let key = key();
    let mut draft = draft(from_mqtt("+/#"), to_rocketmq("{parent}"), &key);
    draft.within = vec!["plant", "line_*"];
    let translation = Translation::check(&draft).unwrap();
    assert_eq!(sent(&translation, &published("line_7/a")).1.topic.parent(), "line_7");
    assert_eq!(refused(&translation, &published("other/a")), "outside_within");
    assert_eq!(refused(&translation, &published("line_\u{e9}/a")), "topic_not_allowed");
    assert_eq!(refused(&translation, &published("/a")), "topic_not_allowed");
}

#[test]
fn an_mqtt_topic_out_of_a_property_must_be_within() {
    let key = key();
    let mut draft = draft(DraftFrom::RocketMq { topic: "cmd" }, to_mqtt("{property.to}/{property.id}"), &key);
    draft.within = vec!["dev/#"];
    let translation = Translation::check(&draft).unwrap();
    let to = |to: &str| {
        let mut message = Message::new(Topic::from_parts("cmd", ""), "");
        message.user_properties = vec![("to".into(), to.into()), ("id".into(), "7".into())];
        message
    };
    assert_eq!(sent(&translation, &to("dev")).1.topic.as_str(), "dev/7");
    assert_eq!(refused(&translation, &to("$SYS")), "outside_within");
    assert_eq!(refused(&translation, &to("dev/x")), "value_not_allowed");
    assert_eq!(refused(&translation, &Message::new(Topic::from_parts("cmd", ""), "")), "value_missing");
}

#[test]
fn strict_mode_names_the_clause() {
    let key = key();
    let mut draft = draft(from_mqtt("plant/#"), to_rocketmq("plant"), &key);
    draft.strict_lmq = true;
    let translation = Translation::check(&draft).unwrap();
    sent(&translation, &published("plant/a/b"));
    let refusal = translation.translate(&published("plant//b")).unwrap_err();
    assert_eq!((refusal.kind, &refusal.reason[..7]), ("lmq_limit", "LMQ-2.2"));
}

#[test]
fn order_defaults_to_the_topic_of_mqtt_and_the_queue_of_rocketmq() {
    let key = key();
    let mqtt = Translation::check(&draft(from_mqtt("a/#"), to_rocketmq("a"), &key)).unwrap();
    let order = |message: &Message| sent(&mqtt, message).0;
    assert_eq!(order(&published("a/1")), order(&Message { payload: "x".into(), ..published("a/1") }));
    assert_ne!(order(&published("a/1")), order(&published("a/2")));
    let rocketmq =
        Translation::check(&draft(DraftFrom::RocketMq { topic: "a" }, to_mqtt("a{subtopic}"), &key)).unwrap();
    let read = |subtopic, id| {
        let queue = Some(crate::message::Queue { broker: "b".into(), id });
        sent(&rocketmq, &Message { queue, ..Message::new(Topic::from_parts("a", subtopic), "") }).0
    };
    assert_eq!(read("/1", 0), read("/2", 0));
    assert_ne!(read("/1", 0), read("/1", 1));
    let mut none = draft(from_mqtt("a/#"), to_rocketmq("a"), &key);
    none.order_by = Some("none");
    let none = Translation::check(&none).unwrap();
    let other = Message { payload: "x".into(), ..published("a/1") };
    assert_ne!(sent(&none, &published("a/1")).0, sent(&none, &other).0, "no order spreads one topic");
}

#[test]
fn only_the_same_message_on_its_way_back_is_an_echo() {
    let key = key();
    let there = draft(from_mqtt("t/#"), to_rocketmq("t"), &key);
    let mut back = draft(DraftFrom::RocketMq { topic: "t" }, to_mqtt("{topic}{subtopic}"), &key);
    (back.from_broker, back.to_broker) = ("two", "one");
    let (there, back) = (Translation::check(&there).unwrap(), Translation::check(&back).unwrap());
    let (_, stored) = sent(&there, &published("t/a"));
    assert_eq!(back.translate(&stored), Ok(Translated::Echo));
    let reply = Message { payload: "reply".into(), ..stored.clone() };
    sent(&back, &reply);
    let elsewhere = Message { topic: Topic::from_parts("t", "/b"), ..stored };
    sent(&back, &elsewhere);
}

#[test]
fn drafts_are_refused_with_all_their_faults() {
    let key = key();
    let wrong = Draft {
        within: vec!["ok", "a/b"],
        order_by: Some("{nobody}"),
        ..draft(
            DraftFrom::Mqtt { filters: vec!["a/#/b", "a/{x}", "a/{y}"], version_5: false },
            DraftTo::RocketMq {
                topic: Some("a/b"),
                tag: Some("{x}"),
                key: Some("{property.k}"),
                client_id: Some("{"),
                shard_key: None,
            },
            &key,
        )
    };
    let faults: Vec<DraftFault> = Translation::check(&wrong).unwrap_err();
    let fields: Vec<_> = faults.iter().map(|fault| fault.field).collect();
    let expected =
        [Field::Within(1), Field::Filter(0), Field::Key, Field::ClientId, Field::OrderBy, Field::Topic, Field::Tag];
    assert_eq!(fields, expected, "{faults:#?}");
}

#[test]
fn a_destination_that_any_message_could_choose_is_refused() {
    let key = key();
    let check = |from, to, within: &[&'static str]| {
        let draft = Draft { within: within.to_vec(), ..draft(from, to, &key) };
        Translation::check(&draft).err().map(|faults| (faults[0].field, faults[0].fault.message.clone()))
    };
    let rocketmq = || DraftFrom::RocketMq { topic: "t" };
    assert_eq!(check(rocketmq(), to_mqtt("{topic}{subtopic}"), &[]), None);
    assert_eq!(check(from_mqtt("plant/#"), to_rocketmq("{parent}"), &[]), None);
    for (from, to, within, said) in [
        (rocketmq(), to_mqtt("{subtopic}"), &[][..], "could choose any topic"),
        (rocketmq(), to_mqtt("/{property.x}"), &[], "could choose any topic"),
        (from_mqtt("+/up"), to_rocketmq("{parent}"), &[], "could choose any topic"),
        (from_mqtt("#"), to_mqtt("{topic}"), &[], "could choose any topic"),
        (rocketmq(), to_mqtt("a/{key}"), &["b/#"], "can produce is within"),
        (from_mqtt("plant/#"), to_rocketmq("{parent}"), &["other*"], "can produce is within"),
        (rocketmq(), to_mqtt("a/+"), &[], "wildcard `+`"),
        (rocketmq(), to_mqtt(""), &[], "may not be empty"),
        (rocketmq(), to_rocketmq("a.b"), &[], "may not hold `.`"),
    ] {
        let (field, message) = check(from, to, within).unwrap();
        assert!(field == Field::Topic && message.contains(said), "{message}");
    }
}

fn levels() -> impl Strategy<Value = String> {
    prop::collection::vec("[a-zA-Z0-9_@.\u{e9} -]{0,5}", 0..4)
        .prop_map(|levels| levels.iter().flat_map(|level| ["/", level]).collect())
}

proptest! {
    #[test]
    fn mqtt_to_rocketmq_to_mqtt_is_identity(subtopic in levels(), payload: Vec<u8>) {
        let key = key();
        let there = Translation::check(&draft(from_mqtt("plant/#"), to_rocketmq("plant"), &key)).unwrap();
        let to = DraftTo::Mqtt { topic: None, qos: None, retain: None, real_topic: false };
        let mut back = draft(DraftFrom::RocketMq { topic: "plant" }, to, &key);
        (back.from_broker, back.to_broker) = ("two", "three");
        let back = Translation::check(&back).unwrap();
        let topic = ["plant", &subtopic].concat();
        let message = Message::new(Topic::from_mqtt(topic.as_str()), payload);
        let (_, stored) = sent(&there, &message);
        let properties = lmq::properties::encode(&stored).unwrap();
        let pairs = properties.iter().map(|(name, value)| (name.as_ref(), value.as_ref()));
        let read = lmq::properties::decode(stored.topic.parent(), pairs, stored.payload.clone());
        prop_assert_eq!(&read.mark, &stored.mark);
        let (_, mut returned) = sent(&back, &read);
        returned.mark = None;
        prop_assert_eq!(returned, message);
    }

    #[test]
    fn no_message_makes_a_translation_panic_or_leave_its_bounds(
        topic in "[a/+#\0\u{e9}]{0,8}", property in "[a/+#$\0\u{e9}]{0,8}", mark in "[A-Za-z0-9_=+-]{0,60}"
    ) {
        let key = key();
        let mut draft = draft(DraftFrom::RocketMq { topic: "t" }, to_mqtt("{property.p}{subtopic}"), &key);
        draft.within = vec!["a/#"];
        let translation = Translation::check(&draft).unwrap();
        let mut message = Message::new(Topic::from_parts("t", &topic), "");
        message.user_properties = vec![("p".into(), property)];
        message.mark = Some(mark);
        if let Ok(Translated::Send { message, .. }) = translation.translate(&message) {
            let topic = message.topic.as_str();
            prop_assert!(topic == "a" || topic.starts_with("a/"), "{}", topic);
            prop_assert!(!topic.contains(['+', '#', '\0']));
        }
    }
}

/// Not a test of anything but a figure to look at: `cargo test translate_speed -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
#[expect(clippy::print_stderr, reason = "a measurement")]
fn translate_speed() {
    let key = key();
    let to = DraftTo::RocketMq {
        topic: Some("plant"),
        tag: Some("{line}"),
        key: Some("{machine}"),
        client_id: None,
        shard_key: None,
    };
    let translation = Translation::check(&draft(from_mqtt("plant/{line}/{machine}/up/{metric*}"), to, &key)).unwrap();
    let message = Message { payload: vec![7; 256].into(), ..published("plant/a/m7/up/temp") };
    let start = std::time::Instant::now();
    for _ in 0..1_000_000 {
        std::hint::black_box(translation.translate(std::hint::black_box(&message))).unwrap();
    }
    eprintln!("{} ns for each message", start.elapsed().as_nanos() / 1_000_000);
}

#[test]
fn a_shard_key_chooses_the_queue_as_the_vendors_library_does() {
    let key = key();
    let to = DraftTo::RocketMq {
        topic: Some("ACE"),
        tag: None,
        key: None,
        client_id: Some("GID_Test@@@{dev}"),
        shard_key: Some("{client_id}"),
    };
    let translation = Translation::check(&draft(from_mqtt("ACE/{dev}/#"), to, &key)).unwrap();
    let (order, message) = sent(&translation, &published("ACE/0001/x"));
    assert_eq!(order, OrderKey::Shard(486_469_170), "the client as it is sent, by Java's hash");
    assert_eq!(message.sharding_key.as_deref(), Some("GID_Test@@@0001"));
    assert_eq!(sent(&translation, &published("ACE/0001/y")).0, order);
}

#[test]
fn an_order_by_the_client_is_by_the_client_that_is_sent() {
    let key = key();
    let to = |client_id| DraftTo::RocketMq { topic: Some("ACE"), tag: None, key: None, client_id, shard_key: None };
    let mut by_client = draft(from_mqtt("ACE/{dev}/#"), to(Some("{dev}")), &key);
    by_client.order_by = Some("{client_id}");
    let translation = Translation::check(&by_client).unwrap();
    let order = |topic| sent(&translation, &published(topic)).0;
    assert_eq!(order("ACE/1/x"), order("ACE/1/y"));
    assert_ne!(order("ACE/1/x"), order("ACE/2/x"));
    by_client.to = to(None);
    assert_eq!(refused(&Translation::check(&by_client).unwrap(), &published("ACE/1/x")), "value_missing");
}

#[test]
fn a_real_topic_is_followed_where_the_mapping_says_so_and_only_within_bounds() {
    let key = key();
    let to = |real_topic| DraftTo::Mqtt { topic: None, qos: None, retain: None, real_topic };
    let read = |real_topic: &str| {
        let real_topic = Some(real_topic.to_owned());
        Message { real_topic, ..Message::new(Topic::from_parts("ACE", "p2p/GID_a@@@1"), "") }
    };
    let plain = Translation::check(&draft(DraftFrom::RocketMq { topic: "ACE" }, to(false), &key)).unwrap();
    assert_eq!(sent(&plain, &read("ACE/cmd")).1.topic.as_str(), "ACE/p2p/GID_a@@@1");
    let mut follows = draft(DraftFrom::RocketMq { topic: "ACE" }, to(true), &key);
    assert_eq!(Translation::check(&follows).unwrap_err()[0].field, Field::Topic, "it needs bounds");
    follows.within = vec!["ACE/#"];
    let follows = Translation::check(&follows).unwrap();
    assert_eq!(sent(&follows, &read("ACE/cmd/1")).1.topic.as_str(), "ACE/cmd/1");
    let without = Message::new(Topic::from_parts("ACE", "p2p/GID_a@@@1"), "");
    assert_eq!(sent(&follows, &without).1.topic.as_str(), "ACE/p2p/GID_a@@@1");
    assert_eq!(refused(&follows, &read("BEE/x")), "outside_within");
    assert_eq!(refused(&follows, &read("ACE/+/x")), "value_not_allowed");
}
