//! A broker that does what a test says, for what no real one can be made to show. It speaks MQTT 5.

use std::{sync::Arc, time::Duration};

use bytes::BytesMut;
use rumqttc_v5::{
    ConnAck, ConnAckProperties, Connect, ConnectAuth, ConnectReturnCode, Packet, PubAck, PubAckReason, Publish, QoS,
    SubAck, SubscribeReasonCode,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

use crate::settings::{MqttBroker, MqttTransport, MqttUrl, MqttVersion, TlsFiles};

const PATIENCE: Duration = Duration::from_secs(10);

pub(super) struct FakeBroker {
    listener: TcpListener,
}

/// One connection, from the broker's side.
pub(super) struct Peer {
    stream: TcpStream,
    input: BytesMut,
    pub(super) connect: Connect,
    /// User name and password.
    pub(super) login: (String, String),
}

impl FakeBroker {
    pub(super) async fn start() -> Self {
        Self { listener: TcpListener::bind("127.0.0.1:0").await.unwrap() }
    }

    /// Settings that lead to it.
    pub(super) fn settings(&self) -> MqttBroker {
        MqttBroker {
            name: "fake".to_owned(),
            url: MqttUrl {
                transport: MqttTransport::Tcp,
                host: "127.0.0.1".to_owned(),
                port: self.listener.local_addr().unwrap().port(),
                path: String::new(),
            },
            version: MqttVersion::V5,
            client_id: "bridge".to_owned(),
            username: None,
            password: None,
            login: None,
            tls: TlsFiles::default(),
            will: None,
            keep_alive: Duration::from_secs(1),
            session_expiry: None,
            window: 100,
            max_packet: 1 << 20,
            connect_timeout: PATIENCE,
            api: None,
        }
    }

    pub(super) fn broker(&self) -> Arc<MqttBroker> {
        Arc::new(self.settings())
    }

    /// Takes a connection up to its CONNECT.
    pub(super) async fn accept(&self) -> Peer {
        let (stream, _) = timeout(PATIENCE, self.listener.accept()).await.expect("a connection").unwrap();
        let connect = Connect { keep_alive: 0, client_id: String::new(), clean_start: false, properties: None };
        let mut peer = Peer { stream, input: BytesMut::new(), connect, login: Default::default() };
        match peer.next().await {
            Packet::Connect(connect, _, login) => {
                peer.connect = connect;
                if let ConnectAuth::UsernamePassword { username, password } = login {
                    peer.login = (username, String::from_utf8(password.to_vec()).unwrap());
                }
            }
            other => panic!("{other:?} instead of a CONNECT"),
        }
        peer
    }

    /// Takes a connection and lets it in.
    pub(super) async fn login(&self, session_present: bool) -> Peer {
        self.login_with(session_present, None).await
    }

    /// Takes a connection of MQTT 3.1.1 and lets it in; its packets come as [`Peer::frame`]s.
    pub(super) async fn login_v4(&self, session_present: bool) -> Peer {
        let (stream, _) = timeout(PATIENCE, self.listener.accept()).await.expect("a connection").unwrap();
        let connect = Connect { keep_alive: 0, client_id: String::new(), clean_start: false, properties: None };
        let mut peer = Peer { stream, input: BytesMut::new(), connect, login: Default::default() };
        let frame = peer.frame().await;
        assert_eq!(frame[0], 0x10, "a CONNECT");
        peer.login = v4_login(&frame);
        peer.raw(&[0x20, 2, u8::from(session_present), 0]).await;
        peer
    }

    /// [`Self::login`], with limits.
    pub(super) async fn login_with(&self, session_present: bool, properties: Option<ConnAckProperties>) -> Peer {
        let mut peer = self.accept().await;
        let code = ConnectReturnCode::Success;
        peer.send(Packet::ConnAck(ConnAck { session_present, code, properties })).await;
        peer
    }

    /// Lets a source in and grants what it asks for.
    pub(super) async fn subscribed(&self, session_present: bool) -> Peer {
        let mut peer = self.login(session_present).await;
        peer.grant().await;
        peer
    }
}

impl Peer {
    /// The next packet other than a PINGREQ, which is answered.
    pub(super) async fn next(&mut self) -> Packet {
        timeout(PATIENCE, self.next_or_end()).await.expect("a packet in time").expect("a packet, not the end")
    }

    /// [`Self::next`], or nothing when the connection ends.
    pub(super) async fn next_or_end(&mut self) -> Option<Packet> {
        loop {
            match Packet::read(&mut self.input, None) {
                Ok(Packet::PingReq) => self.send(Packet::PingResp).await,
                Ok(packet) => return Some(packet),
                Err(rumqttc_v5::Error::InsufficientBytes(_)) => {
                    if self.stream.read_buf(&mut self.input).await.ok()? == 0 {
                        return None;
                    }
                }
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// The bytes of the next packet, of either version, other than a PINGREQ.
    pub(super) async fn frame(&mut self) -> BytesMut {
        timeout(PATIENCE, self.next_frame()).await.expect("a packet in time")
    }

    async fn next_frame(&mut self) -> BytesMut {
        loop {
            match rumqttc_v5::check(self.input.iter(), None) {
                Ok(header) if self.input[0] == 0xC0 => {
                    let _ping = self.input.split_to(header.frame_length());
                    self.raw(&[0xD0, 0]).await;
                }
                Ok(header) => return self.input.split_to(header.frame_length()),
                Err(rumqttc_v5::Error::InsufficientBytes(_)) => {
                    assert!(self.stream.read_buf(&mut self.input).await.unwrap() > 0, "a packet, not the end");
                }
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Nothing but PINGREQs comes for a while.
    pub(super) async fn stays_quiet(&mut self) {
        if let Ok(packet) = timeout(Duration::from_millis(150), self.next_or_end()).await {
            panic!("{packet:?} instead of silence");
        }
    }

    pub(super) async fn send(&mut self, packet: Packet) {
        let mut out = BytesMut::new();
        packet.write(&mut out, None).unwrap();
        self.raw(&out).await;
    }

    pub(super) async fn raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// The next packet, a publish.
    pub(super) async fn publish(&mut self) -> Publish {
        match self.next().await {
            Packet::Publish(publish) => publish,
            other => panic!("{other:?} instead of a PUBLISH"),
        }
    }

    pub(super) async fn ack(&mut self, packet_id: u16, reason: PubAckReason) {
        self.send(Packet::PubAck(PubAck { pkid: packet_id, reason, properties: None })).await;
    }

    /// Grants the next SUBSCRIBE and gives it.
    pub(super) async fn grant(&mut self) -> rumqttc_v5::Subscribe {
        self.answer_subscribe(SubscribeReasonCode::Success(QoS::ExactlyOnce)).await
    }

    pub(super) async fn answer_subscribe(&mut self, code: SubscribeReasonCode) -> rumqttc_v5::Subscribe {
        let Packet::Subscribe(subscribe) = self.next().await else { panic!("no SUBSCRIBE") };
        let return_codes = vec![code; subscribe.filters.len()];
        self.send(Packet::SubAck(SubAck { pkid: subscribe.pkid, return_codes, properties: None })).await;
        subscribe
    }

    /// The filters of the next UNSUBSCRIBE, which is not answered yet, and its packet id.
    pub(super) async fn unsubscribe(&mut self) -> (Vec<String>, u16) {
        match self.next().await {
            Packet::Unsubscribe(unsubscribe) => (unsubscribe.filters, unsubscribe.pkid),
            other => panic!("{other:?} instead of an UNSUBSCRIBE"),
        }
    }

    /// Sends a publish as a broker does.
    pub(super) async fn deliver(&mut self, topic: &str, qos: QoS, packet_id: u16, dup: bool) {
        let mut publish = Publish::new(topic, qos, topic.to_owned(), None);
        publish.pkid = packet_id;
        publish.dup = dup;
        self.send(Packet::Publish(publish)).await;
    }
}

/// User name and password of a CONNECT of 3.1.1 without a will.
fn v4_login(frame: &[u8]) -> (String, String) {
    let (length, rest) = (frame[1..].iter().position(|byte| byte & 0x80 == 0).unwrap() + 2, frame);
    // Protocol name, level, flags, keep-alive.
    let flags = rest[length + 7];
    let mut rest = &rest[length + 10..];
    let mut text = || {
        let (size, more) = rest.split_first_chunk().unwrap();
        let (text, more) = more.split_at(usize::from(u16::from_be_bytes(*size)));
        rest = more;
        String::from_utf8(text.to_vec()).unwrap()
    };
    let _client_id = text();
    if flags & 0b1100_0000 == 0b1100_0000 { (text(), text()) } else { Default::default() }
}
