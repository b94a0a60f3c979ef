//! A publish on its way out: what the broker's limits say of it, and how it is written.

use std::borrow::Cow;

use bytes::BytesMut;

use super::{ConnAck, v4, v5};
use crate::{delivery::Refusal, message::Qos};

/// A publish that is ready to be written, as often as needed.
#[derive(Debug)]
pub(in crate::mqtt) enum Prepared {
    V4(rumqttc_v4::Publish),
    V5(rumqttc_v5::Publish),
}

impl Prepared {
    /// Bytes on the wire.
    pub(in crate::mqtt) fn size(&self) -> usize {
        match self {
            Self::V4(publish) => publish.size(),
            Self::V5(publish) => publish.size(),
        }
    }

    /// Where it goes.
    pub(in crate::mqtt) fn topic(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(match self {
            Self::V4(publish) => &publish.topic,
            Self::V5(publish) => &publish.topic,
        })
    }

    /// Its quality of service.
    pub(in crate::mqtt) fn qos(&self) -> Qos {
        match self {
            Self::V4(publish) => v4::from_qos(publish.qos),
            Self::V5(publish) => v5::from_qos(publish.qos),
        }
    }

    fn retain(&self) -> bool {
        match self {
            Self::V4(publish) => publish.retain,
            Self::V5(publish) => publish.retain,
        }
    }

    /// Whether the limits of this connection allow it.
    pub(in crate::mqtt) fn fits(&self, limits: &ConnAck) -> Result<(), Refusal> {
        let max_packet = limits.max_packet.map_or(usize::MAX, |max| max as usize);
        if self.size() > max_packet {
            return Err(too_large(self.size(), max_packet));
        }
        if self.qos() > limits.max_qos {
            let (qos, max) = (self.qos().level(), limits.max_qos.level());
            let reason =
                format!("QoS {qos}, and the broker takes no more than {max}; set `to.qos = {max}` to lower it");
            return Err(Refusal::new("qos_not_supported", reason));
        }
        if self.retain() && !limits.retain_available {
            return Err(Refusal::new("retain_not_supported", "the broker keeps no retained messages"));
        }
        Ok(())
    }

    /// Writes it. `expiry` is what remains of the message's time, in seconds.
    pub(in crate::mqtt) fn write(
        &mut self,
        out: &mut BytesMut,
        packet_id: u16,
        dup: bool,
        expiry: Option<u32>,
    ) -> Result<(), String> {
        let start = out.len();
        let written = match self {
            Self::V4(publish) => v4::write(publish, out, packet_id, dup),
            Self::V5(publish) => v5::write(publish, out, packet_id, dup, expiry),
        };
        if written.is_err() {
            out.truncate(start);
        }
        written
    }
}

/// Whether MQTT can hold a topic.
pub(super) fn check_topic(topic: &str) -> Result<(), Refusal> {
    let fault = if topic.is_empty() {
        "is empty"
    } else if topic.len() > usize::from(u16::MAX) {
        "is longer than 65535 bytes"
    } else if topic.contains(['+', '#']) {
        "holds a wildcard"
    } else if topic.contains('\0') {
        "holds a NUL"
    } else {
        return Ok(());
    };
    let shown: String = topic.chars().take(80).collect();
    Err(Refusal::new("topic_not_allowed", format!("the topic {shown:?} {fault}")))
}

pub(super) fn too_large(size: usize, max: usize) -> Refusal {
    Refusal::new("body_too_large", format!("a packet of {size} bytes, and the broker takes {max}"))
}
