//! A Java consumer and a source share the queues of a topic. `running::replicas` has several bridges do so.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use rocketbridge::mapping::Start;

use super::{Seen, distinct, from, one_broker, read};
use crate::servers::judge::Load;

fn load(topic: &str, count: u64) -> Load {
    Load { topic: topic.into(), count, keys: 50, size: 64, batch: 16, rate: 1_500, tag: None, second: None }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs servers: scripts/test runs it"]
async fn a_java_consumer_and_a_source_share_a_group() {
    let rocketmq = one_broker().await;
    rocketmq.create_topic("mixed", 4).await;
    let seen = Arc::<Mutex<Seen>>::default();
    let reader = read(from(&rocketmq, "mixed", "GID_mixed", Start::First), "mixed", &seen, false);
    reader.up().await;
    let count = 12_000;
    let producing = rocketmq.produce(&load("mixed", count));
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut java = rocketmq.consume("mixed", "GID_mixed").await;
    let by_java = tokio::spawn({
        let seen = seen.clone();
        async move {
            let mut taken = 0u64;
            while let Ok(Some(message)) = tokio::time::timeout(Duration::from_secs(10), java.next()).await {
                seen.lock().unwrap().tally.arrived(&message.body);
                taken += 1;
            }
            java.stop().await;
            taken
        }
    });
    producing.finished().await;
    distinct(&seen, count).await;
    let by_java = by_java.await.unwrap();
    eprintln!("{by_java} of {count} by the Java consumer");
    assert!(by_java > count / 10, "the Java consumer has its share");
    reader.stop().await;
    seen.lock().unwrap().tally.report(count, 50).must_be_whole("a mixed group");
}
