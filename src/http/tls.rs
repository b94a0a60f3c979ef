//! TLS of the listeners. Certificates are read again while it runs, so that a renewed one is taken up; one that cannot be
//! used must never replace one that can.

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    task::spawn_blocking,
    time::Instant,
};
use tokio_rustls::{Accept, TlsAcceptor, rustls::ServerConfig, server::TlsStream};
use tracing::warn;

use crate::{
    settings::ServerFiles,
    tls::{TlsError, server_config},
};

/// How long what was read counts; the next connection then has it read again.
const READ_AGAIN: Duration = Duration::from_secs(60);

/// What a listener needs to speak TLS.
#[derive(Debug)]
pub struct Tls {
    files: ServerFiles,
    config: Arc<ServerConfig>,
    read_again: Instant,
    /// What is wrong with the files, and has been said.
    wrong: Option<String>,
}

impl Tls {
    /// Reads the files.
    pub fn open(files: &ServerFiles) -> Result<Self, TlsError> {
        let config = server_config(files)?;
        Ok(Self { files: files.clone(), config, read_again: Instant::now() + READ_AGAIN, wrong: None })
    }

    /// A stream that shakes hands as soon as it is read, so that nobody waits for a slow client.
    pub(super) async fn accept(&mut self, stream: TcpStream) -> Stream {
        if self.read_again <= Instant::now() {
            self.read().await;
        }
        Stream::Greeting(Box::new(TlsAcceptor::from(self.config.clone()).accept(stream)))
    }

    async fn read(&mut self) {
        let files = self.files.clone();
        let read = spawn_blocking(move || server_config(&files)).await;
        self.read_again = Instant::now() + READ_AGAIN;
        match read.map_err(|error| error.to_string()).and_then(|read| read.map_err(|error| error.to_string())) {
            Ok(config) => (self.config, self.wrong) = (config, None),
            Err(error) if self.wrong.as_ref() != Some(&error) => {
                warn!(error, "the listener's certificate cannot be read again; the one it has stays");
                self.wrong = Some(error);
            }
            Err(_) => {}
        }
    }
}

/// A connection with or without TLS.
pub(super) enum Stream {
    Plain(TcpStream),
    Greeting(Box<Accept<TcpStream>>),
    Tls(Box<TlsStream<TcpStream>>),
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Plain(_) => "Plain",
            Self::Greeting(_) => "Greeting",
            Self::Tls(_) => "Tls",
        })
    }
}

/// What both kinds of streams are once hands are shaken.
trait Open: AsyncRead + AsyncWrite + Unpin {}
impl<S: AsyncRead + AsyncWrite + Unpin> Open for S {}

impl Stream {
    fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Pin<&mut dyn Open>>> {
        if let Self::Greeting(accept) = self {
            *self = Self::Tls(Box::new(ready!(Pin::new(accept).poll(cx))?));
        }
        match self {
            Self::Plain(stream) => Poll::Ready(Ok(Pin::new(stream))),
            Self::Tls(stream) => Poll::Ready(Ok(Pin::new(stream.as_mut()))),
            Self::Greeting(_) => Poll::Pending,
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_open(cx))?.poll_read(cx, buf)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_open(cx))?.poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_open(cx))?.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &*self {
            // Whoever did not shake hands is owed no goodbye.
            Self::Greeting(_) => Poll::Ready(Ok(())),
            _ => ready!(self.poll_open(cx))?.poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use axum::{Router, routing::get};
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
        time::timeout,
    };

    use super::*;
    use crate::{
        http::bounded::{Bounded, Bounds},
        settings::TlsFiles,
        tls::connect,
    };

    /// A certificate of `localhost` that is its own authority, and its key. Made for this test, and trusted nowhere.
    const LOCALHOST: &str = include_str!("tls/localhost.pem");

    fn files(folder: &tempfile::TempDir) -> ServerFiles {
        let path = folder.path().join("localhost.pem");
        fs::write(&path, LOCALHOST).unwrap();
        ServerFiles { certificate: path.clone(), key: path }
    }

    #[tokio::test]
    async fn a_listener_with_tls_answers_over_it_while_others_are_silent() {
        let folder = tempfile::tempdir().unwrap();
        let files = files(&folder);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let bounds = Bounds { connections: 4, unanswered: Duration::from_millis(500), request: 4096 };
        let listener = Bounded::new(listener, Some(Tls::open(&files).unwrap()), bounds);
        tokio::spawn(async { axum::serve(listener, Router::new().route("/", get(|| async { "hello" }))).await });

        let mut silent = TcpStream::connect(address).await.unwrap();
        let trust = TlsFiles { ca: Some(files.certificate), ..TlsFiles::default() };
        let stream = TcpStream::connect(address).await.unwrap();
        let mut stream = connect(stream, "localhost", &trust).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("hello"), "{answer}");

        let mut plain = TcpStream::connect(address).await.unwrap();
        plain.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        for stream in [&mut silent, &mut plain] {
            let mut rest = Vec::new();
            let ended = timeout(Duration::from_secs(10), stream.read_to_end(&mut rest)).await;
            assert!(ended.is_ok() && !rest.starts_with(b"HTTP"), "{rest:?}");
        }
    }

    #[tokio::test]
    async fn a_renewed_certificate_is_taken_up_and_a_broken_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let files = files(&folder);
        let mut tls = Tls::open(&files).unwrap();
        let first = tls.config.clone();
        fs::write(&files.certificate, "half a cert").unwrap();
        tls.read().await;
        assert!(Arc::ptr_eq(&first, &tls.config) && tls.wrong.is_some());
        fs::write(&files.certificate, LOCALHOST).unwrap();
        tls.read().await;
        assert!(!Arc::ptr_eq(&first, &tls.config) && tls.wrong.is_none());
        fs::remove_file(&files.key).unwrap();
        assert!(matches!(Tls::open(&files), Err(TlsError::Read { .. })));
    }
}
