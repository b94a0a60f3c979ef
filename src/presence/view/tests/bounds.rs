//! What a view costs, and that it stays within its bounds.

use std::mem::size_of;

use super::*;
use crate::presence::view::tombstones::{self, Tombstone};

/// What a common allocator takes for a block: a header of 8 bytes, in steps of 16, at least 32.
fn block(bytes: usize) -> usize {
    if bytes == 0 { 0 } else { (bytes + 8).next_multiple_of(16).max(32) }
}

/// The bytes of a map's nodes, each with 11 places of which 6 are used: what insertion in ascending order leaves.
fn nodes(clients: usize) -> usize {
    let leaf = block(11 * (size_of::<Box<str>>() + size_of::<Client>()) + 12);
    let inner = leaf + 12 * size_of::<usize>();
    clients.div_ceil(6) * leaf + clients.div_ceil(36) * inner * 7 / 6
}

#[test]
fn an_online_client_costs_at_most_250_bytes() {
    const CLIENTS: u32 = 50_000;
    let mut view = View::default();
    for number in 0..CLIENTS {
        let id = format!("GID_plant@@@machine-{number:010}");
        assert_eq!(id.len(), 30);
        let mut notice = notice(&id, Connect, u128::from(number), 1);
        notice.client_ip = "192.168.100.100:50000".into();
        view.apply(Some("plant-status"), &notice, 0);
    }
    let clients = &view.groups["GID_plant"].online;
    let blocks = clients.iter().map(|(device, client)| {
        let ips = client.channels.iter().map(|channel| block(channel.client_ip.len())).sum::<usize>();
        block(device.len()) + block(client.channels.capacity() * size_of::<Channel>()) + ips
    });
    let each = (blocks.sum::<usize>() + nodes(clients.len())) / clients.len();
    assert!(each <= 250, "{each} bytes for each client");
    assert!(view.tombstones.young.is_empty());
}

#[test]
fn what_is_offline_costs_nothing_once_its_window_is_over() {
    let mut view = View::default();
    for number in 0..1000 {
        let id = format!("G@@@{number}");
        view.apply(Some("s"), &notice(&id, Connect, 1, 100), 0);
        view.apply(Some("s"), &notice(&id, TcpClean, 1, 200), 0);
        view.apply(Some("s"), &notice(&id, TcpClean, 2, 200), 0);
    }
    assert_eq!(view.tombstones.young.len(), 1000);
    (0..=2 * WINDOW).step_by(1000).for_each(|now| view.forget(now));
    let Tombstones { young, old, proofs, .. } = &view.tombstones;
    assert_eq!([young, old, proofs].map(HashMap::capacity), [0; 3]);
    assert!(view.groups["G"].is_idle());
}

#[test]
fn a_clock_set_back_does_not_keep_tombstones_for_ever() {
    let mut view = View::default();
    view.apply(None, &notice("G@@@1", TcpClean, 1, 1), 1_000 * WINDOW);
    for now in 0..3 {
        view.forget(now * WINDOW);
    }
    assert!(view.tombstones.old.is_empty());
}

#[test]
fn one_client_fills_neither_tombstones_nor_channels() {
    let mut view = View::default();
    for channel in 0..1000 {
        view.apply(None, &notice("G@@@ends", TcpClean, channel, 1), 0);
        view.apply(None, &notice("G@@@begins", Connect, channel, u64::try_from(channel).unwrap()), 0);
    }
    let Tombstone { channels, .. } = &view.tombstones.young["G@@@ends"];
    assert_eq!((channels.len(), channels.last()), (tombstones::CHANNELS, Some(&ChannelId(999))));
    assert_eq!(view.online("G@@@begins"), Known(32));
    let page = view.list("G", None, 1);
    assert!(page.clients[0].channels.iter().all(|channel| channel.connected_at >= 1000 - 32), "the newest are kept");
}

#[test]
fn all_clients_together_do_not_fill_the_tombstones() {
    let (mut tombstones, sources) = (Tombstones::default(), Sources::default());
    for number in 0..3 * tombstones::CLIENTS {
        tombstones.turn(0, &sources);
        tombstones.note(&number.to_string(), ChannelId(1), []);
    }
    assert!(tombstones.young.len() + tombstones.old.len() <= 2 * tombstones::CLIENTS);
}

#[test]
fn groups_that_nobody_is_in_are_forgotten_when_they_are_many() {
    let mut view = View::default();
    view.apply(None, &notice("busy@@@1", Connect, 1, 1), 0);
    for number in 0..=IDLE_GROUPS {
        view.apply(None, &notice(&format!("G{number}@@@1"), TcpClean, 1, 1), 0);
    }
    view.forget(WINDOW);
    assert_eq!(view.groups.keys().map(|name| &**name).collect::<Vec<_>>(), ["busy"]);
}
