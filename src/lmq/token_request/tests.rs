use proptest::prelude::*;

use super::*;
use crate::lmq::signature::sign;

const NOW: u64 = 1_566_000_000_000;
const SECRET: &str = "XXXXX";

type Pairs = Vec<(String, String)>;

fn pairs(text: &str) -> Pairs {
    let pair = |pair: &str| pair.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
    text.split('&').filter_map(pair).collect()
}

/// The contract's vector, section 9.
const APPLY: &str = "actions=R,W&expireTime=1566003600000&instanceId=mqtt-xxxxx&resources=TopicA/#,TopicB/+&serviceName=mq\
    &proxyType=MQTT&accessKey=YYYYY&signature=5UgqvVOBp7uRXs+1KTeOwZ4rJW0=";

/// What a request with other parameters than the vector's comes to, signed as it is.
fn apply(changes: &[(&str, &str)]) -> Result<Wish, Refusal> {
    let mut given = pairs(APPLY);
    for (name, value) in changes {
        given.retain(|(known, _)| known != name);
        given.push(((*name).to_owned(), (*value).to_owned()));
    }
    let signed = given.iter().filter(|(name, _)| Call::Apply.signed().contains(&name.as_str()));
    let text = signature::canonical(signed.map(|(name, value)| (name.as_str(), value.as_str())));
    given.retain(|(name, _)| name != SIGNATURE);
    given.push((SIGNATURE.to_owned(), sign(SECRET, &text)));
    read(Call::Apply, &given, NOW)?.verify(Some(SECRET))
}

fn applied(changes: &[(&str, &str)]) -> Apply {
    match apply(changes) {
        Ok(Wish::Apply(apply)) => apply,
        other => panic!("{changes:?}: {other:?}"),
    }
}

#[test]
fn the_vector_of_the_contract_is_understood() {
    let wish = read(Call::Apply, &pairs(APPLY), NOW).unwrap().verify(Some(SECRET));
    let resources = vec!["TopicA/#".to_owned(), "TopicB/+".to_owned()];
    let instance = "mqtt-xxxxx".to_owned();
    assert_eq!(
        wish,
        Ok(Wish::Apply(Apply { instance, resources, read: true, write: true, expires: 1_566_003_600_000 }))
    );
}

#[test]
fn a_request_counts_only_with_the_signature_of_its_key() {
    let verify = |text: &str, secret| read(Call::Apply, &pairs(text), NOW).unwrap().verify(secret);
    assert_eq!(verify(APPLY, None), Err(Refusal::Signature));
    assert_eq!(verify(APPLY, Some("")), Err(Refusal::Signature));
    assert_eq!(verify(APPLY, Some("other")), Err(Refusal::Signature));
    let more = APPLY.replace("TopicB/+", "TopicB/#");
    assert_eq!(verify(&more, Some(SECRET)), Err(Refusal::Signature));
    let unencoded = APPLY.replace("Xs+1", "Xs 1");
    assert!(verify(&unencoded, Some(SECRET)).is_ok(), "a + that became a space");
    // An access key with an empty secret does not exist, and nobody can sign with the secret of one that does not.
    let empty = sign("", "token=x");
    let given = pairs(&format!("token=x&accessKey=nobody&signature={empty}"));
    assert_eq!(read(Call::Query, &given, NOW).unwrap().verify(None), Err(Refusal::Signature));
}

#[test]
fn values_may_come_one_by_one_as_one_text_and_unsorted() {
    let given = pairs(
        "resources=TopicB/+&actions=W&accessKey=YYYYY&resources=TopicA/#&actions=R&expireTime=1566003600000\
         &serviceName=mq&instanceId=mqtt-xxxxx&signature=5UgqvVOBp7uRXs+1KTeOwZ4rJW0=",
    );
    let one_by_one = read(Call::Apply, &given, NOW).unwrap().verify(Some(SECRET));
    assert_eq!(one_by_one, read(Call::Apply, &pairs(APPLY), NOW).unwrap().verify(Some(SECRET)));
    // Signed sorted, sent unsorted.
    let unsorted = APPLY.replace("TopicA/#,TopicB/+", "TopicB/+,TopicA/#").replace("R,W", "W,R");
    assert!(read(Call::Apply, &pairs(&unsorted), NOW).unwrap().verify(Some(SECRET)).is_ok());
    // Signed as it is sent.
    assert_eq!(applied(&[("resources", "b,a"), ("actions", "W,R")]).resources, ["a", "b"]);
    assert_eq!(applied(&[("resources", "a,b,a")]).resources, ["a", "b"], "each once");
    let (read, write) = (applied(&[("actions", "R")]), applied(&[("actions", "W")]));
    assert_eq!((read.read, read.write, write.read, write.write), (true, false, false, true));
}

#[test]
fn what_cannot_be_is_refused_with_400() {
    let long = vec!["x"; MAX_TEXT + 1].concat();
    let many: Vec<String> = (0..=MAX_RESOURCES).map(|number| format!("t/{number}")).collect();
    let wide: Vec<String> = (0..40).map(|number| format!("{number:0>250}")).collect();
    let (many, wide) = (many.join(","), wide.join(","));
    for (name, value, words) in [
        ("actions", "", "`actions` is missing"),
        ("resources", "", "`resources` is missing"),
        ("accessKey", "", "`accessKey` is missing"),
        ("actions", "RW", "`actions` must be"),
        ("actions", "R,", "`actions` must be"),
        ("actions", "r", "`actions` must be"),
        ("serviceName", "mqtt", "`serviceName` must be"),
        ("proxyType", "HTTP", "`proxyType` must be"),
        ("instanceId", "a&b", "`instanceId` holds"),
        ("instanceId", &long, "`instanceId` is too long"),
        ("resources", "a,,b", "no MQTT topic filter"),
        ("resources", "a/#/b", "no MQTT topic filter"),
        ("resources", "a/b#", "no MQTT topic filter"),
        ("resources", "a+/b", "no MQTT topic filter"),
        ("resources", "a&b", "no MQTT topic filter"),
        ("resources", "a\u{7}", "no MQTT topic filter"),
        ("resources", &long, "more than 255 bytes"),
        ("resources", &many, "more than 100"),
        ("resources", &wide, "8 KiB"),
        ("expireTime", "soon", "`expireTime` must be in milliseconds"),
        ("expireTime", "+1566003600000", "`expireTime` must be in milliseconds"),
        ("expireTime", "99999999999999999999", "`expireTime` must be in milliseconds"),
        ("expireTime", "1565999999999", "at least 60 seconds"),
        ("expireTime", "0", "at least 60 seconds"),
    ] {
        let refusal = apply(&[(name, value)]).unwrap_err();
        assert!(refusal.to_string().contains(words) && refusal.code() == 400, "{name}={value}: {refusal}");
    }
    for name in [ACTIONS, EXPIRE_TIME, INSTANCE, RESOURCES, SERVICE_NAME, ACCESS_KEY, SIGNATURE] {
        let mut given = pairs(APPLY);
        given.retain(|(known, _)| known != name);
        assert_eq!(read(Call::Apply, &given, NOW).unwrap_err(), Refusal::Missing(name));
    }
    for name in [EXPIRE_TIME, INSTANCE, SERVICE_NAME, ACCESS_KEY, SIGNATURE] {
        let given = pairs(&format!("{APPLY}&{name}=x"));
        assert_eq!(read(Call::Apply, &given, NOW).unwrap_err(), Refusal::Parameter(name, "is given twice"));
    }
}

#[test]
fn a_hundred_resources_are_taken_and_what_nobody_knows_is_passed_over() {
    let most: Vec<String> = (0..MAX_RESOURCES).map(|number| format!("{number:0>64}/+")).collect();
    assert_eq!(applied(&[("resources", &most.join(","))]).resources.len(), MAX_RESOURCES);
    for filter in ["#", "+", "a", "/", "a/+/b/#", "$SYS/x", "\u{4f60}"] {
        assert_eq!(applied(&[("resources", filter)]).resources, [filter]);
    }
    applied(&[("timestamp", "1"), ("x", "y")]);
}

#[test]
fn a_token_lives_for_a_minute_at_least_and_30_days_at_most() {
    let expires = |time: u64| applied(&[("expireTime", &time.to_string())]).expires;
    assert_eq!(expires(NOW + SHORTEST), NOW + SHORTEST);
    assert_eq!(expires(NOW + SHORTEST - ON_ITS_WAY), NOW + SHORTEST - ON_ITS_WAY);
    assert!(apply(&[("expireTime", &(NOW + SHORTEST - ON_ITS_WAY - 1).to_string())]).is_err());
    assert_eq!(expires(NOW + LONGEST), NOW + LONGEST);
    // The vendor's own demo asks for one some 56 years ahead.
    assert_eq!(expires(NOW + NOW), NOW + LONGEST);
    assert_eq!(expires(u64::MAX), NOW + LONGEST);
}

#[test]
fn revoke_and_query_sign_the_token_alone() {
    let signature = sign(SECRET, "token=abc");
    for call in [Call::Revoke, Call::Query] {
        let given = pairs(&format!("token=abc&accessKey=YYYYY&signature={signature}"));
        let wish = read(call, &given, NOW).unwrap().verify(Some(SECRET));
        assert_eq!(wish, Ok(if call == Call::Revoke { Wish::Revoke("abc".into()) } else { Wish::Query("abc".into()) }));
        let given = pairs(&format!("token=abd&accessKey=YYYYY&signature={signature}"));
        assert_eq!(read(call, &given, NOW).unwrap().verify(Some(SECRET)), Err(Refusal::Signature));
        let long = pairs(&format!("token={}&accessKey=YYYYY&signature={signature}", "x".repeat(MAX_TOKEN + 1)));
        assert_eq!(read(call, &long, NOW).unwrap_err().code(), 400);
    }
}

#[test]
fn the_body_has_exactly_the_four_keys_of_the_contract() {
    let fine = "{\"success\":true,\"message\":\"ok\",\"code\":200,\"tokenData\":\"abc\"}";
    assert_eq!(body(Some("abc")), fine);
    let refused = "{\"success\":false,\"message\":\"`token` is missing\",\"code\":400,\"tokenData\":null}";
    assert_eq!(Refusal::Missing("token").body(), refused);
    let codes = [
        Refusal::Signature,
        Refusal::Resource("a".into()),
        Refusal::NotMade("x".into()),
        Refusal::NotRevoked("x".into()),
        Refusal::Token(Invalid::Forged),
        Refusal::Token(Invalid::Expired),
        Refusal::Token(Invalid::Revoked),
    ];
    assert_eq!(codes.map(|refusal| refusal.code()), [407, 409, 409, 410, 1, 2, 3]);
}

/// Names and values as forms may hold them, also such as look like parts of the string to sign.
fn value() -> impl Strategy<Value = String> {
    prop_oneof!["[a-c/=]{1,4}", "[a-b]=[a-b]", Just("R".to_owned()), Just("mq".to_owned()), "\\PC{1,5}"]
}

prop_compose! {
    fn any_apply()(
        actions in prop::sample::subsequence(vec!["R", "W"], 1..=2),
        resources in prop::collection::btree_set(value(), 1..4),
        instance in value(),
        expires in NOW + SHORTEST..NOW + LONGEST,
    ) -> Pairs {
        let mut given = vec![
            ("serviceName".to_owned(), "mq".to_owned()),
            ("instanceId".to_owned(), instance),
            ("expireTime".to_owned(), expires.to_string()),
        ];
        given.extend(actions.into_iter().map(|action| ("actions".to_owned(), action.to_owned())));
        given.extend(resources.into_iter().map(|resource| ("resources".to_owned(), resource)));
        given.extend([("accessKey".to_owned(), "YYYYY".to_owned()), ("signature".to_owned(), "x".to_owned())]);
        given
    }
}

proptest! {
    #[test]
    fn any_order_gives_the_same_string((given, shuffled) in any_apply().prop_flat_map(|given| {
        (Just(given.clone()), Just(given).prop_shuffle())
    })) {
        let text = |given: &Pairs| Form(Parameters(given)).canonical(Call::Apply.signed(), true);
        prop_assert_eq!(text(&given), text(&shuffled));
        // Nor does it matter whether the values of a parameter come one by one or as one text.
        let joined = |name: &str| {
            let values: Vec<&str> = shuffled.iter().filter(|(known, _)| known == name).map(|(_, v)| v.as_str()).collect();
            (name.to_owned(), values.join(","))
        };
        let mut whole: Pairs = shuffled.iter().filter(|(name, _)| name != ACTIONS && name != RESOURCES).cloned().collect();
        whole.extend([joined(RESOURCES), joined(ACTIONS)]);
        prop_assert_eq!(text(&given), text(&whole));
    }

    /// A signature for one wish is none for another.
    #[test]
    fn two_wishes_never_have_the_same_string(one in any_apply(), other in any_apply()) {
        let (Ok(first), Ok(second)) = (read(Call::Apply, &one, NOW), read(Call::Apply, &other, NOW)) else { return Ok(()) };
        let shared = first.texts.iter().any(|text| second.texts.contains(text));
        prop_assert_eq!(shared, first.wish == second.wish, "{:?}", first.texts);
    }

    #[test]
    fn nothing_makes_it_panic(given in prop::collection::vec((value(), value()), 0..8), call in 0..3_usize) {
        let _refused = read(Call::ALL[call], &given, NOW);
        let names = [ACTIONS, EXPIRE_TIME, INSTANCE, RESOURCES, SERVICE_NAME, ACCESS_KEY, SIGNATURE, TOKEN];
        let named: Pairs = given.iter().zip(names).map(|((_, value), name)| (name.to_owned(), value.clone())).collect();
        let _refused = read(Call::ALL[call], &named, NOW);
    }
}
