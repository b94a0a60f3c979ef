//! RMQTT, as of 0.24: its `$SYS` events and its web-hook.
//!
//! Pure. Events may come in any order; both of a connection carry the client's `ip:port`. The web-hook may give an
//! event any name, so what it is shows in its times: only the two client events have `connected_at` and
//! `disconnected_at`.

use super::{
    Reading, Unreadable, client_event,
    json::{self, Fields},
};
use crate::presence::event::{Connected, Disconnected, End, Identity, Said};

/// Reads a `$SYS` event.
pub(super) fn from_publish(topic: &str, payload: &[u8], received: u64) -> Reading {
    match client_event(topic) {
        Some((_, "connected")) => json::each(payload, |event| connected(event, received).map(Some)),
        Some((_, "disconnected")) => json::each(payload, |event| disconnected(event, received).map(Some)),
        _ => Ok(Vec::new()),
    }
}

/// Reads an event of the web-hook.
pub(super) fn from_webhook(body: &[u8], received: u64) -> Reading {
    json::each(body, |event| {
        if event.has("disconnected_at") {
            disconnected(event, received).map(Some)
        } else if event.has("connected_at") {
            connected(event, received).map(Some)
        } else {
            Ok(None)
        }
    })
}

fn connected(event: &Fields, received: u64) -> Result<Said, Unreadable> {
    let (peer, identity) = peer(event);
    Ok(Said::Connected(Connected {
        client_id: event.client_id("clientid")?,
        at: event.millis("connected_at").unwrap_or(received),
        peer,
        identity,
    }))
}

fn disconnected(event: &Fields, received: u64) -> Result<Said, Unreadable> {
    let (peer, identity) = peer(event);
    Ok(Said::Disconnected(Disconnected {
        client_id: event.client_id("clientid")?,
        at: event.millis("disconnected_at").unwrap_or(received),
        peer,
        identity,
        end: end(event.text("reason").unwrap_or_default()),
    }))
}

fn peer(event: &Fields) -> (String, Identity) {
    match event.text("ipaddress") {
        Some(peer) => (peer.to_owned(), Identity::Peer),
        None => (String::new(), Identity::Latest),
    }
}

/// All reasons, joined by commas, in the order in which they arose: `Disconnect(V3),RemoteClose`. The documents have
/// `Disconnect` alone, and `Disconnect(Other(..))` is the broker's own doing.
fn end(reasons: &str) -> End {
    let first = reasons.split(',').next().unwrap_or_default();
    if first == "Disconnect" || first.starts_with("Disconnect(V") {
        End::Clean
    } else if first == "Kicked" {
        End::TakenOver
    } else {
        End::Lost
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::tests::{came, left},
        *,
    };

    const CONNECTED: &str = r#"{"clean_session":true,"clientid":"a/b","connected_at":1700000000001,
        "ipaddress":"10.0.0.1:50322","keepalive":60,"node":1,"proto_ver":4,"session_present":false,
        "time":"2026-11-26 13:46:36.001","username":"u"}"#;
    const CONNECTED_5: &str = r#"{"clean_start":true,"clientid":"a/b","connected_at":1700000000001,
        "ipaddress":"[::1]:50322","keepalive":60,"node":1,"proto_ver":5,"session_present":false,
        "time":"2026-11-26 13:46:36.001","user_properties":{"k":"v"},"username":null}"#;
    const DISCONNECTED: &str = r#"{"clientid":"a/b","disconnected_at":1700000009001,"ipaddress":"10.0.0.1:50322",
        "node":1,"reason":"REASON","time":"2026-11-26 13:46:45.001","username":"u"}"#;

    fn on(what: &str, payload: &str) -> Reading {
        from_publish(&format!("$SYS/brokers/1/clients/a/b/{what}"), payload.as_bytes(), 7)
    }

    /// As the web-hook sends it, by whatever name.
    fn hook(event: &str) -> Reading {
        from_webhook(event.replacen('{', "{\"action\":\"renamed\",", 1).as_bytes(), 7)
    }

    #[test]
    fn both_ways_pair_the_events_of_a_connection_by_its_peer() {
        for (event, peer) in [(CONNECTED, "10.0.0.1:50322"), (CONNECTED_5, "[::1]:50322")] {
            let expected = Ok(vec![came("a/b", 1_700_000_000_001, peer, Identity::Peer)]);
            assert_eq!(on("connected", event), expected);
            assert_eq!(hook(event), expected);
        }
    }

    #[test]
    fn the_first_reason_tells_a_disconnect_from_a_loss_and_from_a_takeover() {
        for (reason, end) in [
            ("Disconnect", End::Clean),
            ("Disconnect,RemoteClose", End::Clean),
            ("Disconnect(V3),RemoteClose", End::Clean),
            (
                "Disconnect(V5(Disconnect { reason_code: NormalDisconnection, reason_string: None })),RemoteClose",
                End::Clean,
            ),
            ("Disconnect(V5(Disconnect { reason_code: DisconnectWithWill }))", End::Clean),
            ("Disconnect(Other(Http Auth expired))", End::Lost),
            ("RemoteClose", End::Lost),
            ("KeepaliveTimeout", End::Lost),
            ("ReadWriteTimeout", End::Lost),
            ("ReadWriteError", End::Lost),
            ("io error, Connection reset by peer (os error 104)", End::Lost),
            ("ProtocolError(x)", End::Lost),
            ("ByAdminKick", End::Lost),
            ("Unknown", End::Lost),
            ("", End::Lost),
            ("Kicked", End::TakenOver),
            ("Kicked,RemoteClose", End::TakenOver),
        ] {
            let event = DISCONNECTED.replace("REASON", reason);
            let expected = Ok(vec![left("a/b", 1_700_000_009_001, "10.0.0.1:50322", Identity::Peer, end)]);
            assert_eq!(on("disconnected", &event), expected, "{reason}");
            assert_eq!(hook(&event), expected, "{reason}");
        }
    }

    #[test]
    fn without_a_time_or_a_peer_there_is_the_time_of_receipt_and_the_latest_connection() {
        let event = r#"{"clientid":"a","disconnected_at":0,"ipaddress":null,"reason":"RemoteClose"}"#;
        assert_eq!(on("disconnected", event), Ok(vec![left("a", 7, "", Identity::Latest, End::Lost)]));
        assert_eq!(hook(event), Ok(vec![left("a", 7, "", Identity::Latest, End::Lost)]));
    }

    #[test]
    fn other_events_say_nothing() {
        for event in [
            r#"{"clientid":"a","conn_ack":"Connection Accepted"}"#,
            r#"{"clientid":"a","created_at":1700000000001}"#,
            r#"{"clientid":"a","reason":"SessionExpiration"}"#,
        ] {
            assert_eq!(hook(event), Ok(vec![]), "{event}");
        }
        for topic in ["$SYS/brokers/1/stats", "$SYS/brokers/1/session/a/created", "a"] {
            assert_eq!(from_publish(topic, b"{}", 7), Ok(vec![]), "{topic}");
        }
        for payload in ["", "null", "{}"] {
            assert!(on("connected", payload).is_err(), "{payload}");
            assert!(on("disconnected", payload).is_err(), "{payload}");
        }
        assert!(from_webhook(b"x", 7).is_err());
    }
}
