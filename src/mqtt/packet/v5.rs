//! What is different in MQTT 5.

use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use rumqttc_v5 as r5;

use super::{ConnAck, Connect, Filter, Publish, Unreadable, byte, payload};
use crate::{
    delivery::Refusal,
    lmq::properties::names,
    message::{Message, Qos, Topic},
    mqtt::reason::Reason,
};

/// The user property that carries the bridge's mark: where a message entered (loop guard).
const MARK: &str = "rocketbridge-mark";

/// The user property that shows a receiver its `mqttRealTopic` (LMQ-4.3).
const REAL_TOPIC: &str = names::REAL_TOPIC;

pub(super) fn connack(session_present: bool, code: u8, mut body: Bytes) -> Result<ConnAck, Unreadable> {
    let properties = r5::ConnAckProperties::read(&mut body).map_err(Unreadable::new)?;
    let mut connack = ConnAck::unlimited(session_present, Reason::of(code));
    connack.subscription_ids = true;
    let Some(properties) = properties else { return Ok(connack) };
    let available = |flag: Option<u8>| flag != Some(0);
    connack.reason.text = properties.reason_string;
    connack.receive_maximum = properties.receive_max.unwrap_or(u16::MAX);
    connack.max_qos = properties.max_qos.and_then(Qos::from_level).unwrap_or(Qos::ExactlyOnce);
    connack.retain_available = available(properties.retain_available);
    connack.max_packet = properties.max_packet_size;
    connack.assigned_id = properties.assigned_client_identifier;
    connack.keep_alive = properties.server_keep_alive.map(|seconds| Duration::from_secs(seconds.into()));
    connack.session_expiry = properties.session_expiry_interval;
    connack.wildcards = available(properties.wildcard_subscription_available);
    connack.subscription_ids = available(properties.subscription_identifiers_available);
    connack.shared = available(properties.shared_subscription_available);
    Ok(connack)
}

pub(super) fn publish(header: r5::FixedHeader, frame: Bytes) -> Result<Publish, Unreadable> {
    let packet = r5::Publish::read(header, frame).map_err(Unreadable::new)?;
    let topic = std::str::from_utf8(&packet.topic).map_err(Unreadable::new)?;
    let mut message = Message::new(Topic::from_mqtt(topic), payload(packet.payload));
    message.qos = from_qos(packet.qos);
    message.retain = packet.retain;
    let mut subscription_ids = Vec::new();
    if let Some(properties) = packet.properties {
        subscription_ids = properties.subscription_identifiers;
        message.user_properties = properties.user_properties;
        if let Some(at) = message.user_properties.iter().position(|(name, _)| name == MARK) {
            message.mark = Some(message.user_properties.remove(at).1);
            message.user_properties.retain(|(name, _)| name != MARK);
        }
        message.content_type = properties.content_type;
        message.response_topic = properties.response_topic;
        message.correlation_data = properties.correlation_data.map(payload);
        message.payload_is_text = properties.payload_format_indicator.map(|indicator| indicator == 1);
        message.expiry = properties.message_expiry_interval;
    }
    Ok(Publish { packet_id: packet.pkid, dup: packet.dup, subscription_ids, message })
}

/// SUBACK and UNSUBACK have the same properties.
pub(super) fn answer_text(body: &mut Bytes) -> Result<Option<String>, Unreadable> {
    let properties = r5::SubAckProperties::read(body).map_err(Unreadable::new)?;
    Ok(properties.and_then(|properties| properties.reason_string))
}

pub(super) fn ack_text(body: &mut Bytes) -> Option<String> {
    r5::PubAckProperties::read(body).ok().flatten().and_then(|properties| properties.reason_string)
}

pub(super) fn disconnect(mut body: Bytes) -> Result<Reason, Unreadable> {
    let code = if body.is_empty() { 0 } else { byte(&mut body)? };
    let properties =
        if body.has_remaining() { r5::DisconnectProperties::extract(&mut body).ok().flatten() } else { None };
    Ok(Reason { code, text: properties.and_then(|properties| properties.reason_string) })
}

pub(super) fn prepare(message: Message) -> Result<r5::Publish, Refusal> {
    let mut user_properties = message.user_properties;
    if let Some(mark) = message.mark {
        user_properties.push((MARK.to_owned(), mark));
    }
    if let Some(real_topic) = message.real_topic.filter(|real_topic| real_topic != message.topic.as_str()) {
        user_properties.push((REAL_TOPIC.to_owned(), real_topic));
    }
    for (name, value) in &user_properties {
        check_text("user property", name)?;
        check_text("user property", value)?;
    }
    if let Some(content_type) = &message.content_type {
        check_text("content type", content_type)?;
    }
    if let Some(topic) = &message.response_topic {
        check_text("response topic", topic)?;
        if topic.contains(['+', '#']) {
            return Err(Refusal::new("property_not_allowed", "the response topic holds a wildcard"));
        }
    }
    if message.correlation_data.as_ref().is_some_and(|data| data.len() > usize::from(u16::MAX)) {
        return Err(Refusal::new("property_not_allowed", "the correlation data is longer than 65535 bytes"));
    }
    let properties = r5::PublishProperties {
        payload_format_indicator: message.payload_is_text.map(u8::from),
        message_expiry_interval: message.expiry,
        topic_alias: None,
        response_topic: message.response_topic,
        correlation_data: message.correlation_data,
        user_properties,
        subscription_identifiers: Vec::new(),
        content_type: message.content_type,
    };
    Ok(r5::Publish {
        dup: false,
        qos: to_qos(message.qos),
        retain: message.retain,
        topic: Bytes::copy_from_slice(message.topic.as_str().as_bytes()),
        pkid: 1,
        payload: message.payload,
        properties: (properties != r5::PublishProperties::default()).then_some(properties),
    })
}

pub(super) fn write(
    publish: &mut r5::Publish,
    out: &mut BytesMut,
    packet_id: u16,
    dup: bool,
    expiry: Option<u32>,
) -> Result<(), String> {
    let counted = publish.qos != r5::QoS::AtMostOnce;
    publish.pkid = if counted { packet_id } else { 0 };
    publish.dup = dup && counted;
    if expiry.is_some() {
        publish.properties.get_or_insert_default().message_expiry_interval = expiry;
    }
    written(publish.write(out))
}

pub(super) fn connect(out: &mut BytesMut, connect: &Connect<'_>, max_packet: u32) -> Result<(), String> {
    let password = connect.password.map(|password| Bytes::copy_from_slice(password.as_bytes()));
    let auth = match (connect.username.map(str::to_owned), password) {
        (None, None) => r5::ConnectAuth::None,
        (Some(username), None) => r5::ConnectAuth::Username { username },
        (None, Some(password)) => r5::ConnectAuth::Password { password },
        (Some(username), Some(password)) => r5::ConnectAuth::UsernamePassword { username, password },
    };
    let will = connect.will.map(|(topic, text)| r5::LastWill::new(topic, text, r5::QoS::AtLeastOnce, true, None));
    let properties = r5::ConnectProperties {
        session_expiry_interval: Some(connect.session_expiry),
        receive_maximum: Some(connect.receive_maximum),
        max_packet_size: Some(max_packet),
        ..r5::ConnectProperties::new()
    };
    let packet = r5::Connect {
        keep_alive: connect.keep_alive,
        client_id: connect.client_id.to_owned(),
        clean_start: connect.clean_start,
        properties: Some(properties),
    };
    written(packet.write(&will, &auth, out))
}

pub(super) fn subscribe(
    out: &mut BytesMut,
    packet_id: u16,
    filters: &[Filter],
    id: Option<usize>,
) -> Result<(), String> {
    let filters = filters.iter().map(|filter| r5::SubscribeFilter {
        path: filter.path.clone(),
        qos: to_qos(filter.qos),
        nolocal: false,
        preserve_retain: true,
        // Retained messages come once, when the subscription is new.
        retain_forward_rule: r5::RetainForwardRule::OnNewSubscribe,
    });
    let properties = id.map(|id| r5::SubscribeProperties { id: Some(id), user_properties: Vec::new() });
    let mut packet = r5::Subscribe::new_many(filters, properties);
    packet.pkid = packet_id;
    written(packet.write(out))
}

pub(super) fn unsubscribe(out: &mut BytesMut, packet_id: u16, filters: &[String]) -> Result<(), String> {
    written(r5::Unsubscribe { pkid: packet_id, filters: filters.to_vec(), properties: None }.write(out))
}

fn written(result: Result<usize, r5::Error>) -> Result<(), String> {
    result.map(drop).map_err(|error| error.to_string())
}

pub(super) fn from_qos(qos: r5::QoS) -> Qos {
    match qos {
        r5::QoS::AtMostOnce => Qos::AtMostOnce,
        r5::QoS::AtLeastOnce => Qos::AtLeastOnce,
        r5::QoS::ExactlyOnce => Qos::ExactlyOnce,
    }
}

fn to_qos(qos: Qos) -> r5::QoS {
    match qos {
        Qos::AtMostOnce => r5::QoS::AtMostOnce,
        Qos::AtLeastOnce => r5::QoS::AtLeastOnce,
        Qos::ExactlyOnce => r5::QoS::ExactlyOnce,
    }
}

fn check_text(what: &str, text: &str) -> Result<(), Refusal> {
    if text.len() > usize::from(u16::MAX) {
        return Err(Refusal::new("property_not_allowed", format!("a {what} is longer than 65535 bytes")));
    }
    if text.contains('\0') {
        return Err(Refusal::new("property_not_allowed", format!("a {what} holds a NUL")));
    }
    Ok(())
}
