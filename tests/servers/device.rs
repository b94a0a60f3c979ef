//! A device for tests of client events: it comes from an address that the test knows, and goes in each way in which a
//! device can go. It says nothing in between, not even that it is alive.

use std::{io, net::SocketAddr};

use bytes::{Bytes, BytesMut};
use futures_util::{SinkExt as _, StreamExt as _};
use rumqttc_v4 as r4;
use rumqttc_v5 as r5;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{
        Message,
        client::IntoClientRequest as _,
        http::{HeaderValue, header::SEC_WEBSOCKET_PROTOCOL},
    },
};

/// The same in both versions: MQTT 5 leaves a reason of 0 out.
const DISCONNECT: &[u8] = &[0xE0, 0];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// 3.1.1
    V3,
    V5,
}

/// How a device comes: its session starts clean and ends with its connection.
#[derive(Debug, Clone)]
pub struct Arrival {
    /// The broker's port.
    pub port: u16,
    pub client_id: String,
    pub version: Version,
    /// Seconds. Nothing is sent to keep the connection alive.
    pub keep_alive: u16,
    pub web_socket: bool,
    /// Its own port; the system chooses one for 0.
    pub from: u16,
}

impl Arrival {
    /// MQTT 5 over TCP, with a keep-alive that outlasts any test.
    pub fn new(port: u16, client_id: &str) -> Self {
        Self {
            port,
            client_id: client_id.to_owned(),
            version: Version::V5,
            keep_alive: 600,
            web_socket: false,
            from: 0,
        }
    }

    fn connect(&self) -> Bytes {
        let mut packet = BytesMut::new();
        let (client_id, keep_alive) = (self.client_id.clone(), self.keep_alive);
        let written = match self.version {
            Version::V3 => {
                let mut connect = r4::Connect::new(client_id);
                connect.keep_alive = keep_alive;
                connect.write(&mut packet).is_ok()
            }
            Version::V5 => {
                let connect = r5::Connect { keep_alive, client_id, clean_start: true, properties: None };
                r5::Packet::Connect(connect, None, r5::ConnectAuth::None).write(&mut packet, None).is_ok()
            }
        };
        assert!(written, "a CONNECT of ours can be encoded");
        packet.freeze()
    }
}

#[derive(Debug)]
enum Link {
    Tcp(TcpStream),
    WebSocket(Box<WebSocketStream<TcpStream>>),
}

/// A connected device. Dropping it closes its connection without a DISCONNECT.
#[derive(Debug)]
pub struct Device {
    /// Its own, as the broker sees it.
    pub address: SocketAddr,
    link: Link,
}

impl Device {
    /// Connects; panics if the broker does not let it in.
    pub async fn connect(arrival: &Arrival) -> Self {
        let stream = open(arrival).await.expect("connect to the MQTT broker");
        let address = stream.local_addr().expect("a connection has an address");
        let link = if arrival.web_socket { upgrade(stream, arrival.port).await } else { Link::Tcp(stream) };
        let mut device = Self { address, link };
        device.send(&arrival.connect()).await;
        let connack = device.receive().await.expect("an answer to a CONNECT");
        // Type, length, flags, reason: in this both versions are alike.
        assert!(matches!(connack[..], [0x20, _, _, 0, ..]), "not let in: {connack:x?}");
        device
    }

    /// Says DISCONNECT and closes; returns when the broker has closed the connection, too, and so has taken note.
    pub async fn disconnect(mut self) {
        self.send(DISCONNECT).await;
        if let Link::Tcp(stream) = &mut self.link {
            // The broker may have been quicker.
            let _ = stream.shutdown().await;
        }
        self.closed().await;
    }

    /// Closes with a FIN, and without a word.
    pub fn close(self) {
        drop(self);
    }

    /// Breaks off with a RST, as a machine does that was switched off and is on again.
    pub fn reset(self) {
        let stream = match &self.link {
            Link::Tcp(stream) => stream,
            Link::WebSocket(socket) => socket.get_ref(),
        };
        stream.set_zero_linger().expect("set a socket's linger");
    }

    /// Waits until the broker has closed the connection.
    pub async fn closed(&mut self) {
        while self.receive().await.is_some() {}
    }

    /// Says a packet of its own making.
    pub async fn send(&mut self, packet: &[u8]) {
        let sent = match &mut self.link {
            Link::Tcp(stream) => stream.write_all(packet).await.map_err(io::Error::other),
            Link::WebSocket(socket) => {
                socket.send(Message::Binary(Bytes::copy_from_slice(packet))).await.map_err(io::Error::other)
            }
        };
        sent.expect("write to the MQTT broker");
    }

    /// What comes next; nothing once the connection is gone.
    pub async fn receive(&mut self) -> Option<Bytes> {
        match &mut self.link {
            Link::Tcp(stream) => {
                let mut piece = BytesMut::new();
                let length = stream.read_buf(&mut piece).await.unwrap_or(0);
                (length > 0).then(|| piece.freeze())
            }
            Link::WebSocket(socket) => Some(socket.next().await?.ok()?.into_data()),
        }
    }
}

async fn open(arrival: &Arrival) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    if arrival.from > 0 {
        // It may be the port of a device that has just been reset.
        socket.set_reuseaddr(true)?;
        socket.bind((std::net::Ipv4Addr::LOCALHOST, arrival.from).into())?;
    }
    let stream = socket.connect((std::net::Ipv4Addr::LOCALHOST, arrival.port).into()).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn upgrade(stream: TcpStream, port: u16) -> Link {
    let mut request = format!("ws://127.0.0.1:{port}/mqtt").into_client_request().expect("a web socket's request");
    request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("mqtt"));
    let (socket, _) = client_async(request, stream).await.expect("open a web socket");
    Link::WebSocket(Box::new(socket))
}
