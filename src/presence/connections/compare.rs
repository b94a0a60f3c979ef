//! What is known of connections, set right by the broker's own list of them.
//!
//! The list is as old as the request for it, and may be behind what the broker has told: what was heard since, or just
//! before, stays as it is, and is right by the next list. It must never close what may have come after the list.

use std::collections::BTreeMap;

use super::{Channel, Connections, LAG, Told};
use crate::{
    lmq::notice::Notice,
    presence::event::{Connected, End},
};

/// When a list was asked for, and when it is compared.
#[derive(Debug, Clone, Copy)]
pub struct When {
    /// Before the first request, by the bridge's clock.
    pub asked: u64,
    /// Now, by the bridge's clock.
    pub now: u64,
    /// Now, by the broker's clock: what is found to be over, or to be there after all, is told with this time.
    pub broker: u64,
}

impl Connections {
    /// Compares what is known with all connections that the broker has: each client that has notices of that.
    pub fn compare(&mut self, list: &[Connected], when: When) -> Vec<(String, Vec<Notice>)> {
        let open = self.having(|open| open.heard + LAG < when.asked);
        let mut there: BTreeMap<&str, Vec<&Connected>> = open.iter().map(|id| (id.as_str(), Vec::new())).collect();
        for connected in list {
            there.entry(&connected.client_id).or_default().push(connected);
        }
        let changed = there.into_iter().map(|(client_id, there)| (client_id, self.set_right(client_id, there, when)));
        let changed = changed.filter(|(_, notices)| !notices.is_empty());
        changed.map(|(client_id, notices)| (client_id.to_owned(), notices)).collect()
    }

    fn set_right(&mut self, client_id: &str, mut there: Vec<&Connected>, when: When) -> Vec<Notice> {
        let over = |open: &Channel| {
            open.heard + LAG < when.asked && !there.iter().any(|there| open.is(&there.identity, &there.peer))
        };
        let mut notices = self.lost(client_id, over, when.broker, when.now);
        there.sort_by_key(|there| there.at);
        for connected in there {
            notices.extend(self.found(connected, when));
        }
        notices
    }

    /// A connection is in the list.
    fn found(&mut self, there: &Connected, when: When) -> Vec<Notice> {
        let client = self.clients.entry(there.client_id.as_str().into()).or_default();
        let mut told = Told { client_id: &there.client_id, notices: Vec::new() };
        if let Some(open) = client.open.iter_mut().find(|open| open.is(&there.identity, &there.peer)) {
            if std::mem::take(&mut open.unsure) {
                told.connect(open);
            }
            return told.notices;
        }
        if client.open.iter().any(|open| open.at > there.at) {
            // The list is behind.
            return Vec::new();
        }
        let ended = client.past.iter().rev().find(|past| past.at >= there.at && past.is(&there.identity, &there.peer));
        let Some(past) = ended.filter(|past| past.sure < when.asked) else {
            return self.connected(there, when.now);
        };
        let channel = Channel::again(there, past.at, when.broker, when.now);
        client.close_all(End::TakenOver, when.broker, when.now, &mut told);
        told.connect(&channel);
        client.open.push(channel);
        told.notices
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::{
        lmq::notice::EventType,
        presence::event::{Disconnected, Identity},
    };

    const WHEN: When = When { asked: 100_000, now: 101_000, broker: 500_000 };

    fn name(at: u64) -> Identity {
        Identity::Named(format!("n/{at}"))
    }

    fn came(client_id: &str, at: u64) -> Connected {
        Connected { client_id: client_id.into(), at, peer: format!("10.0.0.1:{at}"), identity: name(at) }
    }

    fn went(client_id: &str, at: u64, end: u64) -> Disconnected {
        Disconnected { client_id: client_id.into(), at: end, peer: String::new(), identity: name(at), end: End::Clean }
    }

    /// What is told, as the client, the beginning of its connection, the word and its time.
    fn show(changed: &[(String, Vec<Notice>)]) -> Vec<String> {
        let word = |notice: &Notice| {
            let began = notice.client_ip.trim_start_matches("10.0.0.1:");
            format!("{} {began} {}@{}", notice.client_id, notice.event_type.as_str(), notice.time)
        };
        changed.iter().flat_map(|(_, notices)| notices).map(word).collect()
    }

    fn open(connections: &Connections) -> BTreeSet<(String, Option<String>)> {
        let each = |(id, client): (&str, &super::super::Client)| {
            let name = |open: &Channel| (id.to_owned(), open.name.as_deref().map(str::to_owned));
            client.open.iter().map(name).collect::<Vec<_>>()
        };
        connections.clients().flat_map(each).collect()
    }

    #[test]
    fn a_list_tells_who_came_and_who_went_while_nobody_listened() {
        let mut connections = Connections::new(false);
        for client in ["a", "b", "c"] {
            connections.connected(&came(client, 10), 10);
        }
        let changed = connections.compare(&[came("a", 10), came("b", 20), came("d", 30)], WHEN);
        let told = ["b 10 tcpclean@500000", "b 20 connect@20", "c 10 tcpclean@500000", "d 30 connect@30"];
        assert_eq!(show(&changed), told);
        assert_eq!(changed.len(), 3, "all of one client is one event");
        assert!(connections.compare(&[came("a", 10), came("b", 20), came("d", 30)], WHEN).is_empty());
    }

    #[test]
    fn the_channel_of_a_list_is_that_of_the_event() {
        let of_peer = |at| Connected { identity: Identity::Peer, at, ..came("a", 10) };
        for (event, list) in [(came("a", 10), came("a", 10)), (of_peer(1_234), of_peer(1_000))] {
            let told = Connections::new(false).connected(&event, 0);
            let listed = Connections::new(false).compare(&[list], WHEN);
            assert_eq!(told[0].channel_id, listed[0].1[0].channel_id);
        }
    }

    #[test]
    fn what_is_heard_while_the_list_is_read_wins() {
        let mut connections = Connections::new(false);
        connections.connected(&came("stays", 10), 10);
        connections.connected(&came("replaced", 10), 10);
        connections.connected(&came("gone", 10), 10);
        // Since the request, or so shortly before that the list may not know.
        connections.connected(&came("replaced", 40), WHEN.asked + 1);
        connections.connected(&came("new", 40), WHEN.asked - 1);
        connections.disconnected(&went("gone", 10, 50), WHEN.asked - 1);
        connections.disconnected(&went("unseen", 30, 50), WHEN.asked + 1);
        let list = [came("stays", 10), came("replaced", 10), came("gone", 10), came("unseen", 30)];
        let changed = connections.compare(&list, WHEN);
        // Its end waited for its beginning.
        assert_eq!(show(&changed), ["unseen 30 connect@30", "unseen 30 disconnect@50", "unseen 30 tcpclean@50"]);
        let names = |at| Some(format!("n/{at}"));
        assert_eq!(
            open(&connections),
            BTreeSet::from([("stays".into(), names(10)), ("replaced".into(), names(40)), ("new".into(), names(40))])
        );
    }

    #[test]
    fn a_connection_that_was_taken_for_dead_comes_back_on_a_channel_of_its_own() {
        let mut connections = Connections::new(false);
        let first = connections.connected(&came("a", 10), 10);
        connections.lost("a", |_| true, 60, 50_000);
        let changed = connections.compare(&[came("a", 10)], WHEN);
        assert_eq!(show(&changed), ["a 10 connect@500000"]);
        let again = changed[0].1[0].channel_id;
        assert_ne!(again, first[0].channel_id);
        // Its end is still known by the same name, and it stays over.
        let ended = connections.disconnected(&went("a", 10, 600_000), 110_000);
        assert_eq!((ended.len(), ended[0].channel_id), (2, again));
        assert!(connections.compare(&[came("a", 10)], When { asked: 111_000, ..WHEN }).is_empty());
    }

    #[test]
    fn what_may_not_have_been_told_is_told_again_or_ended() {
        let of = |client_id| Channel::of(&came(client_id, 10), 10);
        for (list, told) in [(vec![came("a", 10)], "a 10 connect@10"), (vec![], "a 10 tcpclean@500000")] {
            let mut connections = Connections::new(false);
            connections.restore_unsure("a".into(), of("a"));
            assert_eq!(show(&connections.compare(&list, WHEN)), [told]);
            assert!(connections.compare(&list, WHEN).is_empty());
        }
    }

    #[test]
    fn of_two_connections_of_a_client_the_newer_one_is_there() {
        let mut connections = Connections::new(false);
        let changed = connections.compare(&[came("a", 20), came("a", 10), came("a", 20)], WHEN);
        assert_eq!(show(&changed), ["a 10 connect@10", "a 10 tcpclean@20", "a 20 connect@20"]);
    }

    /// A client, whether it is known to be there, whether the list has it, and when it was heard of.
    fn clients() -> impl Strategy<Value = Vec<(u64, Option<u64>, Option<u64>)>> {
        let at = || proptest::option::of(10u64..14);
        proptest::collection::vec((0u64..50, at(), at()), 0..60)
    }

    proptest! {
        /// LMQ-7.2: one `connect` and one `tcpclean` for each connection, and afterwards what is open is what is listed.
        #[test]
        fn what_is_open_is_what_is_listed_where_nothing_else_was_heard(clients in clients(), lost in any::<bool>()) {
            let (mut connections, mut list) = (Connections::new(false), Vec::new());
            let mut told: Vec<Notice> = Vec::new();
            let clients: BTreeMap<_, _> = clients.into_iter().map(|(id, known, there)| (id, (known, there))).collect();
            for (id, (known, there)) in clients {
                let id = format!("c{id}");
                if let Some(at) = known {
                    told.extend(connections.connected(&came(&id, at), at));
                }
                list.extend(there.map(|at| came(&id, at)));
                if lost {
                    told.extend(connections.lost(&id, |_| true, 70, 80));
                }
            }
            for asked in [100_000, 200_000] {
                let when = When { asked, now: asked + 1, ..WHEN };
                let changed = connections.compare(&list, when);
                prop_assert!(asked == 100_000 || changed.is_empty());
                told.extend(changed.into_iter().flat_map(|(_, notices)| notices));
                let listed = list.iter().map(|there| (there.client_id.clone(), Some(format!("n/{}", there.at))));
                prop_assert_eq!(open(&connections), listed.collect());
            }
            let of = |kind| -> BTreeSet<_> {
                let kind = told.iter().filter(|notice| notice.event_type == kind);
                kind.map(|notice| notice.channel_id).collect()
            };
            let (begun, ended) = (of(EventType::Connect), of(EventType::TcpClean));
            prop_assert_eq!(told.len(), begun.len() + ended.len(), "nothing is told twice");
            let still: BTreeSet<_> = connections.clients().flat_map(|(_, client)| &client.open).map(|open| open.id).collect();
            prop_assert_eq!(begun.difference(&ended).copied().collect::<BTreeSet<_>>(), still);
        }
    }
}
