//! Tokens on a real RMQTT: within and outside their resources, of the wrong type, expired, forged, and over a restart of
//! the bridge. What gives them out has its own tests; these are sealed here, with the secret that replicas share.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rocketbridge::{
    lmq::token::{Grant, Kind, TokenId, TokenKey},
    settings::Secret,
};
use rumqttc_v5::ConnectReturnCode::{self, BadUserNamePassword};

use super::world::{Client, Outcome, TOKEN_SECRET, World};

const CLIENT: &str = "GID_Test@@@1";
const HOUR: i64 = 3_600_000;

/// A token of the access key for some resources, which ends in so many milliseconds.
fn token(kind: Kind, resources: &[&str], ends: i64) -> String {
    sealed_with(TOKEN_SECRET, "YYYYY", kind, resources, ends)
}

fn sealed_with(secret: &str, access_key: &str, kind: Kind, resources: &[&str], ends: i64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    let grant = Grant {
        id: TokenId(fastrand::u128(..).to_be_bytes()),
        access_key: access_key.to_owned(),
        instance: "mqtt-x".to_owned(),
        resources: resources.iter().map(|&resource| resource.to_owned()).collect(),
        read: kind.reads(),
        write: kind.writes(),
        expires: u64::try_from(now).unwrap().saturating_add_signed(ends),
    };
    TokenKey::new(&Secret::new(secret)).seal(&grant).unwrap()
}

async fn log_in(world: &World, password: &str) -> Result<Client, ConnectReturnCode> {
    world.client(CLIENT, Some(("Token|YYYYY|mqtt-x", password))).await
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs servers: scripts/test runs it"]
async fn rmqtt_lets_in_with_tokens_of_which_every_one_counts() {
    let world = World::start(true).await;
    let (read, write) = (token(Kind::Read, &["TopicA/down/#"], HOUR), token(Kind::Write, &["TopicA/up/+"], HOUR));
    let both = token(Kind::Both, &["TopicA/#"], HOUR);
    let expired = token(Kind::Both, &["TopicA/#"], -1);
    let forged = sealed_with("another secret of the kind", "YYYYY", Kind::Both, &["#"], HOUR);
    let foreign = sealed_with(TOKEN_SECRET, "ZZZZZ", Kind::Both, &["TopicA/#"], HOUR);
    // One letter of what it grants is changed.
    let changed = format!("{}{}{}", &both[..40], if &both[40..41] == "A" { "B" } else { "A" }, &both[41..]);
    for (password, let_in) in [
        (format!("R|{read}"), true),
        (format!("W|{write}|R|{read}"), true),
        (format!("RW|{both}"), true),
        (format!("R|{both}"), true),
        (format!("W|{read}"), false),
        (format!("RW|{write}"), false),
        (format!("RW|{expired}"), false),
        (format!("RW|{forged}"), false),
        (format!("RW|{changed}"), false),
        (format!("RW|{foreign}"), false),
        // LMQ-1.5
        (format!("R|{read}|W|{expired}"), false),
        (format!("R|{read}|W|{write}|RW|{forged}"), false),
        (both, false),
    ] {
        let answer = log_in(&world, &password).await;
        assert_eq!(answer.err(), (!let_in).then_some(BadUserNamePassword), "{password}\n{}", world.bridge.log());
    }
    let other = world.client("GID_Other@@@1", Some(("Token|YYYYY|mqtt-x", &format!("R|{read}")))).await;
    assert_eq!(other.err(), Some(BadUserNamePassword), "a client of another group");
    assert!(!world.bridge.log().contains(&read), "a token is in the log");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs servers: scripts/test runs it"]
async fn rmqtt_holds_clients_to_the_resources_and_types_of_their_tokens() {
    let world = World::start(false).await;
    let (read, write) =
        (token(Kind::Read, &["TopicA/down/#"], HOUR), token(Kind::Write, &["TopicA/up/+", "TopicC"], HOUR));
    let mut client = log_in(&world, &format!("R|{read}|W|{write}")).await.unwrap();
    for (topic, outcome) in [
        ("TopicA/up/1", Outcome::Granted),
        ("TopicA/up/1/2", Outcome::Refused),
        ("TopicA/down/1", Outcome::Refused),
        ("TopicA/p2p/GID_Test@@@2", Outcome::Granted),
        ("TopicB/p2p/GID_Test@@@2", Outcome::Refused),
        // Its access key has no such topic.
        ("TopicC", Outcome::Refused),
    ] {
        assert_eq!(client.publish(topic, "x").await, outcome, "publish to {topic}");
    }
    for (filter, outcome) in [
        ("TopicA/down/+", Outcome::Granted),
        ("TopicA/p2p/GID_Test@@@1", Outcome::Granted),
        ("TopicA/up/1", Outcome::Refused),
        ("TopicA/#", Outcome::Refused),
        ("TopicA/p2p/GID_Test@@@2", Outcome::Refused),
    ] {
        assert_eq!(client.subscribe(filter).await, outcome, "subscribe to {filter}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs servers: scripts/test runs it"]
async fn rmqtt_cuts_a_client_whose_token_has_ended_and_over_a_restart_of_the_bridge_tokens_are_known() {
    let mut world = World::start(true).await;
    let mut short = log_in(&world, &format!("RW|{}", token(Kind::Both, &["TopicA/#"], 4_000))).await.unwrap();
    assert_eq!(short.publish("TopicA/x", "x").await, Outcome::Granted);
    tokio::time::sleep(Duration::from_millis(4_500)).await;
    assert_eq!(short.publish("TopicA/x", "x").await, Outcome::Cut);

    let password = format!("RW|{}", token(Kind::Both, &["TopicA/#"], HOUR));
    let mut long = log_in(&world, &password).await.unwrap();
    let mut signed = world.signed("GID_Test@@@2").await;
    assert_eq!(long.publish("TopicA/x", "x").await, Outcome::Granted);
    // Logins are written down together, once a second or so.
    tokio::time::sleep(Duration::from_secs(3)).await;
    world.bridge.kill();
    world.bridge.run();
    world.bridge.ready().await;
    assert_eq!(signed.publish("TopicA/x", "x").await, Outcome::Granted, "its name says what it may do");
    assert_eq!(long.publish("TopicA/x", "x").await, Outcome::Granted, "its tokens are remembered");
    assert_eq!(long.publish("TopicB/x", "x").await, Outcome::Cut);
}
