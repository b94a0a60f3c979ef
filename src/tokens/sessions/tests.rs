use proptest::prelude::*;

use super::*;

const NOW: u64 = 1_566_000_000_000;
const MINUTE: u64 = 60_000;

fn client(name: &str) -> Client {
    Client { broker: "edge".into(), client_id: name.into() }
}

fn held(id: u8, kind: Kind, expires: u64) -> Held {
    let (access_key, instance, resources) = ("YYYYY".to_owned(), String::new(), vec!["a/#".to_owned()]);
    let (read, write) = (kind.reads(), kind.writes());
    Held {
        kind,
        grant: Arc::new(Grant { id: TokenId([id; 16]), access_key, instance, resources, read, write, expires }),
    }
}

fn login(sessions: &mut Sessions, name: &str, held: &[Held]) {
    sessions.login(&client(name), Adapter::Rmqtt, held, NOW).unwrap();
}

/// Client, type and event of each.
fn said(due: Vec<Due>) -> Vec<(String, Kind, Event)> {
    due.into_iter().map(|due| (due.client.client_id.to_string(), due.kind, due.event)).collect()
}

#[test]
fn a_client_is_told_five_minutes_ahead_and_cut_when_its_token_ends() {
    let mut sessions = Sessions::default();
    let end = NOW + 10 * MINUTE;
    login(&mut sessions, "a", &[held(1, Kind::Read, end)]);
    assert_eq!(sessions.next(), Some(end - AHEAD));
    assert_eq!(said(sessions.tick(end - AHEAD - 1)), []);
    assert_eq!(said(sessions.tick(end - AHEAD)), [("a".into(), Kind::Read, Event::Expires(end))]);
    assert_eq!(said(sessions.tick(end - 1)), []);
    assert_eq!(said(sessions.tick(end)), [("a".into(), Kind::Read, Event::Ended(Invalid::Expired))]);
    assert_eq!((sessions.held(&client("a")), sessions.len(), sessions.next()), (None, 0, None));
}

#[test]
fn one_that_ends_within_five_minutes_is_told_once_the_client_is_there() {
    let mut sessions = Sessions::default();
    login(&mut sessions, "a", &[held(1, Kind::Write, NOW + MINUTE)]);
    assert_eq!(said(sessions.tick(NOW)), []);
    assert_eq!(said(sessions.tick(NOW + SETTLED)), [("a".into(), Kind::Write, Event::Expires(NOW + MINUTE))]);
    login(&mut sessions, "b", &[held(2, Kind::Write, NOW + 1)]);
    assert_eq!(said(sessions.tick(NOW + 1)), [("b".into(), Kind::Write, Event::Ended(Invalid::Expired))]);
}

#[test]
fn a_revoked_token_cuts_all_that_hold_it_and_no_other() {
    let mut sessions = Sessions::default();
    let end = NOW + MINUTE;
    login(&mut sessions, "a", &[held(1, Kind::Read, end), held(2, Kind::Write, end)]);
    login(&mut sessions, "b", &[held(2, Kind::Write, end)]);
    login(&mut sessions, "c", &[held(1, Kind::Read, end)]);
    let mut cut = said(sessions.revoke(TokenId([2; 16])));
    cut.sort_by(|one, other| one.0.cmp(&other.0));
    let revoked = |name: &str| (name.to_owned(), Kind::Write, Event::Ended(Invalid::Revoked));
    assert_eq!(cut, [revoked("a"), revoked("b")]);
    assert_eq!(said(sessions.revoke(TokenId([2; 16]))), []);
    assert_eq!(sessions.len(), 1);
    assert_eq!(said(sessions.tick(end)), [("c".into(), Kind::Read, Event::Ended(Invalid::Expired))]);
}

#[test]
fn a_new_token_takes_the_place_of_the_one_that_ends() {
    let mut sessions = Sessions::default();
    let (soon, late) = (NOW + MINUTE, NOW + 60 * MINUTE);
    login(&mut sessions, "a", &[held(1, Kind::Read, soon), held(2, Kind::Write, late)]);
    assert!(sessions.renew(&client("a"), held(3, Kind::Read, late), NOW));
    assert_eq!(said(sessions.tick(soon)), []);
    assert_eq!(said(sessions.revoke(TokenId([1; 16]))), []);
    assert!(sessions.renew(&client("a"), held(4, Kind::Both, late), NOW), "it covers both");
    assert_eq!(*sessions.held(&client("a")).unwrap(), [held(4, Kind::Both, late)]);
    assert!(sessions.renew(&client("a"), held(5, Kind::Read, late + 1), NOW), "it does not cover both");
    assert_eq!(said(sessions.tick(late)), [("a".into(), Kind::Both, Event::Ended(Invalid::Expired))]);
    assert!(!sessions.renew(&client("b"), held(1, Kind::Read, late), NOW), "it is not logged in");
}

#[test]
fn what_changes_is_written_down_once() {
    let mut sessions = Sessions::default();
    let token = held(1, Kind::Read, NOW + MINUTE);
    login(&mut sessions, "a", std::slice::from_ref(&token));
    login(&mut sessions, "b", std::slice::from_ref(&token));
    sessions.forget(&client("b"));
    let mut changes = sessions.take_changes(1);
    changes.extend(sessions.take_changes(9));
    changes.sort_by(|one, other| one.0.cmp(&other.0));
    assert_eq!(changes, [(client("a"), Some((Adapter::Rmqtt, [token].into()))), (client("b"), None)]);
    assert_eq!(sessions.take_changes(9), []);
    sessions.tick(NOW + MINUTE);
    assert_eq!(sessions.take_changes(9), [(client("a"), None)]);
}

#[test]
fn nothing_is_left_of_a_client_that_is_forgotten() {
    let mut sessions = Sessions::default();
    login(&mut sessions, "a", &[held(1, Kind::Read, NOW + MINUTE), held(1, Kind::Write, NOW + MINUTE)]);
    sessions.forget(&client("a"));
    assert!(sessions.is_empty() && sessions.by_token.is_empty() && sessions.alarms.is_empty());
}

proptest! {
    /// Whatever happens: who holds a token that has ended is cut, once, and nothing else is kept.
    #[test]
    fn every_login_ends_in_one_cut(steps in prop::collection::vec((0..4_u8, 0..3_u8, 0..4_u8, 1..20_u64), 1..60)) {
        let (mut sessions, mut now, mut open) = (Sessions::default(), NOW, std::collections::BTreeSet::new());
        let ended = |due: Vec<Due>, open: &mut std::collections::BTreeSet<String>| {
            for due in due {
                if matches!(due.event, Event::Ended(_)) {
                    assert!(open.remove(&*due.client.client_id), "{due:?} is cut though it is not there");
                }
            }
        };
        for (what, who, id, time) in steps {
            let name = format!("c{who}");
            match what {
                0 | 1 => {
                    let held = held(id, Kind::Read, now + time * MINUTE);
                    sessions.login(&client(&name), Adapter::Emqx, &[held], now).unwrap();
                    open.insert(name);
                }
                2 => ended(sessions.revoke(TokenId([id; 16])), &mut open),
                _ => {
                    now += time * MINUTE / 2;
                    ended(sessions.tick(now), &mut open);
                }
            }
            prop_assert_eq!(sessions.len(), open.len());
        }
        ended(sessions.tick(now + 60 * MINUTE), &mut open);
        prop_assert!(open.is_empty() && sessions.by_token.is_empty() && sessions.alarms.is_empty());
    }
}
