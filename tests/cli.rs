//! The command line: what it prints, and its exit codes.

use std::{fs, process::Command};

use crate::{
    files::{files, root},
    servers::{
        bridge::{self, Bridge},
        mosquitto::{Mosquitto, Options, Subscriptions},
        rocketmq::RocketMq,
    },
};

const SETTINGS: &str = r#"
[mqtt.edge]
url = "mqtt://127.0.0.1:1"
[rocketmq.main]
name_servers = "127.0.0.1:1"
"#;

const MAPPING: &str = r#"
[[route]]
name = "telemetry"
from.mqtt = "plant/{line}/{machine}/up/{metric*}"
to.rocketmq = "plant"
to.tag = "{line}"
to.key = "{property.serial}"

[[route.test]]
publish = { topic = "plant/a/m7/up/temp", payload = "21.5", properties = { serial = "s1" } }
expect = { topic = "plant", tag = "a", key = "s1", properties = { mqttSecondTopic = "/a/m7/up/temp" } }

[[route]]
name = "commands"
from.rocketmq = "cmd"
from.tags = "MQ2MQTT || urgent"
on_refuse = "drop"
"#;

/// Runs a command in a folder with these files; what it prints and its exit code.
fn run(settings: &str, mapping: &str, arguments: &[&str]) -> String {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("rocketbridge.toml"), settings).unwrap();
    fs::create_dir(folder.path().join("mappings")).unwrap();
    fs::write(folder.path().join("mappings/plant.toml"), mapping).unwrap();
    let output = Command::new(bridge::binary()).args(arguments).current_dir(folder.path()).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!(
        "$ rocketbridge {}\n{}{}exit code {}",
        arguments.join(" "),
        text(&output.stdout),
        text(&output.stderr),
        output.status.code().unwrap()
    )
}

#[test]
fn check_lists_routes_when_all_is_fine() {
    insta::assert_snapshot!(run(SETTINGS, MAPPING, &["check"]));
}

#[test]
fn check_shows_the_faults_of_settings_and_mappings_together() {
    let settings = SETTINGS.replace("url", "ulr");
    let mapping = MAPPING.replace("{line}\"", "{lime}\"").replace("on_refuse", "on_refused");
    insta::assert_snapshot!(run(&settings, &mapping, &["check"]));
}

#[test]
fn check_says_when_there_is_no_folder_of_mappings() {
    insta::assert_snapshot!(run(&format!("mappings = \"nowhere\"\n{SETTINGS}"), "", &["check"]));
}

#[test]
fn explain_shows_every_route_that_takes_a_topic_and_what_comes_out() {
    let twice =
        format!("{MAPPING}\n[[route]]\nname = \"copy\"\nfrom.mqtt = \"plant/#\"\nto.mqtt = \"copy/{{topic}}\"\n");
    let arguments = ["explain", "plant/a/m7/up/temp", "--property", "serial=s1", "--qos", "2", "--retain"];
    insta::assert_snapshot!(run(SETTINGS, &twice, &arguments));
}

#[test]
fn explain_says_why_a_message_would_be_refused() {
    let refused = [
        run(SETTINGS, MAPPING, &["explain", "plant/a/m7/up/temp"]),
        run(
            SETTINGS,
            MAPPING,
            &["explain", "--rocketmq", "cmd", "--tag", "urgent", "--property", "mqttSecondTopic=/a/+"],
        ),
    ];
    insta::assert_snapshot!(refused.join("\n\n"));
}

#[test]
fn explain_takes_rocketmq_messages_by_tag() {
    let arguments = ["explain", "--rocketmq", "cmd", "--property", "mqttSecondTopic=a/m7", "--tag"];
    let answers = ["urgent", "other"].map(|tag| run(SETTINGS, MAPPING, &[&arguments[..], &[tag]].concat()));
    insta::assert_snapshot!(answers.join("\n\n"));
}

#[test]
fn explain_says_when_no_route_takes_a_topic() {
    insta::assert_snapshot!(run(SETTINGS, MAPPING, &["explain", "hall/a"]));
}

#[test]
fn tests_in_files_pass_or_show_each_difference() {
    let failing = MAPPING.replace("tag = \"a\", key = \"s1\"", "tag = \"b\", key = \"s2\", qos = 2");
    let none = MAPPING.replace("[[route.test]]", "[unused]").split("[unused]").next().unwrap().to_owned();
    let runs = [MAPPING, &failing, &none].map(|mapping| run(SETTINGS, mapping, &["test"]));
    insta::assert_snapshot!(runs.join("\n\n"));
}

#[test]
fn what_cannot_run_ends_with_two() {
    let runs = [
        run(SETTINGS, MAPPING, &["check", "--settings", "nowhere.toml"]),
        run(SETTINGS, MAPPING, &["test", "telemtry"]),
        run(SETTINGS, MAPPING, &["retire", "telemtry"]),
        run(SETTINGS, MAPPING, &["explain", "plant/+"]),
        run(SETTINGS, MAPPING, &["chek"]),
    ];
    insta::assert_snapshot!(runs.join("\n\n"));
}

#[test]
fn the_sample_files_are_fine_and_their_tests_pass() {
    let scenarios = files(&["scenarios"], "rocketbridge.toml");
    assert!(scenarios.len() >= 5, "the scenarios were not found");
    let folders = scenarios.iter().map(|file| root().join(&file.path).parent().unwrap().to_owned());
    for folder in folders.chain([root().to_owned()]) {
        for arguments in [&["check"][..], &["test"]] {
            let mut command = Command::new(bridge::binary());
            command.args(arguments).current_dir(&folder).env("CONSOLE_SECRET", "x").env("HOSTED_SECRET", "x");
            let output = command.output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs servers: scripts/test runs it"]
async fn check_connect_and_retire_talk_to_the_brokers() {
    let (mosquitto, rocketmq) = (Mosquitto::shared().await, RocketMq::shared().await);
    rocketmq.create_topic("cmd", 2).await;
    let bridge = Bridge::new(&bridge::settings(mosquitto, rocketmq), MAPPING);

    let missing = bridge.command(&["check", "--connect"]);
    let text = String::from_utf8_lossy(&missing.stdout).into_owned();
    assert_eq!(missing.status.code(), Some(1), "{text}");
    assert!(text.contains("plant  PROBLEM: there is no such topic; `telemetry` will wait until there is"), "{text}");
    assert!(text.contains("cmd    2 queues to read"), "{text}");

    rocketmq.create_topic("plant", 4).await;
    let fine = bridge.command(&["check", "--connect"]);
    let text = String::from_utf8_lossy(&fine.stdout).into_owned();
    assert!(text.contains("4 queues to write"), "{text}");
    assert_eq!(fine.status.code(), Some(0), "{text}");

    for route in ["telemetry", "commands"] {
        let retired = bridge.command(&["retire", route]);
        assert!(retired.status.success(), "{}", String::from_utf8_lossy(&retired.stderr));
    }
}

#[test]
fn check_connect_names_brokers_that_do_not_answer_also_where_only_messages_choose_the_topic() {
    let by_message = MAPPING.replace("to.rocketmq = \"plant\"", "to.rocketmq = \"plant_{line}\"");
    let by_message = by_message.split("[[route.test]]").next().unwrap();
    let status = "[[status]]\nname = \"who\"\nfrom.events = \"rmqtt\"\n";
    let settings = format!("{SETTINGS}\n[mqtt.edge.api]\nurl = \"http://127.0.0.1:1\"\n");
    let answer = run(&settings, &format!("{by_message}{status}"), &["check", "--connect"]);
    for words in [
        "PROBLEM: mqtt://127.0.0.1:1: cannot connect: Connection refused",
        "HTTP interface of the broker of who (http://127.0.0.1:1)\n  clients  PROBLEM: cannot connect: Connection refused",
        "plant_*  PROBLEM: no connection to 127.0.0.1:1: Connection refused",
        "exit code 1",
    ] {
        assert!(answer.contains(words), "{words} is not in\n{answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs servers: scripts/test runs it"]
async fn check_connect_names_a_refused_subscription_and_dials_for_topics_that_only_messages_choose() {
    let subscriptions = Subscriptions::refused();
    let options = Options { lines: subscriptions.lines(), ..Options::default() };
    let (mosquitto, rocketmq) = (Mosquitto::start(&options).await, RocketMq::shared().await);
    let mapping = "[[route]]\nname = \"lines\"\nfrom.mqtt = \"refused/{line}\"\nto.rocketmq = \"plant_{line}\"\n";
    let refused = Bridge::new(&bridge::settings(&mosquitto, rocketmq), mapping).command(&["check", "--connect"]);
    let text = String::from_utf8_lossy(&refused.stdout).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{text}");
    assert!(text.contains("login      accepted"), "{text}");
    assert!(text.contains("refused/+  PROBLEM: ") && text.to_lowercase().contains("not authori"), "{text}");
    assert!(text.contains("plant_*  the name servers answer"), "{text}");
}
