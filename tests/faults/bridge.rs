//! The bridge itself is killed.

use super::{World, form, seconds};
use crate::servers::rocketmq::Options;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs servers: scripts/test runs it"]
async fn nothing_is_lost_when_the_bridge_is_killed() {
    let mut world = World::start(&Options::default(), form(10, 45)).await;
    let kills = form(4, 20);
    for _ in 0..kills {
        world.bridge.kill();
        world.bridge.run();
        // The next kill meets it at work again.
        world.carried(form(300, 1_500)).await;
        seconds(fastrand::f64() * 0.5).await;
    }
    world.verdict(&format!("{kills} kills of rocketbridge"), false).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs servers: scripts/test runs it"]
async fn nothing_is_lost_when_the_bridge_is_stopped_and_started() {
    let mut world = World::start(&Options::default(), form(8, 30)).await;
    let stops = form(2, 10);
    for _ in 0..stops {
        let status = world.bridge.terminate(std::time::Duration::from_secs(15));
        assert!(status.success(), "the bridge ended with {status}");
        world.bridge.run();
        world.carried(form(300, 1_500)).await;
    }
    world.verdict(&format!("{stops} stops of rocketbridge by SIGTERM"), false).await;
}
