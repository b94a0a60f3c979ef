use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::*;
use crate::{
    delivery::source_link,
    presence::{adapter::Adapter, webhook},
    telemetry::Telemetry,
};

const EVENT: &str = r#"{"clientId":"GID_a@@@1","event":"connect"}"#;

/// Posts once, and gives the status and the body.
pub(in crate::http) async fn posted(
    address: std::net::SocketAddr,
    path: &str,
    headers: &str,
    body: &str,
) -> (u16, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let length = body.len();
    let head =
        format!("POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}content-length: {length}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (status, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
}

#[tokio::test]
async fn a_post_is_answered_by_what_became_of_it() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let doors = Doors::default();
    let logins = Arc::new(crate::logins::fixtures::logins());
    tokio::spawn(serve(listener, None, doors.clone(), logins, Some(Secret::new("s3cret"))));
    let (link, mut route) = source_link(Telemetry::default().route("s", "webhook", "main", "file").source.clone());
    tokio::spawn(webhook::run(doors.open("s", Adapter::Generic), link));
    tokio::spawn(async move {
        while let Some(batch) = route.deliveries.recv().await {
            let tickets = batch.iter().map(|delivery| delivery.ticket).collect();
            route.settled.send(tickets).unwrap();
        }
    });
    let key = "authorization: Bearer s3cret\r\n";
    for (path, headers, body, status, words) in [
        ("/events/s", key, EVENT, 200, "ok"),
        ("/events/s", "", EVENT, 401, "missing or wrong"),
        ("/events/s", "authorization: Bearer s3cre\r\n", EVENT, 401, "missing or wrong"),
        // `any:s3cret` and `any:s3cre`
        ("/events/s", "authorization: Basic YW55OnMzY3JldA==\r\n", EVENT, 200, "ok"),
        ("/events/s", "authorization: Basic YW55OnMzY3Jl\r\n", EVENT, 401, "missing or wrong"),
        ("/events/s", "authorization: Basic s3cret\r\n", EVENT, 401, "missing or wrong"),
        ("/events/s", key, "{", 400, "JSON"),
        ("/events/other", key, EVENT, 404, "no status route"),
        ("/", key, EVENT, 404, "post to /events/ROUTE"),
    ] {
        let (given, text) = posted(address, path, headers, body).await;
        assert_eq!(given, status, "{path} {headers:?} {body}: {text}");
        assert!(text.contains(words), "{text}");
    }
    let page = include_str!("../../../docs/status.md");
    let (_, example) = page.split_once("http://127.0.0.1:8482/events/posted -d '").unwrap();
    let (body, printed) = example.split_once("'\n").unwrap();
    let (status, text) = posted(address, "/events/s", key, body).await;
    assert_eq!((status, Some(text.as_str())), (200, printed.lines().next()));
    let (status, _) = posted(address, "/events/s", key, &"x".repeat(BODY + 1)).await;
    assert_eq!(status, 413);
}
