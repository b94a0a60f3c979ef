//! A listener that bounds how many are connected at once, and what each may ask of it: a client that never finishes
//! its request, or never reads its answer, cannot keep others out.

use std::{
    future::Future,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::serve::Listener;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpListener,
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, Sleep, sleep_until},
};

use super::tls::{Stream, Tls};

/// What a listener bears.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Connections at a time; more wait to be accepted.
    pub(super) connections: usize,
    /// How long a connection may go without taking a byte of an answer. It ends then, also one that is kept open for
    /// a next request: its client simply opens another.
    pub(super) unanswered: Duration,
    /// Bytes that a client may send without taking a byte of an answer.
    pub(super) request: usize,
}

/// A TCP listener with bounds, and TLS where it is given.
#[derive(Debug)]
pub(super) struct Bounded {
    listener: TcpListener,
    tls: Option<Tls>,
    places: Arc<Semaphore>,
    bounds: Bounds,
}

impl Bounded {
    pub(super) fn new(listener: TcpListener, tls: Option<Tls>, bounds: Bounds) -> Self {
        Self { listener, tls, places: Arc::new(Semaphore::new(bounds.connections)), bounds }
    }
}

impl Listener for Bounded {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        let place = self.places.clone().acquire_owned().await.expect("the semaphore is never closed");
        let (stream, peer) = Listener::accept(&mut self.listener).await;
        // Events of a feed are small, and must not wait for each other's acknowledgement. Without it they are only slower.
        let _ = stream.set_nodelay(true);
        let stream = match &mut self.tls {
            Some(tls) => tls.accept(stream).await,
            None => Stream::Plain(stream),
        };
        (Connection::new(stream, self.bounds, place), peer)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection that ends when its client asks for more than it takes.
#[derive(Debug)]
pub(super) struct Connection {
    stream: Stream,
    bounds: Bounds,
    /// When it last took a byte of an answer, or began.
    answered: Instant,
    /// Bytes that have come since.
    asked: usize,
    /// Not before this is the time over; it is set anew only when it has passed, since answers are many.
    alarm: Pin<Box<Sleep>>,
    _place: OwnedSemaphorePermit,
}

impl Connection {
    fn new(stream: Stream, bounds: Bounds, place: OwnedSemaphorePermit) -> Self {
        let answered = Instant::now();
        let alarm = Box::pin(sleep_until(answered + bounds.unanswered));
        Self { stream, bounds, answered, asked: 0, alarm, _place: place }
    }

    /// An error once the time is over; wakes the task then.
    fn check_time(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        while self.alarm.as_mut().poll(cx).is_ready() {
            let end = self.answered + self.bounds.unanswered;
            if end <= Instant::now() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            self.alarm.as_mut().reset(end);
        }
        Ok(())
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.check_time(cx)?;
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        self.asked += buf.filled().len() - before;
        if self.asked > self.bounds.request {
            return Poll::Ready(Err(io::ErrorKind::FileTooLarge.into()));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.check_time(cx)?;
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, buf))?;
        (self.answered, self.asked) = (Instant::now(), 0);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use axum::{Router, routing::get};
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpStream,
    };

    use super::*;

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";

    /// Serves a page, as long as the number of bytes says.
    async fn serve(bounds: Bounds, page: usize) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/", get(move || async move { "x".repeat(page) }));
        tokio::spawn(async move { axum::serve(Bounded::new(listener, None, bounds), router).await });
        address
    }

    fn bounds() -> Bounds {
        Bounds { connections: 2, unanswered: Duration::from_millis(300), request: 1024 }
    }

    /// Reads until the connection ends; how long that took.
    async fn ends(mut stream: TcpStream) -> (Vec<u8>, Duration) {
        let (begin, mut all) = (Instant::now(), Vec::new());
        // A reset is an end too.
        let _ = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut all)).await.expect("it ends");
        (all, begin.elapsed())
    }

    #[tokio::test]
    async fn a_client_that_only_sends_is_cut_in_time_or_at_the_limit() {
        let address = serve(bounds(), 1).await;
        let mut slow = TcpStream::connect(address).await.unwrap();
        slow.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
        let (answer, took) = ends(slow).await;
        assert!(answer.is_empty() && took >= Duration::from_millis(250), "{took:?}");
        let mut endless = TcpStream::connect(address).await.unwrap();
        endless.write_all(b"GET / HTTP/1.1\r\nx: ").await.unwrap();
        endless.write_all(&[b'y'; 1024]).await.unwrap();
        let (answer, took) = ends(endless).await;
        assert!(answer.is_empty() && took < Duration::from_millis(250), "{took:?}");
    }

    #[tokio::test]
    async fn a_connection_lives_as_long_as_it_is_used() {
        let mut stream = TcpStream::connect(serve(bounds(), 1).await).await.unwrap();
        let mut answer = [0; 1024];
        for _ in 0..8 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            stream.write_all(REQUEST).await.unwrap();
            assert!(stream.read(&mut answer).await.unwrap() > 0);
        }
        let (_, took) = ends(stream).await;
        assert!(took >= Duration::from_millis(250), "{took:?}");
    }

    #[tokio::test]
    async fn a_client_that_does_not_read_is_cut() {
        let mut stream = TcpStream::connect(serve(bounds(), 64 << 20).await).await.unwrap();
        stream.write_all(REQUEST).await.unwrap();
        tokio::time::sleep(Duration::from_millis(900)).await;
        assert!(ends(stream).await.0.len() < 64 << 20);
    }

    #[tokio::test]
    async fn one_too_many_waits_for_a_place() {
        let address = serve(bounds(), 1).await;
        let mut streams = Vec::new();
        for _ in 0..3 {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(REQUEST).await.unwrap();
            streams.push(stream);
        }
        let mut last = streams.pop().unwrap();
        let mut byte = [0];
        let in_time = tokio::time::timeout(Duration::from_millis(100), last.read_exact(&mut byte));
        assert!(in_time.await.is_err(), "both places are taken");
        drop(streams);
        last.read_exact(&mut byte).await.unwrap();
    }
}
