//! Which clients are offline beyond doubt: as the board says, while the status routes of their broker work.
//!
//! It must never call a client offline whose `connect` may be held up: where a status route has lost its broker or RocketMQ,
//! or there is none, nobody is.

use std::sync::{Arc, PoisonError, RwLock};

use crate::{
    mapping::{From, Route},
    presence::{ask::Absences, board::Board},
    settings::MqttBroker,
    telemetry::{EndState, RouteTelemetry},
};

/// A route, and what it says of its ends.
type Running = (Arc<Route>, Arc<RouteTelemetry>);

/// The status routes that run.
#[derive(Debug, Clone, Default)]
pub struct StatusRoutes(Arc<RwLock<Vec<Running>>>);

impl StatusRoutes {
    /// Takes them out of all routes that run.
    pub(super) fn set(&self, routes: impl Iterator<Item = Running>) {
        let routes = routes.filter(|(route, _)| matches!(route.from, From::Events(_))).collect();
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = routes;
    }

    /// Whether there are some for this broker, and they all work.
    fn work(&self, broker: &MqttBroker) -> bool {
        let routes = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let mut of_broker = routes.iter().filter(|(route, _)| route.from.tells_of(broker)).peekable();
        of_broker.peek().is_some() && of_broker.all(|(_, telemetry)| works(&telemetry.source) && works(&telemetry.sink))
    }
}

fn works(end: &EndState) -> bool {
    let connection = end.connection();
    // Not every end counts its connections.
    end.reason().is_none() && (connection.lasts || connection.beginnings == 0)
}

/// The clients of one broker.
#[derive(Debug)]
pub(super) struct OfBroker<'a> {
    pub(super) broker: &'a MqttBroker,
    pub(super) board: &'a Board,
    pub(super) statuses: &'a StatusRoutes,
}

impl Absences for OfBroker<'_> {
    fn is_offline(&self, client_id: &str) -> bool {
        self.statuses.work(self.broker) && self.board.is_offline(client_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        delivery::Tailed,
        mapping::{FromEvents, To, Via, fixtures},
        presence::adapter::Adapter,
        telemetry::Telemetry,
    };

    /// A status route for a broker, its source and its sink at work.
    fn status(broker: &str) -> Running {
        let route = fixtures::route("who", &format!("{broker}:a"), "main!a");
        let From::Mqtt(session) = route.from.clone() else { unreachable!("it reads MQTT") };
        let adapter = Adapter::Mosquitto;
        let from = FromEvents { adapter, via: Via::Mqtt(session), grace: None, grouped: true, api: None };
        let telemetry = Telemetry::default().route("who", broker, "main", "");
        telemetry.source.began(true);
        telemetry.source.up();
        telemetry.sink.up();
        (Arc::new(Route { from: From::Events(from), ..route }), Arc::new(telemetry))
    }

    #[test]
    fn nobody_is_offline_while_a_status_route_of_the_broker_does_not_work() {
        let To::Mqtt { broker, .. } = fixtures::route("r", "main!a", "edge:a").to else {
            unreachable!("it writes MQTT")
        };
        let (board, statuses) = (Board::default(), StatusRoutes::default());
        board.follow([("G".to_owned(), vec!["T".to_owned()])].into());
        board.tailed("T", &Tailed::Queues(Vec::new()), 1);
        let clients = OfBroker { broker: &broker, board: &board, statuses: &statuses };
        assert!(!clients.is_offline("G@@@1"), "no status route");
        statuses.set([status("other")].into_iter());
        assert!(!clients.is_offline("G@@@1"), "one of another broker");
        let (route, telemetry) = status("edge");
        statuses.set([status("other"), (route, telemetry.clone())].into_iter());
        assert!(clients.is_offline("G@@@1"));
        assert!(!clients.is_offline("H@@@1"), "of a group that is not followed");
        for end in [&telemetry.source, &telemetry.sink] {
            end.down("away");
            assert!(!clients.is_offline("G@@@1"));
            end.up();
            assert!(clients.is_offline("G@@@1"));
        }
        telemetry.source.ended();
        assert!(!clients.is_offline("G@@@1"), "the connection has just ended");
    }
}
