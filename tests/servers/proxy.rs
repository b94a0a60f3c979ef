//! A TCP proxy that cuts, stalls and delays the connections through it.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::JoinHandle,
};

use super::free_port;

/// How connections fare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Weather {
    /// Raised by each cut: connections that began under a lower number end.
    cuts: u64,
    /// Bytes stay where they are.
    stalled: bool,
    /// New connections are refused.
    closed: bool,
    delay: Duration,
}

/// A proxy in front of one loopback port. Dropping it cuts everything.
#[derive(Debug)]
pub struct Proxy {
    pub port: u16,
    weather: watch::Sender<Weather>,
    accepted: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// Stands in front of `target`.
    pub async fn start(target: u16) -> Self {
        Self::at("127.0.0.1", free_port(), target).await
    }

    /// Listens on an address of its own.
    pub async fn at(host: &str, port: u16, target: u16) -> Self {
        let listener = TcpListener::bind((host, port)).await.expect("bind the proxy");
        let (weather, seen) = watch::channel(Weather { cuts: 0, stalled: false, closed: false, delay: Duration::ZERO });
        let accepted = Arc::<AtomicU64>::default();
        let count = accepted.clone();
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if seen.borrow().closed {
                    continue;
                }
                count.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(join(client, target, seen.clone()));
            }
        });
        Self { port, weather, accepted, task }
    }

    /// Ends all connections; new ones are served.
    pub fn cut(&self) {
        self.weather.send_modify(|weather| weather.cuts += 1);
    }

    /// Holds all bytes back, in both directions, or lets them go on.
    pub fn stall(&self, stalled: bool) {
        self.weather.send_modify(|weather| weather.stalled = stalled);
    }

    /// Ends all connections and refuses new ones, or serves them again.
    pub fn close(&self, closed: bool) {
        self.weather.send_modify(|weather| {
            weather.closed = closed;
            weather.cuts += u64::from(closed);
        });
    }

    /// Delays each piece that is passed on.
    pub fn delay(&self, delay: Duration) {
        self.weather.send_modify(|weather| weather.delay = delay);
    }

    /// Connections served so far.
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.cut();
        self.task.abort();
    }
}

async fn join(client: TcpStream, target: u16, weather: watch::Receiver<Weather>) {
    let Ok(server) = TcpStream::connect(("127.0.0.1", target)).await else { return };
    // A cut is a reset: what is under way is lost, as when a machine goes away.
    for stream in [&client, &server] {
        let _ = stream.set_nodelay(true);
        let _ = stream.set_zero_linger();
    }
    let born = weather.borrow().cuts;
    let (client_in, client_out) = client.into_split();
    let (server_in, server_out) = server.into_split();
    let mut cut = weather.clone();
    tokio::select! {
        // First, so that a cut which ends a stall takes with it what the stall held back.
        biased;
        _ = cut.wait_for(|now| now.cuts > born) => {}
        _ = async {
            tokio::try_join!(pass(client_in, server_out, weather.clone()), pass(server_in, client_out, weather))
        } => {}
    }
}

/// Passes on all there is, and then that there is no more: the other direction may go on.
async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut weather: watch::Receiver<Weather>,
) -> io::Result<()> {
    let mut piece = vec![0; 64 * 1024];
    loop {
        let length = from.read(&mut piece).await?;
        let delay = weather.borrow().delay;
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        if weather.wait_for(|now| !now.stalled).await.is_err() {
            return Ok(());
        }
        if length == 0 {
            return to.shutdown().await;
        }
        to.write_all(&piece[..length]).await?;
    }
}
