//! A feed of changes as Server-Sent Events. It must never wait for its reader: one that is too slow is cut, and lists
//! the clients anew.

use std::{convert::Infallible, time::Duration};

use axum::response::{
    IntoResponse,
    sse::{Event, KeepAlive, Sse},
};
use futures_util::stream;
use tokio::sync::{
    OwnedSemaphorePermit,
    broadcast::{Receiver, error::RecvError},
};

use super::count;
use crate::{
    lmq::status_query::answer::{Changed, event},
    presence::ask::Change,
};

/// A feed without changes says that it is there, well before the listener or a proxy takes it for dead.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// The events `change`, one for each change, and `missed` as the last one where the reader was too slow.
pub(super) fn feed(changes: Receiver<Change>, place: OwnedSemaphorePermit) -> impl IntoResponse {
    let events = stream::unfold(Some((changes, place)), |feed| async {
        let (mut changes, place) = feed?;
        match changes.recv().await {
            Ok(change) => Some((Ok::<_, Infallible>(changed(&change)), Some((changes, place)))),
            Err(RecvError::Lagged(_)) => Some((Ok(Event::default().event("missed").data("{}")), None)),
            Err(RecvError::Closed) => None,
        }
    });
    Sse::new(events).keep_alive(KeepAlive::new().interval(HEARTBEAT))
}

fn changed(change: &Change) -> Event {
    let Change { client_id, online, at } = change;
    Event::default().event("change").data(event(&Changed { client_id, online: count(*online), time: *at }))
}
