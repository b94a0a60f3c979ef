//! Which circles are loops. Brokers named `old` speak 3.1.1.

use super::*;
use crate::mapping::fixtures::{parking_route, route, tagged_route};

/// The loops over routes given as name, source and sink.
fn loops(routes: &[(&str, &str, &str)]) -> Vec<(Vec<String>, Why)> {
    let routes: Vec<_> = routes.iter().map(|(name, from, to)| route(name, from, to)).collect();
    find(&routes).into_iter().map(|found| (found.routes, found.why)).collect()
}

fn circle(names: &[&str], unmarked: bool) -> Vec<(Vec<String>, Why)> {
    vec![(names.iter().map(|name| (*name).to_owned()).collect(), Why::Circle { unmarked })]
}

#[test]
fn routes_that_do_not_meet_are_no_loop() {
    assert_eq!(loops(&[("up", "edge:plant/+/up/#", "main!plant"), ("down", "main!cmd", "edge:{topic}{subtopic}")]), []);
    assert_eq!(loops(&[("a", "edge:a/#", "edge:b/{1}"), ("b", "edge:b/+/x", "edge:a/{1}")]), [], "one level too few");
    assert_eq!(loops(&[("a", "edge:a/#", "other:{topic}"), ("b", "edge:a/#", "other:b/{topic}")]), []);
}

#[test]
fn both_ways_over_one_topic_are_guarded_on_mqtt_5_and_cost_one_echo_in_rocketmq_on_3_1_1() {
    for edge in ["edge", "old"] {
        let (mqtt, back) = (format!("{edge}:t/#"), format!("{edge}:{{topic}}{{subtopic}}"));
        assert_eq!(loops(&[("up", &mqtt, "main!t"), ("down", "main!t", &back)]), [], "{edge}");
    }
}

#[test]
fn circles_over_3_1_1_that_end_in_mqtt_are_loops() {
    let there_and_back = |a: &str, b: &str| {
        let routes = [
            ("there", format!("{a}:t/#"), format!("{b}:{{topic}}")),
            ("back", format!("{b}:t/#"), format!("{a}:{{topic}}")),
        ];
        loops(&routes.each_ref().map(|(name, from, to)| (*name, from.as_str(), to.as_str())))
    };
    assert_eq!(there_and_back("edge", "site"), []);
    assert_eq!(there_and_back("old", "site"), circle(&["there", "back"], true));
    assert_eq!(there_and_back("old", "older"), circle(&["there", "back"], true));
}

#[test]
fn several_sites_around_one_cluster_are_guarded() {
    let site = |up: &'static str, down: &'static str, edge: &'static str, back: &'static str| {
        [(up, edge, "main!t"), (down, "main!t", back)]
    };
    let routes = [
        site("up1", "down1", "edge1:t/#", "edge1:t{subtopic}"),
        site("up2", "down2", "edge2:t/#", "edge2:t{subtopic}"),
        site("up3", "down3", "edge3:t/#", "edge3:t{subtopic}"),
    ];
    assert_eq!(loops(&routes.concat()), []);
}

#[test]
fn topics_that_change_with_each_round_are_loops() {
    assert_eq!(loops(&[("grow", "edge:a/#", "edge:a/b/{1*}")]), circle(&["grow"], false));
    assert_eq!(
        loops(&[("up", "edge:a/#", "main!t"), ("down", "main!t", "edge:a/x{subtopic}")]),
        circle(&["up", "down"], false)
    );
    assert_eq!(loops(&[("prop", "edge:{x}/y", "edge:{property.to}/y")]), [], "it settles, and the mark tells it then");
}

#[test]
fn a_circle_through_literals_is_followed_exactly() {
    let a = ("a", "edge:a/{x}", "edge:b/{x}");
    let b = ("b", "edge:b/{x}", "edge:c/{x}");
    assert_eq!(loops(&[a, b, ("c", "edge:c/on", "edge:a/on")]), [], "comes back to `a/on`, where it was");
    assert_eq!(
        loops(&[a, b, ("c", "edge:c/{x}", "edge:a/x{x}")]),
        circle(&["a", "b", "c"], false),
        "a name that grows"
    );
}

#[test]
fn a_route_to_its_own_topic_does_nothing() {
    assert_eq!(loops(&[("self", "edge:a/#", "edge:{topic}")]), [(vec!["self".to_owned()], Why::Nothing)]);
    assert_eq!(loops(&[("self", "main!a", "main!a")]), [(vec!["self".to_owned()], Why::Nothing)]);
}

#[test]
fn tags_keep_routes_apart() {
    let routes = |tags| [tagged_route("up", "main!t", tags, "main!u"), route("back", "main!u", "main!t")];
    assert_eq!(find(&routes(&["x"])), [], "guarded");
}

/// Parked messages are read as new ones, without a mark, and are likely to be refused again.
#[test]
fn what_a_route_parks_must_not_come_back_to_it() {
    let names = |routes: &[Route]| -> Vec<_> {
        let found = find(routes).into_iter().filter(|found| found.why == Why::Parked);
        found.map(|found| found.routes.join(" ")).collect()
    };
    let up = parking_route("up", "edge:up/#", "main!up", "main!parked");
    assert_eq!(names(&[parking_route("r", "main!t", "edge:x", "main!t")]), ["r"]);
    assert_eq!(names(&[up.clone(), route("again", "main!parked", "edge:up/again")]), ["up again"]);
    let over_another =
        [up.clone(), route("there", "main!parked", "main!more"), route("back", "main!more", "edge:up/a")];
    assert_eq!(names(&over_another), ["up there back"]);
    let parked_twice =
        [up.clone(), parking_route("p", "main!parked", "edge:x", "main!again"), route("q", "main!again", "edge:up/a")];
    assert_eq!(names(&parked_twice), ["up p q"]);
    for reader in [
        route("aside", "main!parked", "edge:refused/{qos}"),
        route("elsewhere", "other!parked", "edge:up/again"),
        route("of another topic", "main!t", "edge:up/again"),
    ] {
        assert_eq!(find(&[up.clone(), reader]), []);
    }
}

#[test]
fn a_loop_reads_as_a_sentence() {
    let found = find(&[route("there", "old:t/#", "older:{topic}"), route("back", "older:t/#", "old:{topic}")]);
    assert_eq!(found[0].to_string(), "messages would run in a circle: `there` -> `back` -> `there`");
    assert!(found[0].hint().contains("version = \"5\""));
    let up = parking_route("up", "edge:up/#", "main!up", "main!parked");
    let found = find(&[up, route("again", "main!parked", "edge:up/again")]);
    assert_eq!(found[0].to_string(), "what `up` parks would come back to it: `up` -> `again` -> `up`");
    assert!(found[0].hint().contains("park.rocketmq"));
}
