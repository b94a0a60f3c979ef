use std::time::Duration;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::{broadcast, watch},
    time::timeout,
};

use super::*;
use crate::{
    lmq::signature::{is_valid, sign},
    presence::ask::Change,
    settings::{Clients, Credential, Credentials, Permission, Secret},
};

/// The contract's vector, section 8: every example of the document is asked at its time and with its key.
const NOW: u64 = 1_566_000_000_000;
const SECRET: &str = "XXXXX";
const PATIENCE: Duration = Duration::from_secs(20);

/// Client 1 has one connection, 2 has none, 3 is unknown; the group has two online, 1 and 4. One change follows the
/// opening of a feed, more at will.
struct Fake {
    changes: broadcast::Sender<Change>,
}

impl Presences for Fake {
    fn online(&self, client_id: &str) -> Answer {
        match client_id {
            "GID_Test@@@0001" => Answer::Known(1),
            "GID_Test@@@0003" => Answer::Unknown,
            _ => Answer::Known(0),
        }
    }

    fn count(&self, _group: &str) -> Answer {
        Answer::Known(2)
    }

    fn list(&self, group: &str, after: &str, limit: usize) -> Vec<Online> {
        let ids = [format!("{group}@@@0001"), format!("{group}@@@0004")];
        let clients = ids.into_iter().filter(|id| id.as_str() > after).take(limit);
        let client = |client_id| Online {
            client_id,
            channels: 1,
            connected_at: 1_565_999_990_000,
            client_ip: "192.0.2.7:51234".to_owned(),
        };
        clients.map(client).collect()
    }

    fn changes(&self, group: &str) -> broadcast::Receiver<Change> {
        let receiver = self.changes.subscribe();
        self.changes.send(change(&format!("{group}@@@0001"), 0)).unwrap();
        receiver
    }
}

fn change(client_id: &str, online: u32) -> Change {
    Change { client_id: client_id.to_owned(), online: Answer::Known(online), at: NOW }
}

/// A listener on a free port, at the time of the vector.
async fn listen() -> (String, broadcast::Sender<Change>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let clients = Clients { groups: ["GID_Test".to_owned()].into(), ..Clients::default() };
    let key = Credential { secret: Secret::new(SECRET), clients, permission: Permission::default() };
    let credentials = Credentials { access_keys: [("YYYYY".to_owned(), key)].into(), ..Credentials::default() };
    let known = watch::channel(Arc::new(credentials)).1;
    let changes = broadcast::Sender::new(16);
    let fake = Arc::new(Fake { changes: changes.clone() });
    tokio::spawn(serve(listener, None, (Some("mqtt-xxxxx".into()), known), fake, None, || NOW));
    (address, changes)
}

/// The path and query of a signed request.
fn signed(path: &str, parameters: &str) -> String {
    let text = format!("accessKey=YYYYY&instanceId=mqtt-xxxxx&{parameters}&timestamp={NOW}");
    let mut sorted: Vec<_> = text.split('&').filter_map(|pair| pair.split_once('=')).collect();
    sorted.sort_unstable();
    let signature = sign(SECRET, &crate::lmq::signature::canonical(sorted)).replace('+', "%2B");
    format!("{path}?{text}&signature={signature}")
}

async fn send(address: &str, method: &str, target: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("{method} {target} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

/// The status, the head and the body of an answer.
async fn get(address: &str, target: &str) -> (u16, String, String) {
    let mut all = String::new();
    timeout(PATIENCE, send(address, "GET", target).await.read_to_string(&mut all)).await.expect("an answer").unwrap();
    let (head, body) = all.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), head.to_lowercase(), body.to_owned())
}

/// A feed that is being read.
struct Feed {
    stream: TcpStream,
    all: String,
}

impl Feed {
    async fn open(address: &str, target: &str) -> Self {
        Self { stream: send(address, "GET", target).await, all: String::new() }
    }

    /// Everything it has said once that holds what is wanted, without the lengths between its chunks.
    async fn until(&mut self, wanted: &str) -> String {
        let reading = async {
            let mut buffer = [0; 1024];
            loop {
                let read = self.stream.read(&mut buffer).await.unwrap();
                assert!(read > 0, "the feed ended after {:?}", self.all);
                self.all.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
                let body = self.all.split_once("\r\n\r\n").map_or("", |(_, body)| body);
                let events: String = body.split("\r\n").skip(1).step_by(2).collect();
                if events.contains(wanted) {
                    return events;
                }
            }
        };
        timeout(PATIENCE, reading).await.expect("more of the feed")
    }
}

#[tokio::test]
async fn every_answer_is_json_that_no_cache_keeps() {
    let (address, _) = listen().await;
    for (target, status) in [
        (signed("/route/clientId/get", "resource=GID_Test@@@0001"), 200),
        (signed("/route/clientId/get", "resource=GID_Test%40@@0001"), 403),
        (signed("/route/clientId/get", "resource=%ff"), 400),
        ("/".to_owned(), 400),
        ("/route/clientId/get".to_owned(), 400),
        (format!("/route/clientId/get?{}", "x".repeat(QUERY_MAX + 1)), 400),
    ] {
        let (found, head, body) = get(&address, &target).await;
        assert_eq!(found, status, "{target}: {body}");
        assert!(head.contains("content-type: application/json") && head.contains("cache-control: no-store"), "{head}");
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(body["success"], status == 200, "{body}");
    }
    let mut posted = String::new();
    send(&address, "POST", "/route/clientId/get").await.read_to_string(&mut posted).await.unwrap();
    assert!(posted.starts_with("HTTP/1.1 400") && posted.contains("only GET is answered"), "{posted}");
}

#[tokio::test]
async fn a_connection_takes_one_query_after_the_other() {
    let (address, _) = listen().await;
    let mut stream = TcpStream::connect(&address).await.unwrap();
    let target = signed("/route/clientId/get", "resource=GID_Test@@@0001");
    let mut buffer = [0; 1024];
    for _ in 0..3 {
        stream.write_all(format!("GET {target} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).await.unwrap();
        let read = timeout(PATIENCE, stream.read(&mut buffer)).await.unwrap().unwrap();
        assert!(buffer[..read].starts_with(b"HTTP/1.1 200"));
    }
}

#[tokio::test]
async fn pages_follow_each_other_to_the_last() {
    let (address, _) = listen().await;
    let mut after = String::new();
    let mut found = Vec::new();
    loop {
        let target = signed("/route/groupId/clients", &format!("after={after}&limit=1&resource=GID_Test"));
        let body: serde_json::Value = serde_json::from_str(&get(&address, &target).await.2).unwrap();
        found.extend(body["clients"].as_array().unwrap().iter().map(|client| client["clientId"].to_string()));
        match body["next"].as_str() {
            Some(next) => after = next.to_owned(),
            None => break,
        }
    }
    assert_eq!(found, ["\"GID_Test@@@0001\"", "\"GID_Test@@@0004\""]);
}

#[tokio::test]
async fn a_feed_tells_each_change_and_cuts_a_reader_that_missed_some() {
    let (address, changes) = listen().await;
    let mut feed = Feed::open(&address, &signed("/route/groupId/changes", "resource=GID_Test")).await;
    let first = feed.until("0001").await;
    assert_eq!(
        first,
        "event: change\ndata: {\"clientId\":\"GID_Test@@@0001\",\"online\":0,\"time\":1566000000000}\n\n"
    );
    changes.send(change("GID_Test@@@0005", 1)).unwrap();
    feed.until("{\"clientId\":\"GID_Test@@@0005\",\"online\":1").await;
    // More than the channel holds, before the feed can run.
    for _ in 0..17 {
        changes.send(change("GID_Test@@@0006", 1)).unwrap();
    }
    feed.until("event: missed\ndata: {}\n\n").await;
    let mut rest = Vec::new();
    timeout(PATIENCE, feed.stream.read_to_end(&mut rest)).await.expect("the feed ends").unwrap();
}

#[tokio::test]
async fn feeds_are_bounded_and_give_their_place_back() {
    let (address, changes) = listen().await;
    let target = signed("/route/groupId/changes", "resource=GID_Test");
    let mut open = Vec::new();
    for _ in 0..FEEDS {
        let mut feed = Feed::open(&address, &target).await;
        feed.until("0001").await;
        open.push(feed);
    }
    let (status, _, body) = get(&address, &target).await;
    assert_eq!((status, body.contains("\"code\":5")), (503, true), "{body}");
    drop(open);
    let tries = async {
        while changes.receiver_count() == FEEDS {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, tries).await.expect("a closed feed is noticed");
    Feed::open(&address, &target).await.until("0001").await;
}

/// What the document shows: a line to type, and what it prints.
pub(in crate::http) fn examples(page: &str) -> Vec<(&str, String)> {
    let mut found: Vec<(&str, String)> = Vec::new();
    for block in page.split("```console\n").skip(1).filter_map(|rest| rest.split("```").next()) {
        for line in block.lines() {
            match (line.strip_prefix("$ "), found.last_mut()) {
                (Some(typed), _) => found.push((typed, String::new())),
                (None, Some((_, printed))) => *printed += &format!("{line}\n"),
                (None, None) => panic!("{line} is printed by nothing"),
            }
        }
    }
    found
}

/// The part of a line between two others.
pub(in crate::http) fn between<'a>(line: &'a str, before: &str, after: &str) -> &'a str {
    let rest = line.split_once(before).unwrap_or_else(|| panic!("no {before} in {line}")).1;
    rest.split_once(after).unwrap_or_else(|| panic!("no {after} in {line}")).0
}

#[tokio::test]
async fn every_line_of_the_document_prints_what_it_says() {
    let page = include_str!("../../../docs/status.md");
    let mut seen = Vec::new();
    // The listener of hooks has its own part, and its own test.
    for (typed, printed) in examples(page).into_iter().filter(|(typed, _)| !typed.contains(":8482/")) {
        if typed.starts_with("printf ") {
            let (text, secret) = (between(typed, "printf %s '", "'"), between(typed, "-hmac ", " "));
            assert!(is_valid(secret, text, printed.trim()), "{typed}");
            continue;
        }
        let (address, _) = listen().await;
        let target = between(typed, "'http://127.0.0.1:8481", "'");
        if typed.starts_with("curl -N ") {
            let said = Feed::open(&address, target).await.until(printed.trim_end()).await;
            assert_eq!(said.trim_end(), printed.trim_end(), "{typed}");
            continue;
        }
        assert!(typed.starts_with("curl -w ' %{http_code}\\n' "), "{typed}");
        let (status, _, body) = get(&address, target).await;
        assert_eq!(format!("{body} {status}\n"), printed, "{typed}");
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        seen.push((status, body["code"].as_u64().unwrap(), body["online"].as_i64()));
    }
    for answer in [
        (200, 0, Some(1)),
        (200, 0, Some(0)),
        (200, 0, Some(-1)),
        (400, 1, Some(-1)),
        (403, 2, Some(-1)),
        (403, 3, Some(-1)),
        (403, 4, Some(-1)),
    ] {
        assert!(seen.contains(&answer), "the document does not show {answer:?}");
    }
}
