//! The RocketMQ source alone, against real servers: where it starts, what it hands on, what it commits, and how
//! members of a group share queues.

#![expect(clippy::print_stderr, reason = "what was measured is told")]

mod faults;
mod members;
mod start;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use rocketbridge::{
    delivery::{Delivery, source_link},
    mapping::{FromRocketMq, Start},
    rocketmq::source,
    settings::{Limits, RocketMqCluster, StoredWhen},
    telemetry::{RouteTelemetry, Telemetry},
};
use tokio::{sync::oneshot, task::JoinHandle, time::timeout};

use crate::servers::{
    count::Tally,
    eventually,
    rocketmq::{Options, RocketMq},
};

const PATIENCE: Duration = Duration::from_secs(60);

/// What all readers of a test have received.
#[derive(Debug, Default)]
struct Seen {
    tally: Tally,
    deliveries: Vec<Delivery>,
}

/// One running source whose deliveries are settled as they come.
struct Reader {
    source: JoinHandle<()>,
    stop: Option<oneshot::Sender<()>>,
    settling: JoinHandle<()>,
    telemetry: RouteTelemetry,
}

fn from(rocketmq: &RocketMq, topic: &str, group: &str, start: Start) -> FromRocketMq {
    let cluster = RocketMqCluster {
        name: "main".into(),
        name_servers: rocketmq.servers(),
        access_key: None,
        secret_key: None,
        tls: None,
        namespace: String::new(),
        stored_when: StoredWhen::Accepted,
        request_timeout: Duration::from_secs(3),
        max_message: 4 << 20,
        lane_grace: Duration::from_secs(30),
    };
    FromRocketMq { cluster: Arc::new(cluster), topic: topic.into(), group: group.into(), tags: Vec::new(), start }
}

/// Starts a source; with `keep` its deliveries are kept for a look.
fn read(from: FromRocketMq, name: &str, seen: &Arc<Mutex<Seen>>, keep: bool) -> Reader {
    let telemetry = Telemetry::default().route(name, "main", "far", "file");
    let (link, mut handle) = source_link(telemetry.source.clone());
    let limits = Limits { messages: 8192, bytes: 16 << 20 };
    let name = name.to_owned();
    let source = tokio::spawn(async move { source::run(from, name, limits, link).await });
    let (stop, mut stopped) = oneshot::channel();
    let seen = seen.clone();
    let settling = tokio::spawn(async move {
        let mut next = 0;
        loop {
            let batch = tokio::select! {
                batch = handle.deliveries.recv() => batch,
                _ = &mut stopped => return,
            };
            let Some(batch) = batch else { return };
            let mut tickets = Vec::with_capacity(batch.len());
            let mut seen = seen.lock().unwrap();
            for delivery in batch {
                assert_eq!(delivery.ticket, next, "tickets rise by one");
                next += 1;
                tickets.push(delivery.ticket);
                seen.tally.arrived(&delivery.message.payload);
                if keep {
                    seen.deliveries.push(delivery);
                }
            }
            drop(seen);
            handle.settled.send(tickets).unwrap();
        }
    });
    Reader { source, stop: Some(stop), settling, telemetry }
}

impl Reader {
    /// Ends the link as a route does; gives how long the source took.
    async fn stop(mut self) -> Duration {
        let began = std::time::Instant::now();
        let _ = self.stop.take().unwrap().send(());
        self.settling.await.unwrap();
        timeout(PATIENCE, self.source).await.expect("the source ends").unwrap();
        began.elapsed()
    }

    /// Ends it as `kill -9` would.
    fn kill(self) {
        self.source.abort();
        self.settling.abort();
    }

    async fn up(&self) {
        eventually("the source is up", PATIENCE, || async { self.telemetry.source.reason().is_none().then_some(()) })
            .await;
    }
}

async fn distinct(seen: &Arc<Mutex<Seen>>, count: u64) {
    eventually(&format!("{count} messages arrived"), 4 * PATIENCE, || async {
        let now = seen.lock().unwrap().tally.distinct();
        (now >= count).then_some(())
    })
    .await;
}

async fn one_broker() -> RocketMq {
    RocketMq::start(&Options::default()).await
}
