//! The bridge as a client of an endpoint of LMQ. A Mosquitto stands in for one: it knows the user names of LMQ-1, each with
//! the password that the contract has for one client id, and speaks MQTT 3.1.1.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use hmac::{Hmac, KeyInit as _, Mac as _};
use rumqttc_v5::QoS;
use sha1::Sha1;

use crate::servers::{
    bridge::Bridge,
    mosquitto::{Mosquitto, Options},
    mqtt::{Client, Login},
};

fn signature(client_id: &str) -> String {
    let mut mac = Hmac::<Sha1>::new_from_slice(b"SK").unwrap();
    mac.update(client_id.as_bytes());
    BASE64.encode(mac.finalize().into_bytes())
}

/// Two access keys and tokens, since a Mosquitto has one password for a user name, and each session signs for itself.
async fn endpoint() -> Mosquitto {
    let user = |name: &str, password: String| (name.to_owned(), password);
    let users = vec![
        user("Signature|AK|mqtt-x", signature("GID_b@@@1-up")),
        user("DeviceCredential|DK|mqtt-x", signature("GID_b@@@1-down-out")),
        user("Token|AK|mqtt-x", "R|tok-r|W|tok-w".to_owned()),
        user("device", "secret".to_owned()),
    ];
    Mosquitto::start(&Options { users, ..Options::default() }).await
}

fn settings(hosted: &Mosquitto, own: &Mosquitto) -> String {
    let url = hosted.url();
    let broker = |name: &str, login: &str| {
        format!(
            "[mqtt.{name}]\nurl = \"{url}\"\nversion = \"3.1.1\"\nclient_id = \"GID_b@@@1\"\n\
             login = {{ {login}, instance = \"mqtt-x\" }}\n"
        )
    };
    [
        broker("signed", "mode = \"signature\", access_key = \"AK\", secret_key = { env = \"LMQ_SECRET\" }"),
        broker("device", "mode = \"device\", access_key = \"DK\", secret_key = { env = \"LMQ_SECRET\" }"),
        broker(
            "token",
            "mode = \"token\", access_key = \"AK\", token = { command = [\"printf\", \"R|tok-r|W|tok-w\"] }",
        ),
        format!("[mqtt.own]\nurl = \"{}\"\n", own.url()),
    ]
    .concat()
}

const MAPPING: &str = r#"
    [[route]]
    name = "up"
    from = { mqtt = "ACE/up/#", broker = "signed" }
    to = { mqtt = "{topic}", broker = "own" }

    [[route]]
    name = "down"
    from = { mqtt = "ACE/down/#", broker = "own" }
    to = { mqtt = "{topic}", broker = "device" }

    [[route]]
    name = "more"
    from = { mqtt = "BEE/#", broker = "token" }
    to = { mqtt = "{topic}", broker = "own" }
"#;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs servers: scripts/test runs it"]
async fn a_hosted_lmq_and_a_broker_of_ones_own_are_joined_mqtt_to_mqtt() {
    let (hosted, own) = (endpoint().await, Mosquitto::start(&Options::default()).await);
    let mut bridge = Bridge::new(&settings(&hosted, &own), MAPPING);
    bridge.set("LMQ_SECRET", "SK");
    bridge.run();
    bridge.ready().await;
    let there = Login { user: Some(("device".into(), "secret".into())), ..Login::new(hosted.port, "GID_b@@@device") };
    let (mut there, mut here) = (Client::connect(&there).await, Client::connect(&Login::new(own.port, "here")).await);
    there.subscribe("ACE/down/#", QoS::AtLeastOnce).await;
    here.subscribe("ACE/up/#", QoS::AtLeastOnce).await;
    here.subscribe("BEE/#", QoS::AtLeastOnce).await;
    for topic in ["ACE/up/1", "BEE/x"] {
        there.publish(topic, QoS::AtLeastOnce, "to here").await;
        let arrived = here.next().await;
        assert_eq!((arrived.topic.as_ref(), arrived.payload.as_ref()), (topic.as_bytes(), b"to here".as_slice()));
    }
    here.publish("ACE/down/1", QoS::AtLeastOnce, "to there").await;
    assert_eq!(there.next().await.payload.as_ref(), b"to there");
    for secret in ["SK\"", "tok-r", &signature("GID_b@@@1-up")] {
        assert!(!bridge.log().contains(secret), "a secret in the log");
    }
    bridge.terminate(Duration::from_secs(20));
}
