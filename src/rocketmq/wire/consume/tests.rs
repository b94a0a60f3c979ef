use serde_json::{Value, json};

use super::*;

fn member() -> Member {
    Member {
        client_id: "10.0.0.1@7".into(),
        group: "GID_a".into(),
        topic: "plant".into(),
        tags: vec!["MQ2MQTT".into(), "紧急".into()],
        version: 1_700_000_000_000,
        model: Model::Clustering,
    }
}

fn queue() -> Queue {
    Queue { broker: "broker-a".into(), id: 3 }
}

fn body(request: &Request) -> Value {
    serde_json::from_slice(&request.body).expect("JSON")
}

fn fields(request: &Request) -> BTreeMap<String, String> {
    request.fields.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn map<const N: usize>(fields: [(&str, &str); N]) -> BTreeMap<String, String> {
    fields.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

// What the Java client 5.3.3 wrote for the same member.

#[test]
fn a_heartbeat_is_that_of_the_java_client() {
    let java = r#"{"clientID":"10.0.0.1@7","consumerDataSet":[{"consumeFromWhere":"CONSUME_FROM_LAST_OFFSET",
        "consumeType":"CONSUME_PASSIVELY","groupName":"GID_a","messageModel":"CLUSTERING","subscriptionDataSet":
        [{"classFilterMode":false,"codeSet":[1017822,1985818418],"expressionType":"TAG","subString":
        "MQ2MQTT || 紧急","subVersion":1700000000000,"tagsSet":["MQ2MQTT","紧急"],"topic":"plant"},
            {"classFilterMode":false,"codeSet":[],"expressionType":"TAG","subString":"*","subVersion":1700000000000,
            "tagsSet":[],"topic":"%RETRY%GID_a"}],
        "unitMode":false}],"heartbeatFingerprint":0,"producerDataSet":[],"withoutSub":false}"#;
    assert_eq!(body(&member().heartbeat()), serde_json::from_str::<Value>(java).expect("JSON"));
}

#[test]
fn a_lock_is_that_of_the_java_client() {
    let java = r#"{"clientId":"10.0.0.1@7","consumerGroup":"GID_a","mqSet":[{"brokerName":"broker-a",
        "queueId":3,"topic":"plant"}],"onlyThisBroker":false}"#;
    let java: Value = serde_json::from_str(java).expect("JSON");
    assert_eq!(body(&member().lock(&[queue()])), java);
    assert_eq!(body(&member().unlock(&[queue()])), java);
}

#[test]
fn header_fields_are_those_of_the_java_client() {
    let of_queue = [("consumerGroup", "GID_a"), ("topic", "plant"), ("queueId", "3")];
    let mut pull = map(of_queue);
    pull.extend(map([
        ("queueOffset", "42"),
        ("maxMsgNums", "32"),
        ("sysFlag", "6"),
        ("commitOffset", "0"),
        ("suspendTimeoutMillis", "15000"),
        ("subscription", "MQ2MQTT || 紧急"),
        ("subVersion", "1700000000000"),
        ("expressionType", "TAG"),
    ]));
    assert_eq!(fields(&member().pull(&queue(), 42, 32, Duration::from_secs(15))), pull);
    let mut update = map(of_queue);
    update.extend(map([("commitOffset", "42")]));
    assert_eq!(fields(&member().update_offset(&queue(), 42)), update);
    let mut query = map(of_queue);
    query.extend(map([("setZeroIfNotFound", "false")]));
    assert_eq!(fields(&member().query_offset(&queue())), query);
    assert_eq!(
        fields(&member().search_offset(&queue(), 5)),
        map([("topic", "plant"), ("queueId", "3"), ("timestamp", "5")])
    );
    assert_eq!(fields(&member().unregister()), map([("clientID", "10.0.0.1@7"), ("consumerGroup", "GID_a")]));
    assert_eq!(fields(&delete_group("GID_a")), map([("groupName", "GID_a"), ("cleanOffset", "true")]));
}

#[test]
fn all_tags_are_a_star() {
    let all = Member { tags: Vec::new(), ..member() };
    let subscription = &body(&all.heartbeat())["consumerDataSet"][0]["subscriptionDataSet"][0];
    assert_eq!((&subscription["subString"], &subscription["codeSet"]), (&json!("*"), &json!([])));
}

#[test]
fn answers_of_a_broker_are_read() {
    let list = br#"{"consumerIdList":["10.0.0.1@7","10.0.0.2@9"]}"#;
    assert_eq!(decode_list(list), Ok(vec!["10.0.0.1@7".to_owned(), "10.0.0.2@9".to_owned()]));
    let locked = br#"{"lockOKMQSet":[{"brokerName":"broker-a","queueId":3,"topic":"plant"}]}"#;
    assert_eq!(decode_locked(locked), Ok(vec![queue()]));
    assert!(decode_locked(b"{").is_err());
    let cluster = br#"{"brokerAddrTable":{"b":{"brokerAddrs":{0:"h:1",1:"h:2"},"brokerName":"b"}}}"#;
    assert_eq!(decode_masters(cluster), Ok(vec!["h:1".to_owned()]));
}

#[test]
fn a_log_deleted_under_the_reader_is_no_mere_nothing() {
    let mut fields = Fields::default();
    for (name, value) in [("nextBeginOffset", "9"), ("minOffset", "-1"), ("maxOffset", "20")] {
        fields.push(name, value);
    }
    let span = Span { next: 9, min: 0, max: 20 };
    for (code, remark, expected) in [
        (0, "FOUND", Some(Pulled::Found(span))),
        (19, "OFFSET_OVERFLOW_ONE", Some(Pulled::Nothing(span))),
        (19, "OFFSET_FOUND_NULL", Some(Pulled::Moved(span))),
        (20, "NO_MATCHED_MESSAGE", Some(Pulled::Nothing(span))),
        (20, "MESSAGE_WAS_REMOVING", Some(Pulled::Moved(span))),
        (21, "OFFSET_TOO_SMALL", Some(Pulled::Moved(span))),
        (21, "OFFSET_RESET", Some(Pulled::Reset(span))),
        (26, "no group", None),
    ] {
        assert_eq!(Pulled::read(code, Some(remark), &fields), expected, "{remark}");
    }
    assert_eq!(Pulled::read(0, None, &Fields::default()), None);
}
