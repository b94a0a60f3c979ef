use std::sync::Mutex as Guarded;

use tokio::{sync::mpsc::UnboundedReceiver, task::JoinHandle};

use super::*;
use crate::{
    presence::{
        adapter::Adapter,
        api::fake::{Act, ok, serve, status},
    },
    tokens::tests::{NOW, Replica, client, log_in, service, settings},
};

/// Longer than anything takes here.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a broker says of a client that is connected, or has a session alone.
fn knows(connected: bool) -> Act {
    ok(&format!("{{\"clientid\":\"a\",\"connected\":{connected}}}"))
}

/// A broker's answers: to the question whether a client is connected, to a notice, and to a cut.
fn answers(connected: Act, told: Act, cut: Act) -> impl Fn(&str) -> Act + Send + Clone {
    move |head| {
        let act = match head {
            head if head.starts_with("GET /api/v1/clients/") => &connected,
            head if head.starts_with("POST /api/v1/mqtt/publish ") => &told,
            head if head.starts_with("DELETE /api/v1/clients/") => &cut,
            head => panic!("{head}"),
        };
        act.clone()
    }
}

/// Cuts at brokers of these names.
fn cutting(one: &Replica, brokers: &[(&str, &BrokerApi)]) -> JoinHandle<()> {
    let table = |(name, api): &(&str, &BrokerApi)| {
        format!("[mqtt.{name}]\nurl = \"mqtt://h\"\n[mqtt.{name}.api]\nurl = \"{}\"\n", api.url)
    };
    let settings = settings(&brokers.iter().map(table).collect::<String>());
    tokio::spawn(run(one.tokens.clone(), settings.mqtt, Telemetry::default(), crate::clock::epoch_millis))
}

/// The methods of the requests until `last`.
async fn asked(heads: &mut UnboundedReceiver<String>, last: &str) -> Vec<String> {
    let mut methods = Vec::new();
    while methods.last().is_none_or(|method| method != last) {
        let head = timeout(PATIENCE, heads.recv()).await.expect("a request").unwrap();
        methods.push(head.split(' ').next().unwrap().to_owned());
    }
    methods
}

async fn is_owed_nothing(one: &Replica) {
    let settled = async {
        while one.tokens.sessions().knows(&client("a")) {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, settled).await.expect("nothing is owed");
}

/// A replica with a client whose token was revoked.
async fn revoked() -> Replica {
    let one = Replica::new(&service(None));
    let token = one.apply(10).await;
    log_in(&one, "a", &token);
    one.tokens.revoke(one.tokens.check(&token, NOW).unwrap()).await.unwrap();
    one
}

#[tokio::test]
async fn a_client_that_is_not_connected_keeps_its_session() {
    for absent in [knows(false), status("404 Not Found")] {
        let (api, mut heads) = serve(answers(absent, ok("{}"), ok("{}"))).await;
        let one = revoked().await;
        let work = cutting(&one, &[("edge", &api)]);
        is_owed_nothing(&one).await;
        work.abort();
        for _ in 0..2 {
            assert!(heads.recv().await.unwrap().starts_with("GET "), "it is looked for twice");
        }
        assert!(heads.try_recv().is_err(), "and nothing is done to it");
    }
}

#[tokio::test]
async fn a_client_that_is_connected_is_told_and_cut_once() {
    let (api, mut heads) = serve(answers(knows(true), ok("{}"), ok("{}"))).await;
    let one = revoked().await;
    let work = cutting(&one, &[("edge", &api)]);
    assert_eq!(asked(&mut heads, "DELETE").await, ["GET", "POST", "DELETE"]);
    is_owed_nothing(&one).await;
    assert!(heads.try_recv().is_err());
    work.abort();
}

#[tokio::test]
async fn a_cut_that_fails_is_tried_again_until_it_is_done() {
    let fails = Arc::new(Guarded::new(3));
    let (api, mut heads) = serve(move |head: &str| {
        let works = answers(knows(true), status("503 Service Unavailable"), ok("{}"));
        let mut fails = fails.lock().unwrap();
        if head.starts_with("DELETE") && *fails > 0 {
            *fails -= 1;
            return status("503 Service Unavailable");
        }
        works(head)
    })
    .await;
    let one = revoked().await;
    let work = cutting(&one, &[("edge", &api)]);
    for _ in 0..4 {
        assert_eq!(asked(&mut heads, "DELETE").await, ["GET", "POST", "DELETE"]);
    }
    is_owed_nothing(&one).await;
    work.abort();
}

#[tokio::test]
async fn a_client_that_logs_in_again_without_a_token_as_it_is_told_is_not_cut() {
    let one = revoked().await;
    let tokens = one.tokens.clone();
    let (api, mut heads) = serve(move |head: &str| {
        if head.starts_with("POST") {
            tokens.logged_out(&client("a"));
        }
        answers(knows(true), ok("{}"), ok("{}"))(head)
    })
    .await;
    let work = cutting(&one, &[("edge", &api)]);
    assert_eq!(asked(&mut heads, "POST").await, ["GET", "POST"]);
    sleep(TO_READ * 3).await;
    assert!(heads.try_recv().is_err(), "another connection is left alone");
    work.abort();
}

#[tokio::test]
async fn a_client_that_logs_in_again_before_it_is_seen_to_is_neither_told_nor_cut() {
    let (api, mut heads) = serve(answers(knows(true), ok("{}"), ok("{}"))).await;
    let one = revoked().await;
    one.tokens.logged_out(&client("a"));
    let work = cutting(&one, &[("edge", &api)]);
    sleep(TO_READ).await;
    assert!(heads.try_recv().is_err());
    work.abort();
}

#[tokio::test]
async fn a_broker_that_says_nothing_holds_up_no_other_and_many_are_cut_at_a_time() {
    let (dead, _heads) = serve(|_| Act::IsSilent).await;
    let (api, mut heads) = serve(answers(knows(true), ok("{}"), ok("{}"))).await;
    let one = Replica::new(&service(None));
    let token = one.apply(10).await;
    let grant = one.tokens.check(&token, NOW).unwrap();
    let held = [crate::tokens::sessions::Held { kind: crate::lmq::token::Kind::Read, grant: Arc::new(grant.clone()) }];
    for (broker, many) in [("dead", 100), ("edge", 200)] {
        for number in 0..many {
            let client = super::super::Client { broker: broker.into(), client_id: number.to_string().into() };
            one.tokens.logged_in(&client, Adapter::Rmqtt, &held, NOW);
        }
    }
    one.tokens.revoke(grant).await.unwrap();
    let work = cutting(&one, &[("dead", &dead), ("edge", &api)]);
    let cut = async {
        for _ in 0..200 {
            asked(&mut heads, "DELETE").await;
        }
    };
    timeout(PATIENCE, cut).await.expect("they wait for nobody");
    work.abort();
}
