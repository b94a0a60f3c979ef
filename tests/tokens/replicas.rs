//! Two replicas on a real RocketMQ.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::service::{CREDENTIALS, Service, settings};
use crate::servers::{
    bridge::Bridge,
    eventually, free_port,
    rocketmq::{Options, RocketMq},
};

pub(super) const TOPIC: &str = "rocketbridge_tokens";
/// Longer than anything takes that has no limit of its own.
const PATIENCE: Duration = Duration::from_secs(30);

/// A replica and its token service.
pub(super) struct Replica {
    bridge: Bridge,
    pub(super) service: Service,
}

impl Replica {
    pub(super) async fn start(rocketmq: &RocketMq) -> Self {
        let port = free_port();
        let cluster = format!("[rocketmq.main]\nname_servers = {:?}\n", rocketmq.servers());
        let mut bridge = Bridge::new(&format!("{cluster}{}", settings(Some(TOPIC))), "");
        bridge.credentials(CREDENTIALS);
        bridge.set("ROCKETBRIDGE__HTTP__LMQ", &format!("127.0.0.1:{port}"));
        bridge.run();
        bridge.ready().await;
        let replica = Self { bridge, service: Service { port } };
        replica.has_caught_up().await;
        replica
    }

    async fn has_caught_up(&self) {
        eventually("the replica has caught up", PATIENCE, || async {
            (self.bridge.metric("rocketbridge_tokens_behind", &[]).await? < 0.5).then_some(())
        })
        .await;
    }

    /// `kill -9`, and a start with the same data.
    async fn killed_and_restarted(&mut self) {
        self.bridge.kill();
        self.bridge.run();
        self.bridge.ready().await;
    }

    /// What the operator sees: how many tokens there are, and how many of them are revoked.
    async fn listed(&self) -> (usize, usize) {
        let (status, body) = self.bridge.get("/tokens").await.unwrap();
        assert_eq!(status, 200, "{body}");
        let body: Value = serde_json::from_str(&body).unwrap();
        let tokens = body["tokens"].as_array().unwrap();
        (tokens.len(), tokens.iter().filter(|token| token["revoked"] == true).count())
    }
}

/// RocketMQ with the topic, and two replicas that have caught up.
async fn two() -> (RocketMq, Replica, Replica) {
    let rocketmq = RocketMq::start(&Options::default()).await;
    rocketmq.create_topic(TOPIC, 2).await;
    let (one, other) = (Replica::start(&rocketmq).await, Replica::start(&rocketmq).await);
    (rocketmq, one, other)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs servers: scripts/test runs it"]
async fn a_revocation_is_known_to_the_other_replica_within_a_second() {
    let (_rocketmq, one, other) = two().await;
    for round in 0..5 {
        let token = one.service.apply("TopicA/#", "R,W", 3600).await;
        assert_eq!(other.service.query(&token).await, 200, "it can be read without having been heard of");
        // Revoked where it was made, and where it was not.
        let (by, heard) = if round % 2 == 0 { (&one, &other) } else { (&other, &one) };
        assert_eq!(by.service.revoke(&token).await, 200);
        assert_eq!(by.service.query(&token).await, 3, "at once");
        let begin = Instant::now();
        while heard.service.query(&token).await != 3 {
            assert!(begin.elapsed() < Duration::from_secs(1), "not known after a second");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    eventually("both list all", PATIENCE, || async {
        (one.listed().await == (5, 5) && other.listed().await == (5, 5)).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs servers: scripts/test runs it"]
async fn nothing_is_forgotten_by_a_replica_that_is_killed_right_after_its_answer() {
    let (_rocketmq, mut one, other) = two().await;
    for round in 1..=3 {
        let kept = one.service.apply("TopicA/#", "R", 3600).await;
        let revoked = one.service.apply("TopicB/+", "R,W", 3600).await;
        assert_eq!(one.service.revoke(&revoked).await, 200);
        one.killed_and_restarted().await;
        assert_eq!(one.service.query(&revoked).await, 3);
        let last = {
            one.has_caught_up().await;
            one.service.apply("TopicA/#", "R", 3600).await
        };
        one.killed_and_restarted().await;
        assert_eq!(one.listed().await, (3 * round, round));
        one.has_caught_up().await;
        assert_eq!((one.service.query(&kept).await, one.service.query(&last).await), (200, 200));
        // What it had no time to tell it tells now.
        eventually("the other replica knows", PATIENCE, || async {
            (other.service.query(&revoked).await == 3 && other.listed().await == (3 * round, round)).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs servers: scripts/test runs it"]
async fn without_rocketmq_a_replica_that_starts_waits_and_then_says_that_it_is_behind() {
    let (mut rocketmq, mut one, other) = two().await;
    let (token, revoked) =
        (one.service.apply("TopicA/#", "R", 3600).await, one.service.apply("TopicB/#", "R", 3600).await);
    let told = async |replica: &Replica| {
        eventually("nothing is untold", PATIENCE, || async {
            (replica.bridge.metric("rocketbridge_tokens_untold", &[]).await? < 0.5).then_some(())
        })
        .await;
    };
    eventually("the other has heard of both", PATIENCE, || async { (other.listed().await == (2, 0)).then_some(()) })
        .await;
    told(&one).await;
    for node in rocketmq.brokers.iter_mut().chain(&mut rocketmq.name_servers) {
        node.kill();
    }
    assert_eq!(one.service.revoke(&revoked).await, 200, "it counts here, and is told later");
    one.killed_and_restarted().await;
    let begin = Instant::now();
    assert_eq!(one.service.query(&token).await, -1, "whether it was revoked is not known");
    assert_eq!(one.service.query(&revoked).await, 3);
    eventually("it goes by what it knows", PATIENCE, || async {
        (one.service.query(&token).await == 200).then_some(())
    })
    .await;
    assert!(begin.elapsed() > Duration::from_secs(5), "{:?}", begin.elapsed());
    assert_eq!(one.bridge.metric("rocketbridge_tokens_behind", &[]).await, Some(1.0));
    assert_eq!(one.bridge.metric("rocketbridge_tokens_untold", &[]).await, Some(1.0));
    assert_eq!(other.service.query(&revoked).await, 200, "nobody could tell it");
    for node in rocketmq.name_servers.iter_mut().chain(&mut rocketmq.brokers) {
        node.restart().await;
    }
    rocketmq.ready().await;
    eventually("the other replica is told", Duration::from_secs(90), || async {
        (other.service.query(&revoked).await == 3).then_some(())
    })
    .await;
    one.has_caught_up().await;
    told(&one).await;
}
