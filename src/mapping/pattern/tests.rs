//! Filters against a naive matcher, and the faults that the loader points at.

use proptest::prelude::*;

use super::*;

/// MQTT 4.7 word for word, level by level.
fn naive(filter: &[&str], topic: &[&str]) -> bool {
    match (filter, topic) {
        (["#"], _) | ([], []) => true,
        ([first, filter @ ..], [level, topic @ ..]) => (*first == "+" || first == level) && naive(filter, topic),
        _ => false,
    }
}

fn naive_matches(filter: &str, topic: &str) -> bool {
    let (filter, topic) = (filter.split('/').collect::<Vec<_>>(), topic.split('/').collect::<Vec<_>>());
    let hidden = topic[0].starts_with('$') && matches!(filter[0], "+" | "#");
    !hidden && naive(&filter, &topic)
}

fn topics() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(vec!["a", "b", "", "$x"]), 1..5)
        .prop_map(|levels| levels.join("/"))
        .prop_filter("a topic is not empty", |topic| !topic.is_empty())
}

fn filters() -> impl Strategy<Value = String> {
    let level = prop::sample::select(vec!["a", "b", "", "$x", "+"]);
    (prop::collection::vec(level, 0..4), any::<bool>())
        .prop_map(|(mut levels, rest)| {
            levels.extend(rest.then_some("#"));
            levels.join("/")
        })
        .prop_filter("a filter is not empty", |filter| !filter.is_empty())
}

/// All topics of up to four levels: more than any of [`filters`] looks at. No filter names a level `c`.
fn all_topics() -> Vec<String> {
    let mut all = vec![String::new()];
    let mut longest = vec![None];
    for _ in 0..4 {
        let longer = |topic: &Option<String>| {
            let before = topic.as_ref().map_or_else(String::new, |topic| format!("{topic}/"));
            ["a", "b", "", "$x", "c"].map(|level| Some(format!("{before}{level}")))
        };
        longest = longest.iter().flat_map(longer).collect();
        all.extend(longest.iter().flatten().cloned());
    }
    all.retain(|topic| !topic.is_empty());
    all
}

proptest! {
    #[test]
    fn a_pattern_matches_what_mqtt_says(filter in filters(), topic in topics()) {
        let pattern = Pattern::parse(&filter).unwrap();
        prop_assert_eq!(pattern.filter(), &filter);
        prop_assert_eq!(pattern.matches(&topic), naive_matches(&filter, &topic));
        prop_assert_eq!(pattern.captures(&topic).is_some(), pattern.matches(&topic));
    }

    #[test]
    fn an_intersection_matches_exactly_what_both_match(a in filters(), b in filters(), topic in topics()) {
        let (a, b) = (Pattern::parse(&a).unwrap(), Pattern::parse(&b).unwrap());
        let both = a.matches(&topic) && b.matches(&topic);
        prop_assert_eq!(a.intersection(&b).is_some_and(|shared| shared.matches(&topic)), both);
        prop_assert_eq!(a.overlaps(&b), b.overlaps(&a));
    }

    #[test]
    fn a_filter_covers_another_when_it_matches_all_that_the_other_does(a in filters(), b in filters()) {
        let (a, b) = (Pattern::plain(&a).unwrap(), Pattern::plain(&b).unwrap());
        let all = all_topics().iter().all(|topic| a.matches(topic) || !b.matches(topic));
        // `/#` also holds the empty topic, which nobody can publish to.
        if b.filter() != "/#" || a.covers(&b) {
            prop_assert_eq!(a.covers(&b), all, "{} {}", a.filter(), b.filter());
        }
    }

    #[test]
    fn a_plain_filter_is_one_without_captures(text in "[a{}+#/$\u{e9}\u{1}]{0,8}") {
        let plain = Pattern::plain(&text);
        let escaped = Pattern::parse(&text.replace('{', "{{").replace('}', "}}"));
        prop_assert_eq!(plain.is_some(), escaped.is_ok());
        if let Some(plain) = plain {
            prop_assert_eq!(plain.filter(), &text);
            prop_assert_eq!(plain.matches("a/{}/$"), naive_matches(&text, "a/{}/$"));
        }
    }

    #[test]
    fn no_text_makes_the_parser_panic_and_every_fault_is_inside_it(text in "[a{}+#*/$\u{e9}]{0,12}") {
        if let Err(fault) = Pattern::parse(&text) {
            prop_assert!(text.get(fault.range).is_some());
        }
    }
}

#[test]
fn captures_take_their_levels() {
    let pattern = Pattern::parse("plant/{line}/+/up/{metric*}").unwrap();
    assert_eq!(pattern.filter(), "plant/+/+/up/#");
    let take = |topic| {
        let captures = pattern.captures(topic)?;
        Some(["line", "2", "metric"].map(|name| captures.get(pattern.wildcard(name).unwrap().index)))
    };
    assert_eq!(take("plant/a/m7/up/temp/c"), Some([Some("a"), Some("m7"), Some("temp/c")]));
    assert_eq!(take("plant/a/m7/up/"), Some([Some("a"), Some("m7"), Some("")]));
    assert_eq!(take("plant//m7/up"), Some([Some(""), Some("m7"), None]), "`#` takes the level above it too");
    assert_eq!(take("plant/a/m7/down"), None);
    assert_eq!(pattern.wildcard("3"), Some(Wildcard { index: 2, rest: true }), "named wildcards have numbers too");
    assert_eq!((pattern.wildcard("0"), pattern.wildcard("4")), (None, None));
}

#[test]
fn doubled_braces_are_braces() {
    let pattern = Pattern::parse("a/{{x}}/{{{{").unwrap();
    assert!(pattern.matches("a/{x}/{{"));
}

#[test]
fn faults_point_at_what_is_wrong() {
    for (text, pointed, message) in [
        ("", "", "may not be empty"),
        ("a/b+/c", "+", "must be a whole level"),
        ("a/#/c", "#", "nothing may follow"),
        ("a/{rest*}/c", "{rest*}", "nothing may follow"),
        ("a/dev-{x}", "{x}", "must be a whole level"),
        ("a/{x}{y}", "{x}", "must be a whole level"),
        ("a/{x", "{", "no partner"),
        ("a/x}", "}", "no partner"),
        ("a/{}", "{}", "no name for a capture"),
        ("a/{1x}", "{1x}", "no name for a capture"),
        ("a/{tag}", "{tag}", "that is a variable"),
        ("{x}/{x}", "{x}", "stands here twice"),
        ("$share/g/a", "$share/", "shared subscription"),
        ("a/\u{e9}\0", "\0", "control characters"),
    ] {
        let fault = Pattern::parse(text).unwrap_err();
        assert_eq!(text.get(fault.range.clone()), Some(pointed), "{text}: {fault}");
        assert!(fault.message.contains(message), "{text}: {fault}");
    }
}
