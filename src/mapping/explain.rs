//! What becomes of one message, over all routes: the answers behind `explain`. Printing is the command line's.

use super::{From, Route, translation::Translated};
use crate::{delivery::Refusal, message::Message};

/// Which kind of broker a message stands on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum On {
    /// An MQTT broker.
    Mqtt,
    /// A RocketMQ cluster.
    RocketMq,
}

/// One route that takes the message.
#[derive(Debug, Clone)]
pub struct Explained<'r> {
    /// The route.
    pub route: &'r Route,
    /// What each wildcard of its filter took, by name.
    pub captures: Vec<(String, String)>,
    /// What comes out.
    pub result: Result<Translated, Refusal>,
}

/// Every route that takes a message, in the order given.
pub fn explain<'r>(routes: &'r [Route], on: On, message: &Message) -> Vec<Explained<'r>> {
    let reads = |route: &Route| matches!(route.from, From::Mqtt(_)) == (on == On::Mqtt);
    let taking = routes.iter().filter(|route| reads(route) && route.takes(message));
    taking
        .map(|route| Explained {
            route,
            captures: route.translation.captures(&message.topic),
            result: route.translation.translate(message),
        })
        .collect()
}
