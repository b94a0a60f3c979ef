use std::time::Duration;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::{broadcast, watch},
    time::timeout,
};

use super::{super::serve, *};
use crate::{
    http::lmq::tests::{between, examples},
    lmq::signature::{canonical, is_valid, sign},
    presence::ask::{Answer, Change, Online, Presences},
    settings::{Clients, Credential, Credentials, Secret, TokenSettings},
    tokens::store::tests::full_disk,
};

/// The contract's vector, section 9: every example of the document is asked at its time and with its key.
const NOW: u64 = 1_566_000_000_000;
const SECRET: &str = "XXXXX";
const PATIENCE: Duration = Duration::from_secs(20);

/// Nobody is asked for here.
struct Nobody;

impl Presences for Nobody {
    fn online(&self, _client_id: &str) -> Answer {
        Answer::Unknown
    }

    fn count(&self, _group: &str) -> Answer {
        Answer::Unknown
    }

    fn list(&self, _group: &str, _after: &str, _limit: usize) -> Vec<Online> {
        Vec::new()
    }

    fn changes(&self, _group: &str) -> broadcast::Receiver<Change> {
        broadcast::Sender::new(1).subscribe()
    }
}

/// A listener on a free port, at the time of the vector, where tokens end only by being revoked.
struct Service {
    address: String,
    tokens: Arc<Tokens>,
    _folder: Option<tempfile::TempDir>,
}

fn settings() -> TokenSettings {
    TokenSettings { secret: Secret::new("a secret that all replicas share"), topic: None }
}

impl Service {
    async fn start(now: fn() -> u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let tokens = Tokens::open(folder.path(), &settings(), NOW).unwrap();
        Self::of(tokens, Some(folder), now).await
    }

    /// One that cannot write anything down.
    async fn on_a_full_disk() -> Self {
        let (store, known) = full_disk();
        Self::of(Tokens::kept_in(store, known, &settings(), NOW), None, || NOW).await
    }

    async fn of(tokens: Tokens, folder: Option<tempfile::TempDir>, now: fn() -> u64) -> Self {
        let tokens = Arc::new(tokens);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let filters = |texts: &[&str]| texts.iter().map(|text| Pattern::plain(text).unwrap()).collect();
        let permission = Permission {
            publish: filters(&["TopicA/#", "TopicB/+"]),
            subscribe: filters(&["TopicA/#", "TopicB/#", "TopicD"]),
            ..Permission::default()
        };
        let key =
            || Credential { secret: Secret::new(SECRET), clients: Clients::default(), permission: permission.clone() };
        let access_keys = [("YYYYY".to_owned(), key()), ("ZZZZZ".to_owned(), key())].into();
        let credentials = Arc::new(Credentials { access_keys, ..Credentials::default() });
        let known = (Some("mqtt-xxxxx".to_owned()), watch::channel(credentials).1);
        tokio::spawn(serve(listener, None, known, Arc::new(Nobody), Some(tokens.clone()), now));
        Self { address, tokens, _folder: folder }
    }

    async fn send(&self, method: &str, target: &str, form: &str) -> (u16, serde_json::Value) {
        let mut stream = TcpStream::connect(&self.address).await.unwrap();
        let request = format!(
            "{method} {target} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n\
             content-type: application/x-www-form-urlencoded\r\n\r\n{form}",
            form.len()
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut all = String::new();
        timeout(PATIENCE, stream.read_to_string(&mut all)).await.expect("an answer").unwrap();
        let (head, body) = all.split_once("\r\n\r\n").unwrap();
        (head[9..12].parse().unwrap(), serde_json::from_str(body).unwrap())
    }

    /// The code of an answer to a form, and the token where there is one.
    async fn post(&self, path: &str, form: &str) -> (i64, Option<String>) {
        let (status, body) = self.send("POST", path, form).await;
        assert_eq!(status, 200, "{body}");
        let keys: Vec<&str> = body.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(keys, ["code", "message", "success", "tokenData"], "{body}");
        let code = body["code"].as_i64().unwrap();
        assert_eq!(body["success"], code == 200, "{body}");
        (code, body["tokenData"].as_str().map(str::to_owned))
    }

    async fn apply(&self, changes: &[(&str, &str)]) -> (i64, Option<String>) {
        let mut given = vec![
            ("actions", "R,W"),
            ("expireTime", "1566003600000"),
            ("instanceId", "mqtt-xxxxx"),
            ("resources", "TopicA/#,TopicB/+"),
            ("serviceName", "mq"),
        ];
        for (name, value) in &mut given {
            *value = changes.iter().find(|(changed, _)| changed == name).map_or(*value, |(_, value)| value);
        }
        let access_key = changes.iter().find(|(name, _)| *name == "accessKey").map_or("YYYYY", |(_, value)| value);
        let signature = sign(SECRET, &canonical(given.iter().copied()));
        given.extend([("proxyType", "MQTT"), ("accessKey", access_key), ("signature", &signature)]);
        self.post("/token/apply", &form(&given)).await
    }

    async fn ask(&self, path: &str, access_key: &str, token: &str) -> i64 {
        let signature = sign(SECRET, &format!("token={token}"));
        let given = [("token", token), ("accessKey", access_key), ("signature", &signature)];
        self.post(path, &form(&given)).await.0
    }
}

/// A form as clients write it.
fn form(given: &[(&str, &str)]) -> String {
    let encode = |text: &str| text.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D").replace('#', "%23");
    given.iter().map(|(name, value)| format!("{name}={}", encode(value))).collect::<Vec<_>>().join("&")
}

#[tokio::test]
async fn a_token_is_made_queried_and_revoked() {
    let service = Service::start(|| NOW).await;
    let (code, token) = service.apply(&[]).await;
    let token = token.unwrap();
    assert_eq!(code, 200);
    let grant = service.tokens.check(&token, NOW).unwrap();
    assert_eq!((&*grant.access_key, &*grant.instance, grant.expires), ("YYYYY", "mqtt-xxxxx", 1_566_003_600_000));
    assert_eq!((grant.resources.join(","), grant.read, grant.write), ("TopicA/#,TopicB/+".to_owned(), true, true));
    assert_eq!(service.ask("/token/query", "YYYYY", &token).await, 200);
    assert_eq!(service.ask("/token/revoke", "YYYYY", &token).await, 200);
    assert_eq!(service.ask("/token/query", "YYYYY", &token).await, 3);
    assert_eq!(
        service.ask("/token/revoke", "YYYYY", &token).await,
        200,
        "an answer may be lost, and the call repeated"
    );
    let other = service.apply(&[]).await.1.unwrap();
    assert_ne!(other, token);
    assert_eq!(service.ask("/token/query", "YYYYY", &other).await, 200);
}

#[tokio::test]
async fn get_asks_as_post_does() {
    let service = Service::start(|| NOW).await;
    let given = "accessKey=YYYYY&actions=R,W&expireTime=1566003600000&instanceId=mqtt-xxxxx&proxyType=MQTT\
                 &resources=TopicA/%23,TopicB/%2B&serviceName=mq&signature=5UgqvVOBp7uRXs%2B1KTeOwZ4rJW0%3D";
    let (status, body) = service.send("GET", &format!("/token/apply?{given}"), "").await;
    assert_eq!((status, body["code"].as_i64()), (200, Some(200)), "{body}");
    assert_eq!(service.post("/token/apply", given).await.0, 200);
    let (in_url, in_form) = given.split_once("&resources").unwrap();
    assert_eq!(service.post(&format!("/token/apply?{in_url}"), &format!("resources{in_form}")).await.0, 200);
}

#[tokio::test]
async fn every_refusal_has_its_code() {
    let service = Service::start(|| NOW).await;
    for (code, changes) in [
        (400, [("actions", "X")]),
        (400, [("expireTime", "1566000000000")]),
        (400, [("instanceId", "mqtt-yyyyy")]),
        (409, [("resources", "TopicC")]),
        (409, [("resources", "#")]),
        // It may subscribe to it, and not publish there.
        (409, [("resources", "TopicD")]),
        (409, [("resources", "TopicB/#")]),
        (407, [("accessKey", "AAAAA")]),
    ] {
        assert_eq!(service.apply(&changes).await, (code, None), "{changes:?}");
    }
    assert_eq!(service.apply(&[("resources", "TopicD"), ("actions", "R")]).await.0, 200);
    for path in ["/token/apply", "/token/revoke", "/token/query"] {
        assert_eq!(service.post(path, "").await.0, 400);
        assert_eq!(service.post(path, "a=%ff").await.0, 400);
        assert_eq!(service.post(path, &"x".repeat(FORM_MAX + 1)).await.0, 400);
    }
    let token = service.apply(&[]).await.1.unwrap();
    for path in ["/token/revoke", "/token/query"] {
        assert_eq!(service.ask(path, "YYYYY", "abc").await, 1);
        assert_eq!(service.ask(path, "YYYYY", &token[1..]).await, 1);
        assert_eq!(service.ask(path, "ZZZZZ", &token).await, 1, "of another access key");
        assert_eq!(service.ask(path, "AAAAA", &token).await, 407);
        let unsigned = form(&[("token", &token), ("accessKey", "YYYYY"), ("signature", "AAAA")]);
        assert_eq!(service.post(path, &unsigned).await.0, 407);
    }
    assert_eq!(service.ask("/token/query", "YYYYY", &token).await, 200, "nobody has revoked it");
}

#[tokio::test]
async fn a_token_that_has_ended_says_so() {
    let service = Service::start(|| NOW + 3_600_000).await;
    let wish = Apply {
        instance: "mqtt-xxxxx".to_owned(),
        resources: vec!["TopicA/#".to_owned()],
        read: true,
        write: true,
        expires: NOW + 3_600_000,
    };
    let token = service.tokens.apply("YYYYY", wish, NOW).await.unwrap();
    assert_eq!(service.ask("/token/query", "YYYYY", &token).await, 2);
    assert_eq!(service.ask("/token/revoke", "YYYYY", &token).await, 2);
}

#[tokio::test]
async fn a_full_disk_makes_and_revokes_nothing_and_says_so() {
    let service = Service::on_a_full_disk().await;
    assert_eq!(service.apply(&[]).await, (409, None));
    let token = Service::start(|| NOW).await.apply(&[]).await.1.unwrap();
    assert_eq!(service.ask("/token/revoke", "YYYYY", &token).await, 410);
    assert_eq!(service.ask("/token/query", "YYYYY", &token).await, 200, "it was not revoked");
}

#[tokio::test]
async fn every_line_of_the_document_prints_what_it_says() {
    let page = include_str!("../../../../docs/tokens.md");
    let (service, full) = (Service::start(|| NOW).await, Service::on_a_full_disk().await);
    let mut seen = Vec::new();
    for (typed, printed) in examples(page) {
        if typed.starts_with("printf ") {
            let (text, secret) = (between(typed, "printf %s '", "'"), between(typed, "-hmac ", " "));
            assert!(is_valid(secret, text, printed.trim()), "{typed}");
            continue;
        }
        assert!(typed.starts_with("curl -w ' %{http_code}\\n' "), "{typed}");
        let (path, form) = (between(typed, "http://127.0.0.1:8481", " "), between(typed, "-d '", "'"));
        let service = if printed.contains("No space left") { &full } else { &service };
        let (status, mut body) = service.send("POST", path, form).await;
        let (shown, shown_status) = printed.trim_end().rsplit_once(' ').unwrap();
        let mut shown: serde_json::Value = serde_json::from_str(shown).unwrap();
        // A token differs each time, but not in what it grants.
        let mut grants = [&mut shown, &mut body].map(|answer| {
            let token = answer["tokenData"].take();
            token.as_str().map(|token| service.tokens.check(token, NOW).unwrap())
        });
        for grant in grants.iter_mut().flatten() {
            grant.id = crate::lmq::token::TokenId([0; 16]);
        }
        assert_eq!((&shown, shown_status, &grants[0]), (&body, &*status.to_string(), &grants[1]), "{typed}");
        seen.push(body["code"].as_i64().unwrap());
    }
    for code in [200, 1, 2, 3, 400, 407, 409, 410] {
        assert!(seen.contains(&code), "the document does not show {code}");
    }
}
