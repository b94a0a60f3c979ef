//! Parked messages through their route again: the same route, the same sink, another source.

use std::sync::Arc;

use tokio::{sync::watch, task::JoinHandle, time::timeout};

use super::task::{self, CLOSE, Purpose};
use crate::{
    delivery::{SourceHandle, source_link},
    mapping::{FromRocketMq, Park, Route, Start},
    parking::{self, Record, Replay},
    rocketmq,
    route::Order,
    settings::{RocketMqCluster, Settings},
    telemetry::{RouteTelemetry, Telemetry},
};

/// What a replay did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Replayed {
    /// Messages that the sink confirmed.
    pub stored: u64,
    /// Messages that were refused again, and are parked again.
    pub parked_again: u64,
    /// Messages in flight when the replay was told to end. They stay parked.
    pub left: usize,
}

/// What a route has parked in its topic and not replayed. Empty when the route parks in a file.
pub async fn list_topic(route: &Route, settings: &Settings) -> Vec<Record> {
    let Park::RocketMq { cluster, topic } = &route.park else { return Vec::new() };
    let (handle, task) = open_topic(route, cluster, topic, settings);
    let records = parking::topic::list(&route.name, handle).await;
    let _late = timeout(CLOSE, task).await;
    records
}

/// Sends what was taken from a route's file.
pub async fn replay_file(
    route: &Arc<Route>,
    settings: &Settings,
    taken: Replay,
    orders: watch::Receiver<Order>,
) -> Replayed {
    let telemetry = telemetry(route);
    let ended = task::run_once(route, Purpose::Replay, settings, &telemetry, orders, |link| {
        tokio::spawn(async move {
            if let Err(error) = parking::replay_source(taken, link).await {
                tracing::error!(%error, "cannot take what was sent out of the file of parked messages: a second replay sends it again");
            }
        })
    });
    replayed(ended.await, &telemetry)
}

/// Sends what a route parked in its topic before `begin`, in milliseconds since the epoch.
pub async fn replay_topic(
    route: &Arc<Route>,
    settings: &Settings,
    begin: u64,
    orders: watch::Receiver<Order>,
) -> Replayed {
    let Park::RocketMq { cluster, topic } = &route.park else {
        return Replayed { stored: 0, parked_again: 0, left: 0 };
    };
    let (handle, task) = open_topic(route, cluster, topic, settings);
    let telemetry = telemetry(route);
    let name = route.name.clone();
    let ended = task::run_once(route, Purpose::Replay, settings, &telemetry, orders, |link| {
        tokio::spawn(async move { parking::topic::replay(&name, begin, handle, link).await })
    });
    let replayed = replayed(ended.await, &telemetry);
    let _late = timeout(CLOSE, task).await;
    replayed
}

fn replayed(ended: crate::route::Ended, telemetry: &RouteTelemetry) -> Replayed {
    let left = if let crate::route::Ended::Left(messages) = ended { messages } else { 0 };
    Replayed { stored: telemetry.stored.get(), parked_again: telemetry.parked.get(), left }
}

fn telemetry(route: &Route) -> RouteTelemetry {
    Telemetry::default().route(&route.name, "parked", route.to.broker_name(), route.park.broker_name())
}

/// A consumer of the park topic, in a group of this route's own.
fn open_topic(
    route: &Route,
    cluster: &Arc<RocketMqCluster>,
    topic: &str,
    settings: &Settings,
) -> (SourceHandle, JoinHandle<()>) {
    let (link, handle) = source_link(telemetry(route).source);
    let from = FromRocketMq {
        cluster: cluster.clone(),
        topic: topic.to_owned(),
        group: format!("GID_rocketbridge_parked_{}", route.name),
        tags: Vec::new(),
        start: Start::First,
    };
    let (name, limits) = (format!("{}-parked", route.name), settings.limits);
    (handle, tokio::spawn(async move { rocketmq::source::run(from, &name, limits, link).await }))
}
