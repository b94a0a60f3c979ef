//! Looking at a broker for `check --connect`, and ending a session for `retire`. Neither leaves anything behind.

use std::{sync::Arc, time::Duration};

use bytes::BytesMut;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

use super::{
    login::{Connection, Login, LoginError},
    packet::{Filter, Incoming},
    reason::Reason,
    session::say_goodbye,
};
use crate::{
    message::Qos,
    settings::{MqttBroker, Secret},
};

/// What a broker says of itself at login; on 3.1.1, which says nothing, the most there can be.
#[expect(clippy::struct_excessive_bools, reason = "MQTT says these one by one")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Publishes that it takes unacknowledged.
    pub receive_maximum: u16,
    /// The highest QoS of a publish.
    pub max_qos: Qos,
    /// Whether it keeps retained messages.
    pub retain_available: bool,
    /// The largest packet that it takes, in bytes.
    pub max_packet: Option<u32>,
    /// The keep-alive that it wants instead of ours.
    pub keep_alive: Option<Duration>,
    /// Whether filters may hold wildcards.
    pub wildcards: bool,
    /// Whether it tells copies of overlapping filters apart.
    pub subscription_ids: bool,
    /// Whether it knows shared subscriptions.
    pub shared: bool,
    /// Each filter that was tried, with the QoS granted or the reason why not.
    pub filters: Vec<(String, Result<Qos, String>)>,
}

/// Why a broker cannot be looked at, in words for a person.
#[derive(Debug, thiserror::Error)]
#[error("{url}: {reason}")]
pub struct ProbeError {
    url: String,
    reason: String,
}

/// Dials, logs in with a session of its own that ends at once, and tries the filters (as MQTT writes them,
/// `$share/group/` included).
pub async fn probe(broker: &Arc<MqttBroker>, filters: &[String]) -> Result<Report, ProbeError> {
    let failed = |error: LoginError| ProbeError { url: broker.url.to_string(), reason: error.to_string() };
    let login = Login::aside(broker, &format!("check.{}", broker.name));
    let mut connection = login.visit().await.map_err(failed)?;
    let limits = connection.connack.clone();
    let limit = broker.connect_timeout;
    let answers = timeout(limit, subscribe(&mut connection, filters)).await;
    let filters = answers.map_err(|_| LoginError::Timeout(limit)).and_then(|answer| answer).map_err(failed)?;
    say_goodbye(connection).await;
    Ok(Report {
        receive_maximum: limits.receive_maximum,
        max_qos: limits.max_qos,
        retain_available: limits.retain_available,
        max_packet: limits.max_packet,
        keep_alive: limits.keep_alive,
        wildcards: limits.wildcards,
        subscription_ids: limits.subscription_ids,
        shared: limits.shared,
        filters,
    })
}

/// Ends the session of a client id, with all that the broker keeps for it.
pub async fn retire(broker: &Arc<MqttBroker>, client_id: &str) -> Result<(), ProbeError> {
    let failed = |error: LoginError| ProbeError { url: broker.url.to_string(), reason: error.to_string() };
    let connection = Login::throw_away(broker, client_id).visit().await.map_err(failed)?;
    say_goodbye(connection).await;
    Ok(())
}

/// User name and password of a client id, as a login of it would send them now. Dials nothing; tokens are asked for.
pub async fn credentials(
    broker: &Arc<MqttBroker>,
    client_id: &str,
) -> Result<(Option<String>, Option<Secret>), ProbeError> {
    let failed = |error: LoginError| ProbeError { url: broker.url.to_string(), reason: error.to_string() };
    let asked = Login::throw_away(broker, client_id).asked().await.map_err(failed)?;
    Ok((asked.username, asked.password))
}

/// One filter at a time, since some brokers answer a bad one by closing.
async fn subscribe(
    connection: &mut Connection,
    filters: &[String],
) -> Result<Vec<(String, Result<Qos, String>)>, LoginError> {
    let mut answers = Vec::new();
    for (packet_id, path) in (1..=u16::MAX).zip(filters) {
        let mut out = BytesMut::new();
        let filter = Filter { path: path.clone(), qos: Qos::AtLeastOnce };
        connection.codec.subscribe(&mut out, packet_id, &[filter], None).map_err(LoginError::Unwritable)?;
        connection.stream.write_all(&out).await?;
        connection.stream.flush().await?;
        let reason = suback(connection, packet_id).await?;
        let answer = match Qos::from_level(reason.code) {
            Some(qos) => Ok(qos),
            None => Err(reason.to_string()),
        };
        answers.push((path.clone(), answer));
    }
    Ok(answers)
}

async fn suback(connection: &mut Connection, wanted: u16) -> Result<Reason, LoginError> {
    loop {
        match connection.codec.read(&mut connection.rest)? {
            Some(Incoming::SubAck { packet_id, codes, text }) if packet_id == wanted => {
                return Ok(Reason { code: codes.first().copied().unwrap_or(0x80), text });
            }
            Some(Incoming::Disconnect(reason)) => return Err(LoginError::Refused(reason, "")),
            None if connection.stream.read_buf(&mut connection.rest).await? == 0 => return Err(LoginError::Closed),
            _ => {}
        }
    }
}
