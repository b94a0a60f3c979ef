//! The list of RMQTT 0.24: `/api/v1/clients` of its plugin `rmqtt-http-api`.
//!
//! Pure. A list ends at `max_row_limit` without a word, so that is asked for first; and a node of the cluster that does
//! not answer is left out without a word, so all nodes are asked for before and after. Times are local, to the second.

use serde::Deserialize;
use serde_json::Value;

use super::{Page, Span, peer};
use crate::{
    calendar,
    presence::{
        adapter::Unreadable,
        event::{Connected, Identity},
    },
};

/// Clients that are asked for at once, if `max_row_limit` allows it; each takes about 0.5 KB.
const ROWS: usize = 50_000;
const NODES: &str = "/api/v1/brokers";
/// Time zones differ by quarters of an hour, and clocks by less than half of one: in milliseconds.
const ZONES: u64 = 900_000;

/// What is known so far.
#[derive(Debug, Default)]
pub(super) struct Rmqtt {
    /// The node that answers.
    node: Option<u64>,
    /// How far its local time is ahead of UTC, in milliseconds.
    zone: i64,
    /// How many clients it gives at once.
    rows: Option<usize>,
    /// All nodes answered when all clients had been asked for.
    confirmed: bool,
}

#[derive(Deserialize)]
struct Config {
    max_row_limit: usize,
}

#[derive(Deserialize)]
struct Row {
    clientid: String,
    connected: bool,
    connected_at: String,
    ip_address: Option<String>,
    port: Option<u16>,
}

impl Rmqtt {
    /// What to ask for next, while there are spans, in seconds, and after.
    pub(super) fn request(&self, span: Option<&Span>) -> Option<String> {
        match (self.node, self.rows, span) {
            (None, _, _) => Some(NODES.to_owned()),
            (Some(node), None, _) => Some(format!("/api/v1/plugins/{node}/rmqtt-http-api/config")),
            (_, Some(rows), Some(Span { from, to })) => Some(format!(
                "/api/v1/clients?connected=true&_limit={rows}&_gte_connected_at={from}&_lte_connected_at={to}"
            )),
            (_, Some(_), None) => (!self.confirmed).then(|| NODES.to_owned()),
        }
    }

    /// Takes in what was answered; a page where that was asked for.
    pub(super) fn answer(&mut self, body: &[u8], now: u64, span: Option<&Span>) -> Result<Option<Page>, Unreadable> {
        match (self.node, self.rows, span) {
            (None, _, _) => self.nodes(body, now)?,
            (Some(_), None, _) => {
                let rows = read::<Config>(body)?.max_row_limit.min(ROWS);
                self.rows = Some(rows).filter(|rows| *rows > 0);
                self.rows.ok_or_else(|| Unreadable("`max_row_limit` is 0".to_owned()))?;
            }
            (_, Some(rows), Some(_)) => return self.page(body, rows, now).map(Some),
            (_, Some(_), None) => {
                self.nodes(body, now)?;
                self.confirmed = true;
            }
        }
        Ok(None)
    }

    /// All nodes, the one that answers first; in the place of one that does not is a text.
    fn nodes(&mut self, body: &[u8], now: u64) -> Result<(), Unreadable> {
        let nodes: Vec<Value> = read(body)?;
        if let Some(reason) = nodes.iter().find_map(Value::as_str) {
            return Err(Unreadable(format!("a node of the cluster does not answer: {reason}")));
        }
        let first = nodes.first();
        let local = first.and_then(|node| node["datetime"].as_str()).and_then(calendar::local);
        self.zone = zone(local.ok_or_else(|| Unreadable("no time of the broker".to_owned()))?, now);
        self.node = first.and_then(|node| node["node_id"].as_u64());
        self.node.map(|_| ()).ok_or_else(|| Unreadable("no id of the node".to_owned()))
    }

    fn page(&self, body: &[u8], rows: usize, now: u64) -> Result<Page, Unreadable> {
        let found: Vec<Row> = read(body)?;
        let whole = found.len() < rows;
        let clients = found.into_iter().filter(|row| row.connected).map(|row| self.client(row, now));
        Ok(Page { clients: clients.collect(), whole })
    }

    fn client(&self, row: Row, now: u64) -> Connected {
        let at = calendar::local(&row.connected_at).map_or(now, |local| local.saturating_add_signed(-self.zone));
        let peer = peer(row.ip_address.as_deref(), row.port);
        let identity = if peer.is_some() { Identity::Peer } else { Identity::Latest };
        Connected { client_id: row.clientid, at, peer: peer.unwrap_or_default(), identity }
    }
}

fn zone(local: u64, now: u64) -> i64 {
    let ahead = |of: u64, than: u64| i64::try_from((of.saturating_sub(than) + ZONES / 2) / ZONES * ZONES).unwrap_or(0);
    ahead(local, now) - ahead(now, local)
}

fn read<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Unreadable> {
    serde_json::from_slice(body).map_err(|error| Unreadable(format!("not what RMQTT answers: {error}")))
}
