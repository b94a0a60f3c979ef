//! Which status routes of this process have told what may have been missed before they read.
//!
//! It must never say so of a route before what it told is stored: whoever reads the notices from then on cannot take
//! what is old for what is true.

use std::{collections::BTreeSet, sync::Arc};

use tokio::sync::watch;

/// Shared by all status routes and those who wait for them.
#[derive(Debug, Clone, Default)]
pub struct Arrivals(Arc<watch::Sender<BTreeSet<String>>>);

impl Arrivals {
    /// A route has told all.
    pub fn arrived(&self, route: &str) {
        self.0.send_if_modified(|routes| !routes.contains(route) && routes.insert(route.to_owned()));
    }

    /// Waits until all of these routes have.
    pub async fn of_all(&self, routes: &BTreeSet<String>) {
        let mut arrived = self.0.subscribe();
        // It does not end while this is there.
        let _all = arrived.wait_for(|arrived| routes.is_subset(arrived)).await;
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn whoever_waits_goes_on_when_the_last_route_has_arrived() {
        let arrivals = Arrivals::default();
        let both = BTreeSet::from(["a".to_owned(), "b".to_owned()]);
        let mut waiting = Box::pin(arrivals.of_all(&both));
        arrivals.arrived("b");
        assert_eq!(waiting.as_mut().now_or_never(), None);
        arrivals.arrived("a");
        assert_eq!(waiting.as_mut().now_or_never(), Some(()));
        assert_eq!(arrivals.of_all(&both).now_or_never(), Some(()));
    }
}
