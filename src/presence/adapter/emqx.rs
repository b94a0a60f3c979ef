//! EMQX 4.4 to 6: its `$SYS` events, and the client events of its rule engine, by webhook or published anywhere.
//!
//! Pure. Both events of a connection carry the node and `connected_at`, which name it: events may come in any order,
//! and after a takeover the end of the old connection often comes last. What a rule sends is what its template makes of
//! the event, and must hold `event`, `clientid`, `node` and `connected_at`, and of a disconnect `reason`.
//!
//! A client that says DISCONNECT with another code than 0 and 4 is told in the words of an error of the broker itself,
//! so it counts as lost. Clients of EMQX's gateways are left out: they speak no MQTT.

use super::{
    Reading, Unreadable, client_event,
    json::{self, Fields},
};
use crate::presence::event::{Connected, Disconnected, End, Identity, Said};

/// Reads a `$SYS` event or, from a topic outside `$SYS`, what a rule has published.
pub(super) fn from_publish(topic: &str, payload: &[u8], received: u64) -> Reading {
    if !topic.starts_with("$SYS/") {
        return from_webhook(payload, received);
    }
    match client_event(topic) {
        Some((node, "connected")) => json::each(payload, |event| connected(event, node, "ipaddress", received)),
        Some((node, "disconnected")) => json::each(payload, |event| disconnected(event, node, "ipaddress", received)),
        _ => Ok(Vec::new()),
    }
}

/// Reads what a rule sends.
pub(super) fn from_webhook(body: &[u8], received: u64) -> Reading {
    json::each(body, |event| {
        let node = || event.text("node").ok_or_else(|| Unreadable::because("no `node`"));
        match event.text("event") {
            Some("client.connected") => connected(event, node()?, "peername", received),
            Some("client.disconnected") => disconnected(event, node()?, "peername", received),
            Some(_) => Ok(None),
            None => Err(Unreadable::because("no `event`")),
        }
    })
}

fn connected(event: &Fields, node: &str, peer: &str, received: u64) -> Result<Option<Said>, Unreadable> {
    Ok(Some(Said::Connected(Connected {
        client_id: event.client_id("clientid")?,
        at: event.millis("connected_at").unwrap_or(received),
        peer: peer_of(event, peer),
        identity: identity_of(event, node)?,
    })))
}

fn disconnected(event: &Fields, node: &str, peer: &str, received: u64) -> Result<Option<Said>, Unreadable> {
    Ok(Some(Said::Disconnected(Disconnected {
        client_id: event.client_id("clientid")?,
        at: event.millis("disconnected_at").unwrap_or(received),
        peer: peer_of(event, peer),
        identity: identity_of(event, node)?,
        end: match event.text("reason") {
            Some("normal" | "disconnect_with_will_message") => End::Clean,
            // The latter is what 4.x says.
            Some("takenover" | "discarded" | "takeovered") => End::TakenOver,
            _ => End::Lost,
        },
    })))
}

fn identity_of(event: &Fields, node: &str) -> Result<Identity, Unreadable> {
    let at = event.millis("connected_at").ok_or_else(|| Unreadable::because("no `connected_at`"))?;
    Ok(identity(node, at))
}

/// What names a connection to a node that began at a time in milliseconds since the epoch.
pub(in crate::presence) fn identity(node: &str, connected_at: u64) -> Identity {
    Identity::Named(format!("{node}/{connected_at}"))
}

/// An address that EMQX does not know is written out as `undefined`.
fn peer_of(event: &Fields, key: &str) -> String {
    event.text(key).filter(|peer| *peer != "undefined").unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::{
        super::tests::{came, left},
        *,
    };

    const CONNECTED: &str = r#"{"username":"u","ts":1700000000005,"sockport":1883,"receive_maximum":32,"protocol":"mqtt",
        "proto_ver":5,"proto_name":"MQTT","keepalive":60,"ipaddress":"10.0.0.1","expiry_interval":0,"conn_props":{},
        "connected_at":1700000000001,"clientid":"a/b c","client_attrs":{},"clean_start":true}"#;
    const DISCONNECTED: &str = r#"{"username":"undefined","ts":1700000009005,"sockport":1883,"reason":"REASON",
        "protocol":"mqtt","proto_ver":4,"proto_name":"MQTT","ipaddress":"10.0.0.1","disconnected_at":1700000009001,
        "disconn_props":{},"connected_at":1700000000001,"clientid":"a/b c","client_attrs":{}}"#;
    const RULE_CONNECTED: &str = r#"{"username":"u","timestamp":1700000000005,"sockname":"10.0.0.9:1883",
        "receive_maximum":32,"proto_ver":5,"proto_name":"MQTT","peername":"10.0.0.1:50322","node":"emqx@10.0.0.9",
        "mountpoint":"undefined","keepalive":60,"is_bridge":false,"expiry_interval":0,"event":"client.connected",
        "connected_at":1700000000001,"conn_props":{"User-Property":{}},"clientid":"a/b c","client_attrs":{},
        "clean_start":true}"#;
    const RULE_DISCONNECTED: &str = r#"{"username":"u","timestamp":1700000009005,"sockname":"10.0.0.9:1883",
        "reason":"normal","proto_ver":5,"proto_name":"MQTT","peername":"10.0.0.1:50322","node":"emqx@10.0.0.9",
        "event":"client.disconnected","disconnected_at":1700000009001,"disconn_props":{},
        "connected_at":1700000000001,"clientid":"a/b c","client_attrs":{}}"#;
    const TOPIC: &str = "$SYS/brokers/emqx@10.0.0.9/clients/a/b c/";

    fn named() -> Identity {
        Identity::Named("emqx@10.0.0.9/1700000000001".to_owned())
    }

    fn on(what: &str, payload: &str) -> Reading {
        from_publish(&format!("{TOPIC}{what}"), payload.as_bytes(), 7)
    }

    #[test]
    fn both_ways_name_the_same_connection_by_node_and_time() {
        assert_eq!(on("connected", CONNECTED), Ok(vec![came("a/b c", 1_700_000_000_001, "10.0.0.1", named())]));
        let left = |peer| left("a/b c", 1_700_000_009_001, peer, named(), End::Clean);
        assert_eq!(on("disconnected", &DISCONNECTED.replace("REASON", "normal")), Ok(vec![left("10.0.0.1")]));
        let came = came("a/b c", 1_700_000_000_001, "10.0.0.1:50322", named());
        assert_eq!(from_webhook(RULE_CONNECTED.as_bytes(), 7), Ok(vec![came.clone()]));
        assert_eq!(from_webhook(RULE_DISCONNECTED.as_bytes(), 7), Ok(vec![left("10.0.0.1:50322")]));
        assert_eq!(from_publish("devices/events", RULE_CONNECTED.as_bytes(), 7), Ok(vec![came.clone()]));
        let both = format!("[{RULE_CONNECTED},{RULE_DISCONNECTED}]");
        assert_eq!(from_webhook(both.as_bytes(), 7), Ok(vec![came, left("10.0.0.1:50322")]));
    }

    #[test]
    fn the_reason_tells_a_disconnect_from_a_loss_and_from_a_takeover() {
        for (reason, end) in [
            ("normal", End::Clean),
            ("disconnect_with_will_message", End::Clean),
            ("tcp_closed", End::Lost),
            ("ssl_closed", End::Lost),
            ("keepalive_timeout", End::Lost),
            ("kicked", End::Lost),
            ("protocol_error", End::Lost),
            ("internal_error", End::Lost),
            ("takenover", End::TakenOver),
            ("discarded", End::TakenOver),
            ("takeovered", End::TakenOver),
        ] {
            let expected = left("a/b c", 1_700_000_009_001, "10.0.0.1", named(), end);
            assert_eq!(on("disconnected", &DISCONNECTED.replace("REASON", reason)), Ok(vec![expected]), "{reason}");
        }
    }

    #[test]
    fn a_template_may_write_numbers_as_text_and_leave_out_what_is_not_needed() {
        let body = r#"{"event":"client.disconnected","clientid":"a","node":"n","connected_at":"1700000000001"}"#;
        let expected = left("a", 7, "", Identity::Named("n/1700000000001".to_owned()), End::Lost);
        assert_eq!(from_webhook(body.as_bytes(), 7), Ok(vec![expected]));
        for missing in ["event", "clientid", "node", "connected_at"] {
            assert!(from_webhook(body.replace(missing, "x").as_bytes(), 7).is_err(), "{missing}");
        }
    }

    #[test]
    fn other_events_and_topics_say_nothing() {
        assert_eq!(on("subscribed", "{}"), Ok(vec![]));
        assert_eq!(on("connected/unsubscribed", "{}"), Ok(vec![]));
        for topic in ["$SYS/brokers", "$SYS/brokers/n/uptime", "$SYS/brokers/n/gateway/stomp/clients/a/connected"] {
            assert_eq!(from_publish(topic, b"1", 7), Ok(vec![]), "{topic}");
        }
        assert_eq!(from_webhook(br#"{"event":"message.publish","clientid":"a"}"#, 7), Ok(vec![]));
        for payload in ["", "1", "null", "{}", "[1]", "{\"clientid\":\"\",\"connected_at\":1}"] {
            assert!(on("connected", payload).is_err(), "{payload}");
        }
    }
}
