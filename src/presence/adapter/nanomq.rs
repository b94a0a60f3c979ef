//! NanoMQ 0.11 to 0.25: its `$SYS` events, which look like JSON, and its webhook, which is.
//!
//! Pure. A `$SYS` event is a fixed text with the user name and the client id put in as they are, quotes and all, and
//! cut after 255 bytes. So it is not read as JSON: each field is looked for after the one before. Since 0.24 the topic
//! ends in the client id, whole. Before, it is in the text: one that the cut has shortened is unreadable, and a user
//! name that is longer than a hundred bytes and holds quotes can pass for an event of another client.
//!
//! No event names a connection, and none tells that the connection of a persistent session was lost: the client's next
//! connection does, or code `8e` once the session has expired. Of a connection that another one took over, NanoMQ may
//! say code `0`. Its workers may swap events that happen at the same moment. The webhook does not tell a DISCONNECT
//! from a loss.

#[cfg(test)]
mod tests;

use super::{Reading, Unreadable, json};
use crate::presence::event::{Connected, Disconnected, End, Identity, Said};

const STATUS: &str = "$SYS/brokers/client_status/";
const CONNECTED: &str = "$SYS/brokers/connected";
const DISCONNECTED: &str = "$SYS/brokers/disconnected";

/// What to subscribe to: the events since 0.24, and those before.
pub(super) const FILTERS: [&str; 3] = ["$SYS/brokers/client_status/#", CONNECTED, DISCONNECTED];

/// Reads a `$SYS` event.
pub(super) fn from_publish(topic: &str, payload: &[u8], received: u64) -> Reading {
    // The cut may fall within a character, and a user name need not be UTF-8.
    let text = &*String::from_utf8_lossy(payload);
    let said = if let Some(client_id) = topic.strip_prefix(STATUS).filter(|id| !id.is_empty()) {
        let status = text.strip_prefix("{\"status\":\"").and_then(|rest| rest.split_once('"'));
        match status {
            Some(("online", _)) => connected(client_id, text, received),
            Some(("offline", _)) => Some(disconnected(client_id, text, received)),
            _ => return Err(Unreadable::because("a client's status that is neither online nor offline")),
        }
    } else if topic == CONNECTED {
        connected(client_id(text, "\",\"clean_start\":")?, text, received)
    } else if topic == DISCONNECTED {
        Some(disconnected(client_id(text, "\",\"IPv4\":\"")?, text, received))
    } else {
        None
    };
    Ok(said.into_iter().collect())
}

/// A CONNECT that was refused is told as well, with its code.
fn connected(client_id: &str, text: &str, received: u64) -> Option<Said> {
    let rest = after(text, "\"ts\":").unwrap_or_default();
    if after(rest, "\"return_code\":\"").is_some_and(|code| !code.starts_with("0\"")) {
        return None;
    }
    let (client_id, at, peer) = (client_id.to_owned(), time(rest).unwrap_or(received), address(text));
    Some(Said::Connected(Connected { client_id, at, peer, identity: Identity::Latest }))
}

fn disconnected(client_id: &str, text: &str, received: u64) -> Said {
    let rest = after(text, "\"ts\":").unwrap_or_default();
    let code = after(rest, "\"reason_code\":\"").and_then(|code| code.split_once('"'));
    let end = match code {
        Some(("0", _)) => End::Clean,
        Some(("8e", _)) => End::TakenOver,
        _ => End::Lost,
    };
    let (client_id, at, peer) = (client_id.to_owned(), time(rest).unwrap_or(received), address(text));
    Said::Disconnected(Disconnected { client_id, at, peer, identity: Identity::Latest, end })
}

/// The client id, up to the last text that follows it. The first text that looks like its beginning is taken, so that
/// no id can contain another; where the message was cut, as much of what follows as is there must do.
fn client_id<'a>(text: &'a str, follows: &str) -> Result<&'a str, Unreadable> {
    let rest = after(text, "\"ts\":").and_then(|rest| after(rest, "\"client_id\":\""));
    let id = rest.and_then(|rest| match rest.rsplit_once(follows) {
        Some((id, _)) => Some(id),
        None => (1..follows.len()).rev().find_map(|some| rest.strip_suffix(&follows[..some])),
    });
    let id = id.filter(|id| !id.is_empty() && !id.contains(char::REPLACEMENT_CHARACTER));
    id.ok_or_else(|| Unreadable::because("an event without a whole client id"))
}

fn after<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.split_once(key).map(|(_, rest)| rest)
}

/// The number, in milliseconds since the epoch, that a text begins with.
fn time(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).map_or(text, |end| &text[..end]);
    digits.parse().ok().filter(|time| *time > 0)
}

/// The client's address, without a port; empty for IPv6.
fn address(text: &str) -> String {
    let address = text.strip_suffix("\"}").and_then(|text| text.rsplit_once("\"IPv4\":\""));
    address.map(|(_, address)| address.to_owned()).unwrap_or_default()
}

/// Reads the body of a webhook.
pub(super) fn from_webhook(body: &[u8], received: u64) -> Reading {
    json::each(body, |event| match event.text("action") {
        // That of a CONNECT that was refused says `fail`.
        Some("client_connack") if event.text("conn_ack") == Some("success") => {
            let client_id = event.client_id("clientid")?;
            let (peer, identity) = (String::new(), Identity::Latest);
            Ok(Some(Said::Connected(Connected { client_id, at: received, peer, identity })))
        }
        Some("client_disconnected") => {
            let client_id = event.client_id("clientid")?;
            let (peer, identity, end) = (String::new(), Identity::Latest, End::Lost);
            Ok(Some(Said::Disconnected(Disconnected { client_id, at: received, peer, identity, end })))
        }
        Some(_) => Ok(None),
        None => Err(Unreadable::because("no `action`")),
    })
}
