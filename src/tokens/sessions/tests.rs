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
    sessions.login(&client(name), Adapter::Rmqtt, held, NOW);
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
    assert_eq!((sessions.held(&client("a")), sessions.len(), sessions.next()), (Err(Invalid::Expired), 0, None));
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
    let logged_in = State::LoggedIn([token].into());
    assert_eq!(changes, [(client("a"), Some((Adapter::Rmqtt, logged_in.clone()))), (client("b"), None)]);
    assert_eq!(sessions.take_changes(9), []);
    sessions.put_back(vec![client("a")]);
    assert_eq!(sessions.take_changes(9), [(client("a"), Some((Adapter::Rmqtt, logged_in)))], "it was not written down");
    let due = sessions.tick(NOW + MINUTE);
    let ended = State::Ended(Kind::Read, Invalid::Expired);
    assert_eq!(sessions.take_changes(9), [(client("a"), Some((Adapter::Rmqtt, ended)))], "it is not cut yet");
    sessions.tried(&due[0], Outcome::Settled, NOW + MINUTE);
    assert_eq!(sessions.take_changes(9), [(client("a"), None)]);
}

#[test]
fn nothing_is_left_of_a_client_that_is_forgotten() {
    let mut sessions = Sessions::default();
    login(&mut sessions, "a", &[held(1, Kind::Read, NOW + MINUTE), held(1, Kind::Write, NOW + MINUTE)]);
    sessions.forget(&client("a"));
    assert!(sessions.is_empty() && sessions.by_token.is_empty() && sessions.alarms.is_empty());
}

#[test]
fn what_is_owed_comes_again_until_the_client_is_cut_or_twice_not_there() {
    use Outcome::{Absent, Failed, Settled};
    for (outcomes, pauses) in [
        (&[Settled][..], &[][..]),
        (&[Absent, Absent], &[1]),
        (&[Absent, Failed, Absent, Absent], &[1, 2, 4]),
        (&[Failed, Failed, Failed, Failed, Failed, Failed, Failed, Failed, Settled], &[1, 2, 4, 8, 16, 32, 60, 60]),
    ] {
        let mut sessions = Sessions::default();
        login(&mut sessions, "a", &[held(1, Kind::Read, NOW + MINUTE)]);
        let (mut due, mut now) = (sessions.revoke(TokenId([1; 16])), NOW);
        for (number, outcome) in outcomes.iter().enumerate() {
            assert!(due.len() == 1 && sessions.is_wanted(&due[0]), "{outcomes:?} {number}");
            assert_eq!(due[0].event, Event::Ended(Invalid::Revoked));
            sessions.tried(&due[0], *outcome, now);
            let Some(pause) = pauses.get(number) else { break };
            assert_eq!(sessions.next(), Some(now + pause * 1000), "{outcomes:?} {number}");
            now += pause * 1000;
            due = sessions.tick(now);
        }
        assert!(sessions.clients.is_empty() && sessions.alarms.is_empty() && sessions.by_age.is_empty());
        assert_eq!(sessions.ended, 0);
    }
}

#[test]
fn nothing_is_owed_to_a_client_that_logs_in_again_in_whatever_way() {
    let (end, later) = (NOW + MINUTE, NOW + 60 * MINUTE);
    for again in [true, false] {
        let mut sessions = Sessions::default();
        login(&mut sessions, "a", &[held(1, Kind::Read, end)]);
        let told = sessions.tick(NOW + SETTLED);
        assert!(sessions.is_wanted(&told[0]));
        let due = sessions.revoke(TokenId([1; 16]));
        assert!(!sessions.is_wanted(&told[0]) && sessions.is_wanted(&due[0]));
        if again {
            login(&mut sessions, "a", &[held(2, Kind::Read, later)]);
        } else {
            sessions.forget(&client("a"));
        }
        assert!(!sessions.is_wanted(&due[0]));
        sessions.tried(&due[0], Outcome::Failed, NOW);
        sessions.tried(&due[0], Outcome::Settled, NOW);
        assert_eq!((sessions.len(), said(sessions.tick(end)).len()), (usize::from(again), 0));
    }
}

#[test]
fn a_full_table_puts_out_whoever_came_first() {
    let mut sessions = Sessions::with_room(2);
    let token = [held(1, Kind::Read, NOW + MINUTE)];
    for name in ["a", "b", "a", "c"] {
        login(&mut sessions, name, &token);
    }
    let is_there = |name: &str| sessions.held(&client(name)).is_ok();
    assert_eq!((sessions.len(), is_there("a"), is_there("b"), is_there("c")), (2, true, false, true));
    assert!(sessions.take_changes(9).contains(&(client("b"), None)));
    assert_eq!(sessions.revoke(TokenId([1; 16])).len(), 2);
    // Those to be cut take room as well.
    login(&mut sessions, "d", &token);
    assert_eq!((sessions.len(), sessions.clients.len()), (1, 2));
}

#[test]
fn all_that_hold_a_token_share_what_it_grants() {
    let mut sessions = Sessions::default();
    for name in ["a", "b"] {
        login(&mut sessions, name, &[held(1, Kind::Read, NOW + MINUTE)]);
    }
    let grant = |name: &str| sessions.held(&client(name)).unwrap()[0].grant.clone();
    assert!(Arc::ptr_eq(&grant("a"), &grant("b")));
}

proptest! {
    /// Whatever happens: who holds a token that has ended is cut, once, and nothing else is kept.
    #[test]
    fn every_login_ends_in_one_cut(steps in prop::collection::vec((0..4_u8, 0..3_u8, 0..4_u8, 1..20_u64), 1..60)) {
        let (mut sessions, mut now, mut open) = (Sessions::default(), NOW, std::collections::BTreeSet::new());
        let ended = |due: Vec<Due>, sessions: &mut Sessions, open: &mut std::collections::BTreeSet<String>| {
            for due in due {
                sessions.tried(&due, Outcome::Settled, NOW);
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
                    sessions.login(&client(&name), Adapter::Emqx, &[held], now);
                    open.insert(name);
                }
                2 => {
                    let due = sessions.revoke(TokenId([id; 16]));
                    ended(due, &mut sessions, &mut open);
                }
                _ => {
                    now += time * MINUTE / 2;
                    let due = sessions.tick(now);
                    ended(due, &mut sessions, &mut open);
                }
            }
            prop_assert_eq!(sessions.len(), open.len());
        }
        let due = sessions.tick(now + 60 * MINUTE);
        ended(due, &mut sessions, &mut open);
        prop_assert!(open.is_empty() && sessions.by_token.is_empty() && sessions.alarms.is_empty());
    }
}
