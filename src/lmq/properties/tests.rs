use proptest::prelude::*;

use super::*;
use crate::message::Queue;

fn join(properties: &[(Cow<str>, Cow<str>)]) -> String {
    properties.iter().flat_map(|(name, value)| [name, "\u{1}", value, "\u{2}"]).collect()
}

/// Through RocketMQ and back.
fn round(message: &Message) -> Message {
    let properties = join(&encode(message).expect("encodes"));
    decode(message.topic.parent(), split(&properties), message.payload.clone())
}

fn property<'m>(message: &'m Message, name: &str) -> Option<Cow<'m, str>> {
    encode(message).expect("encodes").into_iter().find(|(n, _)| n == name).map(|(_, value)| value)
}

fn from_mqtt(topic: &str) -> Message {
    Message::new(Topic::from_mqtt(topic), "21.5")
}

fn with_user(properties: &[(&str, &str)]) -> Message {
    let mut message = from_mqtt("a/b");
    message.user_properties = properties.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    message
}

#[test]
fn the_contracts_example_has_the_contracts_properties() {
    let mut message = from_mqtt("ACE/live/100");
    message.qos = Qos::AtMostOnce;
    message.client_id = Some("GID_ACE@@@userId".into());
    assert_eq!(
        join(&encode(&message).expect("encodes")).replace(['\u{1}', '\u{2}'], " "),
        "mqttSecondTopic /live/100 qoslevel 0 clientId GID_ACE@@@userId topic ACE/live/100 "
    );
}

#[test]
fn a_parent_alone_has_no_second_topic() {
    assert_eq!(property(&from_mqtt("ACE"), names::SECOND_TOPIC), None);
}

#[test]
fn the_second_topic_has_no_trailing_slash_and_comes_back_with_it() {
    for topic in ["a/b/", "a/", "a//", "a//b", "a/b//", "a/ /b"] {
        let message = from_mqtt(topic);
        assert!(property(&message, names::SECOND_TOPIC).is_none_or(|second| !second.ends_with('/')), "{topic}");
        assert_eq!(round(&message), message);
    }
}

#[test]
fn a_topic_property_cannot_choose_another_topic() {
    for (second, whole) in [("/b", "a/c"), ("/b", "x/b"), ("/b", "ab"), ("", "a/b"), ("/b", "a/b/c")] {
        let message = decode("a", [(names::SECOND_TOPIC, second), (names::TOPIC, whole)], Bytes::new());
        assert_eq!(message.topic, Topic::from_parts("a", second));
        assert_eq!(message.user_properties, [(names::TOPIC.to_owned(), whole.to_owned())]);
    }
}

#[test]
fn the_second_topic_is_read_with_and_without_its_leading_slash() {
    for second in ["p2p/GID@@@1", "/p2p/GID@@@1"] {
        assert_eq!(decode("a", [(names::SECOND_TOPIC, second)], Bytes::new()).topic.as_str(), "a/p2p/GID@@@1");
    }
}

#[test]
fn a_plain_rocketmq_message_is_read_with_the_contracts_defaults() {
    let own = "MSG_REGION\u{1}R\u{2}CLUSTER\u{1}C\u{2}UNIQ_KEY\u{1}7F\u{2}color\u{1}red\u{2}TAGS\u{1}MQ2MQTT\u{2}KEYS\u{1}k1 k2";
    let message = decode("cmd", split(own), Bytes::from_static(b"on"));
    let mut expected = Message::new(Topic::from_parts("cmd", ""), "on");
    expected.tag = Some("MQ2MQTT".into());
    expected.keys = Some("k1 k2".into());
    expected.user_properties = vec![("color".into(), "red".into())];
    assert_eq!(message, expected);
}

#[test]
fn messages_of_rocketmq_mqtt_are_read() {
    let pairs = [
        (names::ORIGIN_TOPIC, "a/b/c"),
        (names::ORIGIN_QOS, "0"),
        (names::ORIGIN_CLEAN_SESSION, "false"),
        (names::CLIENT_ID, "c1"),
    ];
    let message = decode("a", pairs, Bytes::new());
    assert_eq!(message.topic.as_str(), "a/b/c");
    assert_eq!((message.qos, message.clean_session), (Qos::AtMostOnce, Some(false)));
    assert_eq!(message.client_id.as_deref(), Some("c1"));
    assert_eq!(decode("other", pairs, Bytes::new()).topic.as_str(), "other");
}

#[test]
fn a_reserved_user_property_crosses_inside_the_list_alone() {
    for name in ["mqttSecondTopic", "__SHARDINGKEY", "TAGS", "UNIQ_KEY", "DELAY", names::MARK, "mqtt5UserProperty"] {
        let message = with_user(&[(name, "/forged"), ("ok", "1")]);
        let properties = encode(&message).expect("encodes");
        assert!(!properties.iter().any(|(n, v)| n == name && v == "/forged"), "{name}");
        assert!(properties.iter().any(|(n, v)| n == "ok" && v == "1"));
        assert_eq!(round(&message), message, "{name}");
    }
}

#[test]
fn what_rocketmq_cannot_hold_crosses_inside_the_list() {
    let message = with_user(&[
        ("a", ""),
        ("", "b"),
        ("c\u{2}TAGS\u{1}x", "d"),
        ("e", "f\u{2}TAGS\u{1}x"),
        ("g", "1"),
        ("g", "2"),
    ]);
    let own: Vec<_> = split(&join(&encode(&message).expect("encodes")))
        .filter(|(name, _)| !is_reserved(name))
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    assert_eq!(own, ["g=1"]);
    assert_eq!(round(&message), message);
}

#[test]
fn a_separator_outside_user_properties_is_refused() {
    let set: [fn(&mut Message); 5] = [
        |m| m.tag = Some("a\u{1}b".into()),
        |m| m.client_id = Some("a\u{2}TAGS\u{1}x".into()),
        |m| m.topic = Topic::from_mqtt("a/b\u{2}"),
        |m| m.content_type = Some("\u{1}".into()),
        |m| m.response_topic = Some("\u{2}".into()),
    ];
    for set in set {
        let mut message = from_mqtt("a/b");
        set(&mut message);
        assert_eq!(encode(&message).expect_err("refused").kind, "property_unencodable");
    }
}

#[test]
fn user_properties_over_8_kb_are_refused_unless_rocketmq_held_them_already() {
    let value = "v".repeat(5_000);
    let mut message = with_user(&[("a", &value), ("b", &value)]);
    assert_eq!(encode(&message).expect_err("refused").kind, "user_properties_too_large");
    message.queue = Some(Queue { broker: "b".into(), id: 0 });
    let mut back = round(&message);
    back.queue.clone_from(&message.queue);
    assert_eq!(back, message);
    message.user_properties.push(("a".into(), "again".into()));
    assert_eq!(encode(&message).expect_err("refused").kind, "user_properties_too_large");
}

#[test]
fn properties_over_rocketmqs_limit_are_refused() {
    let mut message = from_mqtt("a/b");
    message.keys = Some("k".repeat(32_000));
    assert_eq!(encode(&message).expect_err("refused").kind, "properties_too_large");
}

#[test]
fn properties_beside_the_list_are_kept_after_it() {
    let list = r#"[{"key":"b","value":"1"},{"key":"b","value":"2"}]"#;
    let message = decode("a", [("c", "3"), ("b", "1"), (names::USER_PROPERTIES, list)], Bytes::new());
    let expected = [("b", "1"), ("b", "2"), ("c", "3")].map(|(n, v)| (n.to_owned(), v.to_owned()));
    assert_eq!(message.user_properties, expected);
}

#[test]
fn a_value_that_makes_no_sense_crosses_as_a_user_property() {
    let wrong = [
        (names::QOS, "7"),
        (names::EXPIRY, "-1"),
        (names::USER_PROPERTIES, "{}"),
        (names::RETAIN, "maybe"),
        (names::CORRELATION_DATA, "*"),
    ];
    let message = decode("a", wrong, Bytes::new());
    assert_eq!(message.qos, Qos::AtLeastOnce);
    assert_eq!(message.user_properties, wrong.map(|(n, v)| (n.to_owned(), v.to_owned())));
    assert_eq!(round(&message), message);
}

#[test]
fn rocketmqs_names_are_sorted() {
    assert!(names::ROCKETMQ_NAMES.is_sorted());
}

fn text() -> impl Strategy<Value = Option<String>> {
    proptest::option::of("[^\u{1}\u{2}]{1,12}")
}

prop_compose! {
    fn any_message()(
        topic in "[a-z]{1,4}(/[a-z]{0,3}){0,4}",
        payload in proptest::collection::vec(any::<u8>(), 0..64),
        qos in 0u8..3,
        flags in (any::<bool>(), any::<Option<bool>>(), any::<Option<bool>>(), any::<Option<u32>>()),
        texts in (text(), text(), text(), text(), text(), text(), text(), text()),
        correlation in proptest::option::of(proptest::collection::vec(any::<u8>(), 1..20)),
        user in proptest::collection::vec(("\\PC{0,4}|TAGS|topic|originMqttTopic|a|b", any::<String>()), 0..6),
    ) -> Message {
        let mut message = Message::new(Topic::from_mqtt(topic), payload);
        message.qos = Qos::from_level(qos).expect("a level");
        (message.retain, message.clean_session, message.payload_is_text, message.expiry) = flags;
        (
            message.tag, message.keys, message.sharding_key, message.client_id,
            message.content_type, message.response_topic, message.real_topic, message.mark,
        ) = texts;
        message.correlation_data = correlation.map(Bytes::from);
        message.user_properties = user;
        message
    }
}

proptest! {
    #[test]
    fn a_message_comes_back_as_it_was(message in any_message()) {
        prop_assert_eq!(round(&message), message);
    }

    #[test]
    fn nothing_can_be_injected(message in any_message()) {
        let properties = encode(&message).expect("encodes");
        let joined = join(&properties);
        let pairs: Vec<_> = split(&joined).collect();
        let written: Vec<_> = properties.iter().map(|(n, v)| (n.as_ref(), v.as_ref())).collect();
        prop_assert_eq!(pairs, written);
    }

    #[test]
    fn any_properties_are_read(raw in any::<String>(), names in proptest::collection::vec(0..names::CONTRACT_NAMES.len(), 0..5)) {
        decode("t", split(&raw), Bytes::new());
        decode("t", names.iter().map(|i| (names::CONTRACT_NAMES[*i], raw.as_str())), Bytes::new());
    }
}
