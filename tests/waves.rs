//! Who is online after clients came and went in waves, while the bridge or RocketMQ's broker was killed: counts, lists,
//! each client's answer and the notices in RocketMQ are held to what the clients did.
//!
//! The short form has 2,000 clients; `ROCKETBRIDGE_TEST_LONG=1` makes it 50,000, as many of them at a time as a process
//! may hold.

mod bridge;
mod notices;
mod rocketmq;
mod tide;
mod world;

use std::time::Duration;

use crate::faults::form;

/// The group of all clients, and the topic of their notices.
const GROUP: &str = "GID_load";
const TOPIC: &str = "GID_load_MQTT";
/// Longer than anything takes to settle.
const PATIENCE: Duration = Duration::from_secs(90);
/// A count that stays for so long has settled.
const SETTLED: Duration = Duration::from_secs(3);

/// How long Mosquitto keeps its lines.
const KEPT: Duration = Duration::from_secs(20);

async fn seconds(seconds: f64) {
    tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
}
