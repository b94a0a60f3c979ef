//! When the broker is asked for its list of clients: after a gap, and from time to time. In the background, so that no
//! event waits for it.
//!
//! It must never give out a list that was asked for before a gap was over.

use std::{future::pending, time::Duration};

use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};
use tracing::{info, warn};

use crate::{
    presence::{
        adapter::Adapter,
        api::{self, ApiError},
        event::Connected,
    },
    settings::BrokerApi,
};

/// How long after a gap: longer than a list may be behind what was told before it (`connections::LAG`).
const AFTER_GAP: Duration = Duration::from_secs(4);
/// From one list to the next.
const EVERY: Duration = Duration::from_secs(60);
/// From a list that could not be had to the next try.
const AGAIN: Duration = Duration::from_secs(5);
/// What happens while the list is read is told by events, which may come a little later than it.
const SETTLING: Duration = Duration::from_secs(1);

/// When it was asked for, by the bridge's clock, and who is connected.
type Listed = (u64, Vec<Connected>);

pub(super) struct Lister {
    route: String,
    adapter: Adapter,
    api: Option<BrokerApi>,
    due: Instant,
    /// One at most.
    running: JoinSet<Result<Listed, ApiError>>,
    /// The last try failed, which has been said.
    failing: bool,
}

impl Lister {
    pub(super) fn new(route: &str, adapter: Adapter, api: Option<BrokerApi>) -> Self {
        let (route, due) = (route.to_owned(), Instant::now());
        Self { route, adapter, api, due, running: JoinSet::new(), failing: false }
    }

    /// Events may be missing up to now: what is under way was asked for too early.
    pub(super) fn gap(&mut self) {
        self.running = JoinSet::new();
        self.due = Instant::now() + AFTER_GAP;
    }

    /// Asks when it is time. Call it while events come; `now` by the bridge's clock.
    pub(super) fn tick(&mut self, now: u64) {
        let Some(api) = self.api.clone().filter(|_| self.running.is_empty() && self.due <= Instant::now()) else {
            return;
        };
        let adapter = self.adapter;
        self.running.spawn(async move {
            let clients = api::clients(&api, adapter).await?;
            sleep(SETTLING).await;
            Ok((now, clients))
        });
    }

    /// Waits for the next list, and for ever where none is asked for. Nothing is lost when it is dropped.
    pub(super) async fn listed(&mut self) -> Listed {
        loop {
            let listed = match self.running.join_next().await {
                None => pending().await,
                Some(listed) => listed.map_err(ApiError::from).flatten(),
            };
            match listed {
                Ok(listed) => {
                    self.due = Instant::now() + EVERY;
                    if std::mem::take(&mut self.failing) {
                        info!(route = %self.route, "the broker lists its clients again");
                    }
                    return listed;
                }
                Err(error) => self.failed(&error),
            }
        }
    }

    fn failed(&mut self, error: &ApiError) {
        self.due = Instant::now() + AGAIN;
        if !std::mem::replace(&mut self.failing, true) {
            let again_s = AGAIN.as_secs();
            warn!(route = %self.route, %error, again_s, "the broker does not list its clients: what events do not tell stays unknown");
        }
    }
}
