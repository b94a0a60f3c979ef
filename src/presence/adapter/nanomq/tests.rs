//! Every form of NanoMQ's events, whole, cut, and with quotes in them.

use proptest::prelude::*;

use super::{
    super::tests::{came, left},
    *,
};

const AT: u64 = 1_691_225_608_391;

fn online(user: &str, code: &str, id: &str) -> String {
    format!(
        "{{\"status\":\"online\", \"username\":\"{user}\", \"ts\":{AT},\"proto_name\":\"MQTT\",\"keepalive\":60,\
         \"return_code\":\"{code}\",\"proto_ver\":4,\"client_id\":\"{id}\",\"clean_start\":1, \"IPv4\":\"10.0.0.1\"}}"
    )
}

fn offline(user: &str, code: &str, id: &str) -> String {
    format!(
        "{{\"status\":\"offline\", \"username\":\"{user}\",\"ts\":{AT},\"reason_code\":\"{code}\",\"client_id\":\"{id}\",\
         \"IPv4\":\"10.0.0.1\"}}"
    )
}

/// As NanoMQ before 0.24 wrote it.
fn old(event: &str) -> String {
    event.replacen("\"status\":\"online\", ", "", 1).replacen("\"status\":\"offline\", ", "", 1)
}

fn cut(event: &str) -> &[u8] {
    &event.as_bytes()[..event.len().min(255)]
}

fn on(topic: &str, event: &str) -> Reading {
    from_publish(topic, cut(event), 7)
}

fn status(id: &str, event: &str) -> Reading {
    on(&format!("{STATUS}{id}"), event)
}

fn online_at(id: &str, at: u64, peer: &str) -> Said {
    came(id, at, peer, Identity::Latest)
}

fn offline_at(id: &str, at: u64, peer: &str, end: End) -> Said {
    left(id, at, peer, Identity::Latest, end)
}

#[test]
fn a_client_comes_and_goes_by_its_status_or_before_0_24_by_two_topics() {
    assert_eq!(status("a/b", &online("u", "0", "a/b")), Ok(vec![online_at("a/b", AT, "10.0.0.1")]));
    assert_eq!(on(CONNECTED, &old(&online("u", "0", "a/b"))), Ok(vec![online_at("a/b", AT, "10.0.0.1")]));
    for (code, end) in
        [("0", End::Clean), ("8b", End::Lost), ("8d", End::Lost), ("8e", End::TakenOver), ("80", End::Lost)]
    {
        assert_eq!(
            status("a/b", &offline("u", code, "a/b")),
            Ok(vec![offline_at("a/b", AT, "10.0.0.1", end)]),
            "{code}"
        );
        assert_eq!(
            on(DISCONNECTED, &old(&offline("u", code, "a/b"))),
            Ok(vec![offline_at("a/b", AT, "10.0.0.1", end)]),
            "{code}"
        );
    }
}

#[test]
fn a_refused_login_is_no_connection() {
    assert_eq!(status("a", &online("u", "5", "a")), Ok(vec![]));
    assert_eq!(on(CONNECTED, &old(&online("u", "86", "a"))), Ok(vec![]));
}

#[test]
fn what_is_in_a_message_before_its_cut_is_read() {
    // The cut is in the user name; then before, in and after what follows the id.
    let user = "u".repeat(300);
    assert_eq!(status("a", &online(&user, "0", "a")), Ok(vec![online_at("a", 7, "")]));
    assert_eq!(status("a", &offline(&user, "0", "a")), Ok(vec![offline_at("a", 7, "", End::Lost)]));
    assert!(on(CONNECTED, &old(&online(&user, "0", "a"))).is_err());
    assert!(on(DISCONNECTED, &old(&offline(&user, "0", "a"))).is_err());
    let before = old(&offline("", "8b", "")).find("\",\"IPv4").unwrap();
    for (room, whole) in [(0, false), (1, true), (5, true), (10, true), (14, true)] {
        let user = "u".repeat(255 - before - 3 - room);
        let event = old(&offline(&user, "8b", "a b"));
        let expected = Ok(vec![offline_at("a b", AT, "", End::Lost)]);
        assert_eq!(on(DISCONNECTED, &event).is_ok(), whole, "{room}");
        assert!(!whole || on(DISCONNECTED, &event) == expected, "{room}");
    }
    // Half a character at the end.
    let id = "\u{1f600}".repeat(80);
    assert_eq!(status(&id, &online("u", "0", &id)), Ok(vec![online_at(&id, AT, "")]));
    assert!(on(CONNECTED, &old(&online("u", "0", &id))).is_err());
}

#[test]
fn no_id_and_no_user_name_passes_for_another_client_in_a_whole_message() {
    let fake = "\",\"ts\":1,\"reason_code\":\"0\",\"client_id\":\"victim";
    let victim = |reading: Reading| match &reading.unwrap()[..] {
        [Said::Disconnected(left)] => left.client_id == "victim",
        other => panic!("{other:?}"),
    };
    for (user, id) in [(fake, "a"), ("u", fake), ("u", "a\",\"client_id\":\"victim")] {
        assert!(!victim(on(DISCONNECTED, &old(&offline(user, "8b", id)))));
        assert!(!victim(status(id, &offline(user, "8b", id))));
    }
    let id = "a\"b\\c{}";
    assert_eq!(on(CONNECTED, &old(&online("\"", "0", id))), Ok(vec![online_at(id, AT, "10.0.0.1")]));
}

#[test]
fn other_topics_say_nothing_and_other_texts_are_unreadable() {
    for topic in ["$SYS/brokers", STATUS, "$SYS/brokers/subscriptions", "a"] {
        assert_eq!(on(topic, &online("u", "0", "a")), Ok(vec![]), "{topic}");
    }
    for text in ["", "{}", "{\"status\":\"away\"}", "{\"status\":\"online"] {
        assert!(status("a", text).is_err(), "{text}");
        assert!(on(CONNECTED, text).is_err() && on(DISCONNECTED, text).is_err(), "{text}");
    }
    assert!(on(DISCONNECTED, &old(&offline("u", "0", ""))).is_err(), "no id");
    assert!(
        from_publish(DISCONNECTED, b"{\"username\":\"\",\"ts\":1,\"client_id\":\"\xff\",\"IPv4\":\"\"}", 7).is_err()
    );
}

#[test]
fn the_webhook_tells_no_disconnect_from_a_loss() {
    let came = r#"{"proto_ver":4,"keepalive":60,"conn_ack":"success","username":"u","clientid":"a","action":"client_connack"}"#;
    let left = r#"{"reason":"normal","username":"undefined","clientid":"a","action":"client_disconnected"}"#;
    assert_eq!(from_webhook(came.as_bytes(), 7), Ok(vec![online_at("a", 7, "")]));
    assert_eq!(from_webhook(left.as_bytes(), 7), Ok(vec![offline_at("a", 7, "", End::Lost)]));
    assert_eq!(
        from_webhook(left.replace("normal", "abnormal").as_bytes(), 7),
        Ok(vec![offline_at("a", 7, "", End::Lost)])
    );
    assert_eq!(from_webhook(came.replace("success", "fail").as_bytes(), 7), Ok(vec![]));
    assert_eq!(from_webhook(br#"{"action":"message_publish"}"#, 7), Ok(vec![]));
    for body in ["", "{}", r#"{"action":"client_disconnected"}"#] {
        assert!(from_webhook(body.as_bytes(), 7).is_err(), "{body}");
    }
}

proptest! {
    #[test]
    fn any_client_id_comes_back_whole(id in "\\PC{1,30}", user in "[^\"]{0,12}") {
        prop_assert_eq!(status(&id, &online(&user, "0", &id)).unwrap().len(), 1);
        let ids = |reading: Reading| match &reading.unwrap()[..] {
            [Said::Connected(came)] => came.client_id.clone(),
            [Said::Disconnected(left)] => left.client_id.clone(),
            other => panic!("{other:?}"),
        };
        prop_assume!(!id.contains("\",\"IPv4\":\"") && !id.contains(char::REPLACEMENT_CHARACTER));
        prop_assume!(online(&user, "0", &id).len() < 255);
        prop_assert_eq!(&ids(on(CONNECTED, &old(&online(&user, "0", &id)))), &id);
        prop_assert_eq!(&ids(on(DISCONNECTED, &old(&offline(&user, "0", &id)))), &id);
        prop_assert_eq!(&ids(status(&id, &offline(&user, "0", &id))), &id);
    }
}
