//! RocketMQ's broker and name server are killed, paused and cut off, and one broker of two dies.

use super::{World, form, seconds};
use crate::servers::rocketmq::Options;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs servers: scripts/test runs it"]
async fn nothing_is_lost_when_the_broker_is_killed() {
    let mut world = World::start(&Options::default(), form(10, 60)).await;
    let kills = form(2, 5);
    for _ in 0..kills {
        world.rocketmq.brokers[0].kill();
        seconds(0.5).await;
        world.rocketmq.brokers[0].restart().await;
        world.carried(form(400, 4_000)).await;
    }
    world.verdict(&format!("{kills} kills of RocketMQ's broker"), false).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs servers: scripts/test runs it"]
async fn nothing_is_lost_when_the_name_server_is_killed() {
    let mut world = World::start(&Options::default(), form(10, 60)).await;
    let kills = form(2, 5);
    for _ in 0..kills {
        world.rocketmq.name_servers[0].kill();
        seconds(1.0).await;
        world.rocketmq.name_servers[0].restart().await;
        world.carried(form(400, 4_000)).await;
    }
    world.verdict(&format!("{kills} kills of RocketMQ's name server"), false).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs servers: scripts/test runs it"]
async fn nothing_is_lost_when_connections_to_rocketmq_are_cut() {
    let world = World::start(&Options { proxied: true, ..Options::default() }, form(8, 45)).await;
    let cuts = form(6, 20);
    for _ in 0..cuts {
        world.rocketmq.proxies[0].cut();
        world.carried(form(200, 1_000)).await;
        seconds(fastrand::f64() * 0.3).await;
    }
    world.verdict(&format!("{cuts} cuts of all connections to RocketMQ's broker"), false).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs servers: scripts/test runs it"]
async fn nothing_is_lost_while_the_broker_is_paused() {
    let world = World::start(&Options::default(), form(8, 45)).await;
    let pause = form(5, 60);
    world.rocketmq.brokers[0].pause();
    seconds(f64::from(pause)).await;
    world.rocketmq.brokers[0].resume();
    world.verdict(&format!("RocketMQ's broker paused for {pause} s"), false).await;
}

/// The dead broker's store is opened at the end, and what it holds counts. Keys of its queues go on in others.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs servers: scripts/test runs it"]
async fn nothing_is_lost_when_one_broker_of_two_dies() {
    let mut world = World::start(&Options { brokers: 2, ..Options::default() }, form(8, 45)).await;
    world.rocketmq.brokers[0].kill();
    world.devices_done().await;
    world.rocketmq.brokers[0].restart().await;
    world.verdict("one broker of two dead until the end", true).await;
}
