use super::*;
use crate::settings::Environment;

fn read_text(text: &str) -> (Credentials, String) {
    let (faults, environment) = (Faults::default(), Environment::from([("SK", "s3cret")]));
    let credentials = of_text(Path::new("conf/credentials.toml"), text, &environment, &faults);
    (credentials, faults.into_report().render(false))
}

#[test]
fn each_kind_says_who_may_log_in_and_what_they_may_do() {
    let (credentials, report) = read_text(
        r##"
        [[access_key]]
        id = "AK"
        secret = { env = "SK" }
        groups = ["GID_b", "GID_a"]
        [[device]]
        id = "DK"
        secret = { env = "SK" }
        clients = "GID_a@@@1"
        topics = ["TopicA/+", "TopicB/#"]
        publish = "TopicC"
        [[user]]
        name = "bridge"
        secret = { env = "SK" }
        clients = ["rocketbridge-up"]
        groups = "GID_bridge"
        subscribe = ["#", "$SYS/brokers/+/clients/#"]
        p2p = "all"
        "##,
    );
    assert_eq!(report, "");
    let key = &credentials.access_keys["AK"];
    assert_eq!((key.secret.reveal(), key.permission.clone()), ("s3cret", Permission::default()));
    assert!(key.clients.contain("GID_a@@@9") && !key.clients.contain("GID_c@@@9") && !key.clients.contain("GID_a"));
    assert_eq!(credentials.asked_groups().collect::<Vec<_>>(), ["GID_a", "GID_b"]);
    let filters = |filters: &[Pattern]| filters.iter().map(|filter| filter.filter().to_owned()).collect::<Vec<_>>();
    let device = &credentials.devices["DK"];
    assert_eq!(filters(&device.permission.publish), ["TopicC", "TopicA/+", "TopicB/#"]);
    assert_eq!(filters(&device.permission.subscribe), ["TopicA/+", "TopicB/#"]);
    assert!(device.clients.contain("GID_a@@@1") && !device.clients.contain("GID_a@@@2"));
    let user = &credentials.users["bridge"];
    assert!(user.permission.reads_all_p2p && user.permission.publish.is_empty() && !device.permission.reads_all_p2p);
    assert!(user.clients.contain("rocketbridge-up") && user.clients.contain("GID_bridge@@@a-up"));
    assert!(!format!("{credentials:?}").contains("s3cret"));
}

#[test]
fn every_fault_is_shown_at_once_with_what_to_do_and_no_secret() {
    let long = "x".repeat(ID_MAX + 1);
    let text = format!(
        r#"
[[acces_key]]
id = "AK"

[[access_key]]
id = "A|K"
secret = "hunter1"
groups = ["GID_a", "GID_*", "GID_a", "GID_b@@@1"]
topics = ["TopicA/#/x", "$share/g/TopicA"]

[[device]]
id = "DK"
secret = {{ env = "NOT_SET" }}
clients = ["GID_a@@@+"]
topics = ["a"]
p2p = "some"

[[device]]
id = "DK"
secrets = "hunter2"

[[user]]
name = "{long}"
secret = "hunter3"
groups = []
topics = ""
"#
    );
    let report = read_text(&text).1;
    assert!(!report.contains("hunter"), "{report}");
    insta::assert_snapshot!(report);
}

#[test]
fn what_a_file_may_hold_is_bounded() {
    let key = |number| format!("[[access_key]]\nid = \"{number}\"\nsecret = {{ env = \"SK\" }}\ngroups = \"GID_a\"\n");
    let keys: Vec<String> = (0..=ACCESS_KEY.most).map(key).collect();
    let report = read_text(&keys.concat()).1;
    assert!(report.contains("`access_key` may stand 1000 times, and stands 1001 times"), "{report}");
    let groups: Vec<String> = (0..=LIST_MAX).map(|number| format!("GID_{number}")).collect();
    let key = format!("[[access_key]]\nid = \"a\"\nsecret = {{ env = \"SK\" }}\ngroups = {groups:?}\n");
    assert!(read_text(&key).1.contains("`groups` may hold 1000 texts, and holds 1001"));
}

#[test]
fn many_plain_secrets_are_one_warning() {
    let user =
        |name: &str| format!("[[user]]\nname = \"{name}\"\nsecret = \"s\"\ngroups = \"GID_a\"\ntopics = \"a\"\n");
    let report = read_text(&[user("a"), user("b")].concat()).1;
    assert!(report.contains("2 secrets stand in a plain file") && report.ends_with("warning: 1 warning\n"), "{report}");
}

#[test]
fn a_file_that_cannot_be_read_is_a_fault() {
    let faults = Faults::default();
    read_again(Path::new("nowhere/credentials.toml"), &Environment::default(), &faults);
    let report = faults.into_report().render(false);
    assert!(report.contains("cannot read the credentials file `nowhere/credentials.toml`"), "{report}");
}
