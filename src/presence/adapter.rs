//! One module per broker: the bytes in which it speaks of its clients, turned into words that all share.
//!
//! Pure: bytes in, [`Said`] out; no byte that a broker or a stranger sends makes one panic. What tells nothing of a
//! client reads as nothing; only what should tell of one and cannot be read is [`Unreadable`]. Adding a broker means
//! adding one file here, and one line to each list below.

pub(super) mod emqx;
mod generic;
mod json;
mod mosquitto;
mod nanomq;
mod rmqtt;
mod vernemq;

#[cfg(test)]
mod tests;

use super::{event::Said, lifeline::Reliance};

/// The header in which VerneMQ names the hook that it calls. Other brokers say in the body what it is about.
pub const HOOK_HEADER: &str = "vernemq-hook";

/// A broker whose events are understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Adapter {
    /// Mosquitto's log lines.
    Mosquitto,
    /// EMQX's `$SYS` events, and what its rule engine sends.
    Emqx,
    /// RMQTT's `$SYS` events and web-hook.
    Rmqtt,
    /// NanoMQ's `$SYS` events and webhook.
    NanoMq,
    /// VerneMQ's webhooks.
    VerneMq,
    /// The webhook form for any other broker.
    Generic,
}

/// An event that cannot be read, in words for the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unreadable(pub String);

/// What a message of a broker says: nothing, or one thing or more.
pub type Reading = Result<Vec<Said>, Unreadable>;

impl Adapter {
    /// All of them, in the order of the documents.
    pub const ALL: [Self; 6] = [Self::Mosquitto, Self::Emqx, Self::Rmqtt, Self::NanoMq, Self::VerneMq, Self::Generic];

    /// The names in mapping files, in the order of [`Self::ALL`].
    pub const NAMES: [&str; 6] = ["mosquitto", "emqx", "rmqtt", "nanomq", "vernemq", "generic"];

    /// The adapter that a mapping file names.
    pub fn from_name(name: &str) -> Option<Self> {
        let at = Self::NAMES.iter().position(|known| *known == name)?;
        Some(Self::ALL[at])
    }

    /// Its name in mapping files.
    pub fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }

    /// Whether it asks over HTTP who may log in, in a form that is understood.
    pub fn has_login(self) -> bool {
        matches!(self, Self::Mosquitto | Self::Emqx | Self::Rmqtt | Self::NanoMq)
    }

    /// Whether it reads what brokers post.
    pub fn has_webhook(self) -> bool {
        self != Self::Mosquitto
    }

    /// How far what comes by [`Self::filters`] can be relied on.
    pub fn reliance(self) -> Reliance {
        match self {
            // Mosquitto keeps a line for 20 s.
            Self::Mosquitto => Reliance::Kept { up_to: 18_000 },
            _ => Reliance::WhileConnected,
        }
    }

    /// What to subscribe to on the broker; nothing where it only calls webhooks.
    pub fn filters(self) -> &'static [&'static str] {
        match self {
            Self::Mosquitto => &mosquitto::FILTERS,
            // Not `+` for the client id: it may hold slashes.
            Self::Emqx | Self::Rmqtt => &["$SYS/brokers/+/clients/#"],
            Self::NanoMq => &nanomq::FILTERS,
            Self::VerneMq | Self::Generic => &[],
        }
    }

    /// Whether what comes by [`Self::filters`] comes in the order in which it happened. Webhooks never do.
    pub fn in_order(self) -> bool {
        matches!(self, Self::Mosquitto | Self::NanoMq)
    }

    /// Reads a message of the broker, received at a time in milliseconds since the epoch.
    pub fn from_publish(self, topic: &str, payload: &[u8], received: u64) -> Reading {
        match self {
            Self::Mosquitto => mosquitto::from_publish(topic, payload, received),
            Self::Emqx => emqx::from_publish(topic, payload, received),
            Self::Rmqtt => rmqtt::from_publish(topic, payload, received),
            Self::NanoMq => nanomq::from_publish(topic, payload, received),
            Self::VerneMq | Self::Generic => Err(Unreadable::because("its events come by webhook alone")),
        }
    }

    /// Reads the body of a webhook, received at a time in milliseconds since the epoch, with the value of
    /// [`HOOK_HEADER`] where there was one. A body may be an array: it is read whole or not at all.
    pub fn from_webhook(self, hook: Option<&str>, body: &[u8], received: u64) -> Reading {
        match self {
            Self::Mosquitto => Err(Unreadable::because("Mosquitto calls no webhooks")),
            Self::Emqx => emqx::from_webhook(body, received),
            Self::Rmqtt => rmqtt::from_webhook(body, received),
            Self::NanoMq => nanomq::from_webhook(body, received),
            Self::VerneMq => vernemq::from_webhook(hook, body, received),
            Self::Generic => generic::from_webhook(body, received),
        }
    }
}

impl Unreadable {
    fn because(reason: &str) -> Self {
        Self(reason.to_owned())
    }
}

/// `$SYS/brokers/<node>/clients/<client id>/<what happened>`, as EMQX and RMQTT have it: the node and what happened.
/// The client id is better read from the payload.
fn client_event(topic: &str) -> Option<(&str, &str)> {
    let (node, rest) = topic.strip_prefix("$SYS/brokers/")?.split_once('/')?;
    let (_, what) = rest.strip_prefix("clients/")?.rsplit_once('/')?;
    Some((node, what))
}
