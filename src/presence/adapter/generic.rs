//! The webhook form for a broker that has none of its own here: a JSON object, or an array of them.
//!
//! Pure. The keys of an event, of which the first two are needed:
//!
//! | key | value |
//! |---|---|
//! | `clientId` | the client id |
//! | `event` | `connect`; `disconnect` after a DISCONNECT of the client; `lost` without one; `takeover` |
//! | `time` | when, since the epoch, in seconds or milliseconds; else when the request came |
//! | `clientIp` | `ip:port` of the client |
//! | `connection` | a text or a number that names the connection: the same in both events, and in no other |
//!
//! Without `connection` an end is that of the connection with the same `clientIp`, and without either that of the
//! client's latest, which is only right where events come in order.

use super::{
    Reading, Unreadable,
    json::{self, Fields},
};
use crate::presence::event::{Connected, Disconnected, End, Identity, Said};

/// Reads the body of a webhook.
pub(super) fn from_webhook(body: &[u8], received: u64) -> Reading {
    json::each(body, |event| said(event, received).map(Some))
}

fn said(event: &Fields, received: u64) -> Result<Said, Unreadable> {
    let client_id = event.client_id("clientId")?;
    let at = if event.has("time") {
        event.millis("time").ok_or_else(|| Unreadable::because("`time` is no number of seconds or milliseconds"))?
    } else {
        received
    };
    let peer = event.text("clientIp").unwrap_or_default().to_owned();
    let identity = identity(event)?;
    let end = match event.text("event") {
        Some("connect") => return Ok(Said::Connected(Connected { client_id, at, peer, identity })),
        Some("disconnect") => End::Clean,
        Some("lost") => End::Lost,
        Some("takeover") => End::TakenOver,
        _ => return Err(Unreadable::because("`event` is not connect, disconnect, lost or takeover")),
    };
    Ok(Said::Disconnected(Disconnected { client_id, at, peer, identity, end }))
}

fn identity(event: &Fields) -> Result<Identity, Unreadable> {
    if event.has("connection") {
        let name = event.text("connection").map(str::to_owned);
        let name = name.or_else(|| Some(event.number("connection")?.to_string()));
        return name.map(Identity::Named).ok_or_else(|| Unreadable::because("`connection` is no text or number"));
    }
    Ok(if event.text("clientIp").is_some() { Identity::Peer } else { Identity::Latest })
}

#[cfg(test)]
mod tests {
    use super::{
        super::tests::{came, left},
        *,
    };

    fn read(body: &str) -> Reading {
        from_webhook(body.as_bytes(), 7)
    }

    #[test]
    fn every_event_is_read() {
        let peer = "10.0.0.1:50322";
        let named = || Identity::Named("c1".to_owned());
        for (event, expected) in [
            ("connect", came("a", 1_700_000_000_001, peer, named())),
            ("disconnect", left("a", 1_700_000_000_001, peer, named(), End::Clean)),
            ("lost", left("a", 1_700_000_000_001, peer, named(), End::Lost)),
            ("takeover", left("a", 1_700_000_000_001, peer, named(), End::TakenOver)),
        ] {
            let body = format!(
                r#"{{"clientId":"a","event":"{event}","time":1700000000001,"clientIp":"{peer}","connection":"c1"}}"#
            );
            assert_eq!(read(&body), Ok(vec![expected.clone()]));
            assert_eq!(read(&format!("[{body},{body}]")), Ok(vec![expected.clone(), expected]));
        }
        assert_eq!(read("[]"), Ok(vec![]));
    }

    #[test]
    fn what_is_left_out_is_the_time_of_receipt_and_the_latest_connection() {
        assert_eq!(read(r#"{"clientId":"a","event":"connect"}"#), Ok(vec![came("a", 7, "", Identity::Latest)]));
        for (more, expected) in [
            (r#""time":1700000000"#, left("a", 1_700_000_000_000, "", Identity::Latest, End::Lost)),
            (r#""time":"1700000000""#, left("a", 1_700_000_000_000, "", Identity::Latest, End::Lost)),
            (r#""time":null,"clientIp":null,"connection":null"#, left("a", 7, "", Identity::Latest, End::Lost)),
            (r#""clientIp":"10.0.0.1""#, left("a", 7, "10.0.0.1", Identity::Peer, End::Lost)),
            (r#""connection":9"#, left("a", 7, "", Identity::Named("9".to_owned()), End::Lost)),
        ] {
            assert_eq!(read(&format!(r#"{{"clientId":"a","event":"lost",{more}}}"#)), Ok(vec![expected]), "{more}");
        }
    }

    #[test]
    fn an_event_that_is_not_of_the_form_is_unreadable_and_so_is_its_array() {
        for body in [
            "",
            "1",
            "{}",
            r#"{"event":"connect"}"#,
            r#"{"clientId":"","event":"connect"}"#,
            r#"{"clientId":"a"}"#,
            r#"{"clientId":"a","event":"gone"}"#,
            r#"{"clientId":"a","event":"lost","time":"soon"}"#,
            r#"{"clientId":"a","event":"lost","time":-1}"#,
            r#"{"clientId":"a","event":"lost","connection":{}}"#,
            r#"{"clientId":"a","event":"lost","connection":""}"#,
            r#"[{"clientId":"a","event":"lost"},{"clientId":"a"}]"#,
        ] {
            assert!(read(body).is_err(), "{body}");
        }
    }
}
