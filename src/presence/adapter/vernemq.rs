//! VerneMQ 1 and 2: the webhooks `on_register`, `on_client_gone` and `on_client_offline`, and those of MQTT 5.
//!
//! Pure. VerneMQ says neither when, nor which connection ended, nor whether the client said DISCONNECT: `gone` and
//! `offline` tell a clean session from a persistent one. After a takeover the two requests, for the old connection's
//! end and for the new one's beginning, race each other.

use super::{
    Reading, Unreadable,
    json::{self, Fields},
};
use crate::presence::event::{Connected, Disconnected, End, Identity, Said};

/// Reads the body of a webhook, whose hook a header names.
pub(super) fn from_webhook(hook: Option<&str>, body: &[u8], received: u64) -> Reading {
    let hook = hook.ok_or_else(|| Unreadable(format!("no header `{}`", super::HOOK_HEADER)))?;
    match hook {
        "on_register" | "on_register_m5" => json::each(body, |event| {
            let (client_id, peer) = (event.client_id("client_id")?, peer(event));
            Ok(Some(Said::Connected(Connected { client_id, at: received, peer, identity: Identity::Latest })))
        }),
        "on_client_gone" | "on_client_offline" => json::each(body, |event| {
            let (client_id, peer) = (event.client_id("client_id")?, String::new());
            let (identity, end) = (Identity::Latest, End::Lost);
            Ok(Some(Said::Disconnected(Disconnected { client_id, at: received, peer, identity, end })))
        }),
        _ => Ok(Vec::new()),
    }
}

/// `ip:port`. The hook's own words are `addr` and `port`; the webhook plugin writes `peer_addr` and `peer_port`.
fn peer(event: &Fields) -> String {
    let address = event.text("peer_addr").or_else(|| event.text("addr")).filter(|address| *address != "undefined");
    let port = event.number("peer_port").or_else(|| event.number("port"));
    match (address, port) {
        (Some(address), Some(port)) if address.contains(':') => format!("[{address}]:{port}"),
        (Some(address), Some(port)) => format!("{address}:{port}"),
        (Some(address), None) => address.to_owned(),
        (None, _) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::tests::{came, left},
        *,
    };

    const REGISTER: &str =
        r#"{"peer_addr":"10.0.0.1","peer_port":50322,"mountpoint":"","client_id":"a/b","username":"u"}"#;

    fn hook(name: &str, body: &str) -> Reading {
        from_webhook(Some(name), body.as_bytes(), 7)
    }

    #[test]
    fn a_client_comes_by_register_and_goes_by_gone_or_offline() {
        let expected = Ok(vec![came("a/b", 7, "10.0.0.1:50322", Identity::Latest)]);
        assert_eq!(hook("on_register", REGISTER), expected);
        assert_eq!(hook("on_register_m5", &REGISTER.replace("\"u\"", "null,\"properties\":{}")), expected);
        assert_eq!(hook("on_register", &REGISTER.replace("peer_", "")), expected);
        for name in ["on_client_gone", "on_client_offline"] {
            let expected = Ok(vec![left("a/b", 7, "", Identity::Latest, End::Lost)]);
            assert_eq!(hook(name, r#"{"mountpoint":"","client_id":"a/b"}"#), expected);
        }
    }

    #[test]
    fn a_peer_is_what_is_known_of_it() {
        for (peer, expected) in [
            (r#""peer_addr":"::1","peer_port":7"#, "[::1]:7"),
            (r#""peer_addr":"10.0.0.1""#, "10.0.0.1"),
            (r#""peer_addr":"undefined","peer_port":"undefined""#, ""),
            (r#""peer_addr":null,"peer_port":null"#, ""),
        ] {
            let body = format!(r#"{{"client_id":"a",{peer}}}"#);
            assert_eq!(hook("on_register", &body), Ok(vec![came("a", 7, expected, Identity::Latest)]), "{peer}");
        }
    }

    #[test]
    fn other_hooks_say_nothing() {
        for name in ["auth_on_register", "on_client_wakeup", "on_session_expired", "on_publish", ""] {
            assert_eq!(hook(name, REGISTER), Ok(vec![]), "{name}");
        }
        assert!(from_webhook(None, REGISTER.as_bytes(), 7).is_err());
        for body in ["", "{}", "7"] {
            assert!(hook("on_register", body).is_err() && hook("on_client_gone", body).is_err(), "{body}");
        }
    }
}
