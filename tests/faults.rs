//! Nothing is lost and order holds, whatever is killed on the way: numbered messages over all four combinations of
//! ends at once, one kind of fault after another, and a count of what came out.
//!
//! The short form runs in `scripts/test`; `ROCKETBRIDGE_TEST_LONG=1` makes it 100,000 messages in each direction.

mod bridge;
mod mosquitto;
mod rocketmq;
mod world;

use std::time::Duration;

use world::World;

/// What one run inflicts, by its form.
pub(crate) fn form<T>(short: T, long: T) -> T {
    if long_form() { long } else { short }
}

fn long_form() -> bool {
    std::env::var_os("ROCKETBRIDGE_TEST_LONG").is_some_and(|value| value == "1")
}

async fn seconds(seconds: f64) {
    tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
}
