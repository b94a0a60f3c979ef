//! RocketMQ's broker is killed and comes back.

use std::time::Instant;

use super::{KEPT, form, seconds, world::World};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs servers: scripts/test runs it"]
async fn everybody_is_known_when_the_rocketmq_broker_was_killed_in_a_wave() {
    let mut world = World::start().await;
    let tide = world.tide(form(100, 300));
    seconds(form(3.0, 20.0)).await;
    let began = Instant::now();
    world.rocketmq.brokers[0].kill();
    seconds(1.0).await;
    world.rocketmq.brokers[0].restart().await;
    world.rocketmq.ready().await;
    let away = began.elapsed();
    seconds(3.0).await;
    let fleet = tide.stop().await;
    // One that takes longer to come back than lines are kept leaves clients unknown.
    world.verdict(&format!("RocketMQ's broker away for {away:.1?}"), &fleet, 4 * away > 3 * KEPT).await;
}
