//! The RocketMQ end. It never sees MQTT code.
//!
//! `wire` is the pure codec, `connection` one socket, `client` the cluster as one route sees it; the sink and the
//! source stand on these three.

pub mod wire;

pub mod connection;

pub mod client;

pub mod allocation;

#[cfg(test)]
mod fake_server;

pub mod offsets;
pub mod sink;

pub mod source;

pub mod tail;
