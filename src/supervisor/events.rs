//! The source of a status route: what a broker says of its clients, by MQTT or by webhook, and the notices made of it.

use super::Shared;
use crate::{
    delivery::{SourceLink, source_link},
    mapping::{FromEvents, Via},
    mqtt,
    presence::{source, webhook},
    settings::Settings,
};

/// Reads until the route closes its link.
pub(super) async fn run(from: &FromEvents, route: &str, settings: &Settings, shared: &Shared, link: SourceLink) {
    let state = link.state.clone();
    let (events_link, events) = source_link(state.clone());
    let options = source::Options {
        route: route.to_owned(),
        adapter: from.adapter,
        grace: from.grace,
        grouped: from.grouped,
        credentials: shared.credentials.clone(),
        webhook: matches!(from.via, Via::Webhook),
        api: from.api.clone(),
    };
    let read = async {
        match &from.via {
            Via::Mqtt(session) => {
                mqtt::source::run(session.clone(), route, settings.limits, &settings.data_dir, events_link).await;
            }
            Via::Webhook => webhook::run(shared.doors.open(route, from.adapter), events_link).await,
        }
    };
    let ((), told) = tokio::join!(read, source::run(options, &settings.data_dir, events, link));
    if let Err(error) = told {
        state.down(format!("cannot read what is known of clients: {error}"));
    }
}
