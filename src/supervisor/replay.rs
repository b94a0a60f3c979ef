//! Parked messages through their route again: the same route, the same sink, another source.

use std::sync::Arc;

use tokio::{
    sync::{oneshot, watch},
    task::JoinHandle,
    time::timeout,
};

use super::task::{self, CLOSE, Purpose};
use crate::{
    delivery::{SourceHandle, source_link},
    mapping::{FromRocketMq, Park, Route, Start},
    parking::{self, Record, Replay},
    rocketmq::{self, client::CallError},
    route::Order,
    settings::Settings,
    telemetry::{EndState, RouteTelemetry, Telemetry},
};

/// What a replay did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Replayed {
    /// Messages that the sink confirmed.
    pub stored: u64,
    /// Messages that were refused again, and are parked again.
    pub parked_again: u64,
    /// Messages that stay parked: they were not confirmed before the replay was told to end, or cannot be sent at all.
    pub left: usize,
}

/// What a route has parked in its topic and not replayed. Empty when the route parks in a file.
pub async fn list_topic(route: &Route, settings: &Settings) -> Result<Vec<Record>, CallError> {
    let Some(opened) = open_topic(route, settings).await? else { return Ok(Vec::new()) };
    let records = parking::topic::list(&route.name, opened.handle, &opened.state).await;
    let _late = timeout(CLOSE, opened.source).await;
    Ok(records)
}

/// Sends what was taken from a route's file.
pub async fn replay_file(
    route: &Arc<Route>,
    settings: &Settings,
    taken: Replay,
    orders: watch::Receiver<Order>,
) -> Replayed {
    let telemetry = telemetry(route);
    let all = taken.sendable() + taken.staying();
    let (tell, told) = oneshot::channel();
    let ended = task::run_once(route, Purpose::Replay, settings, &telemetry, orders, |link| {
        tokio::spawn(async move {
            match parking::replay_source(taken, link).await {
                Ok(left) => drop(tell.send(left)),
                Err(error) => {
                    tracing::error!(%error, "cannot take what was sent out of the file of parked messages: a second replay sends it again");
                }
            }
        })
    });
    let replayed = replayed(ended.await, &telemetry);
    Replayed { left: told.await.unwrap_or(all), ..replayed }
}

/// Sends what a route parked in its topic before `begin`, in milliseconds since the epoch.
pub async fn replay_topic(
    route: &Arc<Route>,
    settings: &Settings,
    begin: u64,
    orders: watch::Receiver<Order>,
) -> Result<Replayed, CallError> {
    let Some(Opened { handle, state, source }) = open_topic(route, settings).await? else {
        return Ok(Replayed { stored: 0, parked_again: 0, left: 0 });
    };
    let telemetry = telemetry(route);
    let name = route.name.clone();
    let ended = task::run_once(route, Purpose::Replay, settings, &telemetry, orders, |link| {
        tokio::spawn(async move { parking::topic::replay(&name, begin, handle, &state, link).await })
    });
    let replayed = replayed(ended.await, &telemetry);
    let _late = timeout(CLOSE, source).await;
    Ok(replayed)
}

fn replayed(ended: crate::route::Ended, telemetry: &RouteTelemetry) -> Replayed {
    let left = if let crate::route::Ended::Left(messages) = ended { messages } else { 0 };
    Replayed { stored: telemetry.stored.get(), parked_again: telemetry.parked.get(), left }
}

fn telemetry(route: &Route) -> RouteTelemetry {
    Telemetry::default().route(&route.name, "parked", route.to.broker_name(), route.park.broker_name())
}

/// A park topic that is read.
struct Opened {
    handle: SourceHandle,
    state: Arc<EndState>,
    source: JoinHandle<()>,
}

/// Starts a consumer of a route's park topic, in a group of the route's own. Nothing when there is no such topic, and
/// so nothing parked in it; an error when it cannot be reached.
async fn open_topic(route: &Route, settings: &Settings) -> Result<Option<Opened>, CallError> {
    let Park::RocketMq { cluster, topic } = &route.park else { return Ok(None) };
    if rocketmq::source::probe::probe(cluster.clone(), topic).await?.is_none() {
        return Ok(None);
    }
    let state = telemetry(route).source;
    let (link, handle) = source_link(state.clone());
    let from = FromRocketMq {
        cluster: cluster.clone(),
        topic: topic.to_owned(),
        group: format!("GID_rocketbridge_parked_{}", route.name),
        tags: Vec::new(),
        start: Start::First,
    };
    let (id, limits) = (format!("{}-parked@{:08x}", route.name, fastrand::u32(..)), settings.limits);
    let source = tokio::spawn(async move { rocketmq::source::run(from, id, limits, link).await });
    Ok(Some(Opened { handle, state, source }))
}
