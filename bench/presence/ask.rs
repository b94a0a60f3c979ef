//! Questions of who is online: those that wait for their answers, and a prober that asks while clients come and go.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::Result;
use tokio::runtime::{Builder, Runtime};

use super::GROUP;
use crate::servers::{asker::Asker, fleet::Fleet};

/// Queries per second of the prober.
const PROBES: u32 = 300;

/// Of all queries, in milliseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Latency {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) most: f64,
    /// How late the prober itself was woken, of a hundred times the longest but one: what the machine adds.
    pub(crate) woken: f64,
    pub(crate) queries: usize,
}

/// Questions that wait for their answers.
pub(super) struct Questions {
    runtime: Runtime,
    asker: Option<Asker>,
    port: u16,
}

impl Questions {
    pub(super) fn new(port: u16) -> Result<Self> {
        Ok(Self { runtime: runtime()?, asker: None, port })
    }

    fn ask<T>(&mut self, ask: impl AsyncFnOnce(&mut Asker) -> io::Result<T>) -> Result<T> {
        let Self { runtime, asker, port } = self;
        let answer = runtime.block_on(async {
            if asker.is_none() {
                *asker = Some(Asker::connect(*port).await?);
            }
            match asker {
                Some(asker) => ask(asker).await,
                None => Err(io::ErrorKind::NotConnected.into()),
            }
        });
        if answer.is_err() {
            *asker = None;
        }
        Ok(answer?)
    }

    pub(super) fn count(&mut self, group: &str) -> Result<i64> {
        self.ask(async |asker| asker.count(group).await)
    }

    pub(super) fn list(&mut self) -> Result<Vec<String>> {
        self.ask(async |asker| asker.list(GROUP).await)
    }

    pub(super) fn clients(&mut self, ids: &[String]) -> Result<Vec<i64>> {
        self.ask(async |asker| asker.clients(ids).await)
    }
}

pub(super) fn runtime() -> Result<Runtime> {
    Ok(Builder::new_current_thread().enable_all().build()?)
}

/// Asks for one client after another at a set rate, on a thread of its own.
pub(super) struct Prober {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<Latency>>,
}

impl Prober {
    pub(super) fn start(port: u16, clients: u32) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        Self { stop, thread: thread::spawn(move || runtime()?.block_on(probe(port, clients, &stopped))) }
    }

    pub(super) fn stop(self) -> Result<Latency> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow::anyhow!("the prober panicked"))?
    }
}

async fn probe(port: u16, clients: u32, stop: &AtomicBool) -> Result<Latency> {
    let mut asker = Asker::connect(port).await?;
    let (began, mut seen, mut woken) = (Instant::now(), Vec::new(), Vec::new());
    for number in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let due = (began + Duration::from_secs(1) / PROBES * number).max(Instant::now());
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let sent = Instant::now();
        woken.push(sent.saturating_duration_since(due));
        asker.client(&Fleet::id(GROUP, fastrand::u32(..clients))).await?;
        seen.push(sent.elapsed());
    }
    seen.sort_unstable();
    woken.sort_unstable();
    let of = |times: &[Duration], percent: usize| {
        times.get((times.len().max(1) - 1) * percent / 100).map_or(0.0, |time| time.as_secs_f64() * 1e3)
    };
    let queries = seen.len();
    Ok(Latency { p50: of(&seen, 50), p99: of(&seen, 99), most: of(&seen, 100), woken: of(&woken, 99), queries })
}
