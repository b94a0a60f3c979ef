//! A small MQTT 5 client that judges the bridge: one connection, plain TCP, and packets as they come.

mod load;

use std::{collections::VecDeque, io, time::Duration};

use bytes::{Bytes, BytesMut};
use rumqttc_v5::{
    Connect, ConnectAuth, ConnectProperties, Packet, PubAck, PubComp, PubRec, PubRel, Publish, PublishProperties,
    Subscribe, SubscribeFilter, SubscribeReasonCode,
    mqttbytes::{Error as CodecError, QoS, v5::ConnAck},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

pub use load::{PublishLoad, Publisher, Subscriber};

/// How a client connects.
#[derive(Debug, Clone)]
pub struct Login {
    pub port: u16,
    pub client_id: String,
    /// Forget an earlier session.
    pub clean: bool,
    /// User name and password.
    pub user: Option<(String, String)>,
    /// How many publishes may be on their way to it.
    pub window: u16,
}

impl Login {
    /// A session that starts clean and outlives its connection.
    pub fn new(port: u16, client_id: &str) -> Self {
        Self { port, client_id: client_id.to_owned(), clean: true, user: None, window: 1000 }
    }

    /// Goes on with the session of this client id.
    pub fn resume(mut self) -> Self {
        self.clean = false;
        self
    }

    fn packet(&self) -> Packet {
        let mut properties = ConnectProperties::new();
        properties.session_expiry_interval = Some(u32::MAX);
        properties.receive_maximum = Some(self.window);
        let auth = match self.user.clone() {
            Some((username, password)) => ConnectAuth::UsernamePassword { username, password: password.into() },
            None => ConnectAuth::None,
        };
        let connect = Connect {
            keep_alive: 60,
            client_id: self.client_id.clone(),
            clean_start: self.clean,
            properties: Some(properties),
        };
        Packet::Connect(connect, None, auth)
    }
}

/// A connection that packets are read from and written to.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    input: BytesMut,
    output: BytesMut,
}

impl Connection {
    /// Connects and waits for the broker's answer, whatever that says.
    pub async fn open(login: &Login) -> io::Result<(Self, ConnAck)> {
        let stream = TcpStream::connect(("127.0.0.1", login.port)).await?;
        stream.set_nodelay(true)?;
        let mut connection = Self { stream, input: BytesMut::new(), output: BytesMut::new() };
        connection.push(&login.packet());
        connection.flush().await?;
        match connection.next().await? {
            Packet::ConnAck(answer) => Ok((connection, answer)),
            other => Err(io::Error::other(format!("not a CONNACK: {other:?}"))),
        }
    }

    /// Encodes a packet for the next [`Self::flush`].
    pub fn push(&mut self, packet: &Packet) {
        packet.write(&mut self.output, None).expect("a packet of ours can be encoded");
    }

    /// Writes what was pushed.
    pub async fn flush(&mut self) -> io::Result<()> {
        while !self.output.is_empty() {
            self.stream.write_buf(&mut self.output).await?;
        }
        Ok(())
    }

    /// The next packet; safe to give up waiting for.
    pub async fn next(&mut self) -> io::Result<Packet> {
        loop {
            if let Some(packet) = self.buffered()? {
                return Ok(packet);
            }
            if self.stream.read_buf(&mut self.input).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// The next packet of those read already.
    pub fn buffered(&mut self) -> io::Result<Option<Packet>> {
        match Packet::read(&mut self.input, None) {
            Ok(packet) => Ok(Some(packet)),
            Err(CodecError::InsufficientBytes(_)) => Ok(None),
            Err(e) => Err(io::Error::other(e)),
        }
    }
}

/// A client for tests that go step by step. It acknowledges what it takes.
#[derive(Debug)]
pub struct Client {
    connection: Connection,
    /// What the broker said when it connected.
    pub connack: ConnAck,
    arrived: VecDeque<Publish>,
    next_id: u16,
}

/// Longer than any answer takes.
const PATIENCE: Duration = Duration::from_secs(20);

impl Client {
    /// Connects; panics if it cannot.
    pub async fn connect(login: &Login) -> Self {
        let (connection, connack) = Connection::open(login).await.expect("connect to the MQTT broker");
        Self { connection, connack, arrived: VecDeque::new(), next_id: 0 }
    }

    /// Subscribes and gives the broker's answer.
    pub async fn subscribe(&mut self, filter: &str, qos: QoS) -> SubscribeReasonCode {
        let mut subscribe = Subscribe::new(SubscribeFilter::new(filter, qos), None);
        subscribe.pkid = self.id();
        let packet = Packet::Subscribe(subscribe);
        match self.request(&packet, |packet| matches!(packet, Packet::SubAck(_))).await {
            Packet::SubAck(answer) => answer.return_codes[0],
            _ => unreachable!("only a SUBACK was waited for"),
        }
    }

    /// Publishes and waits until the broker has taken it: the PUBACK or PUBREC, and nothing for QoS 0.
    pub async fn publish(&mut self, topic: &str, qos: QoS, payload: impl Into<Bytes>) -> Option<Packet> {
        self.publish_with(topic, qos, payload, false, None).await
    }

    /// [`Self::publish`], with the retain flag and properties.
    pub async fn publish_with(
        &mut self,
        topic: &str,
        qos: QoS,
        payload: impl Into<Bytes>,
        retain: bool,
        properties: Option<PublishProperties>,
    ) -> Option<Packet> {
        let mut publish = Publish::new(topic, qos, payload.into(), properties);
        publish.retain = retain;
        if qos == QoS::AtMostOnce {
            self.connection.push(&Packet::Publish(publish));
            self.connection.flush().await.expect("write a publish");
            return None;
        }
        let id = self.id();
        publish.pkid = id;
        let packet = Packet::Publish(publish);
        let taken = |packet: &Packet| matches!(packet, Packet::PubAck(_) | Packet::PubRec(_));
        let answer = self.request(&packet, taken).await;
        if matches!(answer, Packet::PubRec(_)) {
            let release = Packet::PubRel(PubRel::new(id, None));
            self.request(&release, |packet| matches!(packet, Packet::PubComp(_))).await;
        }
        Some(answer)
    }

    /// The next message, within 20 s.
    pub async fn next(&mut self) -> Publish {
        self.next_within(PATIENCE).await.expect("a message arrives")
    }

    /// The next message, if one comes in time.
    pub async fn next_within(&mut self, limit: Duration) -> Option<Publish> {
        if let Some(publish) = self.arrived.pop_front() {
            return Some(publish);
        }
        let arrival = async {
            loop {
                let packet = self.connection.next().await.expect("read from the MQTT broker");
                self.take(packet).await;
                if let Some(publish) = self.arrived.pop_front() {
                    return publish;
                }
            }
        };
        tokio::time::timeout(limit, arrival).await.ok()
    }

    async fn request(&mut self, packet: &Packet, answers: impl Fn(&Packet) -> bool) -> Packet {
        self.connection.push(packet);
        self.connection.flush().await.expect("write to the MQTT broker");
        let answer = async {
            loop {
                let packet = self.connection.next().await.expect("read from the MQTT broker");
                if answers(&packet) {
                    return packet;
                }
                self.take(packet).await;
            }
        };
        tokio::time::timeout(PATIENCE, answer).await.expect("the MQTT broker answers")
    }

    async fn take(&mut self, packet: Packet) {
        match packet {
            Packet::Publish(publish) => {
                match publish.qos {
                    QoS::AtMostOnce => {}
                    QoS::AtLeastOnce => self.connection.push(&Packet::PubAck(PubAck::new(publish.pkid, None))),
                    QoS::ExactlyOnce => self.connection.push(&Packet::PubRec(PubRec::new(publish.pkid, None))),
                }
                self.arrived.push_back(publish);
            }
            Packet::PubRel(release) => self.connection.push(&Packet::PubComp(PubComp::new(release.pkid, None))),
            _ => {}
        }
        self.connection.flush().await.expect("write to the MQTT broker");
    }

    fn id(&mut self) -> u16 {
        self.next_id = self.next_id % u16::MAX + 1;
        self.next_id
    }
}
