//! Logging in: what a CONNECT says, and what is made of its answer.

use std::{sync::Arc, time::Duration};

use bytes::BytesMut;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

use super::{
    packet::{Codec, ConnAck, Connect, Incoming, Unreadable},
    reason::{Reason, UNSUPPORTED_VERSION},
    tokens::Keeper,
    transport::{self, DialError, Stream},
};
use crate::{
    lmq::credentials,
    settings::{MqttBroker, MqttVersion, Secret, Will},
};

/// MQTT 5's word for a session that never expires.
const NEVER: u32 = u32::MAX;

/// Who logs in, and how.
#[derive(Debug, Clone)]
pub(super) struct Login {
    pub(super) broker: Arc<MqttBroker>,
    pub(super) client_id: String,
    /// Whether the last will goes with it.
    pub(super) announce: bool,
    /// Ends the session with the connection.
    pub(super) throw_away: bool,
}

/// What proves who we are, at one login.
#[derive(Debug, Default)]
pub(super) struct Credentials {
    pub(super) username: Option<String>,
    pub(super) password: Option<Secret>,
}

/// A connection that is logged in.
pub(super) struct Connection {
    pub(super) stream: Box<dyn Stream>,
    /// What came after the CONNACK.
    pub(super) rest: BytesMut,
    pub(super) connack: ConnAck,
    pub(super) codec: Codec,
}

/// Why there is no connection, or no session on it.
#[derive(Debug, thiserror::Error)]
pub(super) enum LoginError {
    #[error(transparent)]
    Dial(#[from] DialError),
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    #[error("login refused: {0}{1}")]
    Refused(Reason, &'static str),
    #[error("closed by the broker during login")]
    Closed,
    #[error("login: {0}")]
    Io(#[from] std::io::Error),
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    #[error("login cannot be written: {0}")]
    Unwritable(String),
    #[error("no token: {0}")]
    NoToken(String),
    #[error("the broker gave the client id {0:?} instead of ours")]
    OtherId(String),
}

impl LoginError {
    /// Whether the credentials were refused; others may be let in.
    pub(super) fn is_about_credentials(&self) -> bool {
        matches!(self, Self::Refused(reason, _) if reason.is_about_credentials())
    }
}

impl Login {
    /// A session that outlives its connections.
    pub(super) fn lasting(broker: &Arc<MqttBroker>, client_id: &str) -> Self {
        Self { broker: broker.clone(), client_id: client_id.to_owned(), announce: true, throw_away: false }
    }

    /// A session beside those of the routes, which ends with its connection. Its id is none that a route's session
    /// gets: theirs go on with a dash behind the stem.
    pub(super) fn aside(broker: &Arc<MqttBroker>, purpose: &str) -> Self {
        Self::throw_away(broker, &format!("{}.{purpose}", broker.client_id))
    }

    /// A session that ends with its connection and leaves nothing behind, nor anything of an earlier one.
    pub(super) fn throw_away(broker: &Arc<MqttBroker>, client_id: &str) -> Self {
        Self { broker: broker.clone(), client_id: client_id.to_owned(), announce: false, throw_away: true }
    }

    /// The will, its topic with the client id in place.
    pub(super) fn will(&self) -> Option<(String, &Will)> {
        let will = self.broker.will.as_ref().filter(|_| self.announce)?;
        Some((will.topic.replace("{client_id}", &self.client_id), will))
    }

    /// The one place that knows what proves who we are. Tokens come from their keeper, which may have to ask for them.
    pub(super) async fn credentials(&self, keeper: Option<&mut Keeper>) -> Result<Credentials, LoginError> {
        let broker = &self.broker;
        Ok(match (&broker.login, keeper) {
            (None, _) => Credentials { username: broker.username.clone(), password: broker.password.clone() },
            (Some(login), Some(keeper)) => Credentials {
                username: Some(credentials::username(login)),
                password: Some(keeper.password().await.map_err(LoginError::NoToken)?),
            },
            (Some(login), None) => Credentials {
                username: Some(credentials::username(login)),
                password: credentials::password(login, &self.client_id),
            },
        })
    }

    /// Connects and logs in once, with a session that nobody keeps tokens for.
    pub(super) async fn visit(&self) -> Result<Connection, LoginError> {
        self.open(true, &self.asked().await?).await
    }

    /// What proves who we are, for a login that nobody keeps tokens for.
    pub(super) async fn asked(&self) -> Result<Credentials, LoginError> {
        self.credentials(Keeper::new(&self.broker, &self.client_id).as_mut()).await
    }

    /// Connects and logs in, all within the broker's `connect_timeout`.
    pub(super) async fn open(&self, clean_start: bool, as_who: &Credentials) -> Result<Connection, LoginError> {
        let limit = self.broker.connect_timeout;
        timeout(limit, self.open_in_time(clean_start, as_who)).await.map_err(|_| LoginError::Timeout(limit))?
    }

    async fn open_in_time(&self, clean_start: bool, as_who: &Credentials) -> Result<Connection, LoginError> {
        let mut stream = transport::dial(&self.broker).await?;
        let codec = Codec { version: self.broker.version, max_packet: self.broker.max_packet };
        let mut out = BytesMut::new();
        self.write(codec, &mut out, clean_start, as_who)?;
        stream.write_all(&out).await?;
        stream.flush().await?;
        let mut rest = BytesMut::with_capacity(1024);
        loop {
            match codec.read(&mut rest)? {
                Some(Incoming::ConnAck(connack)) => {
                    self.check(&connack)?;
                    return Ok(Connection { stream, rest, connack: *connack, codec });
                }
                Some(Incoming::Disconnect(reason)) => return Err(LoginError::Refused(reason, "")),
                Some(_) => return Err(LoginError::Refused(Reason::of(0x82), ": another packet before the CONNACK")),
                None if stream.read_buf(&mut rest).await? == 0 => return Err(LoginError::Closed),
                None => {}
            }
        }
    }

    fn write(
        &self,
        codec: Codec,
        out: &mut BytesMut,
        clean_start: bool,
        as_who: &Credentials,
    ) -> Result<(), LoginError> {
        let will = self.will();
        let session_expiry = match self.broker.session_expiry {
            _ if self.throw_away => 0,
            Some(expiry) => u32::try_from(expiry.as_secs()).unwrap_or(NEVER),
            None => NEVER,
        };
        let connect = Connect {
            client_id: &self.client_id,
            clean_start,
            keep_alive: u16::try_from(self.broker.keep_alive.as_secs()).unwrap_or(u16::MAX),
            session_expiry,
            receive_maximum: self.broker.window.max(1),
            username: as_who.username.as_deref(),
            password: as_who.password.as_ref().map(Secret::reveal),
            will: will.as_ref().map(|(topic, will)| (topic.as_str(), will.offline.as_str())),
        };
        codec.connect(out, &connect).map_err(LoginError::Unwritable)
    }

    fn check(&self, connack: &ConnAck) -> Result<(), LoginError> {
        if connack.reason.code != 0 {
            let hint = match (connack.reason.code, self.broker.version) {
                (UNSUPPORTED_VERSION, MqttVersion::V5) => "; try `version = \"3.1.1\"`",
                (UNSUPPORTED_VERSION, MqttVersion::V4) => "; try `version = \"5\"`",
                _ => "",
            };
            return Err(LoginError::Refused(connack.reason.clone(), hint));
        }
        match &connack.assigned_id {
            Some(id) if *id != self.client_id => Err(LoginError::OtherId(id.clone())),
            _ => Ok(()),
        }
    }
}
