//! The vectors of section 1, every refusal, and the access rule against a naive one.

use proptest::prelude::*;

use super::*;
use crate::{
    lmq::{signature::sign, token::TokenId},
    mapping::pattern::Pattern,
    settings::{Clients, Secret},
};

/// Section 1: key, client id, password.
const VECTOR: (&str, &str, &str) = ("XXXXX", "GID_Test@@@0001", "vI009IZJZVGRwBwZvnbwjfuXxVM=");

pub(super) fn permission(publish: &[&str], subscribe: &[&str]) -> Permission {
    let filters = |filters: &[&str]| filters.iter().map(|filter| Pattern::plain(filter).unwrap()).collect();
    Permission { publish: filters(publish), subscribe: filters(subscribe), reads_all_p2p: false }
}

fn credential(secret: &str, group: &str) -> Credential {
    Credential {
        secret: Secret::new(secret),
        clients: Clients { groups: [group.to_owned()].into(), ids: ["bridge-up".to_owned()].into() },
        permission: permission(&["TopicA/#"], &["TopicA/+"]),
    }
}

fn credentials() -> Credentials {
    Credentials {
        access_keys: [("AK".to_owned(), credential("XXXXX", "GID_Test"))].into(),
        devices: [("DK".to_owned(), credential("XXXXX", "GID_Test"))].into(),
        users: [("shop".to_owned(), credential("XXXXX", "GID_Test"))].into(),
    }
}

fn lmq(strict: bool) -> Lmq {
    Lmq { instance: Some("mqtt-x".to_owned()), strict_client_ids: strict, credentials: None, tokens: None }
}

fn check_with(strict: bool, client_id: &str, username: &str, password: &str) -> Result<Mode, Refusal> {
    let (lmq, credentials) = (lmq(strict), credentials());
    let rules = Rules { lmq: &lmq, credentials: &credentials };
    let accepted = rules.check(Login { client_id, username, password }, |_| Err(Invalid::Forged))?;
    let known = rules.known(client_id, username, || Err(Invalid::Unknown));
    assert_eq!(known, Ok(accepted.clone()), "what was let in is known by its name");
    Ok(accepted.mode)
}

fn check(client_id: &str, username: &str, password: &str) -> Result<Mode, Refusal> {
    check_with(false, client_id, username, password)
}

#[test]
fn the_vector_of_the_contract_lets_in_by_each_mode() {
    let (secret, client_id, password) = VECTOR;
    for strict in [false, true] {
        for (username, password, mode) in [
            ("Signature|AK|mqtt-x", password, Mode::Signature),
            ("DeviceCredential|DK|mqtt-x", password, Mode::Device),
            ("shop", password, Mode::Custom),
            ("shop", secret, Mode::Custom),
        ] {
            assert_eq!(check_with(strict, client_id, username, password), Ok(mode), "{username}");
        }
    }
    let anywhere = Lmq { instance: None, ..lmq(false) };
    let rules = Rules { lmq: &anywhere, credentials: &credentials() };
    assert!(rules.check(Login { client_id, username: "Signature|AK|", password }, |_| Err(Invalid::Forged)).is_ok());
}

#[test]
fn what_is_not_proven_is_refused_with_its_clause() {
    let (secret, client_id, password) = VECTOR;
    let other = sign(secret, "GID_Other@@@1");
    for (client_id, username, password, kind, clause) in [
        // The signature of one client id, played back for another.
        ("GID_Test@@@0002", "Signature|AK|mqtt-x", password, "signature", "LMQ-1.1"),
        ("GID_Test@@@0002", "DeviceCredential|DK|mqtt-x", password, "signature", "LMQ-1.3"),
        ("GID_Test@@@0002", "shop", password, "signature", "LMQ-1.4"),
        // The secret itself is a password in the custom mode alone.
        (client_id, "Signature|AK|mqtt-x", secret, "signature", "LMQ-1.1"),
        (client_id, "Signature|AK|mqtt-x", "", "signature", "LMQ-1.1"),
        (client_id, "Signature|NONE|mqtt-x", &sign("", client_id), "unknown", "LMQ-1.1"),
        (client_id, "Signature|DK|mqtt-x", password, "unknown", "LMQ-1.1"),
        (client_id, "DeviceCredential|AK|mqtt-x", password, "unknown", "LMQ-1.3"),
        (client_id, "nobody", "", "unknown", "LMQ-1.4"),
        (client_id, "Signature|AK|mqtt-y", password, "instance", "LMQ-1"),
        (client_id, "", "", "username", "LMQ-1"),
        (client_id, "|", "", "username", "LMQ-1"),
        (client_id, "Signature|AK", password, "username", "LMQ-1"),
        (client_id, "Signature||mqtt-x", password, "username", "LMQ-1"),
        (client_id, "Signature|AK|mqtt-x|", password, "username", "LMQ-1"),
        (client_id, "signature|AK|mqtt-x", password, "username", "LMQ-1"),
        (client_id, "Token|AK|mqtt-x", "R|1", "token_forged", "LMQ-1.2"),
        (client_id, "Token|AK|mqtt-x", "R", "password", "LMQ-1.2"),
        ("GID_Other@@@1", "Signature|AK|mqtt-x", &other, "group", "LMQ-2.1"),
        ("", "shop", secret, "client_id", "LMQ-2.1"),
    ] {
        let refusal = check(client_id, username, password).unwrap_err();
        assert_eq!(refusal.kind(), kind, "{username} {client_id}: {refusal}");
        assert!(refusal.to_string().starts_with(clause), "{refusal}");
        assert!(
            !refusal.to_string().contains(secret)
                && !refusal.to_string().contains(password.trim_matches('|').get(..9).unwrap_or("none")),
            "{refusal}"
        );
    }
    let long = "x".repeat(PASSWORD_MAX + 1);
    assert_eq!(check(client_id, "shop", &long).unwrap_err().kind(), "password");
    assert_eq!(check(client_id, &long[..=USERNAME_MAX], "x").unwrap_err().kind(), "username");
}

#[test]
fn client_ids_are_held_to_the_contract_where_that_is_asked_for() {
    for (client_id, strictly) in [
        ("GID_Test@@@0001", true),
        ("bridge-up", false),
        ("GID_Test@@@", false),
        ("GID_Test@@@a b", false),
        ("GID_Test@@@a\u{7}", false),
        ("GID_Test@@@a/b", false),
        (&["GID_Test@@@", &"x".repeat(53)].concat(), true),
        (&["GID_Test@@@", &"x".repeat(54)].concat(), false),
    ] {
        let password = sign("XXXXX", client_id);
        assert_eq!(check(client_id, "shop", &password), Ok(Mode::Custom), "{client_id}");
        let strict = check_with(true, client_id, "shop", &password);
        assert_eq!(strict.is_ok(), strictly, "{client_id}");
        assert!(strict.is_ok() || strict.unwrap_err().to_string().starts_with("LMQ-2.1"));
    }
}

#[test]
fn tokens_of_a_password_are_one_of_each_type_in_any_order() {
    use Kind::{Both, Read, Write};
    for (password, expected) in [
        ("R|123|W|abcd", Some(vec![(Read, "123"), (Write, "abcd")])),
        ("W|abcd|R|123", Some(vec![(Write, "abcd"), (Read, "123")])),
        ("RW|a=", Some(vec![(Both, "a=")])),
        ("", None),
        ("R", None),
        ("R|", None),
        ("R||W|a", None),
        ("r|a", None),
        ("WR|a", None),
        ("R|a|R|b", None),
        ("R|a|W", None),
        ("R|a|", None),
        ("|R|a", None),
    ] {
        assert_eq!(tokens(password).ok(), expected, "{password}");
    }
}

fn may(client_id: &str, action: Action, topic: &str) -> Result<(), &'static str> {
    let permission = permission(&["TopicA/#", "TopicB/up"], &["TopicA/#", "TopicB/+", "TopicC/+/down/#"]);
    let accepted = Accepted { mode: Mode::Signature, permission: &permission, tokens: None };
    accepted.may(client_id, action, topic, true).map_err(|refusal| {
        assert!(refusal.to_string().starts_with("LMQ-"), "{refusal}");
        refusal.kind()
    })
}

#[test]
fn a_client_publishes_where_a_filter_matches() {
    for (topic, expected) in [
        ("TopicA", Ok(())),
        ("TopicA/up", Ok(())),
        ("TopicA/p2p/GID_Test@@@0002", Ok(())),
        ("TopicB/up", Ok(())),
        ("$SYS/uploadToken", Ok(())),
        ("$SYS/enableOrderMsg", Ok(())),
        ("TopicB", Err("permission")),
        ("TopicB/p2p/GID_Test@@@0002", Err("permission")),
        ("TopicC/1/down", Err("permission")),
        ("topica/up", Err("permission")),
        ("$SYS/tokenInvalidNotice", Err("permission")),
        ("$delayed/1/TopicA/up", Err("permission")),
        ("TopicA/+", Err("topic")),
        ("#", Err("topic")),
        ("", Err("topic")),
    ] {
        assert_eq!(may("GID_Test@@@0001", Action::Publish, topic), expected, "{topic}");
    }
}

#[test]
fn a_client_subscribes_to_what_is_permitted_whole() {
    for (filter, expected) in [
        ("TopicA/up", Ok(())),
        ("TopicA/+", Ok(())),
        ("TopicA/up/#", Ok(())),
        ("TopicA/+/temp", Ok(())),
        ("TopicB/+", Ok(())),
        ("TopicC/1/down", Ok(())),
        ("TopicC/+/down/#", Ok(())),
        ("$share/g/TopicA/up", Ok(())),
        ("TopicA/live/p2p/GID_Test@@@0002", Ok(())),
        ("$SYS/tokenExpireNotice", Ok(())),
        ("TopicB/#", Err("permission")),
        ("TopicC/+/+", Err("permission")),
        ("TopicC/#", Err("permission")),
        ("+/up", Err("permission")),
        ("#", Err("permission")),
        ("$SYS/#", Err("permission")),
        ("$share/g/TopicB/#", Err("permission")),
        ("$share/g", Err("topic")),
        ("$share//TopicA/up", Err("topic")),
        ("TopicA/#/up", Err("topic")),
        ("TopicA/up+", Err("topic")),
        ("", Err("topic")),
    ] {
        assert_eq!(may("GID_Test@@@0001", Action::Subscribe, filter), expected, "{filter}");
    }
}

#[test]
fn only_its_own_point_to_point_topics_are_read_by_a_client() {
    for (client_id, filter, expected) in [
        ("GID_Test@@@0001", "TopicA/p2p/GID_Test@@@0001", Ok(())),
        // LMQ-5.3: delivered whatever its permission is; a broker that subscribes for it asks for all parents.
        ("GID_Test@@@0001", "TopicD/p2p/GID_Test@@@0001", Ok(())),
        ("GID_Test@@@0001", "+/p2p/GID_Test@@@0001", Ok(())),
        ("GID_Test@@@0001", "TopicA/+/GID_Test@@@0001", Ok(())),
        ("GID_Test@@@0001", "TopicA/p2p/GID_Test@@@0002", Err("p2p")),
        ("GID_Test@@@0001", "TopicA/p2p/x", Err("p2p")),
        ("GID_Test@@@0001", "TopicA/p2p/+", Err("p2p")),
        ("GID_Test@@@0001", "TopicA/p2p/#", Err("p2p")),
        ("GID_Test@@@0001", "TopicA/p2p/GID_Test@@@0002/#", Err("p2p")),
        ("GID_Test@@@0001", "TopicA/+/GID_Test@@@0002", Err("p2p")),
        ("GID_Test@@@0001", "TopicA/p2p/a/b", Err("p2p")),
        ("GID_Test@@@0001", "TopicA/p2p/GID_Test@@@0001/b", Err("p2p")),
        ("GID_Test@@@0001", "TopicA/#", Err("p2p")),
        ("GID_Test@@@0001", "TopicA/+/#", Err("p2p")),
        ("GID_Test@@@0001", "$share/g/TopicA/#", Err("p2p")),
        ("GID_Test@@@0001", "$SYS/p2p/GID_Test@@@0001", Err("permission")),
        // Names that would stand for others' topics, were they taken for levels.
        ("+", "TopicA/p2p/+", Err("p2p")),
        ("#", "TopicD/p2p/#", Err("permission")),
        ("a/b", "TopicD/p2p/a/b", Err("permission")),
    ] {
        assert_eq!(may(client_id, Action::Subscribe, filter), expected, "{client_id} {filter}");
    }
    let mut all = permission(&[], &["#"]);
    all.reads_all_p2p = true;
    let accepted = Accepted { mode: Mode::Custom, permission: &all, tokens: None };
    for filter in ["#", "TopicA/#", "+/p2p/+"] {
        assert_eq!(accepted.may("bridge-up", Action::Subscribe, filter, false), Ok(()), "{filter}");
    }
}

pub(super) fn grant(access_key: &str, resources: &[&str], kind: Kind, expires: u64) -> Grant {
    Grant {
        id: TokenId([0; 16]),
        access_key: access_key.to_owned(),
        instance: "mqtt-x".to_owned(),
        resources: resources.iter().map(|&resource| resource.to_owned()).collect(),
        read: kind.reads(),
        write: kind.writes(),
        expires,
    }
}

/// What the token of a text grants in these tests.
fn granted(token: &str) -> Result<Grant, Invalid> {
    match token {
        "read" => Ok(grant("AK", &["TopicA/down", "TopicB/#"], Kind::Read, 7)),
        "write" => Ok(grant("AK", &["TopicA/up/+"], Kind::Write, 9)),
        "both" => Ok(grant("AK", &["TopicA/#"], Kind::Both, 8)),
        "other" => Ok(grant("BK", &["TopicA/#"], Kind::Both, 8)),
        "expired" => Err(Invalid::Expired),
        "revoked" => Err(Invalid::Revoked),
        _ => Err(Invalid::Forged),
    }
}

#[test]
fn every_token_of_a_login_must_be_valid() {
    let (lmq, credentials) = (lmq(true), credentials());
    let rules = Rules { lmq: &lmq, credentials: &credentials };
    let login = |client_id: &str, username: &str, password: &str| {
        let accepted = rules.check(Login { client_id, username, password }, granted);
        accepted.map(|accepted| accepted.expires()).map_err(|refusal| refusal.kind())
    };
    for (client_id, username, password, expected) in [
        ("GID_Test@@@1", "Token|AK|mqtt-x", "R|read|W|write", Ok(Some(7))),
        ("GID_Test@@@1", "Token|AK|mqtt-x", "W|write", Ok(Some(9))),
        ("GID_Test@@@1", "Token|AK|mqtt-x", "RW|both", Ok(Some(8))),
        ("GID_Test@@@1", "Token|AK|mqtt-x", "R|both|W|write", Ok(Some(8))),
        ("GID_Test@@@1", "Token|AK|mqtt-x", "R|read|W|forged", Err("token_forged")),
        ("GID_Test@@@1", "Token|AK|mqtt-x", "R|expired|W|write", Err("token_expired")),
        ("GID_Test@@@1", "Token|AK|mqtt-x", "R|revoked", Err("token_revoked")),
        ("GID_Test@@@1", "Token|AK|mqtt-x", "RW|read", Err("token_type")),
        ("GID_Test@@@1", "Token|AK|mqtt-x", "W|read", Err("token_type")),
        ("GID_Test@@@1", "Token|AK|mqtt-x", "R|read|W|other", Err("token_foreign")),
        ("GID_Test@@@1", "Token|BK|mqtt-x", "RW|other", Err("unknown")),
        ("GID_Test@@@1", "Token|AK|mqtt-y", "RW|both", Err("instance")),
        ("GID_Other@@@1", "Token|AK|mqtt-x", "RW|both", Err("group")),
        ("GID_Test", "Token|AK|mqtt-x", "RW|both", Err("client_id")),
    ] {
        assert_eq!(login(client_id, username, password), expected, "{client_id} {username} {password}");
    }
}

#[test]
fn a_token_grants_no_more_than_its_resources_its_type_and_its_access_key() {
    let permission = permission(&["TopicA/#"], &["TopicA/#"]);
    let tokens = [(Kind::Read, "read"), (Kind::Write, "write")];
    let tokens = tokens.map(|(kind, token)| (kind, Arc::new(granted(token).unwrap())));
    let accepted = Accepted { mode: Mode::Token, permission: &permission, tokens: Some(tokens.into()) };
    for (action, topic, allowed) in [
        (Action::Subscribe, "TopicA/down", true),
        (Action::Subscribe, "TopicA/down/1", false),
        (Action::Subscribe, "TopicA/+", false),
        (Action::Subscribe, "TopicA/up/1", false),
        // The token holds it, its access key does not, or no longer.
        (Action::Subscribe, "TopicB/1", false),
        (Action::Subscribe, "TopicC/p2p/GID_Test@@@1", true),
        (Action::Subscribe, "TopicA/p2p/GID_Test@@@2", false),
        (Action::Publish, "TopicA/up/1", true),
        (Action::Publish, "TopicA/up", false),
        (Action::Publish, "TopicA/down", false),
        (Action::Publish, "$SYS/uploadToken", true),
    ] {
        let answer = accepted.may("GID_Test@@@1", action, topic, true);
        assert_eq!(answer.is_ok(), allowed, "{action} {topic}: {answer:?}");
    }
}

fn names() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9_ .=-]{1,8}"
}

proptest! {
    #[test]
    fn a_user_name_is_written_as_it_was_read(text in "(Signature|Token|DeviceCredential|x)?[|]?[a-z|]{0,6}") {
        if let Ok(username) = Username::parse(&text) {
            prop_assert_eq!(username.to_string(), text);
        }
    }

    #[test]
    fn what_is_written_is_read_as_what_it_was(id in names(), instance in names()) {
        for username in [
            Username::Signature { access_key: &id, instance: &instance },
            Username::Token { access_key: &id, instance: &instance },
            Username::Device { id: &id, instance: &instance },
            Username::Custom(&id),
        ] {
            let written = username.to_string();
            prop_assert_eq!(Username::parse(&written), Ok(username));
        }
    }

    #[test]
    fn tokens_are_read_as_they_were_written(mut kinds in prop::sample::subsequence(vec![Kind::Read, Kind::Write, Kind::Both], 1..=3).prop_shuffle(), token in names()) {
        let pairs: Vec<String> = kinds.drain(..).map(|kind| format!("{}|{token}", kind.text())).collect();
        let password = pairs.join("|");
        let read = tokens(&password).unwrap();
        let written: Vec<String> = read.iter().map(|(kind, token)| format!("{}|{token}", kind.text())).collect();
        prop_assert_eq!(written.join("|"), password);
    }

    #[test]
    fn no_login_makes_it_panic_and_none_is_let_in_by_chance(client_id in ".{0,8}", username in "[A-Za-z|]{0,20}", password in ".{0,40}") {
        prop_assert!(check(&client_id, &username, &password).is_err());
    }

    /// Against the definition: a filter reads what is sent to others when it matches the P2P topic of any of them.
    #[test]
    fn a_filter_reads_what_others_are_sent_exactly_when_it_matches_it(
        levels in prop::collection::vec(prop::sample::select(LEVELS), 1..5),
        rest in any::<bool>(),
        strict in any::<bool>(),
    ) {
        let filter = [levels.join("/"), if rest { "/#".to_owned() } else { String::new() }].concat();
        let permission = permission(&[], &["#", "$S/#"]);
        let accepted = Accepted { mode: Mode::Custom, permission: &permission, tokens: None };
        let answer = accepted.may("G@@@1", Action::Subscribe, &filter, strict);
        let pattern = Pattern::plain(&filter).unwrap();
        let reads = |client_id: &&&str| {
            let parents = LEVELS.iter().filter(|level| !["+", "$S"].contains(level));
            parents.into_iter().any(|parent| pattern.matches(&format!("{parent}/p2p/{client_id}")))
        };
        // Nobody is called `x` where client ids are as the contract has them; yet to name one in full is refused.
        let others = LEVELS.iter().chain(&["other", "G@@@3"]).filter(|level| !["+", "G@@@1"].contains(level));
        let full = levels.get(1) == Some(&"p2p") && levels.get(2).is_some_and(|level| *level != "+");
        let read = others.filter(|id| !strict || full || id.contains("@@@")).any(|id| reads(&id));
        let deep = levels.len() > 3 && levels[1] == "p2p" && levels[0] != "$S";
        prop_assert_eq!(answer == Err(Refusal::PointToPoint(filter.clone())), read || deep, "{}", filter);
    }
}

const LEVELS: &[&str] = &["A", "p2p", "+", "G@@@1", "G@@@2", "x", "$S"];
