//! Mosquitto 1.5 to 2.1: the log lines that `log_dest topic` publishes, and its uptime.
//!
//! Pure. A line is words around a client id that may hold the same words, so it is read from its ends, and the whole
//! of what stands between is the id. What still has two readings:
//!
//! - a user name that holds ` (p2, c1, k60, u'`: what is before it belongs to the client id;
//! - a client id that ends in ` [ip:port]`, before 2.1.1: read as 2.1.1 wrote it, so it ends at most that connection;
//! - `disconnected, not authorised.` without ` [ip:port]` (2.0.13 to 2.1.0): a login that was refused. It may bear the
//!   id of a client that is connected and stays so; a connected client never ends with this line. So it says nothing;
//! - `<unknown>` (up to 2.0): a connection that ended before it said who it is.
//!
//! Mosquitto says nothing of the end of a libwebsockets client, and calls it clean when it closes connections because
//! its passwords or rules were reloaded. From 2.0.13 to 2.1.0 a login that fails otherwise than by a wrong password, in
//! a plugin say, reads like the end of the client that has its id.

#[cfg(test)]
mod tests;

use super::{Reading, Unreadable};
use crate::presence::event::{Connected, Disconnected, End, Identity, Said};

const NOTICES: &str = "$SYS/broker/log/N";
const ERRORS: &str = "$SYS/broker/log/E";
const UPTIME: &str = "$SYS/broker/uptime";
const DROPPED: &str = "$SYS/broker/publish/messages/dropped";

/// What to subscribe to.
pub(super) const FILTERS: [&str; 4] = [NOTICES, ERRORS, UPTIME, DROPPED];

const CLIENT: &str = "Client ";

/// A line of so many bytes may have been cut: 2.0 cuts after 999, and 1.x the words after some 520.
const MAY_BE_CUT: usize = 500;

/// What follows the id in lines that begin with `Client `, and how the connection ended; nothing where none did.
const ENDS: [(&str, Option<End>); 26] = [
    (" disconnected.", Some(End::Clean)),
    (" closed its connection.", Some(End::Lost)),
    (" has exceeded timeout, disconnecting.", Some(End::Lost)),
    (" been disconnected by administrative action.", Some(End::Lost)),
    (" disconnected due to malformed packet.", Some(End::Lost)),
    (" disconnected due to protocol error.", Some(End::Lost)),
    (" disconnected due to oversize packet.", Some(End::Lost)),
    (" disconnected due to oversize payload.", Some(End::Lost)),
    (" disconnected due to out of memory.", Some(End::Lost)),
    (" disconnected due to QoS too high or retain not supported.", Some(End::Lost)),
    (
        " disconnected due to using not allowed feature (QoS too high, retain not supported, or bad AUTH method).",
        Some(End::Lost),
    ),
    (" disconnected due to exceeding the receive maximum.", Some(End::Lost)),
    (" disconnected, not authorised.", None),
    (" disconnected, no longer authorised.", Some(End::Lost)),
    (" disconnected, session taken over.", Some(End::TakenOver)),
    (" disconnected, implementation specific error.", Some(End::Lost)),
    (" disconnected, client identifier not valid.", Some(End::Lost)),
    (" disconnected, bad username or password.", Some(End::Lost)),
    (" disconnected, server unavailable.", Some(End::Lost)),
    (" disconnected, server busy.", Some(End::Lost)),
    (" disconnected, client banned.", Some(End::Lost)),
    (" disconnected, bad authentication method.", Some(End::Lost)),
    (" disconnected, quota exceeded.", Some(End::Lost)),
    (" disconnected, connection rate exceeded.", Some(End::Lost)),
    (" disconnected, topic alias invalid.", Some(End::Lost)),
    (" disconnected, non-matching http origin.", Some(End::Lost)),
];

/// Reads a log line or the uptime.
pub(super) fn from_publish(topic: &str, payload: &[u8], received: u64) -> Reading {
    let said = match topic {
        NOTICES => notice(&Line::read(payload, received)?)?,
        ERRORS => error(&Line::read(payload, received)?)?,
        UPTIME => Some(Said::Uptime(uptime(payload)?)),
        DROPPED => std::str::from_utf8(payload).ok().and_then(|count| count.parse().ok()).map(Said::Dropped),
        _ => None,
    };
    Ok(said.into_iter().collect())
}

/// `123 seconds`.
fn uptime(payload: &[u8]) -> Result<u64, Unreadable> {
    let text = std::str::from_utf8(payload).unwrap_or_default();
    let seconds = text.strip_suffix(" seconds").and_then(|seconds| seconds.parse().ok());
    seconds.ok_or_else(|| Unreadable::because("the uptime is not `<number> seconds`"))
}

/// A log line.
struct Line<'a> {
    /// Its time, in milliseconds since the epoch.
    at: u64,
    words: &'a str,
    /// Whether its end may be missing.
    may_be_cut: bool,
}

impl<'a> Line<'a> {
    fn read(payload: &'a [u8], received: u64) -> Result<Self, Unreadable> {
        let mut chunks = payload.utf8_chunks();
        let text = chunks.next().map_or("", |chunk| chunk.valid());
        // A line that was cut may end within a character, and only there.
        if chunks.next().is_some() {
            return Err(Unreadable::because("a log line that is not UTF-8"));
        }
        let (time, words) = split_time(text);
        Ok(Self { at: time.unwrap_or(received), words, may_be_cut: payload.len() >= MAY_BE_CUT })
    }

    /// What remains of a line that does not end as it should.
    fn cut<T>(&self) -> Result<Option<T>, Unreadable> {
        if self.may_be_cut { Err(Unreadable::because("a log line that was cut")) } else { Ok(None) }
    }
}

/// The time before the words, where it is a point in time, and the words. Seconds since the epoch are one; what
/// `log_timestamp_format` makes is local time of an unknown zone, and is expected to begin with a digit or a bracket:
/// without a time, a client id in some other line could pass for one.
fn split_time(line: &str) -> (Option<u64>, &str) {
    let timed = line.starts_with(|c: char| c.is_ascii_digit() || c == '[');
    let Some((time, words)) = line.split_once(": ").filter(|_| timed) else { return (None, line) };
    (time.parse().ok().and_then(|seconds: u64| seconds.checked_mul(1000)), words)
}

/// A line of the notices.
fn notice(line: &Line<'_>) -> Result<Option<Said>, Unreadable> {
    let starts = ["New client connected from ", "New bridge connected from "];
    if let Some(rest) = starts.iter().find_map(|start| line.words.strip_prefix(start)) {
        return connected(line, rest);
    }
    if let Some(rest) = line.words.strip_prefix("New connection from ") {
        return Ok(rest.rsplit_once(" on port ").map(|(peer, _)| Said::Opened(peer.to_owned())));
    }
    let ended = if let Some(rest) = line.words.strip_prefix(CLIENT) {
        client_ended(rest)
    } else if let Some(rest) = line.words.strip_prefix("Bad socket read/write on client ") {
        // Up to 2.0.9 `, disconnecting.`, since then `: ` and the reason.
        rest.strip_suffix(", disconnecting.")
            .or_else(|| Some(rest.rsplit_once(": ")?.0))
            .map(|id| (id, Some(End::Lost)))
    } else if let Some(rest) = line.words.strip_prefix("Socket error on client ") {
        rest.strip_suffix(", disconnecting.").map(|id| (id, Some(End::Lost)))
    } else {
        return Ok(None);
    };
    let Some((client, end)) = ended else { return line.cut() };
    Ok(end.and_then(|end| disconnected(line, client, end)))
}

/// A line of the errors: takeover up to 2.0, which nothing else tells. The line of the new connection follows.
fn error(line: &Line<'_>) -> Result<Option<Said>, Unreadable> {
    let Some(rest) = line.words.strip_prefix(CLIENT) else { return Ok(None) };
    match rest.strip_suffix(" already connected, closing old connection.") {
        Some(client_id) => Ok(disconnected(line, client_id, End::TakenOver)),
        None => line.cut(),
    }
}

/// `<peer> as <client id> (p2, c1, k60, u'<user>').`, where 1.5 has no `p`, and no user name is no `u`.
fn connected(line: &Line<'_>, rest: &str) -> Result<Option<Said>, Unreadable> {
    let unreadable = || Unreadable::because("a line of a new connection that does not end as known");
    let (peer, rest) = rest.split_once(" as ").ok_or_else(unreadable)?;
    let is_end = |at: usize| match session_end(&rest[at..]) {
        Some(").") => true,
        Some(end) => end.strip_prefix(", u'").is_some_and(|user| line.may_be_cut || user.ends_with("').")),
        None => false,
    };
    let end = rest.rmatch_indices(" (").map(|(at, _)| at).find(|at| is_end(*at));
    let client_id = &rest[..end.ok_or_else(unreadable)?];
    let (client_id, peer) = (client_id.to_owned(), peer.to_owned());
    let connected = Connected { client_id, at: line.at, peer, identity: Identity::Latest };
    Ok(is_client(&connected.client_id).then_some(Said::Connected(connected)))
}

/// What follows ` (p2, c1, k60`, where it is that.
fn session_end(text: &str) -> Option<&str> {
    let fields = text.strip_prefix(" (")?;
    let fields = after_number(fields, "p").and_then(|rest| rest.strip_prefix(", ")).unwrap_or(fields);
    let fields = after_number(fields, "c")?.strip_prefix(", ")?;
    after_number(fields, "k")
}

/// What follows a letter and a number.
fn after_number<'a>(text: &'a str, letter: &str) -> Option<&'a str> {
    let digits = text.strip_prefix(letter)?;
    let rest = digits.trim_start_matches(|c: char| c.is_ascii_digit());
    (rest.len() < digits.len()).then_some(rest)
}

/// What a line says after `Client `: the client, and how its connection ended.
fn client_ended(rest: &str) -> Option<(&str, Option<End>)> {
    let known = ENDS.iter().find_map(|(words, end)| Some((rest.strip_suffix(words)?, *end)));
    known.or_else(|| {
        // Up to 2.1.0 the text of an errno; since 2.1.1 all reasons.
        let (client, reason) = rest.rsplit_once(" disconnected: ")?;
        let whole = reason.ends_with('.') || reason.starts_with("bad socket read/write: ");
        let end = if reason == "session taken over." { End::TakenOver } else { End::Lost };
        whole.then_some((client, Some(end)))
    })
}

fn disconnected(line: &Line<'_>, client: &str, end: End) -> Option<Said> {
    let (client_id, peer, identity) = match split_peer(client) {
        Some((client_id, peer)) => (client_id, peer, Identity::Peer),
        None => (client, "", Identity::Latest),
    };
    let (client_id, peer) = (client_id.to_owned(), peer.to_owned());
    let disconnected = Disconnected { client_id, at: line.at, peer, identity, end };
    is_client(&disconnected.client_id).then_some(Said::Disconnected(disconnected))
}

fn is_client(client_id: &str) -> bool {
    !client_id.is_empty() && client_id != "<unknown>"
}

/// `<client id> [<address>:<port>]`, since 2.1.1.
fn split_peer(client: &str) -> Option<(&str, &str)> {
    let (client_id, peer) = client.strip_suffix(']')?.rsplit_once(" [")?;
    let (address, port) = peer.rsplit_once(':')?;
    let is_peer = !address.is_empty() && !address.contains(' ') && port.parse::<u16>().is_ok();
    is_peer.then_some((client_id, peer))
}
