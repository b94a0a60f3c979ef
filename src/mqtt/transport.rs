//! Byte streams to a broker: TCP, TLS, and either of them under a web socket.

use std::io;

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_tungstenite::{
    client_async_with_config,
    tungstenite::{
        client::IntoClientRequest,
        http::{HeaderValue, header::SEC_WEBSOCKET_PROTOCOL},
        protocol::WebSocketConfig,
    },
};

use crate::{
    settings::{MqttBroker, MqttTransport},
    tls::{self, TlsError},
};

mod web_socket;

use web_socket::WebSocketBytes;

/// Any of the transports.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum DialError {
    #[error("cannot connect: {0}")]
    Connect(#[from] io::Error),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("web socket: {0}")]
    WebSocket(#[source] Box<tokio_tungstenite::tungstenite::Error>),
}

/// Opens a stream of bytes to the broker. Sets no deadline of its own.
pub(super) async fn dial(broker: &MqttBroker) -> Result<Box<dyn Stream>, DialError> {
    let url = &broker.url;
    let tcp = TcpStream::connect((url.host.as_str(), url.port)).await?;
    tcp.set_nodelay(true)?;
    Ok(match url.transport {
        MqttTransport::Tcp => Box::new(tcp),
        MqttTransport::Tls => Box::new(tls::connect(tcp, &url.host, &broker.tls).await?),
        MqttTransport::Ws => Box::new(upgrade(broker, tcp).await?),
        MqttTransport::Wss => Box::new(upgrade(broker, tls::connect(tcp, &url.host, &broker.tls).await?).await?),
    })
}

async fn upgrade<S>(broker: &MqttBroker, stream: S) -> Result<WebSocketBytes<S>, DialError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let failed = |error| DialError::WebSocket(Box::new(error));
    let mut request = broker.url.to_string().into_client_request().map_err(failed)?;
    request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("mqtt"));
    // One message may hold many packets, or a part of one, so only its own size bounds it.
    let largest = (broker.max_packet as usize).max(1 << 20) * 2;
    let config = WebSocketConfig::default()
        .read_buffer_size(16 * 1024)
        .max_message_size(Some(largest))
        .max_frame_size(Some(largest));
    let (socket, _) = client_async_with_config(request, stream, Some(config)).await.map_err(failed)?;
    Ok(WebSocketBytes::new(socket))
}
