use std::{path::Path, time::Duration};

use super::{Environment, load};
use crate::{
    diagnostic::{Faults, Report},
    settings::{ApiLogin, LmqLogin, MqttVersion, Secret, Settings, TokenSource},
};

const MINIMAL: &str = r#"
[mqtt.edge]
url = "mqtt://broker"
[rocketmq.main]
name_servers = "ns"
"#;

fn read(text: &str, environment: &Environment) -> (Settings, Report) {
    let faults = Faults::default();
    let settings = load(Path::new("conf/rocketbridge.toml"), text, environment, &faults);
    (settings, faults.into_report())
}

#[test]
fn a_minimal_file_is_four_lines() {
    let (settings, report) = read(MINIMAL, &Environment::default());
    assert_eq!(report.render(false), "");
    insta::assert_debug_snapshot!(settings);
}

#[test]
fn the_environment_overrides_and_adds() {
    let environment = Environment::from([
        ("ROCKETBRIDGE__MQTT__EDGE__VERSION", "3.1.1"),
        ("ROCKETBRIDGE__MQTT__EDGE__WINDOW", "20"),
        ("ROCKETBRIDGE__MQTT__EDGE__USERNAME", "u"),
        ("ROCKETBRIDGE__MQTT__EDGE__PASSWORD", "p"),
        ("ROCKETBRIDGE__ROCKETMQ__MAIN__NAME_SERVERS", "a:1; b"),
        ("ROCKETBRIDGE__ROCKETMQ__SECOND__NAME_SERVERS", "c"),
        ("ROCKETBRIDGE__LIMITS__BYTES", "1MiB"),
        ("UNRELATED", "x"),
    ]);
    let (settings, report) = read(MINIMAL, &environment);
    assert_eq!(report.render(false), "", "an overriding secret is not a plain file's");
    let edge = &settings.mqtt["edge"];
    assert_eq!((edge.version, edge.window), (MqttVersion::V4, 20));
    assert_eq!(edge.password.as_ref().map(Secret::reveal), Some("p"));
    assert_eq!(settings.rocketmq["main"].name_servers, ["a:1", "b:9876"]);
    assert_eq!(settings.rocketmq["second"].name_servers, ["c:9876"]);
    assert_eq!(settings.limits.bytes, 1 << 20);
}

#[test]
fn an_override_finds_a_name_with_a_dash_or_capitals() {
    let environment = Environment::from([("ROCKETBRIDGE__MQTT__MY_EDGE__WINDOW", "7")]);
    let (settings, _) = read("[mqtt.My-Edge]\nurl = \"mqtt://b\"", &environment);
    assert_eq!(settings.mqtt["My-Edge"].window, 7);
}

#[test]
fn secrets_come_from_the_environment_or_a_file_without_its_line_end() {
    let folder = tempfile::tempdir().expect("a folder for the test");
    std::fs::write(folder.path().join("secret"), "from file\n").expect("the folder can be written");
    let text = r#"
        [mqtt.edge]
        url = "mqtt://b"
        username = "u"
        password = { file = "secret" }
        [rocketmq.main]
        name_servers = ["n"]
        access_key = "AK"
        secret_key = { env = "SK" }
    "#;
    let faults = Faults::default();
    let path = folder.path().join("rocketbridge.toml");
    let settings = load(&path, text, &Environment::from([("SK", "from env")]), &faults);
    assert_eq!(faults.into_report().render(false), "");
    assert_eq!(settings.mqtt["edge"].password.as_ref().map(Secret::reveal), Some("from file"));
    assert_eq!(settings.rocketmq["main"].secret_key.as_ref().map(Secret::reveal), Some("from env"));
}

#[test]
fn credentials_are_read_from_a_file_beside_the_settings() {
    let folder = tempfile::tempdir().expect("a folder for the test");
    let path = folder.path().join("rocketbridge.toml");
    let text = r#"
        http.lmq = "0.0.0.0:8481"
        [mqtt.edge]
        url = "mqtt://b"
        [lmq]
        instance = "mqtt-x"
        client_ids = "strict"
        credentials = "credentials.toml"
    "#;
    let read = |credentials: &str| {
        std::fs::write(folder.path().join("credentials.toml"), credentials).expect("the folder can be written");
        let faults = Faults::default();
        let settings = load(&path, text, &Environment::from([("SK", "s")]), &faults);
        (settings, faults.into_report().render(false))
    };
    let key = "[[access_key]]\nid = \"AK\"\nsecret = { env = \"SK\" }\ngroups = \"GID_a\"\n";
    let (settings, report) = read(key);
    assert_eq!(report, "");
    assert_eq!(settings.http.lmq, "0.0.0.0:8481".parse().ok());
    assert_eq!((settings.lmq.instance.as_deref(), settings.lmq.strict_client_ids), (Some("mqtt-x"), true));
    assert_eq!(settings.credentials.access_keys["AK"].secret.reveal(), "s");
    let report = read("").1;
    assert!(report.contains("has no access key") && report.contains("rocketbridge.toml:8"), "{report}");
    let report = read("[[access_key]]\nid = 7\n").1;
    assert!(report.contains("`id` must be text") && report.contains("credentials.toml:2"), "{report}");
}

#[test]
fn a_listener_that_could_answer_nobody_is_a_fault() {
    let report = read(&format!("http.lmq = \"0.0.0.0:8481\"\n{MINIMAL}"), &Environment::default()).1.render(false);
    assert!(report.contains("missing `credentials` in `lmq`"), "{report}");
    let report = read(&format!("http.tls = {{}}\n{MINIMAL}"), &Environment::default()).1.render(false);
    assert!(report.contains("`http.tls` has no effect") && report.contains("missing `key` in `http.tls`"), "{report}");
}

#[test]
fn a_broker_may_have_an_http_interface_with_a_name_or_a_token() {
    let environment = Environment::from([("SK", "s")]);
    let api = |login: &str| {
        let text = format!("[mqtt.a]\nurl = \"mqtt://b\"\n[mqtt.a.api]\nurl = \"http://b:18083\"\n{login}");
        let (settings, report) = read(&text, &environment);
        (settings.mqtt["a"].api.clone().unwrap(), report.render(false))
    };
    let (basic, report) = api("username = \"key\"\npassword = { env = \"SK\" }");
    assert_eq!((report.as_str(), basic.url.to_string().as_str()), ("", "http://b:18083"));
    let Some(ApiLogin::Basic { username, password }) = basic.login else { panic!("a name") };
    assert_eq!((username.as_str(), password.reveal()), ("key", "s"));
    let (bearer, report) = api("token = { env = \"SK\" }");
    assert!(report.is_empty() && matches!(bearer.login, Some(ApiLogin::Bearer(token)) if token.reveal() == "s"));
    let (open, report) = api("");
    assert!(report.is_empty() && open.login.is_none());
}

#[test]
fn faults_of_an_http_interface_are_shown_with_what_to_do() {
    let text = r#"
[mqtt.a]
url = "mqtt://b"
[mqtt.a.api]
url = "http://b:18083/api/v5"
username = "key"
token = "hunter1"

[mqtt.b]
url = "mqtt://b"
[mqtt.b.api]
url = "http://b:18083"
password = "hunter2"
tls = {}
key = "x"

[mqtt.c]
url = "mqtt://b"
[mqtt.c.api]
"#;
    let report = read(text, &Environment::default()).1.render(false);
    assert!(!report.contains("hunter"), "{report}");
    insta::assert_snapshot!(report);
}

#[test]
fn session_expiry_may_be_never_or_a_time() {
    for (text, expiry) in [("never", None), ("7d", Some(Duration::from_secs(7 * 86_400)))] {
        let (settings, report) =
            read(&format!("mqtt.a = {{ url = \"mqtt://b\", session_expiry = \"{text}\" }}"), &Environment::default());
        assert_eq!(report.render(false), "");
        assert_eq!(settings.mqtt["a"].session_expiry, expiry);
    }
}

#[test]
fn every_fault_is_shown_at_once_and_no_secret_with_it() {
    let text = r#"
maping = "x"
stop_deadline = "soon"

[mqtt.edge]
url = "tcp://broker:1883"
version = 5
pasword = "hunter1"
keep_alive = "0s"
window = 70000
tls = { certificate = "nowhere.pem" }
will = { topic = "state/+" }

[mqtt."a b"]
url = "mqtt://u:hunter2@b"

[mqtt.old]
url = "mqtt://b"
version = "3.1.1"
session_expiry = "1h"
password = "hunter3"

[rocketmq.main]
name_servers = ["ns1:9876", "bad port:x"]
secret_key = { env = "NOT_SET" }
stored_when = "durably"
max_message = "4 megs"

[http]
admin = "localhost"

lmq = 8481
tls = { certificate = "nowhere.pem" }

[lmq]
instance = ""
client_ids = "loose"
credentials = "nowhere.toml"
[[lmq.access_key]]
id = "AK"
secret = "hunter5"

[limits]
messages = 0
"#;
    let environment = Environment::from([
        ("ROCKETBRIDGE__MQTT__EDGE__MAX_PACKET", "much"),
        ("ROCKETBRIDGE__MQTT__EDGE__PASSWORT", "hunter4"),
        ("ROCKETBRIDGE__LIMITS", "5"),
        ("ROCKETBRIDGE__MQTT____URL", "x"),
    ]);
    let report = read(text, &environment).1.render(false);
    assert!(!report.contains("hunter"), "{report}");
    insta::assert_snapshot!(report);
}

#[test]
fn syntax_errors_are_shown_together_and_nothing_is_called_missing_for_them() {
    let text = "[mqtt.edge]\nurl \"mqtt://b\"\npassword = \"hunter1\nwindow = 5 5\n";
    let report = read(text, &Environment::default()).1.render(false);
    assert!(!report.contains("hunter"), "{report}");
    insta::assert_snapshot!(report);
}

#[test]
fn a_broker_may_be_logged_in_to_as_an_endpoint_of_lmq() {
    let environment = Environment::from([("SK", "s")]);
    let login = |text: &str| {
        let text = format!("[mqtt.a]\nurl = \"mqtt://b\"\nclient_id = \"GID_a@@@1\"\nlogin = {{ {text} }}");
        let (settings, report) = read(&text, &environment);
        assert_eq!(report.render(false), "", "{text}");
        settings.mqtt["a"].login.clone().expect("a login")
    };
    let keyed = "access_key = \"AK\", instance = \"mqtt-x\"";
    let signature = login(&format!("mode = \"signature\", {keyed}, secret_key = {{ env = \"SK\" }}"));
    assert!(matches!(&signature, LmqLogin::Signature { access_key, secret_key, instance }
        if access_key == "AK" && secret_key.reveal() == "s" && instance == "mqtt-x"));
    let device = login(&format!("mode = \"device\", {keyed}, secret_key = {{ env = \"SK\" }}"));
    assert!(matches!(device, LmqLogin::Device { .. }));
    for (text, is_signed) in [("", false), (", signed = true", true)] {
        let custom = login(&format!("mode = \"custom\", username = \"shop\", secret_key = {{ env = \"SK\" }}{text}"));
        assert!(matches!(custom, LmqLogin::Custom { signed, .. } if signed == is_signed));
    }
    let command =
        login(&format!("mode = \"token\", {keyed}, token = {{ command = [\"get\", \"x\"], refresh = \"2h\" }}"));
    let LmqLogin::Token { tokens: TokenSource::Command { program, arguments }, refresh, .. } = command else {
        panic!("a command")
    };
    assert_eq!((program.as_str(), arguments.len(), refresh), ("get", 1, Duration::from_secs(7200)));
}

#[test]
fn faults_of_logins_are_shown_with_what_to_do_and_no_secret() {
    let text = r#"
[mqtt.a]
url = "mqtt://b"
username = "u"
login = { mode = "signature", access_key = "A|K", secret = "hunter1" }

[mqtt.b]
url = "mqtt://b"
client_id = "bridge"
login = { mode = "token", access_key = "AK", instance = "x", token = { file = "nowhere", command = ["hunter2"] } }

[mqtt.c]
url = "mqtt://b"
client_id = "GID_c@@@1"
login = { access_key = "AK", token = "hunter3" }

[mqtt.d]
url = "mqtt://b"
client_id = "GID_d@@@1"
login = { mode = "token", access_key = "AK", instance = "x", token = { file = "nowhere", refresh = "0s" } }

[mqtt.e]
url = "mqtt://b"
client_id = "GID_e@@@1"
login = { mode = "custom", access_key = "AK", secret_key = "hunter4" }

[mqtt.f]
url = "mqtt://b"
client_id = "GID_f@@@1"
login = { mode = "tokens" }
"#;
    let report = read(text, &Environment::default()).1.render(false);
    assert!(!report.contains("hunter"), "{report}");
    insta::assert_snapshot!(report);
}
