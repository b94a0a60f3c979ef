use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

const ID: &str = "GID_a@@@1";

/// A broker that tells events in order, and has said that these peers opened connections.
fn in_order<const N: usize>(opened: [&str; N]) -> Connections {
    let mut connections = Connections::new(true);
    for peer in opened {
        connections.opened(peer);
    }
    connections
}

fn came(peer: &str, at: u64, identity: Identity) -> Connected {
    Connected { client_id: ID.into(), at, peer: peer.into(), identity }
}

fn went(peer: &str, at: u64, identity: Identity, end: End) -> Disconnected {
    Disconnected { client_id: ID.into(), at, peer: peer.into(), identity, end }
}

fn named(name: &str) -> Identity {
    Identity::Named(name.into())
}

/// What was told, each channel by the number of its first notice.
fn show(notices: &[Notice], channels: &mut Vec<ChannelId>) -> String {
    let mut words = Vec::new();
    for notice in notices {
        let known = channels.iter().position(|channel| *channel == notice.channel_id);
        let number = known.unwrap_or_else(|| {
            channels.push(notice.channel_id);
            channels.len() - 1
        });
        words.push(format!("{}{number}@{}", notice.event_type.as_str(), notice.time));
    }
    words.join(" ")
}

#[test]
fn every_way_to_go_makes_the_notices_of_the_contract() {
    for (end, told) in
        [(End::Clean, "disconnect0@20 tcpclean0@20"), (End::Lost, "tcpclean0@20"), (End::TakenOver, "tcpclean0@20")]
    {
        for identity in [Identity::Latest, Identity::Peer, named("x")] {
            let (mut connections, mut channels) = (Connections::new(true), Vec::new());
            let begin = if identity == Identity::Peer { Identity::Latest } else { identity.clone() };
            let notices = connections.connected(&came("1.2.3.4:5", 10, begin), 0);
            assert_eq!(show(&notices, &mut channels), "connect0@10");
            assert_eq!(notices[0].client_ip, "1.2.3.4:5");
            let notices = connections.disconnected(&went("1.2.3.4:5", 20, identity, end), 0);
            assert_eq!(show(&notices, &mut channels), told);
            assert!(notices.iter().all(|notice| notice.client_ip == "1.2.3.4:5" && notice.client_id == ID));
        }
    }
}

#[test]
fn a_takeover_closes_the_old_channel_before_the_new_one_opens() {
    let (mut connections, mut channels) = (in_order(["a:1", "a:2", "a:3"]), Vec::new());
    connections.connected(&came("a:1", 10, Identity::Latest), 0);
    // Mosquitto 2.0 says so on the log for errors; a broker that says nothing is understood all the same.
    let said = connections.disconnected(&went("", 20, Identity::Latest, End::TakenOver), 0);
    assert_eq!(show(&said, &mut channels), "tcpclean0@20");
    let second = connections.connected(&came("a:2", 20, Identity::Latest), 0);
    assert_eq!(show(&second, &mut channels), "connect1@20");
    let third = connections.connected(&came("a:3", 30, Identity::Latest), 0);
    assert_eq!(show(&third, &mut channels), "tcpclean1@30 connect2@30");
}

#[test]
fn the_end_of_a_web_socket_that_was_taken_over_is_told_after_the_takeover() {
    let (mut connections, mut channels) = (in_order(["a:2"]), Vec::new());
    let end = |at, end| went("", at, Identity::Latest, end);
    // As Mosquitto 2.0 has it: the error, the new connection, and then the end of the old one.
    let told = [
        connections.connected(&came("::ffff:a:1", 10, Identity::Latest), 0),
        connections.disconnected(&end(20, End::TakenOver), 0),
        connections.connected(&came("a:2", 20, Identity::Latest), 0),
        connections.disconnected(&end(20, End::Lost), 0),
    ];
    assert_eq!(show(&told.concat(), &mut channels), "connect0@10 tcpclean0@20 connect1@20");
    assert_eq!(show(&connections.disconnected(&end(25, End::Lost), 0), &mut channels), "tcpclean1@25");
    // An end that does not come is not waited for.
    connections.connected(&came("::ffff:a:3", 30, Identity::Latest), 0);
    connections.connected(&came("::ffff:a:4", 40, Identity::Latest), 0);
    let late = connections.disconnected(&end(40 + OWED + 1, End::Clean), 0);
    assert_eq!(late.len(), 2);
}

#[test]
fn events_out_of_order_make_the_same_channels() {
    for (first, second) in [(named("x"), named("y")), (Identity::Peer, Identity::Peer)] {
        let events = [
            Ok(came("a:1", 10, first.clone())),
            Err(went("a:1", 21, first, End::TakenOver)),
            Ok(came("a:2", 20, second.clone())),
        ];
        for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            let mut connections = Connections::new(false);
            let mut told = BTreeMap::<ChannelId, BTreeSet<EventType>>::new();
            for index in order {
                let notices = match &events[index] {
                    Ok(event) => connections.connected(event, 0),
                    Err(event) => connections.disconnected(event, 0),
                };
                for notice in notices {
                    told.entry(notice.channel_id).or_default().insert(notice.event_type);
                }
            }
            let open = |types: &&BTreeSet<EventType>| types.len() == 1 && types.contains(&EventType::Connect);
            assert_eq!((told.len(), told.values().filter(open).count()), (2, 1), "{order:?}");
            assert_eq!(connections.client(ID).unwrap().open.len(), 1, "{order:?}");
        }
    }
}

#[test]
fn an_end_without_a_beginning_says_that_the_client_is_gone() {
    let (mut connections, mut channels) = (Connections::new(true), Vec::new());
    let unseen = connections.disconnected(&went("", 20, Identity::Latest, End::Lost), 0);
    assert_eq!(show(&unseen, &mut channels), "tcpclean0@20");
    // The end of a login that was refused, perhaps: it says nothing of the connection that is known.
    connections.connected(&came("a:1", 30, Identity::Latest), 0);
    assert_eq!(connections.disconnected(&went("a:9", 40, Identity::Peer, End::Clean), 0), []);
    assert_eq!(connections.client(ID).unwrap().open.len(), 1);

    // Where events are shuffled, its beginning may still come; and when it does not, it never was.
    let (mut connections, mut channels) = (Connections::new(false), Vec::new());
    assert_eq!(connections.disconnected(&went("a:1", 20, Identity::Peer, End::Clean), 0), []);
    assert_eq!(connections.forget(20 + PATIENCE), []);
    let changed = connections.forget(21 + PATIENCE);
    assert_eq!(show(&changed[0].1, &mut channels), "disconnect0@20 tcpclean0@20");
    assert_eq!(connections.forget(20 + REMEMBERED), []);
    assert_eq!(connections.clients().count(), 0);
}

#[test]
fn a_late_word_about_an_old_connection_leaves_the_new_one_alone() {
    let mut connections = Connections::new(false);
    connections.connected(&came("a:1", 10, Identity::Peer), 0);
    connections.connected(&came("a:2", 20, Identity::Peer), 0);
    assert_eq!(connections.disconnected(&went("a:1", 20, Identity::Peer, End::TakenOver), 0), []);
    assert_eq!(connections.client(ID).unwrap().open.len(), 1);
}

#[test]
fn a_port_that_comes_again_is_another_connection() {
    let (mut connections, mut channels) = (Connections::new(false), Vec::new());
    for at in [1_010, 2_020, 3_030] {
        let begun = connections.connected(&came("a:1", at, Identity::Peer), 0);
        let ended = connections.disconnected(&went("a:1", at + 5, Identity::Peer, End::Lost), 0);
        show(&[begun, ended].concat(), &mut channels);
    }
    assert_eq!(channels.len(), 3);
}

#[test]
fn a_broker_that_is_gone_takes_its_connections_with_it() {
    let (mut connections, mut channels) = (Connections::new(true), Vec::new());
    connections.connected(&came("a:1", 10, Identity::Latest), 1_000);
    let before = |open: &Channel| open.heard < 2_000;
    assert_eq!(connections.having(before), [ID]);
    let notices = connections.lost(ID, before, 50, 0);
    assert_eq!(show(&notices, &mut channels), "tcpclean0@50");
    connections.connected(&came("a:2", 60, Identity::Latest), 3_000);
    assert_eq!(connections.having(before), Vec::<String>::new());
    assert_eq!(connections.lost(ID, before, 70, 0), []);
}

#[test]
fn what_is_remembered_of_a_client_is_bounded_and_survives_the_disk() {
    let mut connections = Connections::new(false);
    for at in 0..20 {
        connections.connected(&came(&format!("a:{at}"), at, Identity::Peer), 0);
    }
    let client = connections.client(ID).unwrap().clone();
    assert_eq!((client.open.len(), client.past.len()), (1, PAST));
    let text = serde_json::to_string(&client).unwrap();
    assert_eq!(serde_json::from_str::<Client>(&text).unwrap(), client);
    let mut restored = Connections::new(false);
    restored.restore(ID.into(), client);
    assert_eq!(restored.clients().count(), 1);
    restored.restore(ID.into(), Client::default());
    assert_eq!(restored.clients().count(), 0);
}

/// A life of one client, as a broker with these events would tell it.
fn life() -> impl Strategy<Value = Vec<(u64, u64, End)>> {
    let end = prop_oneof![Just(End::Clean), Just(End::Lost), Just(End::TakenOver)];
    proptest::collection::vec((1u64..50, 1u64..50, end), 1..PAST)
}

proptest! {
    /// LMQ-7.2: each connection has one `connect` and one `tcpclean`, whatever order the events come in.
    #[test]
    fn every_connection_is_told_once_in_any_order(
        life in life(), order in any::<u64>(), by_name in any::<bool>(), last_is_open in any::<bool>(),
    ) {
        let (mut events, mut now) = (Vec::new(), 0);
        for (index, (lasts, pause, end)) in life.iter().enumerate() {
            let peer = format!("a:{index}");
            let identity = if by_name { named(&peer) } else { Identity::Peer };
            now += pause;
            events.push(Ok(came(&peer, now, identity.clone())));
            now += lasts;
            if !(last_is_open && index + 1 == life.len()) {
                events.push(Err(went(&peer, now, identity, *end)));
            }
        }
        fastrand::Rng::with_seed(order).shuffle(&mut events);
        let mut connections = Connections::new(false);
        let mut told: Vec<Notice> = Vec::new();
        for event in &events {
            told.extend(match event {
                Ok(event) => connections.connected(event, 0),
                Err(event) => connections.disconnected(event, 0),
            });
        }
        let count = |kind| told.iter().filter(|notice| notice.event_type == kind).count();
        let channels: BTreeSet<_> = told.iter().map(|notice| notice.channel_id).collect();
        prop_assert_eq!(channels.len(), life.len());
        prop_assert_eq!(count(EventType::Connect), life.len());
        prop_assert_eq!(count(EventType::TcpClean), life.len() - usize::from(last_is_open));
        prop_assert_eq!(connections.client(ID).map_or(0, |client| client.open.len()), usize::from(last_is_open));
    }
}
