//! Signatures, device credentials, users, topics and P2P on a real RMQTT with its plugin `rmqtt-auth-http`.

use std::time::Duration;

use rumqttc_v5::ConnectReturnCode::BadUserNamePassword;

use super::world::{CREDENTIALS, Outcome, SECRET, World, sign, with_own_user};
use crate::servers::eventually;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs servers: scripts/test runs it"]
async fn rmqtt_lets_in_whom_the_contract_lets_in() {
    let world = World::start(true).await;
    let (one, device, shop) = (sign("GID_Test@@@1"), sign("GID_Test@@@device"), sign("GID_Shop@@@1"));
    let other = sign("GID_Other@@@1");
    let plain = sign("plain");
    for (client_id, name, password, let_in) in [
        ("GID_Test@@@1", "Signature|YYYYY|mqtt-x", one.as_str(), true),
        ("GID_Test@@@device", "DeviceCredential|DC|mqtt-x", &device, true),
        ("GID_Shop@@@1", "shop", &shop, true),
        ("GID_Shop@@@1", "shop", SECRET, true),
        // Wrong, and the right one of another client id, played back.
        ("GID_Test@@@1", "Signature|YYYYY|mqtt-x", "vI009IZJZVGRwBwZvnbwjfuXxVM=", false),
        ("GID_Test@@@2", "Signature|YYYYY|mqtt-x", &one, false),
        ("GID_Test@@@2", "DeviceCredential|DC|mqtt-x", &device, false),
        // Signed, but not its client id, group, instance or name.
        ("GID_Test@@@1", "DeviceCredential|DC|mqtt-x", &one, false),
        ("GID_Other@@@1", "Signature|YYYYY|mqtt-x", &other, false),
        ("GID_Test@@@1", "Signature|YYYYY|mqtt-y", &one, false),
        ("GID_Test@@@1", "Signature|NONE|mqtt-x", &one, false),
        ("GID_Test@@@1", "shop", SECRET, false),
        ("GID_Test@@@1", "nobody", SECRET, false),
        // LMQ-2.1, and a token that nobody gave out.
        ("plain", "Signature|YYYYY|mqtt-x", &plain, false),
        ("GID_Test@@@1", "Token|YYYYY|mqtt-x", "RW|abcd", false),
    ] {
        let answer = world.client(client_id, Some((name, password))).await;
        assert_eq!(answer.err(), (!let_in).then_some(BadUserNamePassword), "{client_id} {name}");
    }
    // RMQTT lets in who says no name without asking, unless it is told otherwise; but they can do nothing.
    if let Ok(mut nobody) = world.client("GID_Test@@@1", None).await {
        assert_eq!(nobody.subscribe("TopicA/x").await, Outcome::Refused);
        assert_eq!(nobody.publish("TopicA/x", "").await, Outcome::Cut);
    }
    let log = world.bridge.log();
    assert!(log.contains("LMQ-1.1") && !log.contains(SECRET) && !log.contains(&one), "{log}");
    let refused = world.bridge.metric("rocketbridge_logins_refused_total", &["form=\"rmqtt\"", "signature"]).await;
    assert_eq!(refused, Some(2.0 + 1.0), "two signatures, and the device credential's");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs servers: scripts/test runs it"]
async fn rmqtt_lets_clients_use_the_topics_that_they_may_and_no_others() {
    let world = World::start(false).await;
    let device = sign("GID_Test@@@device");
    let login = Some(("DeviceCredential|DC|mqtt-x", device.as_str()));
    let mut device = world.client("GID_Test@@@device", login).await.unwrap();
    for (topic, outcome) in [
        ("TopicA/up/temp", Outcome::Granted),
        ("$SYS/enableOrderMsg", Outcome::Granted),
        ("TopicA/up/temp/c", Outcome::Refused),
        ("TopicA/down", Outcome::Refused),
        ("TopicA/p2p/GID_Test@@@1", Outcome::Refused),
        ("TopicC/up/temp", Outcome::Refused),
    ] {
        assert_eq!(device.publish(topic, "x").await, outcome, "publish to {topic}");
    }
    for (filter, outcome) in [
        ("TopicA/down/#", Outcome::Granted),
        ("TopicA/down/+/now", Outcome::Granted),
        ("$share/g/TopicA/down/x", Outcome::Granted),
        ("TopicA/#", Outcome::Refused),
        ("+/down", Outcome::Refused),
        ("#", Outcome::Refused),
        ("TopicA/up/temp", Outcome::Refused),
        ("TopicA/p2p/GID_Test@@@device", Outcome::Granted),
        ("TopicA/p2p/GID_Test@@@1", Outcome::Refused),
        // Last: the bridge's route copies what was published there.
        ("TopicB/+", Outcome::Granted),
    ] {
        assert_eq!(device.subscribe(filter).await, outcome, "subscribe to {filter}");
    }
    assert_eq!(device.publish("TopicA/up/temp", "21.5").await, Outcome::Granted);
    assert_eq!(device.next().await, ("TopicB/temp".to_owned(), "21.5".to_owned()), "by the bridge's own sessions");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs servers: scripts/test runs it"]
async fn rmqtt_delivers_point_to_point_to_its_target_alone_and_cuts_who_publishes_elsewhere() {
    let world = World::start(true).await;
    let mut one = world.signed("GID_Test@@@1").await;
    let mut two = world.signed("GID_Test@@@2").await;
    let mut three = world.signed("GID_Test@@@3").await;
    for filter in ["TopicA/p2p/GID_Test@@@2", "TopicA/p2p/+", "TopicA/+/GID_Test@@@2", "TopicA/#"] {
        assert_eq!(three.subscribe(filter).await, Outcome::Refused, "{filter}");
    }
    assert_eq!(three.subscribe("TopicA/+").await, Outcome::Granted);
    assert_eq!(one.publish("TopicA/p2p/GID_Test@@@2", "to two").await, Outcome::Granted);
    assert_eq!(one.publish("TopicA/all", "to all").await, Outcome::Granted);
    assert_eq!(two.next().await, ("TopicA/p2p/GID_Test@@@2".to_owned(), "to two".to_owned()), "without a subscription");
    assert_eq!(three.next().await, ("TopicA/all".to_owned(), "to all".to_owned()));
    assert_eq!(two.subscribe("TopicA/answer").await, Outcome::Granted);
    assert_eq!(one.publish("TopicA/ask", "?").await, Outcome::Granted);
    assert_eq!(two.next().await, ("TopicA/answer".to_owned(), "?".to_owned()), "by the bridge, which signs as they do");
    // LMQ-1.6
    assert_eq!(one.publish("TopicC/x", "x").await, Outcome::Cut);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs servers: scripts/test runs it"]
async fn who_passes_as_another_client_on_rmqtt_reads_nothing_that_is_for_that_one() {
    let world = World::start(true).await;
    let mut victim = world.signed("GID_Test@@@11").await;
    let mut friend = world.signed("GID_Test@@@2").await;
    // RMQTT asks about `GID_Test@@@1` when it logs in, and about `GID_Test@@@11` when it subscribes.
    let (true_id, password) = ("GID_Test@@@1%A", sign("GID_Test@@@1"));
    let mut liar = world.client(true_id, Some(("Signature|YYYYY|mqtt-x", &password))).await.expect("nobody can tell");
    for filter in
        ["TopicA/p2p/GID_Test@@@11", "+/p2p/GID_Test@@@11", "TopicA/+/GID_Test@@@11", "$share/g/+/p2p/GID_Test@@@11"]
    {
        assert_eq!(liar.subscribe(filter).await, Outcome::Refused, "{filter}");
    }
    for filter in ["TopicA/p2p/GID_Test@@@1%A", "+/p2p/GID_Test@@@1%A"] {
        assert_eq!(liar.subscribe(filter).await, Outcome::Granted, "{filter}");
    }
    for client_id in ["GID_Test@@@11", true_id] {
        assert_eq!(friend.publish(&format!("TopicA/p2p/{client_id}"), client_id).await, Outcome::Granted);
    }
    assert_eq!(victim.next().await.1, "GID_Test@@@11");
    assert_eq!(liar.next().await.1, true_id, "its own first: the other's never came");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs servers: scripts/test runs it"]
async fn rmqtt_lets_nobody_in_and_nothing_through_while_the_bridge_is_away() {
    let mut world = World::start(true).await;
    let mut one = world.signed("GID_Test@@@1").await;
    let mut two = world.signed("GID_Test@@@2").await;
    world.bridge.kill();
    assert_eq!(one.subscribe("TopicA/x").await, Outcome::Refused);
    assert_eq!(one.publish("TopicA/x", "x").await, Outcome::Cut);
    let password = sign("GID_Test@@@1");
    assert!(world.client("GID_Test@@@1", Some(("Signature|YYYYY|mqtt-x", &password))).await.is_err());
    world.bridge.run();
    world.bridge.ready().await;
    assert_eq!(two.publish("TopicA/x", "x").await, Outcome::Granted, "it did nothing meanwhile, and is still there");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs servers: scripts/test runs it"]
async fn credentials_that_are_taken_away_count_no_more_and_a_faulty_file_changes_nothing() {
    let world = World::start(false).await;
    let mut one = world.signed("GID_Test@@@1").await;
    assert_eq!(one.publish("TopicA/x", "x").await, Outcome::Granted);
    let faulty = CREDENTIALS.replace("groups = \"GID_Test\"", "group = \"GID_Test\"");
    world.bridge.credentials(&with_own_user(&faulty));
    eventually("the fault is told", Duration::from_secs(20), || async {
        world.bridge.log().contains("credentials have faults, nothing changes").then_some(())
    })
    .await;
    assert!(world.bridge.log().contains("credentials.toml:5"), "{}", world.bridge.log());
    assert_eq!(one.publish("TopicA/x", "x").await, Outcome::Granted);
    let other = CREDENTIALS.replace("id = \"YYYYY\"", "id = \"ZZZZZ\"");
    world.bridge.credentials(&with_own_user(&other));
    eventually("the access key is gone", Duration::from_secs(20), || async {
        world.bridge.log().contains("credentials read again").then_some(())
    })
    .await;
    assert_eq!(one.publish("TopicA/x", "x").await, Outcome::Refused);
    let password = sign("GID_Test@@@1");
    assert!(world.client("GID_Test@@@1", Some(("Signature|YYYYY|mqtt-x", &password))).await.is_err());
    assert!(world.client("GID_Test@@@1", Some(("Signature|ZZZZZ|mqtt-x", &password))).await.is_ok());
}
