//! Asks a broker for its list of clients, over HTTP, and tells it what to do with one of them (`order`).
//!
//! A connection for each request: there are few, and brokers close those that are idle. It must never wait for an answer
//! without an end, nor take more of one than fits in memory.

#[cfg(test)]
pub(crate) mod fake;
#[cfg(test)]
mod tests;

pub mod order;

use std::{io, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::{
    Method, Request, StatusCode,
    body::Bytes,
    client::conn::http1,
    header::{ACCEPT, AUTHORIZATION, CONNECTION, CONTENT_TYPE, HOST},
};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    task::{JoinSet, spawn_blocking},
    time::timeout,
};

use super::{
    adapter::{Adapter, Unreadable},
    event::Connected,
    roster::Roster,
};
use crate::{
    clock::epoch_millis,
    settings::{ApiLogin, BrokerApi},
    tls::{self, TlsError},
};

/// What a list may take.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    /// From the beginning of a request to the end of its answer.
    request: Duration,
    /// All requests together.
    list: Duration,
    /// Bytes of an answer: RMQTT's largest takes 25 MB, more where clients have long wills.
    answer: usize,
}

const BOUNDS: Bounds = Bounds { request: Duration::from_secs(30), list: Duration::from_secs(180), answer: 64 << 20 };

/// Why there is no list.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The broker's lists are not understood.
    #[error("no list of clients is understood of this broker")]
    NoList,
    /// The broker takes no orders that are known.
    #[error("nothing can be done with a client of this broker")]
    NoOrders,
    /// The broker has no such client.
    #[error("the broker has no such client")]
    Unknown,
    /// The interface cannot be reached.
    #[error("cannot connect: {0}")]
    Connect(#[from] io::Error),
    /// There is no TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// It speaks no HTTP, or broke off.
    #[error("HTTP: {0}")]
    Http(#[from] hyper::Error),
    /// The token holds what cannot be sent.
    #[error("the request cannot be written: {0}")]
    Request(#[from] hyper::http::Error),
    /// It answers something else than a list.
    #[error("`{path}` is answered with {status}{hint}", hint = hint(*status))]
    Status {
        /// The path of the request.
        path: String,
        /// The answer.
        status: StatusCode,
    },
    /// An answer has no end.
    #[error("an answer is longer than {0} bytes")]
    TooLong(usize),
    /// An answer breaks off.
    #[error("an answer breaks off: {0}")]
    Broken(Box<dyn std::error::Error + Send + Sync>),
    /// It takes too long.
    #[error("no answer within {0:?}")]
    Late(Duration),
    /// An answer is not what was expected.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// The task that reads it is gone.
    #[error("an answer could not be read: {0}")]
    Task(#[from] tokio::task::JoinError),
}

fn hint(status: StatusCode) -> &'static str {
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => ": look at the login in the settings",
        StatusCode::NOT_FOUND => ": is this the broker's HTTP interface?",
        _ => "",
    }
}

/// All clients that are connected to a broker; a client may be there twice.
pub async fn clients(api: &BrokerApi, adapter: Adapter) -> Result<Vec<Connected>, ApiError> {
    within(api, adapter, BOUNDS).await
}

async fn within(api: &BrokerApi, adapter: Adapter, bounds: Bounds) -> Result<Vec<Connected>, ApiError> {
    let mut roster = Roster::new(adapter).ok_or(ApiError::NoList)?;
    let ask = async {
        while let Some(path) = roster.request() {
            let answer = timeout(bounds.request, get(api, &path, bounds.answer)).await;
            let body = answer.map_err(|_| ApiError::Late(bounds.request))??;
            // A long answer would hold up the events of this thread.
            let read = spawn_blocking(move || roster.answer(&body, epoch_millis()).map(|()| roster));
            roster = read.await??;
        }
        Ok(roster.clients())
    };
    timeout(bounds.list, ask).await.map_err(|_| ApiError::Late(bounds.list))?
}

async fn get(api: &BrokerApi, path: &str, most: usize) -> Result<Bytes, ApiError> {
    send(api, Method::GET, path, None, most).await
}

/// Sends a request, with a body in JSON where there is one, and gives the body of an answer that says it went well.
async fn send(
    api: &BrokerApi,
    method: Method,
    path: &str,
    body: Option<&Value>,
    most: usize,
) -> Result<Bytes, ApiError> {
    let request = request(api, method, path, body)?;
    let url = &api.url;
    let stream = TcpStream::connect((url.host.as_str(), url.port)).await?;
    if url.encrypted {
        exchange(tls::connect(stream, &url.host, &api.tls).await?, request, path, most).await
    } else {
        exchange(stream, request, path, most).await
    }
}

async fn exchange<S>(stream: S, request: Request<Full<Bytes>>, path: &str, most: usize) -> Result<Bytes, ApiError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // Ends with this function, however it ends.
    let mut running = JoinSet::new();
    running.spawn(connection);
    let answer = sender.send_request(request).await?;
    let status = answer.status();
    if !status.is_success() {
        let path = path.split('?').next().unwrap_or_default().to_owned();
        return Err(ApiError::Status { path, status });
    }
    match Limited::new(answer.into_body(), most).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(ApiError::TooLong(most)),
        Err(error) => Err(ApiError::Broken(error)),
    }
}

fn request(
    api: &BrokerApi,
    method: Method,
    path: &str,
    body: Option<&Value>,
) -> Result<Request<Full<Bytes>>, hyper::http::Error> {
    let url = api.url.to_string();
    let host = url.rsplit('/').next().unwrap_or_default();
    let request = Request::builder().method(method).uri(path).header(HOST, host);
    let mut request = request.header(ACCEPT, "application/json").header(CONNECTION, "close");
    if body.is_some() {
        request = request.header(CONTENT_TYPE, "application/json");
    }
    if let Some(login) = &api.login {
        let login = match login {
            ApiLogin::Basic { username, password } => {
                format!("Basic {}", STANDARD.encode(format!("{username}:{}", password.reveal())))
            }
            ApiLogin::Bearer(token) => format!("Bearer {}", token.reveal()),
        };
        request = request.header(AUTHORIZATION, login);
    }
    request.body(Full::from(body.map(Value::to_string).unwrap_or_default()))
}
