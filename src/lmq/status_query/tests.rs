use super::*;
use crate::{
    lmq::signature::sign,
    settings::{Clients, Permission, Secret},
};

const NOW: u64 = 1_566_000_000_000;
/// The contract's vector, section 8.
const VECTOR: &str = "ghnUW05VdKAxx1AjgcB5iZjCqeU=";

const INSTANCE_ID: Option<&str> = Some("mqtt-xxxxx");

fn credentials() -> Credentials {
    let key = |secret: &str, group: &str| Credential {
        secret: Secret::new(secret),
        clients: Clients { groups: [group.to_owned()].into(), ..Clients::default() },
        permission: Permission::default(),
    };
    let access_keys = [("YYYYY".to_owned(), key("XXXXX", "GID_Test")), ("other".to_owned(), key("o", "GID_Other"))];
    Credentials { access_keys: access_keys.into(), ..Credentials::default() }
}

/// Parameters as they come out of a URL, signed with a secret unless a signature is among them.
fn signed(secret: &str, parameters: &[(&str, &str)]) -> Vec<(String, String)> {
    let signature =
        sign(secret, &signature::canonical(parameters.iter().copied().filter(|(name, _)| *name != SIGNATURE)));
    let mut all: Vec<_> = parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    if parameters.iter().all(|(name, _)| *name != SIGNATURE) {
        all.push((SIGNATURE.to_owned(), signature));
    }
    all
}

/// Parameters of a client's query, some replaced, and some left out for a `-`.
fn query(changes: &[(&'static str, &'static str)]) -> Vec<(String, String)> {
    let mut parameters = vec![
        (ACCESS_KEY, "YYYYY"),
        (RESOURCE, "GID_Test@@@0001"),
        (TIMESTAMP, "1566000000000"),
        (INSTANCE, "mqtt-xxxxx"),
    ];
    for (name, value) in changes {
        parameters.retain(|(known, _)| known != name);
        parameters.push((name, value));
    }
    parameters.retain(|(_, value)| *value != "-");
    signed("XXXXX", &parameters)
}

fn refused(kind: Kind, parameters: &[(String, String)], now: u64) -> (u8, u16, String) {
    match check(kind, parameters, INSTANCE_ID, &credentials(), now) {
        Ok(question) => panic!("{parameters:?} is {question:?}"),
        Err(refusal) => (refusal.code(), refusal.http_status(), refusal.to_string()),
    }
}

#[test]
fn the_vector_of_the_contract_is_answered() {
    for signature in [VECTOR, "-"] {
        let parameters = query(&[(SIGNATURE, signature)]);
        assert_eq!(
            check(Kind::Client, &parameters, INSTANCE_ID, &credentials(), NOW),
            Ok(Question::Client("GID_Test@@@0001"))
        );
    }
    let parameters = query(&[(INSTANCE, "any")]);
    assert!(
        check(Kind::Client, &parameters, None, &credentials(), NOW).is_ok(),
        "an instance that is not set is not looked at"
    );
}

#[test]
fn a_plus_of_the_signature_may_have_become_a_space() {
    let (text, now) = ("GID_Test@@@0001", NOW + 1);
    let mut parameters = query(&[(RESOURCE, text), (TIMESTAMP, "1566000000001")]);
    let signature = &mut parameters.last_mut().unwrap().1;
    assert!(signature.contains('+'), "choose a time whose signature has a plus: {signature}");
    *signature = signature.replace('+', " ");
    assert!(check(Kind::Client, &parameters, INSTANCE_ID, &credentials(), now).is_ok());
}

#[test]
fn a_parameter_that_is_missing_or_wrong_is_code_1() {
    for name in [ACCESS_KEY, RESOURCE, TIMESTAMP, INSTANCE] {
        for value in ["-", ""] {
            let (code, status, words) = refused(Kind::Client, &query(&[(name, value)]), NOW);
            assert_eq!((code, status, words), (1, 400, format!("`{name}` is missing")));
        }
    }
    assert_eq!(refused(Kind::Client, &query(&[(SIGNATURE, "")]), NOW).2, "`signature` is missing");
    for (kind, name, value, words) in [
        (Kind::Client, TIMESTAMP, "soon", "`timestamp` must be in milliseconds since the epoch"),
        (Kind::Client, TIMESTAMP, "-1", "`timestamp` must be in milliseconds since the epoch"),
        (Kind::Client, "limit", "5", "`limit` is not known here"),
        (Kind::Client, "resourc", "x", "`resourc` is not known here"),
        (Kind::GroupClients, LIMIT, "0", "`limit` must be a number from 1 to 1000"),
        (Kind::GroupClients, LIMIT, "1001", "`limit` must be a number from 1 to 1000"),
        (Kind::GroupClients, LIMIT, "", "`limit` is empty"),
    ] {
        assert_eq!(refused(kind, &query(&[(name, value)]), NOW), (1, 400, words.to_owned()));
    }
}

#[test]
fn a_parameter_is_given_once_but_for_the_clients_of_a_batch() {
    let twice = |name: &str, value: &str| {
        let mut parameters = query(&[]);
        parameters.push((name.to_owned(), value.to_owned()));
        parameters
    };
    for (name, value) in [(TIMESTAMP, "1"), (SIGNATURE, VECTOR), (ACCESS_KEY, "other"), (RESOURCE, "GID_Test@@@2")] {
        assert_eq!(refused(Kind::Client, &twice(name, value), NOW).2, format!("`{name}` is given twice"));
    }
    let batch = |count: usize| {
        let ids: Vec<String> = (0..count).map(|id| format!("GID_Test@@@{id}")).collect();
        let fixed = [(ACCESS_KEY, "YYYYY"), (TIMESTAMP, "1566000000000"), (INSTANCE, "mqtt-xxxxx")];
        let ids = ids.iter().map(|id| (RESOURCE, id.as_str()));
        signed("XXXXX", &fixed.into_iter().chain(ids).collect::<Vec<_>>())
    };
    let parameters = batch(10);
    let Ok(Question::Clients(clients)) = check(Kind::Clients, &parameters, INSTANCE_ID, &credentials(), NOW) else {
        panic!("ten are a batch");
    };
    assert_eq!((clients.len(), clients[9]), (10, "GID_Test@@@9"));
    assert_eq!(refused(Kind::Clients, &batch(11), NOW).2, "`resource` is given more than 10 times");
    assert_eq!(refused(Kind::Clients, &twice(RESOURCE, ""), NOW).2, "`resource` is empty");
}

#[test]
fn a_wrong_signature_and_an_unknown_key_are_code_2_and_look_alike() {
    let wrong = refused(Kind::Client, &query(&[(SIGNATURE, "ghnUW05VdKAxx1AjgcB5iZjCqeV=")]), NOW);
    assert_eq!((wrong.0, wrong.1), (2, 403));
    assert_eq!(refused(Kind::Client, &query(&[(ACCESS_KEY, "nobody")]), NOW), wrong);
    assert_eq!(refused(Kind::Client, &query(&[(ACCESS_KEY, "other")]), NOW), wrong, "another's secret");
    let unkeyed = signed("", &[(ACCESS_KEY, "nobody"), (RESOURCE, "x"), (TIMESTAMP, "1"), (INSTANCE, "i")]);
    assert_eq!(refused(Kind::Client, &unkeyed, NOW), wrong, "no key is no secret");
    for (name, value) in [(RESOURCE, "GID_Test@@@0002"), (TIMESTAMP, "1566000000001"), (INSTANCE, "mqtt-yyyyy")] {
        assert_eq!(
            refused(Kind::Client, &query(&[(name, value), (SIGNATURE, VECTOR)]), NOW),
            wrong,
            "{name} is signed"
        );
    }
    let page = query(&[(RESOURCE, "GID_Test"), (LIMIT, "10"), (SIGNATURE, VECTOR)]);
    assert_eq!(refused(Kind::GroupClients, &page, NOW), wrong);
}

#[test]
fn a_timestamp_counts_for_five_minutes_either_way() {
    for (now, fine) in [
        (NOW, true),
        (NOW + TIMESTAMP_WINDOW, true),
        (NOW - TIMESTAMP_WINDOW, true),
        (NOW + TIMESTAMP_WINDOW + 1, false),
        (NOW - TIMESTAMP_WINDOW - 1, false),
        (0, false),
        (u64::MAX, false),
    ] {
        match check(Kind::Client, &query(&[]), INSTANCE_ID, &credentials(), now) {
            Ok(_) => assert!(fine, "{now}"),
            Err(refusal) => assert_eq!((refusal.code(), refusal.http_status(), fine), (4, 403, false), "{now}"),
        }
    }
}

#[test]
fn a_group_or_an_instance_that_is_not_the_keys_is_code_3() {
    for (kind, name, value) in [
        (Kind::Client, RESOURCE, "GID_Other@@@1"),
        (Kind::Client, RESOURCE, "GID_Test"),
        (Kind::Client, RESOURCE, "@@@1"),
        (Kind::Client, RESOURCE, "GID_Test2@@@1"),
        (Kind::Client, INSTANCE, "mqtt-yyyyy"),
        (Kind::Clients, RESOURCE, "GID_Other@@@1"),
        (Kind::Group, RESOURCE, "GID_Other"),
        (Kind::Group, RESOURCE, "GID_Test@@@0001"),
        (Kind::GroupClients, RESOURCE, "GID_Other"),
        (Kind::GroupChanges, RESOURCE, "GID_Tes"),
    ] {
        let (code, status, _) = refused(kind, &query(&[(name, value)]), NOW);
        assert_eq!((code, status), (3, 403), "{kind:?} {value}");
    }
    let mut mixed = query(&[(SIGNATURE, "-")]);
    mixed.pop();
    mixed.push((RESOURCE.into(), "GID_Other@@@1".into()));
    let pairs: Vec<_> = mixed.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(refused(Kind::Clients, &signed("XXXXX", &pairs), NOW).0, 3, "one foreign client is enough");
}

#[test]
fn nothing_is_told_before_the_signature_is_right() {
    let foreign = [(RESOURCE, "GID_Other@@@1"), (INSTANCE, "mqtt-yyyyy"), (TIMESTAMP, "5"), (SIGNATURE, VECTOR)];
    assert_eq!(refused(Kind::Client, &query(&foreign), NOW).0, 2);
    assert_eq!(refused(Kind::Client, &query(&foreign[..3]), NOW).0, 4, "then the time");
    assert_eq!(
        refused(Kind::Client, &query(&foreign[..2]), NOW).2,
        "`instanceId` is not the instance of this access key"
    );
}

#[test]
fn groups_are_asked_for_by_their_name_and_listed_in_pages() {
    let group = query(&[(RESOURCE, "GID_Test")]);
    assert_eq!(check(Kind::Group, &group, INSTANCE_ID, &credentials(), NOW), Ok(Question::Group("GID_Test")));
    assert_eq!(
        check(Kind::GroupChanges, &group, INSTANCE_ID, &credentials(), NOW),
        Ok(Question::GroupChanges("GID_Test"))
    );
    let page = |after, limit| Ok(Question::GroupClients { group: "GID_Test", after, limit });
    assert_eq!(check(Kind::GroupClients, &group, INSTANCE_ID, &credentials(), NOW), page("", PAGE));
    let next = query(&[(RESOURCE, "GID_Test"), (AFTER, "GID_Test@@@7"), (LIMIT, "1000")]);
    assert_eq!(check(Kind::GroupClients, &next, INSTANCE_ID, &credentials(), NOW), page("GID_Test@@@7", PAGE_MAX));
    let first = query(&[(RESOURCE, "GID_Test"), (AFTER, "")]);
    assert_eq!(check(Kind::GroupClients, &first, INSTANCE_ID, &credentials(), NOW), page("", PAGE));
}
