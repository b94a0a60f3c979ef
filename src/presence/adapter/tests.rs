//! What holds for every adapter.

use proptest::prelude::*;

use super::*;
use crate::presence::event::{Connected, Disconnected, End, Identity};

/// A client came.
pub(super) fn came(client_id: &str, at: u64, peer: &str, identity: Identity) -> Said {
    Said::Connected(Connected { client_id: client_id.to_owned(), at, peer: peer.to_owned(), identity })
}

/// A client is gone.
pub(super) fn left(client_id: &str, at: u64, peer: &str, identity: Identity, end: End) -> Said {
    Said::Disconnected(Disconnected { client_id: client_id.to_owned(), at, peer: peer.to_owned(), identity, end })
}

#[test]
fn every_adapter_has_its_name() {
    for (adapter, name) in Adapter::ALL.into_iter().zip(Adapter::NAMES) {
        assert_eq!(Adapter::from_name(name), Some(adapter));
    }
    assert_eq!(Adapter::from_name("Mosquitto"), None);
    assert_eq!(Adapter::from_name(""), None);
}

#[test]
fn an_event_that_cannot_come_this_way_is_unreadable() {
    assert!(Adapter::Mosquitto.from_webhook(None, b"{}", 0).is_err());
    assert!(Adapter::VerneMq.from_publish("$SYS/broker/uptime", b"", 0).is_err());
    assert!(Adapter::Generic.from_publish("a", b"{}", 0).is_err());
}

/// Topics of events, and others.
fn topic() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            "$SYS/broker/log/N",
            "$SYS/broker/log/E",
            "$SYS/broker/uptime",
            "$SYS/brokers/connected",
            "$SYS/brokers/disconnected",
            "$SYS/brokers/client_status/a/b",
            "$SYS/brokers/client_status/",
            "$SYS/brokers/1/clients/a/b/connected",
            "$SYS/brokers/emqx@127.0.0.1/clients/a/disconnected",
            "$SYS/brokers//clients/",
        ])
        .prop_map(str::to_owned),
        ".{0,20}",
    ]
}

/// Bytes, and text made of what events are made of.
fn payload() -> impl Strategy<Value = Vec<u8>> {
    let pieces = prop::sample::select(vec![
        "Client ",
        "New client connected from ",
        " as ",
        " (p2, c1, k60",
        ", u'",
        "').",
        ").",
        " disconnected",
        ": ",
        ".",
        "Bad socket read/write on client ",
        ", disconnecting.",
        " [",
        ":7]",
        "1600000000: ",
        "[",
        "{\"status\":\"online\"",
        "\"ts\":",
        "1",
        "\"return_code\":\"",
        "\"reason_code\":\"0\"",
        "\"client_id\":\"",
        "\",\"IPv4\":\"",
        "\"}",
        "\",\"clean_start\":",
        "{\"clientid\":\"a\"",
        "}",
        ",",
        "\"connected_at\":1",
        "\"event\":\"client.connected\"",
        "\"action\":\"client_connack\"",
        "\u{e9}",
        "\"",
        "\\",
        "[{",
        "}]",
        " seconds",
    ]);
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..300),
        prop::collection::vec(pieces, 0..40).prop_map(|pieces| pieces.concat().into_bytes()),
    ]
}

proptest! {
    #[test]
    fn no_bytes_make_an_adapter_panic_or_name_no_client(
        topic in topic(), mut payload in payload(), hook in prop::option::of("on_(register|client_gone|.{0,5})"),
        cut in any::<prop::sample::Index>(), received in any::<u64>(),
    ) {
        payload.truncate(cut.index(payload.len() + 1));
        for adapter in Adapter::ALL {
            let readings =
                [adapter.from_publish(&topic, &payload, received), adapter.from_webhook(hook.as_deref(), &payload, received)];
            for said in readings.into_iter().flatten().flatten() {
                match said {
                    Said::Connected(came) => prop_assert!(!came.client_id.is_empty()),
                    Said::Disconnected(left) => prop_assert!(!left.client_id.is_empty()),
                    Said::Uptime(_) | Said::Opened(_) | Said::Dropped(_) => {}
                }
            }
        }
    }
}
