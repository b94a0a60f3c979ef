use std::path::{Path, PathBuf};

use super::{Mapping, MappingFile, load};
use crate::{
    diagnostic::Faults,
    mapping::{From, OnRefuse, Park, Start, To},
    message::Qos,
    settings::{self, Environment, Secret},
};

const ONE_OF_EACH: &str = r#"
[mqtt.edge]
url = "mqtt://edge"
[rocketmq.main]
name_servers = "ns"
"#;

const SEVERAL: &str = r#"
[mqtt.edge]
url = "mqtt://edge"
[mqtt.old]
url = "mqtt://old"
version = "3.1.1"
[rocketmq.main]
name_servers = "ns"
[rocketmq.second]
name_servers = "ns2"
"#;

fn read(settings: &str, texts: &[&str]) -> (Mapping, String) {
    let faults = Faults::default();
    let settings = settings::load(Path::new("rocketbridge.toml"), settings, &Environment::default(), &faults);
    let files: Vec<_> = ["a", "b", "c"]
        .iter()
        .zip(texts)
        .map(|(name, text)| MappingFile { path: PathBuf::from(format!("{name}.toml")), text: (*text).to_owned() })
        .collect();
    let mapping = load(&files, &settings, &Secret::new("key"), &faults);
    (mapping, faults.into_report().render(false))
}

fn fine(settings: &str, text: &str) -> Mapping {
    let (mapping, report) = read(settings, &[text]);
    assert_eq!(report, "");
    mapping
}

fn faults(settings: &str, text: &str) -> String {
    read(settings, &[text]).1
}

#[test]
fn a_route_follows_the_contract_without_options() {
    let mapping = fine(
        ONE_OF_EACH,
        r#"
[[route]]
name = "up"
from.mqtt = "plant/#"
to.rocketmq = "plant"
[[route]]
name = "down"
from.rocketmq = "cmd"
"#,
    );
    let [up, down] = &mapping.routes[..] else { panic!("two routes") };
    let From::Mqtt(from) = &up.from else { panic!("from MQTT") };
    assert_eq!((from.client_id.as_str(), &from.filters[..]), ("rocketbridge-up", &["plant/#".to_owned()][..]));
    assert_eq!((from.qos, up.on_refuse, up.place.line), (Qos::AtLeastOnce, OnRefuse::Park, 2));
    assert!(matches!(up.park, Park::File));
    let From::RocketMq(from) = &down.from else { panic!("from RocketMQ") };
    assert_eq!((from.group.as_str(), from.start), ("GID_rocketbridge_down", Start::Last));
    let To::Mqtt { client_id, .. } = &down.to else { panic!("to the other kind") };
    assert_eq!(client_id, "rocketbridge-down-out");
}

#[test]
fn every_key_is_taken() {
    let mapping = fine(
        SEVERAL,
        r#"
[[route]]
name = "up"
from = { mqtt = ["plant/{line}/#", "hall/+"], broker = "edge", qos = 2, client_id = "own", share = "s" }
to = { rocketmq = "plant_{line}", broker = "second", tag = "t", key = "{topic}", client_id = "{1}", within = ["plant_*"] }
order_by = "none"
on_refuse = "park"
park.rocketmq = "parked"
strict = "lmq"

[[route]]
name = "down"
from = { rocketmq = "cmd", broker = "main", tags = "a || b", group = "GID_x", start = 2026-01-01T00:00:00Z }
to = { mqtt = "cmd/{key}", broker = "old", qos = 0, retain = true }
on_refuse = "drop"
"#
        .replace("plant_{line}", "plant_{1}")
        .as_str(),
    );
    let From::RocketMq(from) = &mapping.routes[1].from else { panic!("from RocketMQ") };
    assert_eq!((from.tags.join(" "), from.start), ("a b".to_owned(), Start::Time(1_767_225_600_000)));
    let Park::RocketMq { cluster, topic } = &mapping.routes[0].park else { panic!("parks in a topic") };
    assert_eq!((cluster.name.as_str(), topic.as_str()), ("second", "parked"));
}

#[test]
fn a_file_with_many_faults_shows_them_all() {
    let report = faults(
        ONE_OF_EACH,
        r#"
[[route]]
name = "telemetry 1"
from.mqtt = "plant/{line}/{machine}/up/{metric*}/x"
to.rocketmq = "plant/up"
oder_by = "{machine}"

[[route]]
from.mqtt = ["plant/{topic}/#", "a+b"]
from.broker = "egde"
from.qos = 3
from.tags = "x"
to.rocketmq = "plant"
to.tag = "{lin}"
to.retain = true

[[route]]
name = "shared"
from.mqtt = "$share/g/plant/{line}"
from.share = "g/h"
to.mqtt = "{line}/down"
order_by = "{lime}"
on_refuse = "dorp"

[[route]]
name = "commands"
from.rocketmq = "cmd.x"
from.tags = "A || || B C"
from.start = "2026-01-01T00:00:00Z"
to.mqtt = "cmd/+/{machine}"
to.within = ["dev/#/x"]
strict = true
park.topic = "p"
"#,
    );
    insta::assert_snapshot!(report);
}

#[test]
fn names_client_ids_and_groups_are_unique_over_all_files() {
    let route = |name: &str, rest: &str| format!("[[route]]\nname = \"{name}\"\n{rest}\n");
    let up = "from.mqtt = \"x/#\"\nto.rocketmq = \"x\"";
    let (_, report) = read(
        ONE_OF_EACH,
        &[
            &[route("one", up), route("two", &format!("{up}\nfrom.client_id = \"rocketbridge-one\""))].concat(),
            &[route("one", up), route("three", "from.rocketmq = \"c\"\nfrom.group = \"GID_rocketbridge_four\"")]
                .concat(),
            &route("four", "from.rocketmq = \"d\"\nto.mqtt = \"d\""),
        ],
    );
    insta::assert_snapshot!(report);
}

#[test]
fn a_broker_must_be_named_where_there_are_several() {
    let report = faults(
        SEVERAL,
        r#"
[[route]]
name = "up"
from.mqtt = "x/#"
to.rocketmq = "x"
to.broker = "edge"
"#,
    );
    insta::assert_snapshot!(report);
}

#[test]
fn overlapping_filters_are_refused_on_mqtt_3_1_1_alone() {
    let text = |broker: &str| {
        format!(
            "[[route]]\nname = \"r\"\nfrom.mqtt = [\"a/#\", \"+/b\"]\nfrom.broker = \"{broker}\"\n\
             to.rocketmq = \"x\"\nto.broker = \"main\"\n"
        )
    };
    fine(SEVERAL, &text("edge"));
    let report = faults(SEVERAL, &text("old"));
    insta::assert_snapshot!(report);
}

#[test]
fn what_only_a_message_can_choose_needs_bounds() {
    let report = faults(
        ONE_OF_EACH,
        r#"
[[route]]
name = "r"
from.mqtt = "+/x"

[[route]]
name = "shared"
from.mqtt = "a/x"
from.share = "g"
order_by = "{client_id}"
"#,
    );
    insta::assert_snapshot!(report);
}

#[test]
fn a_circle_of_routes_is_refused_with_its_first_two_places() {
    let report = faults(
        SEVERAL,
        r#"
[[route]]
name = "there"
from = { mqtt = "a/#", broker = "old" }
to = { mqtt = "a/x/{topic}", broker = "edge" }

[[route]]
name = "back"
from = { mqtt = "a/#", broker = "edge" }
to = { mqtt = "a/y/{topic}", broker = "old" }
"#,
    );
    insta::assert_snapshot!(report);
}

#[test]
fn tests_in_a_file_are_read_with_their_faults() {
    let mapping = fine(
        ONE_OF_EACH,
        r#"
[[route]]
name = "up"
from.mqtt = "plant/{line}/#"
to.rocketmq = "plant"
to.tag = "{property.kind}"
[[route.test]]
publish = { topic = "plant/a/b", payload = "1", qos = 2, properties = { kind = "k" } }
expect = { topic = "plant", tag = "k", properties = { mqttSecondTopic = "/a/b", qoslevel = "2" }, payload = "1" }
[[route.test]]
publish = { topic = "plant/a/b" }
expect = { refused = "value_missing" }
[[route]]
name = "down"
from.rocketmq = "cmd"
[[route.test]]
send = { properties = { mqttSecondTopic = "/x", qoslevel = "0" }, tag = "t" }
expect = { topic = "cmd/x", qos = 0 }
"#,
    );
    for (route, case) in &mapping.tests {
        assert_eq!(crate::mapping::case::run(&mapping.routes[*route], case), Vec::<String>::new());
    }
    let report = faults(
        ONE_OF_EACH,
        r#"
[[route]]
name = "up"
from.mqtt = "plant/#"
to.rocketmq = "plant"
[[route.test]]
publish = { topic = "plant/+", paylod = "1" }
[[route.test]]
send = { payload = "1" }
expect = { refused = "x", topic = "y" }
"#,
    );
    insta::assert_snapshot!(report);
}

#[test]
fn a_status_route_follows_the_contract_without_options() {
    let settings = format!("{ONE_OF_EACH}[http]\nhooks = \"127.0.0.1:8482\"\n");
    let text = r#"
[[status]]
name = "plant-status"
from = { events = "mosquitto" }

[[status]]
name = "posted"
from.webhook = "emqx"
to.rocketmq = "all_clients"
"#;
    let mapping = fine(&settings, text);
    let From::Events(events) = &mapping.routes[0].from else { panic!("reads events") };
    assert!(events.grouped && events.grace == Some(std::time::Duration::from_secs(30)));
    let session = mapping.routes[0].from.session().unwrap();
    assert_eq!((session.client_id.as_str(), session.filters.len()), ("rocketbridge-plant-status", 4));
    let From::Events(posted) = &mapping.routes[1].from else { panic!("reads events") };
    assert!(!posted.grouped && mapping.routes[1].from.session().is_none());
}

#[test]
fn faults_of_status_routes_are_shown_with_what_to_do() {
    let text = r#"
[[status]]
name = "a"
from = { events = "mosquito", grace = "0s" }
to.rocketmq = "{grup}_MQTT"

[[status]]
name = "b"
from = { webhook = "emqx", grace = "5s" }

[[status]]
name = "c"
from = { events = "mosquitto", client_id = "rocketbridge-a" }
to.tag = "connect"

[[status]]
name = "d"
from.broker = "edge"
to.rocketmq = "{client_id}"
order_by = "none"
"#;
    insta::assert_snapshot!(faults(ONE_OF_EACH, text));
}

const WITH_API: &str = r#"
[mqtt.edge]
url = "mqtt://edge"
[mqtt.edge.api]
url = "http://edge:18083"
[mqtt.plain]
url = "mqtt://plain"
[rocketmq.main]
name_servers = "ns"
[http]
hooks = "127.0.0.1:8482"
"#;

#[test]
fn a_status_route_asks_the_broker_that_it_names_for_its_clients() {
    let mapping = fine(
        WITH_API,
        r#"
[[status]]
name = "subscribed"
from = { events = "emqx", broker = "edge" }
[[status]]
name = "posted"
from = { webhook = "rmqtt", broker = "edge" }
[[status]]
name = "unnamed"
from.webhook = "emqx"
[[status]]
name = "without"
from = { events = "emqx", broker = "plain" }
"#,
    );
    let asks = mapping.routes.iter().map(|route| match &route.from {
        From::Events(events) => events.api.as_ref().map(|api| api.url.to_string()),
        _ => panic!("reads events"),
    });
    let edge = || Some("http://edge:18083".to_owned());
    assert_eq!(asks.collect::<Vec<_>>(), [edge(), edge(), None, None]);
}

#[test]
fn a_list_that_could_not_be_asked_for_is_a_fault() {
    let text = r#"
[[status]]
name = "a"
from = { events = "mosquitto", broker = "edge" }
[[status]]
name = "b"
from = { webhook = "vernemq", broker = "edge" }
[[status]]
name = "c"
from = { webhook = "emqx", broker = "plain" }
"#;
    insta::assert_snapshot!(faults(WITH_API, text));
}

#[test]
fn what_an_endpoint_of_lmq_has_against_sessions_is_warned_of() {
    let settings = "[mqtt.hosted]\nurl = \"mqtt://h\"\nclient_id = \"GID_plant@@@bridge\"\n\
        login = { mode = \"token\", access_key = \"a\", instance = \"x\", token = { file = \"/dev/null\" } }\n[rocketmq.main]\nname_servers = \"ns\"";
    let filters: Vec<_> = (0..31).map(|number| format!("ACE/{number}")).collect();
    let name = "a-route-with-quite-a-long-name-for-its-session";
    let text = format!("[[route]]\nname = \"{name}\"\nfrom.mqtt = {filters:?}\nto.rocketmq = \"ACE\"");
    let report = faults(settings, &text);
    assert!(report.contains("warning: LMQ-2.1: a client id of 65 characters is over 64"), "{report}");
    assert!(report.contains("warning: LMQ-2.3: 31 filters in one session are over 30"), "{report}");
    assert!(!faults(&settings.replace("login", "# login"), &text).contains("LMQ-"));
}
