//! Mosquitto is stopped, killed, paused, cut off, and forgets.

use super::{World, form, seconds};
use crate::servers::rocketmq::Options;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs servers: scripts/test runs it"]
async fn nothing_is_lost_when_mosquitto_restarts() {
    let mut world = World::start(&Options::default(), form(10, 60)).await;
    let restarts = form(2, 5);
    for _ in 0..restarts {
        world.mosquitto.terminate();
        seconds(0.5).await;
        world.mosquitto.restart().await;
        world.carried(form(400, 4_000)).await;
    }
    world.verdict(&format!("{restarts} restarts of Mosquitto by SIGTERM"), false).await;
}

/// What Mosquitto takes after its last snapshot is its own loss, so nothing is acknowledged to anyone between the
/// snapshot and the kill: devices pause, and the bridge's connections stall with much under way.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs servers: scripts/test runs it"]
async fn nothing_is_lost_when_mosquitto_is_killed_after_a_snapshot() {
    let mut world = World::start(&Options::default(), form(10, 60)).await;
    let kills = form(2, 5);
    for _ in 0..kills {
        world.pause_devices().await;
        world.proxy.stall(true);
        world.quiet().await;
        world.mosquitto.snapshot();
        world.mosquitto.kill();
        world.proxy.cut();
        world.proxy.stall(false);
        world.mosquitto.restart().await;
        world.resume_devices();
        world.carried(form(400, 4_000)).await;
    }
    world.verdict(&format!("{kills} kills of Mosquitto after a snapshot"), false).await;
}

/// Sessions are gone with the database: the bridge subscribes again, and sends again what Mosquitto had not confirmed.
/// What Mosquitto holds for others is its own loss, so it holds nothing then.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs servers: scripts/test runs it"]
async fn nothing_is_lost_when_mosquitto_forgets_every_session() {
    let mut world = World::start(&Options::default(), form(10, 60)).await;
    let times = form(1, 5);
    for _ in 0..times {
        world.pause_devices().await;
        world.drained().await;
        world.proxy.stall(true);
        world.quiet().await;
        let subscribed = world.subscriptions();
        world.mosquitto.kill();
        world.mosquitto.forget();
        world.proxy.close(true);
        world.proxy.stall(false);
        world.mosquitto.restart().await;
        // Else what the bridge publishes next would reach nobody.
        world.subscribers_return(subscribed).await;
        world.proxy.close(false);
        world.open().await;
        world.resume_devices();
        world.carried(form(400, 4_000)).await;
    }
    world.verdict(&format!("{times} restarts of Mosquitto without its database"), false).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs servers: scripts/test runs it"]
async fn nothing_is_lost_when_connections_to_mosquitto_are_cut() {
    let world = World::start(&Options::default(), form(8, 45)).await;
    let cuts = form(6, 20);
    for _ in 0..cuts {
        world.proxy.cut();
        world.carried(form(200, 1_000)).await;
        seconds(fastrand::f64() * 0.3).await;
    }
    world.verdict(&format!("{cuts} cuts of all connections to Mosquitto"), false).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs servers: scripts/test runs it"]
async fn nothing_is_lost_while_mosquitto_is_paused() {
    let world = World::start(&Options::default(), form(8, 45)).await;
    let pause = form(5, 60);
    world.mosquitto.pause();
    seconds(f64::from(pause)).await;
    world.mosquitto.resume();
    world.verdict(&format!("Mosquitto paused for {pause} s"), false).await;
}
