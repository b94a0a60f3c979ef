//! Status notices: what a back end written for LMQ learns of a client that comes and goes. LMQ-7.1, LMQ-7.2.
//!
//! Pure. A notice's body has exactly the five keys of the contract; what else must be known goes beside it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Separates the group from the device in a client id (LMQ-2.1).
pub const GROUP_END: &str = "@@@";

/// One notice, as its body says it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Notice {
    /// The whole client id.
    pub client_id: String,
    /// When it happened, in milliseconds since the epoch.
    pub time: u64,
    /// What happened; also the message's tag.
    pub event_type: EventType,
    /// The TCP connection that it happened to.
    pub channel_id: ChannelId,
    /// Where the client is, `ip:port`; empty where the broker does not say.
    pub client_ip: String,
}

impl Notice {
    /// The body: JSON with exactly the five keys of LMQ-7.1.
    pub fn to_body(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("text and a number are JSON")
    }

    /// Reads a body, whoever wrote it; further keys are ignored.
    pub fn from_body(body: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(body)
    }
}

/// The three events of LMQ-7.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EventType {
    /// A client came online.
    Connect,
    /// It said DISCONNECT. A `tcpclean` follows.
    Disconnect,
    /// Its TCP connection is gone: what offline is judged by.
    TcpClean,
}

impl EventType {
    /// The name in the body, which is also the message's tag.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Disconnect => "disconnect",
            Self::TcpClean => "tcpclean",
        }
    }
}

/// Names one TCP connection of a client: 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct ChannelId(pub u128);

impl fmt::Display for ChannelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for ChannelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<ChannelId> for String {
    fn from(id: ChannelId) -> Self {
        id.to_string()
    }
}

impl TryFrom<String> for ChannelId {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text.len() != 32 {
            return Err(format!("a channel id has 32 hexadecimal digits, this one {}", text.len()));
        }
        u128::from_str_radix(&text, 16).map(Self).map_err(|error| format!("a channel id is hexadecimal: {error}"))
    }
}

/// LMQ-2.1: the group and the device of a client id; nothing where it has no group.
pub fn group_and_device(client_id: &str) -> Option<(&str, &str)> {
    client_id.split_once(GROUP_END).filter(|(group, _)| !group.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_has_exactly_the_five_keys() {
        let notice = Notice {
            client_id: "GID_a@@@1".into(),
            time: 1_566_000_000_000,
            event_type: EventType::TcpClean,
            channel_id: ChannelId(0xab),
            client_ip: "10.0.0.1:7".into(),
        };
        let body = notice.to_body();
        assert_eq!(
            String::from_utf8(body.clone()).unwrap(),
            "{\"clientId\":\"GID_a@@@1\",\"time\":1566000000000,\"eventType\":\"tcpclean\",\
             \"channelId\":\"000000000000000000000000000000ab\",\"clientIp\":\"10.0.0.1:7\"}"
        );
        assert_eq!(Notice::from_body(&body).unwrap(), notice);
        for bad in [&b"{}"[..], b"[", b"{\"clientId\":1}"] {
            assert!(Notice::from_body(bad).is_err());
        }
    }

    #[test]
    fn the_group_is_what_stands_before_the_first_mark() {
        for (id, parts) in [
            ("GID_a@@@1", Some(("GID_a", "1"))),
            ("GID_a@@@", Some(("GID_a", ""))),
            ("GID_a@@@b@@@c", Some(("GID_a", "b@@@c"))),
            ("@@@1", None),
            ("plain", None),
        ] {
            assert_eq!(group_and_device(id), parts, "{id}");
        }
    }
}
