//! The broker is killed and paused, and the reader is killed.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use rocketbridge::mapping::Start;

use super::{PATIENCE, Seen, distinct, from, one_broker, read};
use crate::servers::{
    eventually,
    judge::Load,
    rocketmq::{Options, RocketMq},
};

fn load(topic: &str, count: u64, rate: u64) -> Load {
    Load { topic: topic.into(), count, keys: 50, size: 64, batch: 16, rate, tag: None, second: None }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs servers: scripts/test runs it"]
async fn reading_goes_on_after_the_broker_was_killed() {
    let mut rocketmq = one_broker().await;
    rocketmq.create_topic("kill", 4).await;
    let seen = Arc::<Mutex<Seen>>::default();
    let reader = read(from(&rocketmq, "kill", "GID_kill", Start::First), "kill", &seen, false);
    // More than can be read before the second kill, however slowly the broker comes back.
    let count = 40_000;
    let producing = rocketmq.produce(&load("kill", count, 1_500));
    for _ in 0..2 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        rocketmq.brokers[0].kill();
        tokio::time::sleep(Duration::from_secs(1)).await;
        rocketmq.brokers[0].restart().await;
        let before = seen.lock().unwrap().tally.distinct();
        let began = std::time::Instant::now();
        distinct(&seen, before + 1).await;
        let took = began.elapsed();
        eprintln!("reads {took:?} after the broker listens again");
        assert!(took < Duration::from_secs(5), "reads only {took:?} after the broker listens again");
    }
    producing.finished().await;
    distinct(&seen, count).await;
    reader.stop().await;
    seen.lock().unwrap().tally.report(count, 50).must_be_whole("2 kills of the broker");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs servers: scripts/test runs it"]
async fn nothing_is_lost_when_the_reader_is_killed_or_the_broker_paused() {
    let rocketmq = one_broker().await;
    rocketmq.create_topic("pause", 4).await;
    let seen = Arc::<Mutex<Seen>>::default();
    let count = 8_000;
    let producing = rocketmq.produce(&load("pause", count, 1_000));
    for _ in 0..3 {
        let reader = read(from(&rocketmq, "pause", "GID_pause", Start::First), "pause", &seen, false);
        tokio::time::sleep(Duration::from_millis(1_300)).await;
        reader.kill();
    }
    let reader = read(from(&rocketmq, "pause", "GID_pause", Start::First), "pause", &seen, false);
    reader.up().await;
    rocketmq.brokers[0].pause();
    // Longer than the lock is trusted.
    tokio::time::sleep(Duration::from_secs(35)).await;
    rocketmq.brokers[0].resume();
    producing.finished().await;
    distinct(&seen, count).await;
    reader.stop().await;
    seen.lock().unwrap().tally.report(count, 50).must_be_whole("3 kills of the reader, a pause of the broker");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs servers: scripts/test runs it"]
async fn a_broker_that_is_gone_for_good_keeps_nobody_from_reading_the_other() {
    let mut rocketmq = RocketMq::start(&Options { brokers: 2, ..Options::default() }).await;
    rocketmq.create_topic("removed", 2).await;
    let seen = Arc::<Mutex<Seen>>::default();
    let reader = read(from(&rocketmq, "removed", "GID_removed", Start::First), "removed", &seen, false);
    reader.up().await;
    rocketmq.brokers[1].kill();
    eventually("the loss shows", PATIENCE, || async { reader.telemetry.source.reason() }).await;
    reader.up().await;
    // What it would take to be called down again.
    tokio::time::sleep(Duration::from_secs(25)).await;
    assert_eq!(reader.telemetry.source.reason(), None);
    let count = 500;
    rocketmq.produce(&load("removed", count, 0)).finished().await;
    distinct(&seen, count).await;
    reader.stop().await;
}
