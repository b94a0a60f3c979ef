//! Bad input gets a clear word, and loses nothing: what can never be sent is parked whole, what is odd but possible
//! arrives as what it was, and a broker that turns the bridge away is named with its reason.

use std::time::Duration;

use rumqttc_v5::mqttbytes::{QoS, v5::PublishProperties};

use crate::servers::{
    bridge::{Bridge, settings, settings_at, there_and_back},
    eventually,
    judge::Send,
    mosquitto::{Mosquitto, Options as MosquittoOptions},
    mqtt::{Client, Login},
    rocketmq::{Options as RocketMqOptions, RocketMq},
};

const PATIENCE: Duration = Duration::from_secs(30);

fn user_properties(properties: &[(&str, &str)]) -> PublishProperties {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    PublishProperties { user_properties: properties.iter().map(owned).collect(), ..PublishProperties::default() }
}

/// What a command printed on its standard output.
fn printed(bridge: &Bridge, arguments: &[&str], exit: i32) -> String {
    let output = bridge.command(arguments);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert_eq!(output.status.code(), Some(exit), "{arguments:?}: {}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs servers: scripts/test runs it"]
async fn odd_messages_go_round_both_legs_and_come_back_as_they_were() {
    let (mosquitto, rocketmq) = (Mosquitto::shared().await, RocketMq::shared().await);
    rocketmq.create_topic("odd", 1).await;
    let bridge = Bridge::start(&settings(mosquitto, rocketmq), &there_and_back("odd")).await;
    let mut client = Client::connect(&Login::new(mosquitto.port, "odd-device")).await;
    client.subscribe("odd-back/#", QoS::AtLeastOnce).await;
    let all_bytes: Vec<u8> = (0..=255).collect();
    let forged = [("mqttSecondTopic", "/forged"), ("__SHARDINGKEY", "forged"), ("TAGS", "forged"), ("UNIQ_KEY", "x")];
    // Mosquitto lets no control character pass; what RocketMQ's separators do is tried in `lmq::properties`.
    let unholdable = [("n", "v"), ("empty", ""), ("n", "again"), ("", "nameless")];
    let cases: [(&str, &[u8], &[_]); 5] = [
        ("odd/bytes", &all_bytes, &[]),
        ("odd/empty", b"", &[]),
        ("odd//level/", b"x", &[]),
        ("odd/forged", b"x", &forged),
        ("odd/unholdable", b"x", &unholdable),
    ];
    for (topic, payload, properties) in cases {
        let sent = user_properties(properties);
        client.publish_with(topic, QoS::AtLeastOnce, payload.to_vec(), false, Some(sent)).await;
        let back = client.next().await;
        assert_eq!(back.topic, topic.replacen("odd", "odd-back", 1).as_bytes());
        assert_eq!(back.payload, payload, "{topic}");
        let got = back.properties.unwrap_or_default().user_properties;
        let got: Vec<_> = got.iter().filter(|(name, _)| name != "rocketbridge-mark").collect();
        let expected = user_properties(properties).user_properties;
        assert_eq!(got, expected.iter().collect::<Vec<_>>(), "{topic}");
    }
    let stored = rocketmq.reader("odd").take(5, PATIENCE).await;
    let forged =
        &stored.iter().find(|message| message.properties["mqttSecondTopic"] == "/forged").expect("its subtopic");
    assert_eq!((forged.tag.as_deref(), forged.properties.get("__SHARDINGKEY")), (None, None), "nothing is forged");
    assert!(stored.iter().all(|message| message.tag.is_none()), "no tag was injected");
    drop(bridge);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs servers: scripts/test runs it"]
async fn a_message_without_subtopic_goes_to_the_parent_and_one_without_its_key_is_parked() {
    let (mosquitto, rocketmq) = (Mosquitto::shared().await, RocketMq::shared().await);
    rocketmq.create_topic("bare", 1).await;
    let mapping = r#"
        [[route]]
        name = "bare"
        from.rocketmq = "bare"
        from.start = "first"
        to.mqtt = "{topic}{subtopic}"

        [[route]]
        name = "bare-by-key"
        from.rocketmq = "bare"
        from.start = "first"
        to.mqtt = "bare-by/{key}/cmd"

        [[route]]
        name = "bare-unheard"
        from.rocketmq = "bare"
        from.start = "first"
        to.mqtt = "bare-nobody-listens"
    "#;
    let bridge = Bridge::start(&settings(mosquitto, rocketmq), mapping).await;
    let mut client = Client::connect(&Login::new(mosquitto.port, "bare-device")).await;
    client.subscribe("bare/#", QoS::AtLeastOnce).await;
    client.subscribe("bare-by/#", QoS::AtLeastOnce).await;
    for keys in [None, Some("a/b"), Some("#"), Some("m7")] {
        rocketmq.send(&Send { topic: "bare", body: b"stop", keys, ..Send::default() }).await;
    }
    let mut topics = Vec::new();
    for _ in 0..5 {
        topics.push(String::from_utf8(client.next().await.topic.to_vec()).unwrap());
    }
    topics.sort();
    assert_eq!(topics, ["bare", "bare", "bare", "bare", "bare-by/m7/cmd"]);
    bridge.metric_reaches("rocketbridge_parked_total", &["bare-by-key"], 3.0, PATIENCE).await;
    bridge.metric_reaches("rocketbridge_unheard_total", &["bare-unheard"], 4.0, PATIENCE).await;
    let listed = printed(&bridge, &["parked", "list"], 0);
    for words in ["value_missing", "value_not_allowed", "3 parked"] {
        assert!(listed.contains(words), "{words} is not in\n{listed}");
    }
    // The mapping is mended, and what was parked goes its way.
    bridge.map(&mapping.replace("bare-by/{key}/cmd", "bare-by/mended"));
    let replayed = printed(&bridge, &["parked", "replay", "bare-by-key"], 0);
    assert!(replayed.contains("3 sent, 0 refused and parked again, 0 left parked"), "{replayed}");
    for _ in 0..3 {
        assert_eq!(client.next().await.topic, "bare-by/mended");
    }
    let log = bridge.log();
    let cut_off = log.lines().find(|line| line.contains("cannot work") && line.contains("bare-by-key"));
    assert_eq!(cut_off, None, "the replay threw the running route's session out");
    assert!(printed(&bridge, &["parked", "list"], 0).contains("0 parked"));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs servers: scripts/test runs it"]
async fn a_body_over_the_limit_is_parked_in_a_topic_or_else_a_file_and_the_rest_goes_on() {
    let (mosquitto, rocketmq) = (Mosquitto::shared().await, RocketMq::shared().await);
    rocketmq.create_topic("large", 1).await;
    rocketmq.create_topic("large-parked", 1).await;
    let mapping = r#"
        [[route]]
        name = "large"
        from.mqtt = "large/#"
        to.rocketmq = "large"
        to.key = "{property.id}"
        park.rocketmq = "large-parked"
    "#;
    let bridge = Bridge::start(&settings(mosquitto, rocketmq), mapping).await;
    let mut client = Client::connect(&Login::new(mosquitto.port, "large-device")).await;
    let with_id = || Some(user_properties(&[("id", "7")]));
    let too_large = vec![b'x'; (4 << 20) + 1];
    client.publish_with("large/a", QoS::AtLeastOnce, too_large, false, with_id()).await;
    client.publish_with("large/b", QoS::AtLeastOnce, "no key", false, None).await;
    client.publish_with("large/c", QoS::AtLeastOnce, "fits", false, with_id()).await;
    let mut reader = rocketmq.reader("large");
    assert_eq!(reader.take(1, PATIENCE).await[0].body, b"fits");
    bridge.metric_reaches("rocketbridge_parked_total", &["large"], 2.0, PATIENCE).await;
    assert_eq!(rocketmq.stored("large-parked").await, Some(1), "the topic takes what it can hold");
    let listed = printed(&bridge, &["parked", "list", "large"], 0);
    for words in ["body_too_large", "large/a", "4194305 B", "value_missing", "large/b", "2 parked"] {
        assert!(listed.contains(words), "{words} is not in\n{listed}");
    }
    // Neither can be sent yet: both are parked again, and the exit code says so.
    let replayed = printed(&bridge, &["parked", "replay", "large"], 1);
    assert!(replayed.contains("0 sent, 2 refused and parked again, 0 left parked"), "{replayed}");
    bridge.map(&mapping.replace("to.key = \"{property.id}\"", ""));
    let replayed = printed(&bridge, &["parked", "replay", "large"], 1);
    assert!(replayed.contains("1 sent, 1 refused and parked again, 0 left parked"), "{replayed}");
    assert_eq!(reader.take(1, PATIENCE).await[0].body, b"no key");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs servers: scripts/test runs it"]
async fn wrong_passwords_and_keys_are_named_and_mended_without_loss() {
    let users = vec![("bridge".to_owned(), "right".to_owned())];
    let mosquitto = Mosquitto::start(&MosquittoOptions { users, ..MosquittoOptions::default() }).await;
    let rocketmq = RocketMq::start(&RocketMqOptions { acl: true, ..RocketMqOptions::default() }).await;
    rocketmq.create_topic("guarded", 1).await;
    let settings = format!(
        "[mqtt.edge]\nurl = \"{}\"\nusername = \"bridge\"\npassword = {{ env = \"EDGE\" }}\n\n\
         [rocketmq.main]\nname_servers = {:?}\naccess_key = \"intruder\"\nsecret_key = {{ env = \"MAIN\" }}\n",
        mosquitto.url(),
        rocketmq.servers()
    );
    checked_before_it_runs(&settings);
    let mapping = "[[route]]\nname = \"guarded\"\nfrom.mqtt = \"guarded/#\"\nto.rocketmq = \"guarded\"\n";
    let mut bridge = Bridge::new(&settings, mapping);
    bridge.set("EDGE", "wrong-password");
    bridge.set("MAIN", "wrong-secret");
    bridge.run();
    let told = eventually("the MQTT broker's refusal shows", PATIENCE, || async {
        let (status, body) = bridge.get("/ready").await.ok()?;
        (status == 503 && body.to_lowercase().contains("authori")).then_some(body)
    })
    .await;
    assert!(!told.contains("wrong-") && !bridge.log().contains("wrong-"), "a secret shows: {told}");
    bridge.kill();

    bridge.set("EDGE", "right");
    bridge.run();
    let login = Login { user: Some(("bridge".to_owned(), "right".to_owned())), ..Login::new(mosquitto.port, "device") };
    let mut client = Client::connect(&login).await;
    bridge.metric_reaches("rocketbridge_up", &["guarded", "edge"], 1.0, PATIENCE).await;
    client.publish("guarded/a", QoS::AtLeastOnce, "kept").await;
    let told = eventually("RocketMQ's refusal shows", PATIENCE, || async {
        let (status, body) = bridge.get("/ready").await.ok()?;
        (status == 503 && body.contains("not authorised")).then_some(body)
    })
    .await;
    assert!(!told.contains("wrong-") && !bridge.log().contains("wrong-"), "a secret shows: {told}");
    bridge.kill();

    let (access_key, secret_key) = crate::servers::rocketmq::ADMIN;
    bridge.set("ROCKETBRIDGE__ROCKETMQ__MAIN__ACCESS_KEY", access_key);
    bridge.set("MAIN", secret_key);
    bridge.run();
    bridge.metric_reaches("rocketbridge_stored_total", &["guarded"], 1.0, PATIENCE).await;
    assert_eq!(rocketmq.reader("guarded").take(1, PATIENCE).await[0].body, b"kept");
}

/// What `check --connect` says of the same brokers: the login, and the topic that one route writes and another reads.
fn checked_before_it_runs(settings: &str) {
    let (access_key, secret_key) = crate::servers::rocketmq::ADMIN;
    let refused = "PROBLEM: ";
    for (password, access_key, secret_key, login, topic, exit) in [
        ("wrong-password", access_key, secret_key, refused, "queues to ", 1),
        ("right", "intruder", "wrong-secret", "accepted", refused, 1),
        ("right", access_key, "wrong-secret", "accepted", refused, 1),
        ("right", access_key, secret_key, "accepted", "queues to ", 0),
    ] {
        let mut bridge = Bridge::new(settings, &there_and_back("guarded"));
        bridge.set("EDGE", password);
        bridge.set("MAIN", secret_key);
        bridge.set("ROCKETBRIDGE__ROCKETMQ__MAIN__ACCESS_KEY", access_key);
        let told = printed(&bridge, &["check", "--connect"], exit);
        let count = |name: &str, words: &str| {
            told.lines().filter(|line| line.trim().starts_with(name) && line.contains(words)).count()
        };
        assert_eq!((count("login ", login), count("guarded ", topic)), (1, 2), "{told}");
        assert_eq!(told.to_lowercase().contains("not authori"), exit == 1, "{told}");
        assert!(!told.contains("wrong-"), "a secret shows: {told}");
    }
}

/// The access key is known: only the signature of each request is wrong.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs servers: scripts/test runs it"]
async fn a_wrong_secret_key_is_named_at_a_source_and_at_a_sink() {
    let (mosquitto, (access_key, secret_key)) = (Mosquitto::shared().await, crate::servers::rocketmq::ADMIN);
    let rocketmq = RocketMq::start(&RocketMqOptions { acl: true, ..RocketMqOptions::default() }).await;
    rocketmq.create_topic("signed", 1).await;
    let key = format!("access_key = \"{access_key}\"\nsecret_key = {{ env = \"MAIN\" }}\n");
    let mut bridge = Bridge::new(&(settings(mosquitto, &rocketmq) + &key), &there_and_back("signed"));
    bridge.set("MAIN", "wrong-secret");
    bridge.run();
    let login = Login::new(mosquitto.port, "signed-device");
    let mut client = Client::connect(&login).await;
    client.subscribe("signed-back/#", QoS::AtLeastOnce).await;
    bridge.metric_reaches("rocketbridge_up", &["signed-up", "source"], 1.0, PATIENCE).await;
    client.publish("signed/a", QoS::AtLeastOnce, "kept").await;
    for (route, end) in [("signed-up", "sink"), ("signed-down", "source")] {
        let said = eventually(&format!("the {end} of {route} says why"), PATIENCE, || async {
            let (status, body) = bridge.get("/ready").await.ok()?;
            let told: serde_json::Value = serde_json::from_str(&body).ok()?;
            let route = told["routes"].as_array()?.iter().find(|one| one["route"] == route)?;
            let reason = route[end].as_str()?.to_owned();
            (status == 503 && reason.contains("not authorised")).then_some(reason)
        })
        .await;
        assert!(said.to_lowercase().contains("signature"), "{said}");
    }
    assert!(!bridge.log().contains("wrong-secret"), "a secret shows");
    bridge.kill();

    bridge.set("MAIN", secret_key);
    bridge.run();
    assert_eq!(client.next().await.payload, "kept");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs servers: scripts/test runs it"]
async fn two_replicas_with_one_client_id_say_what_is_wrong() {
    let (mosquitto, rocketmq) = (Mosquitto::shared().await, RocketMq::shared().await);
    rocketmq.create_topic("twins", 1).await;
    let mapping = "[[route]]\nname = \"twins\"\nfrom.mqtt = \"twins/#\"\nto.rocketmq = \"twins\"\n";
    let settings = settings_at(mosquitto.port, &rocketmq.servers());
    let one = Bridge::start(&settings, mapping).await;
    let mut two = Bridge::new(&settings, mapping);
    two.run();
    eventually("one of the two names the cause", PATIENCE, || async {
        let logs = one.log() + &two.log();
        logs.contains("another client").then_some(())
    })
    .await;
}
