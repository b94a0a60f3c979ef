//! One multiplexed connection to a name server or a broker.
//!
//! Requests are matched to answers by number. When the connection ends, every waiting call fails at once and so does
//! every later one: it never connects again by itself, and it never sends anything twice.

use std::{
    collections::HashMap,
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI32, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
    sync::{mpsc, oneshot, watch},
    time::{Instant, timeout, timeout_at},
};

use super::wire::{
    code,
    frame::{Frame, Request, encode_answer},
};
use crate::{settings::TlsFiles, tls};

/// Requests that may wait for the writer; more make their callers wait.
const QUEUE: usize = 64;
/// Bytes that are gathered into one write. A larger body is written from where it is.
const GATHER: usize = 64 * 1024;
/// How long a server may take to read what is written at once.
const WRITE_LIMIT: Duration = Duration::from_secs(60);
/// Room that is kept for reading.
const READ: usize = 64 * 1024;

/// Why a connection gave no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectionError {
    /// There is no connection, or it ended before the answer came. Whether the request was carried out is unknown.
    #[error("no connection to {address}: {reason}")]
    Disconnected {
        /// The server.
        address: Arc<str>,
        /// Why.
        reason: String,
    },
    /// The deadline passed. Whether the request was carried out is unknown.
    #[error("{address} gave no answer within {after:.0?}")]
    Timeout {
        /// The server.
        address: Arc<str>,
        /// The deadline.
        after: Duration,
    },
}

/// A request of a server to us, such as `NOTIFY_CONSUMER_IDS_CHANGED`.
#[derive(Debug)]
pub struct Push {
    /// Who sent it.
    pub address: Arc<str>,
    /// The request.
    pub frame: Frame,
}

/// A handle of one connection. The connection closes when the last handle is dropped.
#[derive(Debug, Clone)]
pub struct Connection {
    shared: Arc<Shared>,
    queue: mpsc::Sender<Outbound>,
}

#[derive(Debug)]
struct Shared {
    address: Arc<str>,
    next: AtomicI32,
    calls: Mutex<Calls>,
    /// Counts frames read: a deadline that passes in silence ends the connection.
    heard: AtomicU64,
    /// Tells reader and writer to end.
    ended: watch::Sender<bool>,
}

/// The calls that wait, or why the connection ended.
#[derive(Debug)]
enum Calls {
    Open(HashMap<i32, oneshot::Sender<Frame>>),
    Closed(String),
}

#[derive(Debug)]
struct Outbound {
    head: BytesMut,
    body: Bytes,
}

impl Connection {
    /// Connects within `limit`, with TLS when files are given. Requests of the server go to `pushes`; what does not
    /// fit there is dropped, since all of them are hints.
    pub async fn open(
        address: &str,
        tls: Option<&TlsFiles>,
        limit: Duration,
        pushes: mpsc::Sender<Push>,
    ) -> Result<Self, ConnectionError> {
        let address: Arc<str> = address.into();
        let deadline = Instant::now() + limit;
        let failed = |reason: String| ConnectionError::Disconnected { address: address.clone(), reason };
        let late = |_| ConnectionError::Timeout { address: address.clone(), after: limit };
        let stream = timeout_at(deadline, TcpStream::connect(&*address)).await.map_err(late)?;
        let stream = stream.and_then(|stream| stream.set_nodelay(true).map(|()| stream));
        let stream = stream.map_err(|error| failed(error.to_string()))?;
        let Some(files) = tls else {
            let (reader, writer) = stream.into_split();
            return Ok(Self::start(address, reader, writer, pushes));
        };
        let host = address.rsplit_once(':').map_or(&*address, |(host, _)| host.trim_matches(['[', ']']));
        let stream = timeout_at(deadline, tls::connect(stream, host, files)).await.map_err(late)?;
        let (reader, writer) = tokio::io::split(stream.map_err(|error| failed(error.to_string()))?);
        Ok(Self::start(address, reader, writer, pushes))
    }

    fn start(
        address: Arc<str>,
        reader: impl AsyncRead + Send + Unpin + 'static,
        writer: impl AsyncWrite + Send + Unpin + 'static,
        pushes: mpsc::Sender<Push>,
    ) -> Self {
        let (queue, outbound) = mpsc::channel(QUEUE);
        let shared = Arc::new(Shared {
            address,
            next: AtomicI32::new(0),
            calls: Mutex::new(Calls::Open(HashMap::new())),
            heard: AtomicU64::new(0),
            ended: watch::Sender::new(false),
        });
        let answers = queue.downgrade();
        tokio::spawn(until_ended(shared.clone(), read(shared.clone(), reader, pushes, answers)));
        tokio::spawn(until_ended(shared.clone(), write(writer, outbound)));
        Self { shared, queue }
    }

    /// False once the connection has ended.
    pub fn is_open(&self) -> bool {
        matches!(*self.shared.lock(), Calls::Open(_))
    }

    /// Sends a request and waits for its answer, whatever its code.
    pub async fn call(&self, request: Request, limit: Duration) -> Result<Frame, ConnectionError> {
        let heard = self.shared.heard.load(Ordering::Relaxed);
        let opaque = self.shared.next.fetch_add(1, Ordering::Relaxed);
        let (answer, waiting) = oneshot::channel();
        self.shared.register(opaque, answer)?;
        let forget = Forget { shared: &self.shared, opaque };
        let exchange = async {
            self.send(&request, opaque, false).await?;
            drop(request);
            waiting.await.map_err(|_| self.shared.gone())
        };
        let result = timeout(limit, exchange).await;
        drop(forget);
        result.unwrap_or_else(|_| {
            if self.shared.heard.load(Ordering::Relaxed) == heard {
                self.shared.close(&format!("nothing came for {limit:?}"));
            }
            Err(ConnectionError::Timeout { address: self.shared.address.clone(), after: limit })
        })
    }

    /// Sends a request that has no answer; it may be lost.
    pub async fn one_way(&self, request: Request) -> Result<(), ConnectionError> {
        let opaque = self.shared.next.fetch_add(1, Ordering::Relaxed);
        self.send(&request, opaque, true).await
    }

    async fn send(&self, request: &Request, opaque: i32, one_way: bool) -> Result<(), ConnectionError> {
        let mut head = BytesMut::with_capacity(512);
        request.encode_head(opaque, one_way, &mut head);
        let outbound = Outbound { head, body: request.body.clone() };
        self.queue.send(outbound).await.map_err(|_| self.shared.gone())
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn register(&self, opaque: i32, answer: oneshot::Sender<Frame>) -> Result<(), ConnectionError> {
        match &mut *self.lock() {
            Calls::Open(calls) => {
                calls.insert(opaque, answer);
                return Ok(());
            }
            Calls::Closed(_) => {}
        }
        Err(self.gone())
    }

    fn gone(&self) -> ConnectionError {
        let reason = match &*self.lock() {
            Calls::Open(_) => "it is closing".to_owned(),
            Calls::Closed(reason) => reason.clone(),
        };
        ConnectionError::Disconnected { address: self.address.clone(), reason }
    }

    /// Fails all waiting calls and ends both tasks. Only the first reason counts.
    fn close(&self, reason: &str) {
        let waiting = match &mut *self.lock() {
            calls @ Calls::Open(_) => std::mem::replace(calls, Calls::Closed(reason.to_owned())),
            Calls::Closed(_) => return,
        };
        drop(waiting);
        self.ended.send_replace(true);
    }

    fn answered(&self, frame: Frame) {
        let call = match &mut *self.lock() {
            Calls::Open(calls) => calls.remove(&frame.opaque),
            Calls::Closed(_) => None,
        };
        if let Some(call) = call {
            // Whoever asked may have stopped waiting.
            let _ = call.send(frame);
        }
    }
}

/// Removes a call that is no longer waited for, also when its future is dropped.
struct Forget<'c> {
    shared: &'c Shared,
    opaque: i32,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        if let Calls::Open(calls) = &mut *self.shared.lock() {
            calls.remove(&self.opaque);
        }
    }
}

async fn until_ended(shared: Arc<Shared>, work: impl Future<Output = io::Result<()>>) {
    let mut ended = shared.ended.subscribe();
    let reason = tokio::select! {
        _ = ended.wait_for(|ended| *ended) => return,
        result = work => match result {
            Ok(()) => "it was closed".to_owned(),
            Err(error) => error.to_string(),
        },
    };
    shared.close(&reason);
}

async fn read(
    shared: Arc<Shared>,
    mut reader: impl AsyncRead + Unpin,
    pushes: mpsc::Sender<Push>,
    answers: mpsc::WeakSender<Outbound>,
) -> io::Result<()> {
    let mut buffer = BytesMut::with_capacity(READ);
    loop {
        while let Some(frame) =
            Frame::decode(&mut buffer).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?
        {
            shared.heard.fetch_add(1, Ordering::Relaxed);
            if frame.is_response() {
                shared.answered(frame);
                continue;
            }
            if !frame.is_one_way() {
                refuse(&frame, &answers);
            }
            let _ = pushes.try_send(Push { address: shared.address.clone(), frame });
        }
        if buffer.capacity() - buffer.len() < READ / 4 {
            buffer.reserve(READ);
        }
        if reader.read_buf(&mut buffer).await? == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed it"));
        }
    }
}

/// Answers a server that would wait for something we do not do, such as a client's statistics.
fn refuse(frame: &Frame, answers: &mpsc::WeakSender<Outbound>) {
    let mut head = BytesMut::new();
    encode_answer(code::response::REQUEST_CODE_NOT_SUPPORTED, frame.opaque, &mut head);
    if let Some(answers) = answers.upgrade() {
        let _ = answers.try_send(Outbound { head, body: Bytes::new() });
    }
}

async fn write(mut writer: impl AsyncWrite + Unpin, mut outbound: mpsc::Receiver<Outbound>) -> io::Result<()> {
    let mut batch = Vec::with_capacity(QUEUE);
    let mut gathered = BytesMut::new();
    while outbound.recv_many(&mut batch, QUEUE).await > 0 {
        for Outbound { head, body } in batch.drain(..) {
            gathered.extend_from_slice(&head);
            if gathered.len() + body.len() <= GATHER {
                gathered.extend_from_slice(&body);
                continue;
            }
            put(&mut writer, &gathered).await?;
            gathered.clear();
            put(&mut writer, &body).await?;
        }
        put(&mut writer, &gathered).await?;
        gathered.clear();
    }
    writer.shutdown().await
}

/// Writes all, or fails where the server takes nothing any more: nobody else may be left to notice.
async fn put(writer: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<()> {
    let written = async {
        writer.write_all(bytes).await?;
        writer.flush().await
    };
    timeout(WRITE_LIMIT, written).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

#[cfg(test)]
mod tests;
