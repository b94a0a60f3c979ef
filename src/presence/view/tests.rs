//! The rules of presence, one by one; `tests/model.rs` holds the view against a plain definition of them.

mod bounds;
mod model;
mod snapshots;

use super::{
    Answer::{Known, Unknown},
    tombstones::WINDOW,
    *,
};
use crate::lmq::notice::ChannelId;

use EventType::{Connect, Disconnect, TcpClean};

fn notice(client_id: &str, event_type: EventType, channel: u128, time: u64) -> Notice {
    Notice {
        client_id: client_id.into(),
        time,
        event_type,
        channel_id: ChannelId(channel),
        client_ip: format!("10.0.0.1:{channel}"),
    }
}

/// A view that has taken notices in, all of the route `s`, at one point in time.
fn view(notices: &[(&str, EventType, u128, u64)]) -> View {
    let mut view = View::default();
    for (client_id, event, channel, time) in notices {
        view.apply(Some("s"), &notice(client_id, *event, *channel, *time), 0);
    }
    view
}

fn listed(page: &Page) -> Vec<String> {
    page.clients.iter().map(|client| client.client_id.clone()).collect()
}

#[test]
fn the_table_of_the_contract_holds() {
    let (a, b, c) = (1, 2, 3);
    let mut view = View::default();
    for (event, channel, time, kept, online) in [
        (Connect, a, 100, &[a][..], Known(1)),
        (Connect, b, 200, &[a, b], Known(2)),
        (TcpClean, a, 210, &[b], Known(1)),
        (TcpClean, c, 300, &[b], Known(1)),
        (Connect, c, 290, &[b], Known(1)),
        (TcpClean, b, 400, &[], Known(0)),
    ] {
        view.apply(None, &notice("G@@@1", event, channel, time), 0);
        let mut page = view.list("G", None, 1);
        let channels = page.clients.pop().map_or(Vec::new(), |client| client.channels);
        let mut ids: Vec<u128> = channels.iter().map(|channel| channel.id.0).collect();
        ids.sort_unstable();
        assert_eq!((&ids[..], view.online("G@@@1")), (kept, online), "after {event:?} {channel} t={time}");
    }
}

#[test]
fn a_connect_that_comes_again_does_not_bring_a_channel_back() {
    for end in [Disconnect, TcpClean] {
        let mut view = View::default();
        view.apply(None, &notice("G@@@1", Connect, 1, 100), 0);
        view.apply(None, &notice("G@@@1", end, 1, 110), 0);
        assert_eq!(view.apply(None, &notice("G@@@1", Connect, 1, 100), WINDOW - 1), None);
        // Each repetition may be followed by another.
        assert_eq!(view.apply(None, &notice("G@@@1", Connect, 1, 100), 2 * WINDOW - 2), None);
        assert_eq!(view.online("G@@@1"), Known(0), "{end:?}");
    }
}

#[test]
fn a_tombstone_lasts_for_a_window_whenever_it_was_made() {
    for made_at in [0, WINDOW / 2, WINDOW - 1] {
        let mut view = View::default();
        view.forget(0);
        view.apply(None, &notice("G@@@1", TcpClean, 1, 110), made_at);
        (made_at..made_at + WINDOW).step_by(1000).for_each(|now| view.forget(now));
        assert_eq!(view.apply(None, &notice("G@@@1", Connect, 1, 100), made_at + WINDOW - 1), None, "{made_at}");
    }
}

#[test]
fn a_change_is_told_once() {
    let mut view = View::default();
    let connect = notice("G@@@1", Connect, 1, 100);
    let change = |before, after| Some(Change { before: Known(before), after: Known(after) });
    assert_eq!(view.apply(None, &connect, 0), change(0, 1));
    assert_eq!(view.apply(None, &connect, 0), None);
    assert_eq!(view.apply(None, &notice("G@@@1", Disconnect, 1, 110), 0), change(1, 0));
    assert_eq!(view.apply(None, &notice("G@@@1", TcpClean, 1, 110), 0), None);
}

#[test]
fn a_group_is_counted_and_listed_by_itself() {
    let ids = ["G@@@b", "G@@@a", "Ga@@@x", "plain", "G@@@", "other", "G@@@@c"];
    let view = view(&ids.map(|id| (id, Connect, 1, 100)));
    for (group, clients) in [
        ("G", &["G@@@", "G@@@@c", "G@@@a", "G@@@b"][..]),
        ("Ga", &["Ga@@@x"]),
        ("", &["other", "plain"]),
        ("G@", &[]),
        ("H", &[]),
    ] {
        assert_eq!(view.count(group), Count { online: clients.len(), exact: true }, "{group}");
        assert_eq!(listed(&view.list(group, None, 10)), clients, "{group}");
    }
    assert_eq!(view.clients(), ids.len());
}

#[test]
fn pages_follow_each_other_whatever_comes_and_goes_between() {
    let mut view = view(&["G@@@1", "G@@@2", "G@@@3", "G@@@4"].map(|id| (id, Connect, 1, 100)));
    let page = view.list("G", None, 2);
    assert_eq!((listed(&page), page.more), (vec!["G@@@1".into(), "G@@@2".into()], true));
    view.apply(None, &notice("G@@@2", TcpClean, 1, 200), 0);
    let page = view.list("G", Some("G@@@2"), 2);
    assert_eq!((listed(&page), page.more), (vec!["G@@@3".into(), "G@@@4".into()], false));
    for (after, found) in [("", 3), ("A@@@9", 3), ("G@@@", 3), ("G@@@4", 0), ("H@@@1", 0)] {
        assert_eq!(view.list("G", Some(after), 9).clients.len(), found, "{after}");
    }
    assert_eq!(view.list("G", None, 0), Page { clients: vec![], more: true });
}

#[test]
fn a_listed_client_shows_its_channels_and_its_latest_notice() {
    let view = view(&[("G@@@1", TcpClean, 1, 300), ("G@@@1", Connect, 2, 200)]);
    let page = view.list("G", None, 1);
    let client = &page.clients[0];
    assert_eq!(client.heard_at, 300);
    let channel = client.channels[0];
    assert_eq!((channel.id, channel.connected_at, &*channel.client_ip), (ChannelId(2), 200, "10.0.0.1:2"));
}

#[test]
fn after_a_gap_a_client_is_unknown_until_it_is_heard_of() {
    let mut view = view(&[("G@@@on", Connect, 1, 100), ("G@@@off", Connect, 1, 100), ("G@@@off", TcpClean, 1, 110)]);
    view.gap("s", 200);
    for client in ["G@@@on", "G@@@off", "G@@@never", "H@@@never"] {
        assert_eq!(view.online(client), Unknown, "{client}");
    }
    assert_eq!(view.count("G"), Count { online: 0, exact: false });
    view.apply(Some("s"), &notice("G@@@on", Connect, 1, 100), 0);
    assert_eq!(view.online("G@@@on"), Unknown, "an old notice says nothing new");
    view.apply(Some("s"), &notice("G@@@off", Connect, 2, 300), 0);
    assert_eq!(view.online("G@@@off"), Known(1));
    view.apply(Some("s"), &notice("G@@@on", TcpClean, 1, 310), 0);
    assert_eq!(view.online("G@@@on"), Known(0));
    assert_eq!(view.count("G"), Count { online: 1, exact: false });
}

#[test]
fn a_channel_whose_end_was_missed_does_not_outlive_the_next_one() {
    let mut view = view(&[("G@@@1", Connect, 1, 100)]);
    view.gap("s", 200);
    view.apply(Some("s"), &notice("G@@@1", Connect, 2, 300), 0);
    assert_eq!(view.online("G@@@1"), Known(1), "a broker keeps one connection per client id");
    view.apply(Some("s"), &notice("G@@@1", TcpClean, 2, 400), 0);
    assert_eq!(view.online("G@@@1"), Known(0));
    assert_eq!(view.list("G", None, 1).clients, []);
}

#[test]
fn the_late_end_of_an_older_channel_says_nothing_about_a_newer_one() {
    let mut view = view(&[("G@@@1", Connect, 1, 100), ("G@@@1", Connect, 2, 190)]);
    view.gap("s", 200);
    view.apply(Some("s"), &notice("G@@@1", TcpClean, 1, 210), 0);
    assert_eq!(view.online("G@@@1"), Unknown, "the newer one was there before the gap ended, and may be there still");
    view.apply(Some("s"), &notice("G@@@1", TcpClean, 2, 220), 0);
    assert_eq!(view.online("G@@@1"), Known(0));
}

#[test]
fn after_a_reset_all_is_known_until_the_next_gap() {
    for swapped in [false, true] {
        let mut view = view(&[("G@@@1", Connect, 1, 100)]);
        if swapped {
            view.reset("s", 200);
        }
        view.gap("s", 200);
        view.reset("s", 200);
        view.gap("s", 150);
        assert_eq!((view.online("G@@@1"), view.online("G@@@2")), (Known(1), Known(0)));
        assert_eq!(view.count("G"), Count { online: 1, exact: true });
        view.gap("s", 201);
        assert_eq!((view.online("G@@@1"), view.online("G@@@2")), (Unknown, Unknown));
    }
}

#[test]
fn a_gap_touches_only_the_groups_that_its_source_tells_of() {
    let mut view = view(&[("G@@@1", Connect, 1, 100)]);
    view.apply(Some("t"), &notice("H@@@1", Connect, 1, 100), 0);
    view.apply(None, &notice("I@@@1", Connect, 1, 100), 0);
    view.gap("s", 200);
    for (client, answer) in
        [("G@@@1", Unknown), ("G@@@2", Unknown), ("H@@@1", Known(1)), ("H@@@2", Known(0)), ("I@@@2", Known(0))]
    {
        assert_eq!(view.online(client), answer, "{client}");
    }
    assert_eq!(view.online("J@@@1"), Unknown, "whoever would tell of this group has not yet");
}

#[test]
fn a_gap_of_one_source_leaves_no_doubt_about_a_channel_of_another() {
    let mut view = view(&[("G@@@1", Connect, 1, 100)]);
    view.gap("s", 200);
    view.apply(Some("t"), &notice("G@@@1", Connect, 2, 300), 0);
    assert_eq!(view.online("G@@@1"), Known(1));
    view.apply(Some("t"), &notice("G@@@1", TcpClean, 2, 400), 0);
    assert_eq!(view.online("G@@@1"), Unknown, "its channel with the other broker may be open still");
}

#[test]
fn a_client_heard_of_since_a_gap_stays_known_while_the_gap_counts() {
    let mut view = view(&[("G@@@0", Connect, 1, 10)]);
    view.gap("s", 200);
    view.apply(Some("s"), &notice("G@@@1", TcpClean, 1, 300), 0);
    (1..10).for_each(|turn| view.forget(turn * WINDOW));
    assert_eq!(view.online("G@@@1"), Known(0));
    view.reset("s", 400);
    assert!(view.tombstones.proofs.is_empty(), "nothing is kept for a gap that no longer counts");
}
