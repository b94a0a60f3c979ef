//! Whom the guard stops, and whom it lets go on.

use super::*;

fn marker() -> Marker {
    Marker::new(&Secret::new("key"))
}

fn station(topic: &str) -> Station {
    Stations::new("mqtt", "edge").at(topic)
}

fn on(passed: Passed) -> String {
    match passed {
        Passed::On(mark) => mark,
        Passed::Echo => panic!("suppressed"),
    }
}

#[test]
fn a_message_goes_on_and_never_back() {
    let (a, b, c) = (station("a"), station("b"), station("c"));
    let at_b = on(marker().pass(None, a, b, b"x"));
    assert_eq!(marker().pass(Some(&at_b), b, a, b"x"), Passed::Echo, "back to where it entered");
    let at_c = on(marker().pass(Some(&at_b), b, c, b"x"));
    assert_eq!(marker().pass(Some(&at_c), c, b, b"x"), Passed::Echo, "back by one step");
    assert_eq!(marker().pass(Some(&at_c), c, a, b"x"), Passed::Echo, "back to where it entered, over two steps");
    assert_eq!(marker().pass(None, a, a, b"x"), Passed::Echo, "to where it stands");
}

#[test]
fn a_copied_mark_makes_no_echo() {
    let (a, b) = (station("a"), station("b"));
    let mark = on(marker().pass(None, a, b, b"x"));
    on(marker().pass(Some(&mark), b, a, b"another payload"));
    on(marker().pass(Some(&mark), station("another topic"), a, b"x"));
    on(Marker::new(&Secret::new("another key")).pass(Some(&mark), b, a, b"x"));
    for forged in ["", "AAAA", "not base64!", &mark[1..], &mark[..mark.len() - 11], &"A".repeat(500), &"A".repeat(187)]
    {
        on(marker().pass(Some(forged), b, a, b"x"));
    }
}

#[test]
fn brokers_of_one_name_and_two_kinds_are_two() {
    assert_ne!(Stations::new("mqtt", "main").at("t"), Stations::new("rocketmq", "main").at("t"));
    assert_ne!(Stations::new("mqtt", "a").at("b/t"), Stations::new("mqtt", "ab").at("/t"));
}

#[test]
fn a_long_way_forgets_neither_the_entry_nor_the_last_steps() {
    let stations: Vec<_> = (0..40).map(|n| station(&n.to_string())).collect();
    let mut mark = None;
    for hop in stations.windows(2) {
        mark = Some(on(marker().pass(mark.as_deref(), hop[0], hop[1], b"")));
        assert!(mark.as_ref().unwrap().len() <= MAX_TEXT);
        assert!(mark.as_ref().unwrap().bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_')));
    }
    for past in [0, 38, 37, 30] {
        assert_eq!(marker().pass(mark.as_deref(), stations[39], stations[past], b""), Passed::Echo, "{past}");
    }
}
