//! Real servers for tests and the demo: RocketMQ, Mosquitto, RMQTT, a proxy that fails on demand, and rocketbridge
//! itself.
//!
//! `scripts/servers` fetches what this starts, and `scripts/rmqtt` builds RMQTT. Everything listens on free loopback
//! ports, keeps its files in one folder of this process, and ends with it, however it ends. What judges the bridge
//! shares no code with it: Apache's Java client on the one side, a small MQTT client over a library's packet codec on
//! the other.

#![allow(dead_code, unreachable_pub, missing_docs, reason = "each program that includes this uses a part of it")]
#![allow(clippy::print_stderr, reason = "tests and the demo talk to a person")]

pub mod asker;
pub mod bridge;
pub mod certificates;
pub mod count;
pub mod device;
pub mod fleet;
pub mod hooks;
pub mod http;
pub mod java;
pub mod judge;
pub mod mosquitto;
pub mod mqtt;
pub mod process;
pub mod proxy;
pub mod rmqtt;
pub mod rocketmq;

use std::{
    collections::HashSet,
    fs,
    future::Future,
    net::TcpListener,
    path::{Path, PathBuf},
    sync::{
        LazyLock, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

/// Where the scripts keep the servers that they fetch and build.
pub fn cache() -> PathBuf {
    let all = std::env::var_os("XDG_CACHE_HOME")
        .map_or_else(|| PathBuf::from(std::env::var_os("HOME").expect("HOME is set")).join(".cache"), PathBuf::from);
    all.join("rocketbridge")
}

/// A new empty folder for one server, inside the folder of this process.
pub fn folder(name: &str) -> PathBuf {
    static HERE: LazyLock<PathBuf> = LazyLock::new(|| {
        let all = std::env::temp_dir().join("rocketbridge-servers");
        fs::create_dir_all(&all).expect("create a folder for servers");
        remove_stale(&all);
        let here = all.join(std::process::id().to_string());
        // A dead process of the same number may have left one.
        let _ = fs::remove_dir_all(&here);
        here
    });
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let folder = HERE.join(format!("{name}-{}", NEXT.fetch_add(1, Ordering::Relaxed)));
    fs::create_dir_all(&folder).expect("create a server's folder");
    folder
}

/// Removes what processes left that are no more.
fn remove_stale(all: &Path) {
    for entry in fs::read_dir(all).into_iter().flatten().flatten() {
        let alive = Path::new("/proc").join(entry.file_name()).exists();
        if !alive {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Removes the folder of this process; for a program's last line.
pub fn remove_folders() {
    let _ = fs::remove_dir_all(std::env::temp_dir().join("rocketbridge-servers").join(std::process::id().to_string()));
}

/// A port that nothing listens on, `span` ports apart free as well, outside the range that the system gives to
/// clients, so that it stays free while a server restarts.
pub fn free_port() -> u16 {
    free_ports(1)
}

/// The first of `count` free ports in a row.
pub fn free_ports(count: u16) -> u16 {
    static GIVEN: LazyLock<Mutex<HashSet<u16>>> = LazyLock::new(Mutex::default);
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        let first = fastrand::u16(10_000..32_000);
        let mut ports = first..first + count;
        if ports.all(|port| !given.contains(&port) && TcpListener::bind(("127.0.0.1", port)).is_ok()) {
            given.extend(first..first + count);
            return first;
        }
    }
}

/// Asks again every 20 ms until the answer is `Some`; panics with `what` after `limit`.
pub async fn eventually<T, F: Future<Output = Option<T>>>(
    what: &str,
    limit: Duration,
    mut ask: impl FnMut() -> F,
) -> T {
    let started = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(started.elapsed() < limit, "{what}: not within {limit:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until something accepts connections on a loopback port.
pub async fn listening(what: &str, port: u16) {
    eventually(&format!("{what} listens on port {port}"), Duration::from_secs(180), || async move {
        tokio::net::TcpStream::connect(("127.0.0.1", port)).await.ok()
    })
    .await;
}
