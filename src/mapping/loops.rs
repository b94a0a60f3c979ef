//! Circles of routes, found before anything runs.
//!
//! Routes whose output may feed each other in a circle are tried out: a message with made-up names is sent around,
//! through the same translations and with the same marks as at run time. What the loop guard ends is fine. What goes
//! on for ever, or what puts an echo on an MQTT broker, is a loop. One echo that stays in RocketMQ is borne: it is
//! what a 3.1.1 leg costs, since no mark can cross it.

mod sample;
#[cfg(test)]
mod tests;

use std::{collections::VecDeque, fmt};

use super::{
    From, Park, Route, To,
    translation::{Produces, Translated},
};
use crate::{message::Message, settings::MqttVersion};

/// Steps that one search may take; routes that are more intertwined than that are called a loop.
const MAX_STEPS: usize = 20_000;

/// A circle that must not run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loop {
    /// The names of its routes in the order in which a message passes them.
    pub routes: Vec<String>,
    /// What would happen.
    pub why: Why,
}

/// What a [`Loop`] would do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// Messages run in a circle: the loop guard does not see that they were there before.
    Circle {
        /// Whether that is because a leg speaks MQTT 3.1.1, which cannot carry a mark.
        unmarked: bool,
    },
    /// The route sends every message back to its own topic, so the loop guard stops them all.
    Nothing,
    /// What the first route parks in a topic is read as a new message, and leads to its source again.
    Parked,
}

impl fmt::Display for Loop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.routes.iter().map(|name| format!("`{name}`")).collect();
        match self.why {
            Why::Nothing => write!(f, "{} sends every message back to the topic that it came from", names.join(", ")),
            Why::Parked if names.len() == 1 => write!(f, "{} reads the topic that it parks in", names[0]),
            Why::Parked => {
                write!(f, "what {0} parks would come back to it: {1} -> {0}", names[0], names.join(" -> "))
            }
            Why::Circle { .. } if names.len() == 1 => write!(f, "{} feeds itself", names[0]),
            Why::Circle { .. } => write!(f, "messages would run in a circle: {} -> {}", names.join(" -> "), names[0]),
        }
    }
}

impl Loop {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self.why {
            Why::Nothing => "send to another topic or another broker",
            Why::Parked => "name another topic in `park.rocketmq`, or leave it out: a file takes what is parked then",
            Why::Circle { unmarked: true } => {
                "MQTT 3.1.1 cannot carry the loop guard's mark: set `version = \"5\"` for the broker, or narrow a filter"
            }
            Why::Circle { unmarked: false } => {
                "each round changes the topic, so the loop guard cannot tell the message: narrow a filter"
            }
        }
    }
}

/// All loops over these routes, each once.
pub fn find(routes: &[Route]) -> Vec<Loop> {
    let graph = Graph::of(routes);
    let mut found: Vec<Loop> = Vec::new();
    for (route, feeds) in graph.circles() {
        for message in sample::messages(&routes[feeds], &routes[route], routes) {
            let mut walk = Walk { graph: &graph, places: Vec::new(), path: Vec::new(), steps: 0 };
            walk.places.push((graph.sources[route].clone(), message.topic.as_str().to_owned()));
            if let Some(circle) = walk.follow(route, &message) {
                let known = |other: &Loop| circle.routes.iter().all(|name| other.routes.contains(name));
                if !found.iter().any(known) {
                    found.push(circle);
                }
            }
        }
    }
    for circle in graph.parked_circles() {
        let known = |other: &Loop| {
            other.why == circle.why
                && other.routes.len() == circle.routes.len()
                && circle.routes.iter().all(|name| other.routes.contains(name))
        };
        if !found.iter().any(known) {
            found.push(circle);
        }
    }
    found.extend(
        routes
            .iter()
            .filter(|route| sends_back(route))
            .map(|route| Loop { routes: vec![route.name.clone()], why: Why::Nothing }),
    );
    found
}

/// Whether a route reads and writes one broker, and whatever it reads is held back.
fn sends_back(route: &Route) -> bool {
    let mut samples = sample::own(route).into_iter();
    broker_read(route) == broker_written(route)
        && samples.all(|message| matches!(route.translation.translate(&message), Ok(Translated::Echo)))
}

/// Which routes may feed which, and over which brokers.
struct Graph<'r> {
    routes: &'r [Route],
    /// The broker that each route reads.
    sources: Vec<String>,
    /// The broker that each route writes.
    sinks: Vec<String>,
    /// For each route, those that it may feed.
    feeds: Vec<Vec<usize>>,
    /// For each route, those that read the topic that it parks in.
    parks: Vec<Vec<usize>>,
}

impl<'r> Graph<'r> {
    fn of(routes: &'r [Route]) -> Self {
        let sources: Vec<_> = routes.iter().map(broker_read).collect();
        let sinks: Vec<_> = routes.iter().map(broker_written).collect();
        let fed = |from: usize| {
            let all = 0..routes.len();
            all.filter(|to| sinks[from] == sources[*to] && may_feed(&routes[from], &routes[*to])).collect()
        };
        let feeds = (0..routes.len()).map(fed).collect();
        let read = |from: &Route| (0..routes.len()).filter(|to| reads_parked(from, &routes[*to])).collect();
        let parks = routes.iter().map(read).collect();
        Self { routes, sources, sinks, feeds, parks }
    }

    /// Each step from one route to another that is part of a circle: the route fed, and the one that feeds it.
    fn circles(&self) -> Vec<(usize, usize)> {
        let steps = (0..self.routes.len()).flat_map(|from| self.feeds[from].iter().map(move |to| (*to, from)));
        steps.filter(|(to, from)| self.reaches(*to, *from)).collect()
    }

    fn reaches(&self, from: usize, to: usize) -> bool {
        self.way(from, to, |route| self.feeds[route].clone()).is_some()
    }

    /// Circles that go over a topic of parked messages. They are not tried out: what is parked carries no mark, and
    /// what it is next time is for its readers to say.
    fn parked_circles(&self) -> impl Iterator<Item = Loop> {
        let next = |route: usize| [self.feeds[route].as_slice(), &self.parks[route]].concat();
        (0..self.routes.len()).flat_map(move |parks| {
            self.parks[parks].iter().filter_map(move |reader| {
                let mut way = self.way(*reader, parks, next)?;
                way.rotate_right(1);
                let routes = way.into_iter().map(|route| self.routes[route].name.clone()).collect();
                Some(Loop { routes, why: Why::Parked })
            })
        })
    }

    /// The shortest way from one route to another, both included.
    fn way(&self, from: usize, to: usize, next: impl Fn(usize) -> Vec<usize>) -> Option<Vec<usize>> {
        let mut before: Vec<Option<usize>> = vec![None; self.routes.len()];
        let mut open = VecDeque::from([from]);
        while let Some(route) = open.pop_front() {
            if route == to {
                let mut way: Vec<usize> =
                    std::iter::successors(Some(to), |at| before[*at].filter(|_| *at != from)).collect();
                way.reverse();
                return Some(way);
            }
            for one in next(route) {
                if one != from && before[one].is_none() {
                    before[one] = Some(route);
                    open.push_back(one);
                }
            }
        }
        None
    }
}

/// A broker by where it is, so that two names of one broker do not hide a loop.
fn broker_read(route: &Route) -> String {
    match &route.from {
        From::Mqtt(from) => mqtt_address(&from.broker),
        From::RocketMq(from) => rocketmq_address(&from.cluster),
        // Nothing that a route stores is an event of a client.
        From::Events(_) => "events".to_owned(),
    }
}

fn broker_written(route: &Route) -> String {
    match &route.to {
        To::Mqtt { broker, .. } => mqtt_address(broker),
        To::RocketMq { cluster } => rocketmq_address(cluster),
    }
}

fn mqtt_address(broker: &crate::settings::MqttBroker) -> String {
    format!("mqtt {} {}", broker.url.host, broker.url.port)
}

fn rocketmq_address(cluster: &crate::settings::RocketMqCluster) -> String {
    let mut servers = cluster.name_servers.clone();
    servers.sort();
    format!("rocketmq {} {}", cluster.namespace, servers.join(","))
}

fn may_feed(from: &Route, to: &Route) -> bool {
    match (from.translation.produces(), &to.from) {
        (Produces::Mqtt(topics), From::Mqtt(_)) => {
            topics.iter().any(|topic| to.translation.filters().any(|filter| filter.overlaps(topic)))
        }
        (Produces::RocketMq(names), From::RocketMq(source)) => names.iter().any(|names| names.hold(&source.topic)),
        _ => false,
    }
}

/// Whether a route reads the topic that another, or itself, parks in. Tags do not count: that of what is parked is the
/// kind of the refusal, which may be any.
fn reads_parked(from: &Route, to: &Route) -> bool {
    match (&from.park, &to.from) {
        (Park::RocketMq { cluster, topic }, From::RocketMq(source)) => {
            *topic == source.topic && rocketmq_address(cluster) == rocketmq_address(&source.cluster)
        }
        _ => false,
    }
}

/// One message on its way.
struct Walk<'g> {
    graph: &'g Graph<'g>,
    /// Where it has been, from its entry: broker and topic.
    places: Vec<(String, String)>,
    /// The routes that it has passed: one less than its places.
    path: Vec<usize>,
    steps: usize,
}

impl Walk<'_> {
    fn follow(&mut self, route: usize, message: &Message) -> Option<Loop> {
        let Ok(Translated::Send { message, .. }) = self.graph.routes[route].translation.translate(message) else {
            return None;
        };
        let place = (self.graph.sinks[route].clone(), message.topic.as_str().to_owned());
        self.path.push(route);
        self.steps += 1;
        let visits = self.places.iter().filter(|known| **known == place).count();
        let borne = usize::from(matches!(self.graph.routes[route].to, To::RocketMq { .. }));
        let circle = if visits > borne {
            let entered = self.places.iter().rposition(|known| *known == place).unwrap_or(0);
            Some(self.circle(entered))
        } else if self.path.len() > 4 * self.graph.routes.len() + 4 || self.steps > MAX_STEPS {
            let last = self.path.len() - 1;
            let before = self.path[..last].iter().rposition(|passed| *passed == route).unwrap_or(0);
            Some(self.circle(before + 1))
        } else {
            self.places.push(place);
            let read = sample::across(&self.graph.routes[route].to, message);
            let next = &self.graph.feeds[route];
            let found = next
                .iter()
                .find_map(|next| self.graph.routes[*next].takes(&read).then(|| self.follow(*next, &read)).flatten());
            self.places.pop();
            found
        };
        self.path.pop();
        circle
    }

    /// The routes passed since a place, starting with the first of them in the files.
    fn circle(&self, since: usize) -> Loop {
        let mut passed = self.path[since..].to_vec();
        let first = (0..passed.len()).min_by_key(|index| passed[*index]).unwrap_or(0);
        passed.rotate_left(first);
        let routes = self.graph.routes;
        let unmarked = passed
            .iter()
            .any(|route| matches!(&routes[*route].to, To::Mqtt { broker, .. } if broker.version == MqttVersion::V4));
        Loop { routes: passed.iter().map(|route| routes[*route].name.clone()).collect(), why: Why::Circle { unmarked } }
    }
}
