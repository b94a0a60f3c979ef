use bytes::BytesMut;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use super::*;
use crate::{rocketmq::wire::frame::encode_answer, settings::StoredWhen};

fn cluster(name_servers: Vec<String>) -> Arc<RocketMqCluster> {
    Arc::new(RocketMqCluster {
        name: "main".to_owned(),
        name_servers,
        access_key: None,
        secret_key: None,
        tls: None,
        namespace: String::new(),
        stored_when: StoredWhen::Durable,
        request_timeout: Duration::from_secs(2),
        max_message: 4 << 20,
        lane_grace: Duration::from_secs(60),
    })
}

/// A name server that gives every request the same code, or nothing at all.
async fn name_server(code: Option<i32>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut buffer = BytesMut::new();
                while stream.read_buf(&mut buffer).await.is_ok_and(|count| count > 0) {
                    while let Some(frame) = Frame::decode(&mut buffer).unwrap() {
                        let Some(code) = code else { continue };
                        let mut out = BytesMut::new();
                        encode_answer(code, frame.opaque, &mut out);
                        stream.write_all(&out).await.unwrap();
                    }
                }
            });
        }
    });
    address
}

/// An address where nobody listens.
async fn nobody() -> String {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string()
}

async fn ask(name_servers: Vec<String>) -> (Result<Response, CallError>, Duration) {
    let (client, _pushes) = Client::new(cluster(name_servers), "test");
    client.inner.preferred.store(0, Ordering::Relaxed);
    let start = Instant::now();
    (client.ask_name_servers(Request::new(request::GET_ROUTEINFO_BY_TOPIC)).await, start.elapsed())
}

#[tokio::test]
async fn a_name_server_that_is_down_or_silent_delays_nothing_for_long() {
    let (answer, took) = ask(vec![nobody().await, name_server(None).await, name_server(Some(0)).await]).await;
    assert!(answer.is_ok(), "{answer:?}");
    assert!(took < Duration::from_secs(1), "{took:?}");
}

#[tokio::test]
async fn a_topic_is_missing_only_when_no_name_server_knows_it() {
    let (answer, _) = ask(vec![name_server(Some(17)).await, name_server(Some(0)).await]).await;
    assert!(answer.is_ok(), "{answer:?}");
    let (answer, _) = ask(vec![name_server(Some(17)).await, nobody().await]).await;
    assert!(matches!(answer, Err(CallError::TopicNotExist(_))), "{answer:?}");
}

#[tokio::test]
async fn calls_after_a_failed_connect_fail_at_once() {
    let (client, _pushes) = Client::new(cluster(vec![]), "test");
    let address = nobody().await;
    for _ in 0..50 {
        let start = Instant::now();
        let answer = client.call_address(&address, Request::new(1), Duration::from_secs(2)).await;
        assert!(matches!(answer, Err(CallError::Connection(_))), "{answer:?}");
        assert!(start.elapsed() < Duration::from_millis(200));
    }
}

#[tokio::test]
async fn a_server_that_went_silent_gets_no_request_again_before_it_answers() {
    const ASKED: i32 = 77;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (received, mut requests) = mpsc::channel(16);
    // Takes everything and answers nothing, as a stopped process seems to.
    let server = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let received = received.clone();
            tokio::spawn(async move {
                let mut buffer = BytesMut::new();
                while stream.read_buf(&mut buffer).await.is_ok_and(|count| count > 0) {
                    while let Some(frame) = Frame::decode(&mut buffer).unwrap() {
                        received.send(frame.code).await.unwrap();
                    }
                }
            });
        }
    });
    let (client, _pushes) = Client::new(cluster(vec![]), "test");
    for _ in 0..4 {
        let answer = client.call_address(&address, Request::new(ASKED), Duration::from_millis(100)).await;
        assert!(matches!(answer, Err(CallError::Connection(_))), "{answer:?}");
    }
    drop(client);
    server.abort();
    let mut asked = 0;
    while let Ok(code) = requests.try_recv() {
        asked += usize::from(code == ASKED);
    }
    assert_eq!(asked, 1);
}
