//! The real brokers of the tests, behind calls that wait: a benchmark has no other use for a runtime.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::Result;
use tokio::runtime::{Builder, Runtime};

use crate::servers::{mosquitto, rocketmq};

/// The release of RocketMQ that is measured.
pub(crate) fn rocketmq_version() -> String {
    rocketmq::version()
}

/// A Mosquitto without a limit on queues.
pub(crate) struct Mosquitto(mosquitto::Mosquitto);

impl Mosquitto {
    /// Starts one with its own window of 20, or with none, so that the client's counts.
    pub(crate) fn start(own_window: bool) -> Result<Self> {
        let lines = if own_window { Vec::new() } else { vec!["max_inflight_messages 0".to_owned()] };
        let options = mosquitto::Options { lines, ..mosquitto::Options::default() };
        Ok(Self(runtime()?.block_on(mosquitto::Mosquitto::start(&options))))
    }

    /// Starts one that tells who comes and goes.
    pub(crate) fn telling() -> Result<Self> {
        let lines = ["log_dest topic", "connection_messages true", "max_inflight_messages 1000"];
        let options = mosquitto::Options { lines: lines.map(str::to_owned).to_vec(), ..mosquitto::Options::default() };
        Ok(Self(runtime()?.block_on(mosquitto::Mosquitto::start(&options))))
    }

    /// Stops and starts it; it keeps its sessions.
    pub(crate) fn begin_anew(&mut self) -> Result<()> {
        self.0.terminate();
        runtime()?.block_on(self.0.restart());
        Ok(())
    }

    pub(crate) fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.0.port).into()
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        self.0.kill();
    }

    /// Starts it again; returns when it listens.
    pub(crate) fn restart(&mut self) -> Result<()> {
        runtime()?.block_on(self.0.restart());
        Ok(())
    }
}

/// A name server and a broker.
pub(crate) struct RocketMq(rocketmq::RocketMq);

impl RocketMq {
    pub(crate) fn start() -> Result<Self> {
        Ok(Self(runtime()?.block_on(rocketmq::RocketMq::start(&rocketmq::Options::default()))))
    }

    /// The broker.
    pub(crate) fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.0.brokers[0].port).into()
    }

    pub(crate) fn name_server(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.0.name_servers[0].port).into()
    }

    /// `kill -9` of the broker.
    pub(crate) fn kill(&mut self) {
        self.0.brokers[0].kill();
    }

    /// Starts the broker again; returns when it listens, which may be before it answers.
    pub(crate) fn restart(&mut self) -> Result<()> {
        runtime()?.block_on(self.0.brokers[0].restart());
        Ok(())
    }
}

fn runtime() -> Result<Runtime> {
    Ok(Builder::new_current_thread().enable_all().build()?)
}
