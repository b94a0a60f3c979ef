//! MQTT packets as this end uses them: the one place that knows that there are two versions.
//!
//! Field coding comes from the packet codecs of `rumqttc`; framing is checked here first, so that whatever a
//! broker sends is a packet, too little yet, or [`Unreadable`]: never a panic, never an endless wait.

mod prepared;
#[cfg(test)]
mod tests;
mod v4;
mod v5;

use std::{fmt::Display, time::Duration};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use rumqttc_v5 as r5;

pub(super) use self::prepared::Prepared;
use super::reason::Reason;
use crate::{
    delivery::Refusal,
    message::{Message, Qos},
    settings::MqttVersion,
};

/// The most that MQTT's length field can say.
const LARGEST_PACKET: usize = 268_435_455;

/// The packet id that is the session's own. Those of its duty go round below it.
pub(super) const OWN_ID: u16 = u16::MAX;

/// A payload up to this size is copied out of the read buffer, so that it does not keep all of that alive.
const COPY_BELOW: usize = 4096;

/// What a broker sent and we do not take.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unreadable {
    /// It is not MQTT, or too large for anything but a publish.
    #[error("the broker sent what cannot be read: {0}")]
    Malformed(String),
    /// It stays where it is.
    #[error(
        "the broker sends a publish of {size} bytes to {topic:?}, more than the {max} that are taken: raise `max_packet` \
         and start again"
    )]
    TooLarge { topic: String, size: usize, max: u32 },
}

impl Unreadable {
    fn new(what: impl Display) -> Self {
        Self::Malformed(format!("{what}"))
    }
}

/// A packet from the broker.
#[derive(Debug)]
pub(super) enum Incoming {
    ConnAck(Box<ConnAck>),
    Publish(Box<Publish>),
    Ack(Ack),
    SubAck {
        packet_id: u16,
        codes: Vec<u8>,
        text: Option<String>,
    },
    /// On 3.1.1 it has no codes, and means success.
    UnsubAck {
        packet_id: u16,
        codes: Vec<u8>,
    },
    PingResp,
    Disconnect(Reason),
    /// A publish that the session has taken for itself. Its acknowledgement is due like that of any other.
    Aside {
        qos: Qos,
        packet_id: u16,
        dup: bool,
    },
    /// One that asks for nothing.
    Other,
}

/// The answer to a login, and the limits that it sets.
#[expect(clippy::struct_excessive_bools, reason = "MQTT says these one by one")]
#[derive(Debug, Clone)]
pub(super) struct ConnAck {
    pub(super) session_present: bool,
    pub(super) reason: Reason,
    pub(super) receive_maximum: u16,
    pub(super) max_qos: Qos,
    pub(super) retain_available: bool,
    pub(super) max_packet: Option<u32>,
    pub(super) assigned_id: Option<String>,
    pub(super) keep_alive: Option<Duration>,
    pub(super) session_expiry: Option<u32>,
    pub(super) wildcards: bool,
    pub(super) subscription_ids: bool,
    pub(super) shared: bool,
}

impl ConnAck {
    /// Without limits, as 3.1.1 has it.
    pub(super) fn unlimited(session_present: bool, reason: Reason) -> Self {
        Self {
            session_present,
            reason,
            receive_maximum: u16::MAX,
            max_qos: Qos::ExactlyOnce,
            retain_available: true,
            max_packet: None,
            assigned_id: None,
            keep_alive: None,
            session_expiry: None,
            wildcards: true,
            subscription_ids: false,
            shared: true,
        }
    }
}

/// A message from the broker.
#[derive(Debug)]
pub(super) struct Publish {
    /// 0 at QoS 0.
    pub(super) packet_id: u16,
    pub(super) dup: bool,
    pub(super) subscription_ids: Vec<usize>,
    pub(super) message: Message,
}

/// The four acknowledgements.
#[expect(clippy::enum_variant_names, reason = "MQTT's own names")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AckKind {
    PubAck,
    PubRec,
    PubRel,
    PubComp,
}

/// An acknowledgement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ack {
    pub(super) kind: AckKind,
    pub(super) packet_id: u16,
    pub(super) reason: Reason,
}

/// What a CONNECT says.
#[derive(Debug)]
pub(super) struct Connect<'a> {
    pub(super) client_id: &'a str,
    pub(super) clean_start: bool,
    pub(super) keep_alive: u16,
    /// `u32::MAX` means never.
    pub(super) session_expiry: u32,
    pub(super) receive_maximum: u16,
    pub(super) username: Option<&'a str>,
    pub(super) password: Option<&'a str>,
    /// Topic and payload; retained, QoS 1.
    pub(super) will: Option<(&'a str, &'a str)>,
}

/// One filter of a SUBSCRIBE.
#[derive(Debug, Clone)]
pub(super) struct Filter {
    /// With `$share/group/` where it is shared.
    pub(super) path: String,
    pub(super) qos: Qos,
}

/// Reads and writes packets of one version.
#[derive(Debug, Clone, Copy)]
pub(super) struct Codec {
    pub(super) version: MqttVersion,
    /// The largest packet that is read, in bytes.
    pub(super) max_packet: u32,
}

impl Codec {
    /// Takes the next packet from the front of the buffer, or nothing when it is not all there yet.
    pub(super) fn read(self, buffer: &mut BytesMut) -> Result<Option<Incoming>, Unreadable> {
        let header = match r5::check(buffer.iter(), Some(self.max_packet)) {
            Ok(header) => header,
            Err(r5::Error::InsufficientBytes(_)) => return Ok(None),
            Err(r5::Error::PayloadSizeLimitExceeded { pkt_size: size, max }) if buffer[0] >> 4 == 3 => {
                let Some(topic) = topic(buffer) else { return Ok(None) };
                return Err(Unreadable::TooLarge { topic, size, max });
            }
            Err(error) => return Err(Unreadable::new(error)),
        };
        let first = buffer[0];
        let length_bytes = length_bytes(buffer);
        let mut frame = buffer.split_to(header.frame_length()).freeze();
        // The kind is in the upper half of the first byte, its flags in the lower.
        let packet = match first >> 4 {
            2 => {
                frame.advance(1 + length_bytes);
                self.connack(frame)?
            }
            3 => self.publish(first, length_bytes, header, frame)?,
            kind @ 4..=7 => {
                frame.advance(1 + length_bytes);
                Incoming::Ack(ack(kind, frame)?)
            }
            9 => {
                frame.advance(1 + length_bytes);
                let (packet_id, codes, text) = self.answers(frame)?;
                Incoming::SubAck { packet_id, codes, text }
            }
            11 => {
                frame.advance(1 + length_bytes);
                let (packet_id, codes, _) = self.answers(frame)?;
                Incoming::UnsubAck { packet_id, codes }
            }
            13 => Incoming::PingResp,
            14 => {
                frame.advance(1 + length_bytes);
                Incoming::Disconnect(v5::disconnect(frame)?)
            }
            15 => Incoming::Other,
            kind => return Err(Unreadable::new(format_args!("packet type {kind} from a broker"))),
        };
        Ok(Some(packet))
    }

    fn connack(self, mut body: Bytes) -> Result<Incoming, Unreadable> {
        let (flags, code) = (byte(&mut body)?, byte(&mut body)?);
        let session_present = flags & 1 == 1;
        // A broker that knows only 3.1.1 answers a CONNECT of MQTT 5 in its own form, without properties.
        let connack = if self.version == MqttVersion::V4 || body.is_empty() {
            ConnAck::unlimited(session_present, Reason::of_v4_login(code))
        } else {
            v5::connack(session_present, code, body)?
        };
        Ok(Incoming::ConnAck(Box::new(connack)))
    }

    fn publish(
        self,
        first: u8,
        length_bytes: usize,
        header: r5::FixedHeader,
        frame: Bytes,
    ) -> Result<Incoming, Unreadable> {
        let publish = match self.version {
            MqttVersion::V5 => v5::publish(header, frame)?,
            MqttVersion::V4 => {
                let remaining = header.frame_length() - 1 - length_bytes;
                v4::publish(rumqttc_v4::FixedHeader::new(first, length_bytes, remaining), frame)?
            }
        };
        if publish.message.topic.as_str().is_empty() {
            return Err(Unreadable::new("a publish without a topic"));
        }
        Ok(Incoming::Publish(Box::new(publish)))
    }

    /// The body of a SUBACK or UNSUBACK, which are alike: packet id, a code for each filter, the broker's words.
    fn answers(self, mut body: Bytes) -> Result<(u16, Vec<u8>, Option<String>), Unreadable> {
        let packet_id = packet_id(&mut body)?;
        let text = match self.version {
            MqttVersion::V5 => v5::answer_text(&mut body)?,
            MqttVersion::V4 => None,
        };
        Ok((packet_id, body.to_vec(), text))
    }

    /// Writes a CONNECT.
    pub(super) fn connect(self, out: &mut BytesMut, connect: &Connect<'_>) -> Result<(), String> {
        match self.version {
            MqttVersion::V5 => v5::connect(out, connect, self.max_packet),
            MqttVersion::V4 => v4::connect(out, connect),
        }
    }

    /// Writes a SUBSCRIBE; the id is for MQTT 5 alone.
    pub(super) fn subscribe(
        self,
        out: &mut BytesMut,
        packet_id: u16,
        filters: &[Filter],
        id: Option<usize>,
    ) -> Result<(), String> {
        match self.version {
            MqttVersion::V5 => v5::subscribe(out, packet_id, filters, id),
            MqttVersion::V4 => v4::subscribe(out, packet_id, filters),
        }
    }

    /// Writes an UNSUBSCRIBE.
    pub(super) fn unsubscribe(self, out: &mut BytesMut, packet_id: u16, filters: &[String]) -> Result<(), String> {
        match self.version {
            MqttVersion::V5 => v5::unsubscribe(out, packet_id, filters),
            MqttVersion::V4 => v4::unsubscribe(out, packet_id, filters),
        }
    }

    /// Writes a DISCONNECT; on MQTT 5 it may end the session at once.
    pub(super) fn disconnect(self, out: &mut BytesMut, end_session: bool) {
        match self.version {
            // Normal disconnection, with a session expiry of 0.
            MqttVersion::V5 if end_session => out.extend_from_slice(&[0xE0, 7, 0, 5, 17, 0, 0, 0, 0]),
            _ => out.extend_from_slice(&[0xE0, 0]),
        }
    }

    /// Turns a message into a publish, or says why MQTT cannot hold it.
    pub(super) fn prepare(self, message: Message) -> Result<Prepared, Refusal> {
        prepared::check_topic(message.topic.as_str())?;
        let prepared = match self.version {
            MqttVersion::V5 => Prepared::V5(v5::prepare(message)?),
            MqttVersion::V4 => Prepared::V4(v4::prepare(message)),
        };
        if prepared.size() > LARGEST_PACKET {
            return Err(prepared::too_large(prepared.size(), LARGEST_PACKET));
        }
        Ok(prepared)
    }
}

/// Writes a successful acknowledgement, the same in both versions.
pub(super) fn write_ack(out: &mut BytesMut, kind: AckKind, packet_id: u16) {
    out.put_u8(match kind {
        AckKind::PubAck => 0x40,
        AckKind::PubRec => 0x50,
        AckKind::PubRel => 0x62,
        AckKind::PubComp => 0x70,
    });
    out.put_u8(2);
    out.put_u16(packet_id);
}

/// Writes the first acknowledgement of a publish, where one is due.
pub(super) fn acknowledge(out: &mut BytesMut, qos: Qos, packet_id: u16) {
    match qos {
        Qos::AtMostOnce => {}
        Qos::AtLeastOnce => write_ack(out, AckKind::PubAck, packet_id),
        Qos::ExactlyOnce => write_ack(out, AckKind::PubRec, packet_id),
    }
}

/// Writes a PINGREQ.
pub(super) fn write_ping(out: &mut BytesMut) {
    out.extend_from_slice(&[0xC0, 0]);
}

/// Whether a packet that begins with this byte is a publish at QoS 1 or 2.
pub(super) fn is_held_publish(first: u8) -> bool {
    first >> 4 == 3 && first & 0b0110 != 0
}

fn ack(kind: u8, mut body: Bytes) -> Result<Ack, Unreadable> {
    let kind = match kind {
        4 => AckKind::PubAck,
        5 => AckKind::PubRec,
        6 => AckKind::PubRel,
        _ => AckKind::PubComp,
    };
    let packet_id = packet_id(&mut body)?;
    let code = if body.is_empty() { 0 } else { body.get_u8() };
    let text = if body.is_empty() || code < 0x80 { None } else { v5::ack_text(&mut body) };
    Ok(Ack { kind, packet_id, reason: Reason { code, text } })
}

/// How many bytes say how long a packet is.
fn length_bytes(packet: &[u8]) -> usize {
    packet[1..].iter().take_while(|byte| **byte & 0x80 != 0).count() + 1
}

/// The topic of a publish of which only the beginning is there, unless that is too little; for a person, so not all of
/// a long one.
fn topic(publish: &[u8]) -> Option<String> {
    let (length, rest) = publish.get(1 + length_bytes(publish)..)?.split_first_chunk()?;
    let topic = rest.get(..usize::from(u16::from_be_bytes(*length)))?;
    Some(String::from_utf8_lossy(topic).chars().take(80).collect())
}

fn byte(body: &mut Bytes) -> Result<u8, Unreadable> {
    if body.is_empty() { Err(Unreadable::new("a packet that ends too early")) } else { Ok(body.get_u8()) }
}

fn packet_id(body: &mut Bytes) -> Result<u16, Unreadable> {
    if body.len() < 2 {
        return Err(Unreadable::new("a packet without its id"));
    }
    match body.get_u16() {
        0 => Err(Unreadable::new("packet id 0")),
        id => Ok(id),
    }
}

/// A payload that does not keep a whole read buffer for a few bytes of it.
fn payload(bytes: Bytes) -> Bytes {
    if bytes.len() <= COPY_BELOW { Bytes::copy_from_slice(&bytes) } else { bytes }
}
