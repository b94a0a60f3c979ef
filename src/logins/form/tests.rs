use super::*;

const FORMS: [Adapter; 4] = [Adapter::Emqx, Adapter::Rmqtt, Adapter::NanoMq, Adapter::Mosquitto];

fn fields(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// What a broker wants to know of a client with the id `c`, the user name `u` and, where it says so, the password `p`.
fn wants(adapter: Adapter, pairs: &[(&str, &str)]) -> Option<Vec<(Action, String)>> {
    let all = fields(&[&[("clientid", "c"), ("username", "u"), ("password", "p")], pairs].concat());
    let question = read(adapter, About::Acl, Fields(&all))?;
    let Question::Access { client_id: "c", username: "u", password: "p", wants } = question else {
        panic!("another question");
    };
    Some(wants.into_iter().map(|(action, topic)| (action, topic.to_owned())).collect())
}

#[test]
fn a_login_is_read_alike_from_all() {
    let all = fields(&[("clientid", "c"), ("username", "u"), ("password", "p"), ("protocol", "5")]);
    for adapter in FORMS {
        let asked = read(adapter, About::User, Fields(&all));
        assert!(asked == Some(Question::Login { client_id: "c", username: "u", password: "p" }), "{adapter:?}");
        let nobody = Question::Login { client_id: "", username: "", password: "" };
        assert!(read(adapter, About::User, Fields(&[])) == Some(nobody));
        assert!(read(adapter, About::Superuser, Fields(&[])) == Some(Question::Superuser));
    }
}

#[test]
fn each_says_in_its_own_way_what_a_client_wants() {
    use Action::{Publish, Subscribe};
    let to = |topic: &str, actions: &[Action]| Some(actions.iter().map(|act| (*act, topic.to_owned())).collect());
    for (adapter, name, value, actions) in [
        (Adapter::Emqx, "action", "publish", &[Publish][..]),
        (Adapter::Emqx, "action", "subscribe", &[Subscribe]),
        (Adapter::Rmqtt, "access", "1", &[Subscribe]),
        (Adapter::Rmqtt, "access", "2", &[Publish]),
        (Adapter::NanoMq, "access", "1", &[Subscribe]),
        (Adapter::NanoMq, "access", "2", &[Publish]),
        (Adapter::Mosquitto, "acc", "1", &[Subscribe]),
        (Adapter::Mosquitto, "acc", "2", &[Publish]),
        (Adapter::Mosquitto, "acc", "3", &[Subscribe, Publish]),
        (Adapter::Mosquitto, "acc", "4", &[Subscribe]),
    ] {
        assert_eq!(wants(adapter, &[(name, value), ("topic", "a/b")]), to("a/b", actions), "{adapter:?} {value}");
    }
    let several = wants(Adapter::NanoMq, &[("access", "1"), ("topic", "a,b/#")]);
    assert_eq!(several, Some(vec![(Subscribe, "a".to_owned()), (Subscribe, "b/#".to_owned())]));
    assert_eq!(wants(Adapter::NanoMq, &[("access", "2"), ("topic", "a,b")]), to("a,b", &[Publish]));
    for adapter in FORMS {
        for name in ["action", "access", "acc"] {
            assert_eq!(wants(adapter, &[(name, "all"), ("topic", "a")]), None, "{adapter:?}");
        }
        assert_eq!(wants(adapter, &[]), None);
    }
}

#[test]
fn a_refusal_is_one_in_the_words_of_each() {
    let login = Question::Login { client_id: "c", username: "u", password: "p" };
    let said = |adapter, decision| {
        let Answer { status, body } = answer(adapter, Some(&login), decision);
        serde_json::from_str::<serde_json::Value>(&body).expect("a body is JSON");
        (status, body)
    };
    let (forever, until) =
        (Decision::Allowed { expires: None }, Decision::Allowed { expires: Some(1_566_003_600_999) });
    for (adapter, decision, status, words) in [
        (Adapter::Emqx, forever, 200, r#""result":"allow""#),
        (Adapter::Emqx, until, 200, r#""expire_at":1566003600"#),
        (Adapter::Emqx, Decision::Refused, 200, r#""result":"deny""#),
        (Adapter::Rmqtt, forever, 200, r#""result":"allow""#),
        (Adapter::Rmqtt, until, 200, r#""expire_at":1566003600"#),
        (Adapter::Rmqtt, forever, 200, r#""topic":"+/p2p/${clientid}""#),
        (Adapter::Rmqtt, Decision::Refused, 200, r#""result":"deny""#),
        (Adapter::NanoMq, forever, 200, "allow"),
        (Adapter::NanoMq, Decision::Refused, 403, "deny"),
        (Adapter::Mosquitto, until, 200, r#""ok":true"#),
        (Adapter::Mosquitto, Decision::Refused, 403, r#""ok":false"#),
    ] {
        let (given, body) = said(adapter, decision);
        assert!(given == status && body.contains(words), "{adapter:?} {decision:?}: {given} {body}");
    }
}

#[test]
fn rmqtt_is_given_a_rule_for_a_clients_own_topics_where_it_stands_for_no_others() {
    let rules = |question: &Question<'_>| {
        let Answer { body, .. } = answer(Adapter::Rmqtt, Some(question), Decision::Allowed { expires: None });
        serde_json::from_str::<serde_json::Value>(&body).expect("a body is JSON").get("acl").cloned()
    };
    let of = |client_id| rules(&Question::Login { client_id, username: "u", password: "p" }).expect("rules");
    assert_eq!(of("GID_a@@@1").as_array().map(Vec::len), Some(1));
    for client_id in ["+", "#", "a/b", "GID_a@@@1/#"] {
        assert_eq!(of(client_id), serde_json::json!([]), "{client_id}");
    }
    let access = Question::Access { client_id: "c", username: "u", password: "", wants: Vec::new() };
    assert_eq!(rules(&access), None);
}
