//! The codec against what brokers may send, and against itself.

use proptest::prelude::*;

use super::*;
use crate::message::Topic;

const VERSIONS: [MqttVersion; 2] = [MqttVersion::V4, MqttVersion::V5];

fn codec(version: MqttVersion) -> Codec {
    Codec { version, max_packet: 1 << 20 }
}

fn write(version: MqttVersion, message: &Message) -> BytesMut {
    let mut out = BytesMut::new();
    codec(version).prepare(message.clone()).unwrap().write(&mut out, 7, false, None).unwrap();
    out
}

fn read_publish(version: MqttVersion, input: &mut BytesMut) -> Publish {
    match codec(version).read(input) {
        Ok(Some(Incoming::Publish(publish))) => *publish,
        other => panic!("{other:?}"),
    }
}

fn text() -> impl Strategy<Value = String> {
    "[^\0]{0,20}"
}

prop_compose! {
    fn message()(
        topic in "[^\0+#]{1,30}", payload in prop::collection::vec(any::<u8>(), 0..6000), qos in 0u8..3,
        retain in any::<bool>(), user_properties in prop::collection::vec((text(), text()), 0..4),
        content_type in prop::option::of(text()), response_topic in prop::option::of("[^\0+#]{1,20}"),
        correlation in prop::option::of(prop::collection::vec(any::<u8>(), 0..20)),
        payload_is_text in prop::option::of(any::<bool>()), expiry in prop::option::of(any::<u32>()),
        mark in prop::option::of(text()),
    ) -> Message {
        let mut message = Message::new(Topic::from_mqtt(topic), payload);
        message.qos = Qos::from_level(qos).unwrap();
        message.retain = retain;
        message.user_properties = user_properties;
        message.content_type = content_type;
        message.response_topic = response_topic;
        message.correlation_data = correlation.map(Bytes::from);
        message.payload_is_text = payload_is_text;
        message.expiry = expiry;
        message.mark = mark;
        message
    }
}

proptest! {
    #[test]
    fn a_message_crosses_mqtt_5_unchanged(message in message()) {
        let prepared = codec(MqttVersion::V5).prepare(message.clone()).unwrap();
        let mut wire = write(MqttVersion::V5, &message);
        prop_assert_eq!(prepared.size(), wire.len());
        let publish = read_publish(MqttVersion::V5, &mut wire);
        prop_assert_eq!(publish.packet_id, if message.qos == Qos::AtMostOnce { 0 } else { 7 });
        prop_assert_eq!(publish.message, message);
        prop_assert!(wire.is_empty());
    }

    #[test]
    fn mqtt_3_1_1_carries_topic_payload_qos_and_retain(message in message()) {
        let prepared = codec(MqttVersion::V4).prepare(message.clone()).unwrap();
        let mut wire = write(MqttVersion::V4, &message);
        prop_assert_eq!(prepared.size(), wire.len());
        let read = read_publish(MqttVersion::V4, &mut wire).message;
        prop_assert_eq!(
            (read.topic, read.payload, read.qos, read.retain),
            (message.topic, message.payload, message.qos, message.retain)
        );
        prop_assert_eq!((read.user_properties, read.mark), (vec![], None));
    }

    #[test]
    fn whatever_arrives_is_read_or_named_and_never_waited_for_in_vain(
        bytes in prop::collection::vec(any::<u8>(), 0..300), first in any::<u8>(), v5 in any::<bool>()
    ) {
        // A whole frame of any kind with any content, and then a PINGRESP.
        let mut input = BytesMut::from(&[first][..]);
        if bytes.len() > 127 {
            input.put_u8(u8::try_from(bytes.len() % 128).unwrap() | 0x80);
            input.put_u8(u8::try_from(bytes.len() / 128).unwrap());
        } else {
            input.put_u8(u8::try_from(bytes.len()).unwrap());
        }
        input.extend_from_slice(&bytes);
        input.extend_from_slice(&[0xD0, 0]);
        let codec = codec(if v5 { MqttVersion::V5 } else { MqttVersion::V4 });
        match codec.read(&mut input) {
            Ok(Some(_)) => {
                let next = codec.read(&mut input);
                prop_assert!(matches!(next, Ok(Some(Incoming::PingResp))), "{:?}", next);
            }
            Ok(None) => prop_assert!(false, "a whole packet is not waited for"),
            Err(_) => {}
        }
    }

    #[test]
    fn a_packet_in_pieces_is_read_once_it_is_whole(message in message(), v5 in any::<bool>(), cut in any::<usize>()) {
        let version = if v5 { MqttVersion::V5 } else { MqttVersion::V4 };
        let wire = write(version, &message);
        let mut input = BytesMut::from(&wire[..cut % wire.len()]);
        prop_assert!(matches!(codec(version).read(&mut input), Ok(None)));
        input.extend_from_slice(&wire[cut % wire.len()..]);
        prop_assert_eq!(read_publish(version, &mut input).message.payload, message.payload);
    }
}

#[test]
fn a_truncated_property_is_malformed_rather_than_waited_for() {
    // QoS 0, topic "a", 2 bytes of properties that begin a 4-byte expiry.
    let mut input = BytesMut::from(&[0x30, 6, 0, 1, b'a', 2, 2, 0][..]);
    assert!(codec(MqttVersion::V5).read(&mut input).is_err());
}

#[test]
fn a_packet_over_the_limit_is_named_before_it_is_read() {
    for version in VERSIONS {
        let mut input = BytesMut::from(&[0x90, 0xFF, 0xFF, 0x7F][..]);
        let error = codec(version).read(&mut input).unwrap_err().to_string();
        assert!(error.contains("exceeded"), "{error}");
        let publish = [0x30, 0xFF, 0xFF, 0x7F, 0, 3, b'a', b'/', b'b'];
        for whole in 4..publish.len() {
            assert!(matches!(codec(version).read(&mut BytesMut::from(&publish[..whole])), Ok(None)), "its topic helps");
        }
        let error = codec(version).read(&mut BytesMut::from(&publish[..])).unwrap_err().to_string();
        assert!(error.contains("a publish of 2097155 bytes to \"a/b\"") && error.contains("1048576"), "{error}");
    }
}

#[test]
fn topics_that_mqtt_cannot_hold_are_refused() {
    for topic in [String::new(), "a/+".into(), "#".into(), "a\0b".into(), "x".repeat(65_536)] {
        for version in VERSIONS {
            let refusal = codec(version).prepare(Message::new(Topic::from_mqtt(topic.clone()), "")).unwrap_err();
            assert_eq!(refusal.kind, "topic_not_allowed");
            assert!(refusal.reason.len() < 400, "{}", refusal.reason);
        }
    }
}

#[test]
fn properties_that_mqtt_cannot_hold_are_refused() {
    let broken: [fn(&mut Message); 5] = [
        |message| message.user_properties = vec![("a".into(), "\0".into())],
        |message| message.user_properties = vec![("a".repeat(65_536), String::new())],
        |message| message.content_type = Some("\0".into()),
        |message| message.response_topic = Some("a/#".into()),
        |message| message.correlation_data = Some(vec![0; 65_536].into()),
    ];
    for breaks in broken {
        let mut message = Message::new(Topic::from_mqtt("a"), "");
        breaks(&mut message);
        let refusal = codec(MqttVersion::V5).prepare(message.clone()).unwrap_err();
        assert_eq!(refusal.kind, "property_not_allowed");
        assert!(codec(MqttVersion::V4).prepare(message).is_ok(), "3.1.1 does not carry them");
    }
}

#[test]
fn the_limits_of_a_login_are_obeyed() {
    let mut message = Message::new(Topic::from_mqtt("a"), vec![0; 100]);
    message.retain = true;
    let fits = |change: fn(&mut ConnAck)| {
        let mut limits = ConnAck::unlimited(false, Reason::of(0));
        change(&mut limits);
        codec(MqttVersion::V5).prepare(message.clone()).unwrap().fits(&limits).map_err(|refusal| refusal.kind)
    };
    let size = u32::try_from(write(MqttVersion::V5, &message).len()).unwrap();
    assert_eq!(size, 108);
    assert_eq!(fits(|limits| limits.max_packet = Some(108)), Ok(()));
    assert_eq!(fits(|limits| limits.max_packet = Some(107)), Err("body_too_large"));
    assert_eq!(fits(|limits| limits.max_qos = Qos::AtMostOnce), Err("qos_not_supported"));
    assert_eq!(fits(|limits| limits.retain_available = false), Err("retain_not_supported"));
}

#[test]
fn an_old_broker_that_is_spoken_to_in_mqtt_5_is_understood() {
    let mut input = BytesMut::from(&[0x20, 2, 0, 1][..]);
    let Ok(Some(Incoming::ConnAck(connack))) = codec(MqttVersion::V5).read(&mut input) else { panic!() };
    assert!(connack.reason.to_string().contains("does not speak this version"), "{}", connack.reason);
}

#[test]
fn a_login_says_all_that_it_has_to() {
    for version in VERSIONS {
        let connect = Connect {
            client_id: "me",
            clean_start: false,
            keep_alive: 30,
            session_expiry: u32::MAX,
            receive_maximum: 20,
            username: Some("user"),
            password: Some("secret"),
            will: Some(("bridge/me", "offline")),
        };
        let mut out = BytesMut::new();
        codec(version).connect(&mut out, &connect).unwrap();
        // Connect flags: user name, password, will retained at QoS 1; the clean bit is not set.
        assert_eq!(out[9], 0b1110_1100, "{version:?}");
        for part in ["me", "bridge/me", "offline", "user", "secret"] {
            assert!(out.windows(part.len()).any(|window| window == part.as_bytes()), "{part}");
        }
    }
}

#[test]
fn acknowledgements_are_read_in_their_short_and_long_forms() {
    let ack = |bytes: &[u8]| match codec(MqttVersion::V5).read(&mut BytesMut::from(bytes)) {
        Ok(Some(Incoming::Ack(ack))) => (ack.kind, ack.packet_id, ack.reason),
        other => panic!("{other:?}"),
    };
    assert_eq!(ack(&[0x40, 2, 0, 9]), (AckKind::PubAck, 9, Reason::of(0)));
    assert_eq!(ack(&[0x40, 3, 0, 9, 0x10]), (AckKind::PubAck, 9, Reason::of(0x10)));
    let text = Some("full".to_owned());
    let long = [0x50, 11, 0, 9, 0x97, 7, 31, 0, 4, b'f', b'u', b'l', b'l'];
    assert_eq!(ack(&long), (AckKind::PubRec, 9, Reason { code: 0x97, text }));
    let mut out = BytesMut::new();
    write_ack(&mut out, AckKind::PubRel, 0x0102);
    assert_eq!(&out[..], [0x62, 2, 1, 2]);
}
