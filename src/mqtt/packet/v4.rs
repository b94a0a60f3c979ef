//! What is different in MQTT 3.1.1.

use bytes::{Bytes, BytesMut};
use rumqttc_v4 as r4;

use super::{Connect, Filter, Publish, Unreadable, payload};
use crate::message::{Message, Qos, Topic};

pub(super) fn publish(header: r4::FixedHeader, frame: Bytes) -> Result<Publish, Unreadable> {
    let packet = r4::Publish::read(header, frame).map_err(Unreadable::new)?;
    let topic = std::str::from_utf8(&packet.topic).map_err(Unreadable::new)?;
    let mut message = Message::new(Topic::from_mqtt(topic), payload(packet.payload));
    message.qos = from_qos(packet.qos);
    message.retain = packet.retain;
    Ok(Publish { packet_id: packet.pkid, dup: packet.dup, subscription_ids: Vec::new(), message })
}

pub(super) fn prepare(message: Message) -> r4::Publish {
    r4::Publish {
        dup: false,
        qos: to_qos(message.qos),
        retain: message.retain,
        topic: Bytes::copy_from_slice(message.topic.as_str().as_bytes()),
        pkid: 1,
        payload: message.payload,
    }
}

pub(super) fn write(publish: &mut r4::Publish, out: &mut BytesMut, packet_id: u16, dup: bool) -> Result<(), String> {
    let counted = publish.qos != r4::QoS::AtMostOnce;
    publish.pkid = if counted { packet_id } else { 0 };
    publish.dup = dup && counted;
    written(publish.write(out))
}

pub(super) fn connect(out: &mut BytesMut, connect: &Connect<'_>) -> Result<(), String> {
    let auth = match (connect.username, connect.password) {
        (None, None) => r4::ConnectAuth::None,
        (Some(username), None) => r4::ConnectAuth::Username { username: username.to_owned() },
        // 3.1.1 has no password without a user name.
        (username, Some(password)) => r4::ConnectAuth::UsernamePassword {
            username: username.unwrap_or_default().to_owned(),
            password: Bytes::copy_from_slice(password.as_bytes()),
        },
    };
    let last_will = connect.will.map(|(topic, text)| r4::LastWill::new(topic, text, r4::QoS::AtLeastOnce, true));
    let packet = r4::Connect {
        keep_alive: connect.keep_alive,
        client_id: connect.client_id.to_owned(),
        clean_session: connect.clean_start,
        last_will,
        auth,
    };
    written(packet.write(out))
}

pub(super) fn subscribe(out: &mut BytesMut, packet_id: u16, filters: &[Filter]) -> Result<(), String> {
    let filters = filters.iter().map(|filter| r4::SubscribeFilter::new(filter.path.clone(), to_qos(filter.qos)));
    let mut packet = r4::Subscribe::new_many(filters);
    packet.pkid = packet_id;
    written(packet.write(out))
}

pub(super) fn unsubscribe(out: &mut BytesMut, packet_id: u16, filters: &[String]) -> Result<(), String> {
    written(r4::Unsubscribe { pkid: packet_id, topics: filters.to_vec() }.write(out))
}

fn written(result: Result<usize, r4::Error>) -> Result<(), String> {
    result.map(drop).map_err(|error| error.to_string())
}

pub(super) fn from_qos(qos: r4::QoS) -> Qos {
    match qos {
        r4::QoS::AtMostOnce => Qos::AtMostOnce,
        r4::QoS::AtLeastOnce => Qos::AtLeastOnce,
        r4::QoS::ExactlyOnce => Qos::ExactlyOnce,
    }
}

fn to_qos(qos: Qos) -> r4::QoS {
    match qos {
        Qos::AtMostOnce => r4::QoS::AtMostOnce,
        Qos::AtLeastOnce => r4::QoS::AtLeastOnce,
        Qos::ExactlyOnce => r4::QoS::ExactlyOnce,
    }
}
