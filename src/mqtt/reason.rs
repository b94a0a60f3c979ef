//! Reason codes of MQTT 5, which the few codes of 3.1.1 are translated to, and their words.

use std::fmt;

/// What a broker says of a request or of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reason {
    /// The code of MQTT 5; below 0x80 means success.
    pub(super) code: u8,
    /// What the broker added in words.
    pub(super) text: Option<String>,
}

pub(super) const NO_MATCHING_SUBSCRIBERS: u8 = 0x10;
pub(super) const UNSUPPORTED_VERSION: u8 = 0x84;
pub(super) const NOT_AUTHORIZED: u8 = 0x87;
pub(super) const TAKEN_OVER: u8 = 0x8E;
pub(super) const TOPIC_NAME_INVALID: u8 = 0x90;
pub(super) const PACKET_TOO_LARGE: u8 = 0x95;
pub(super) const PAYLOAD_FORMAT_INVALID: u8 = 0x99;

impl Reason {
    /// A code without words.
    pub(super) fn of(code: u8) -> Self {
        Self { code, text: None }
    }

    /// The code of a 3.1.1 CONNACK, as MQTT 5 would have said it.
    pub(super) fn of_v4_login(code: u8) -> Self {
        Self::of(match code {
            0 => 0,
            1 => UNSUPPORTED_VERSION,
            2 => 0x85,
            3 => 0x88,
            4 => 0x86,
            5 => NOT_AUTHORIZED,
            // What an MQTT 5 broker says without properties.
            code if code >= 0x80 => code,
            _ => 0x80,
        })
    }

    /// Whether a DISCONNECT with it may be the answer to a packet of ours, such as a publish that the broker cannot
    /// take. All other codes are about the connection, the client or the broker: a permission, a quota, a rate.
    pub(super) fn is_about_a_packet(&self) -> bool {
        matches!(
            self.code,
            0x81..=0x83 | TOPIC_NAME_INVALID | 0x94 | PACKET_TOO_LARGE | PAYLOAD_FORMAT_INVALID | 0x9A | 0x9B
        )
    }

    /// Whether a login was refused for what it proved, or did not prove.
    pub(super) fn is_about_credentials(&self) -> bool {
        matches!(self.code, 0x85..=NOT_AUTHORIZED | 0x8A | 0x8C)
    }

    /// Whether the request failed.
    pub(super) fn is_failure(&self) -> bool {
        self.code >= 0x80
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (0x{:02X})", words(self.code), self.code)?;
        match &self.text {
            Some(text) => write!(f, ", {text:?}"),
            None => Ok(()),
        }
    }
}

fn words(code: u8) -> &'static str {
    match code {
        0x00 => "success",
        NO_MATCHING_SUBSCRIBERS => "no matching subscribers",
        0x81 => "malformed packet",
        0x82 => "protocol error",
        0x83 => "implementation specific error",
        UNSUPPORTED_VERSION => "the broker does not speak this version of MQTT",
        0x85 => "client id not accepted",
        0x86 => "bad user name or password",
        NOT_AUTHORIZED => "not authorized",
        0x88 => "server unavailable",
        0x89 => "server busy",
        0x8A => "banned",
        0x8B => "server shutting down",
        0x8C => "bad authentication method",
        0x8D => "keep-alive timeout",
        TAKEN_OVER => "another client connected with the same client id",
        0x8F => "topic filter invalid",
        TOPIC_NAME_INVALID => "topic name invalid",
        0x91 => "packet id in use",
        0x93 => "receive maximum exceeded",
        0x94 => "topic alias invalid",
        PACKET_TOO_LARGE => "packet too large",
        0x96 => "message rate too high",
        0x97 => "quota exceeded",
        0x98 => "administrative action",
        PAYLOAD_FORMAT_INVALID => "payload format invalid",
        0x9A => "retain not supported",
        0x9B => "QoS not supported",
        0x9C => "use another server",
        0x9D => "server moved",
        0x9E => "shared subscriptions not supported",
        0x9F => "connection rate exceeded",
        0xA0 => "maximum connect time",
        0xA1 => "subscription identifiers not supported",
        0xA2 => "wildcard subscriptions not supported",
        _ => "unspecified error",
    }
}
