//! Which routes there are and how each is, for whoever asks: the one thing the supervisor shares with the listeners.

use std::sync::{Arc, PoisonError, RwLock};

use serde::Serialize;

use crate::telemetry::RouteTelemetry;

type Routes = Vec<(String, Arc<RouteTelemetry>)>;

/// The routes that run now. Cloning shares it.
#[derive(Debug, Clone, Default)]
pub struct Status {
    routes: Arc<RwLock<Option<Routes>>>,
}

/// Whether everything works, and if not, what does not and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Readiness {
    /// All routes can read and write, and none is stalled.
    pub ready: bool,
    /// Every route.
    pub routes: Vec<RouteReadiness>,
}

/// How one route is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RouteReadiness {
    /// Its name.
    pub route: String,
    /// It can read and write, and is not stalled.
    pub ready: bool,
    /// Messages wait and nothing is confirmed.
    pub stalled: bool,
    /// Messages read and not settled.
    pub in_flight: usize,
    /// Why it stands still for a message that can never be sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refusal: Option<String>,
    /// Why it cannot read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Why it cannot write.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sink: Option<String>,
    /// Why it cannot park.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub park: Option<String>,
}

impl Status {
    /// Replaces the set of routes.
    pub fn set(&self, routes: Routes) {
        *self.routes.write().unwrap_or_else(PoisonError::into_inner) = Some(routes);
    }

    /// How everything is now. Not ready before the first set of routes.
    pub fn readiness(&self) -> Readiness {
        let routes = self.routes.read().unwrap_or_else(PoisonError::into_inner);
        let each = routes.iter().flatten().map(|(route, telemetry)| {
            let (source, sink, park) = (telemetry.source.reason(), telemetry.sink.reason(), telemetry.park.reason());
            let (refusal, stalled) = (telemetry.refusal(), telemetry.stalled.get() == 1);
            let ready = [&refusal, &source, &sink, &park].into_iter().all(Option::is_none) && !stalled;
            RouteReadiness {
                route: route.clone(),
                ready,
                stalled,
                in_flight: telemetry.in_flight(),
                refusal,
                source,
                sink,
                park,
            }
        });
        let all: Vec<RouteReadiness> = each.collect();
        Readiness { ready: routes.is_some() && all.iter().all(|route| route.ready), routes: all }
    }
}
