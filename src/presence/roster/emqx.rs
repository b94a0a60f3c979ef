//! The list of EMQX 5.5 and later: `/api/v5/clients`.
//!
//! Pure. `node` and `connected_at` are those of the events, the time as text with milliseconds and an offset. A node
//! that does not answer makes the whole request fail. Clients of gateways are not in it.

use serde::Deserialize;

use super::{Page, Span, peer};
use crate::{
    calendar,
    presence::{
        adapter::{Unreadable, emqx::identity},
        event::Connected,
    },
};

/// Clients that are asked for at once, of which each takes about 1.3 KB. EMQX would give 10,000.
const ROWS: usize = 5_000;

#[derive(Deserialize)]
struct Answer {
    data: Vec<Row>,
    meta: Meta,
}

#[derive(Deserialize)]
struct Meta {
    hasnext: bool,
}

#[derive(Deserialize)]
struct Row {
    clientid: String,
    node: String,
    connected: bool,
    connected_at: String,
    ip_address: Option<String>,
    port: Option<u16>,
}

/// Times are in milliseconds.
pub(super) fn request(Span { from, to }: &Span) -> String {
    format!("/api/v5/clients?conn_state=connected&page=1&limit={ROWS}&gte_connected_at={from}&lte_connected_at={to}")
}

pub(super) fn page(body: &[u8]) -> Result<Page, Unreadable> {
    let answer: Answer = serde_json::from_slice(body).map_err(|error| Unreadable(format!("not a list: {error}")))?;
    let clients = answer.data.into_iter().filter(|row| row.connected).map(client);
    Ok(Page { clients: clients.collect::<Result<_, _>>()?, whole: !answer.meta.hasnext })
}

fn client(row: Row) -> Result<Connected, Unreadable> {
    let Row { clientid, node, connected_at, ip_address, port, .. } = row;
    let at = calendar::point(&connected_at)
        .ok_or_else(|| Unreadable(format!("`connected_at` is no point in time: `{connected_at}`")))?;
    let peer = peer(ip_address.as_deref(), port).unwrap_or_default();
    Ok(Connected { client_id: clientid, at, peer, identity: identity(&node, at) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::presence::{
        adapter::Adapter,
        event::{Identity, Said},
    };

    /// As EMQX 6.1 has it, but for what nobody reads.
    const LIST: &str = r#"{"data":[{"node":"emqx@10.0.0.9","clientid":"a/b c","connected":true,"port":50322,
        "ip_address":"10.0.0.1","connected_at":"2023-11-15T06:13:20.001+08:00","created_at":"2023-11-15T06:13:20.001+08:00",
        "proto_name":"MQTT","proto_ver":5,"keepalive":60,"is_bridge":false,"username":null,"listener":"tcp:default"},
        {"node":"emqx@10.0.0.9","clientid":"away","connected":false,"port":null,"ip_address":null,
        "connected_at":"2023-11-15T06:13:20.001+08:00"}],"meta":{"count":2,"hasnext":false,"limit":5000,"page":1}}"#;

    #[test]
    fn a_connection_is_named_as_its_events_name_it() {
        let page = page(LIST.as_bytes()).unwrap();
        assert!(page.whole);
        let event = r#"{"event":"client.connected","clientid":"a/b c","node":"emqx@10.0.0.9","peername":"10.0.0.1:50322",
            "connected_at":1700000000001}"#;
        let said = Adapter::Emqx.from_webhook(None, event.as_bytes(), 7).unwrap();
        assert_eq!(page.clients.into_iter().map(Said::Connected).collect::<Vec<_>>(), said);
    }

    #[test]
    fn a_list_that_goes_on_is_not_whole_and_one_that_cannot_be_read_is_none() {
        assert!(!page(LIST.replace("\"hasnext\":false", "\"hasnext\":true").as_bytes()).unwrap().whole);
        let without_address = LIST.replace("\"10.0.0.1\"", "null");
        let client = page(without_address.as_bytes()).unwrap().clients.remove(0);
        assert_eq!(
            (client.peer.as_str(), client.identity),
            ("", Identity::Named("emqx@10.0.0.9/1700000000001".into()))
        );
        for wrong in [
            "",
            "[]",
            r#"{"code":"NOT_FOUND"}"#,
            r#"{"data":[]}"#,
            &LIST.replacen("2023-11-15T06:13:20.001+08:00", "2023-11-15 06:13:20", 1),
            &LIST.replacen("clientid", "client_id", 1),
        ] {
            assert!(page(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }
}
