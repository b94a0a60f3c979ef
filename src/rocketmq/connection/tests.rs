use tokio::net::{TcpListener, tcp::OwnedWriteHalf};

use super::*;

/// A server that hands over each request and its write half.
async fn server() -> (String, mpsc::Receiver<Frame>, oneshot::Receiver<OwnedWriteHalf>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (requests, received) = mpsc::channel(16);
    let (give, writer) = oneshot::channel();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let (mut reader, writer) = stream.into_split();
        give.send(writer).unwrap();
        let mut buffer = BytesMut::new();
        while reader.read_buf(&mut buffer).await.is_ok_and(|count| count > 0) {
            while let Some(frame) = Frame::decode(&mut buffer).unwrap() {
                if requests.send(frame).await.is_err() {
                    return;
                }
            }
        }
    });
    (address, received, writer)
}

async fn open(address: &str) -> (Connection, mpsc::Receiver<Push>) {
    let (pushes, received) = mpsc::channel(4);
    (Connection::open(address, None, Duration::from_secs(1), pushes).await.unwrap(), received)
}

fn answer(code: i32, opaque: i32) -> BytesMut {
    let mut out = BytesMut::new();
    encode_answer(code, opaque, &mut out);
    out
}

#[tokio::test]
async fn answers_find_their_calls_in_any_order() {
    let (address, mut requests, writer) = server().await;
    let (connection, _pushed) = open(&address).await;
    let mut writer = writer.await.unwrap();
    let call = |code| {
        let connection = connection.clone();
        tokio::spawn(async move { connection.call(Request::new(code), Duration::from_secs(5)).await })
    };
    let (first, second) = (call(1), call(2));
    let asked = [requests.recv().await.unwrap(), requests.recv().await.unwrap()];
    for request in asked.iter().rev() {
        writer.write_all(&answer(100 + request.code, request.opaque)).await.unwrap();
    }
    assert_eq!(first.await.unwrap().unwrap().code, 101);
    assert_eq!(second.await.unwrap().unwrap().code, 102);
}

#[tokio::test]
async fn all_waiting_calls_fail_at_once_when_the_connection_ends() {
    let (address, mut requests, writer) = server().await;
    let (connection, _pushed) = open(&address).await;
    let waiting = {
        let connection = connection.clone();
        tokio::spawn(async move { connection.call(Request::new(1), Duration::from_secs(60)).await })
    };
    requests.recv().await.unwrap();
    drop(requests);
    drop(writer.await.unwrap());
    let result = timeout(Duration::from_secs(1), waiting).await.unwrap().unwrap();
    assert!(matches!(result, Err(ConnectionError::Disconnected { .. })), "{result:?}");
    assert!(!connection.is_open());
    let later = connection.call(Request::new(1), Duration::from_secs(60)).await;
    assert!(matches!(later, Err(ConnectionError::Disconnected { .. })), "{later:?}");
}

#[tokio::test]
async fn a_deadline_that_passes_in_silence_ends_the_connection() {
    let (address, _requests, _writer) = server().await;
    let (connection, _pushed) = open(&address).await;
    let result = connection.call(Request::new(1), Duration::from_millis(50)).await;
    assert!(matches!(result, Err(ConnectionError::Timeout { .. })), "{result:?}");
    assert!(!connection.is_open());
}

#[tokio::test]
async fn a_deadline_while_others_are_answered_keeps_the_connection() {
    let (address, mut requests, writer) = server().await;
    let (connection, _pushed) = open(&address).await;
    let mut writer = writer.await.unwrap();
    let slow = {
        let connection = connection.clone();
        tokio::spawn(async move { connection.call(Request::new(1), Duration::from_millis(300)).await })
    };
    let ignored = requests.recv().await.unwrap();
    let quick = {
        let connection = connection.clone();
        tokio::spawn(async move { connection.call(Request::new(2), Duration::from_secs(5)).await })
    };
    let request = requests.recv().await.unwrap();
    writer.write_all(&answer(0, request.opaque)).await.unwrap();
    quick.await.unwrap().unwrap();
    assert!(slow.await.unwrap().is_err());
    assert!(connection.is_open());
    writer.write_all(&answer(0, ignored.opaque)).await.unwrap();
}

#[tokio::test]
async fn requests_of_the_server_are_pushed_and_answered_when_it_waits() {
    let (address, mut requests, writer) = server().await;
    let (_connection, mut pushed) = open(&address).await;
    let mut writer = writer.await.unwrap();
    for (code, one_way) in [(code::request::NOTIFY_CONSUMER_IDS_CHANGED, true), (307, false)] {
        let mut out = BytesMut::new();
        Request::new(code).encode_head(5, one_way, &mut out);
        writer.write_all(&out).await.unwrap();
    }
    assert_eq!(pushed.recv().await.unwrap().frame.code, code::request::NOTIFY_CONSUMER_IDS_CHANGED);
    assert_eq!(pushed.recv().await.unwrap().frame.code, 307);
    let refusal = requests.recv().await.unwrap();
    assert_eq!((refusal.code, refusal.opaque), (code::response::REQUEST_CODE_NOT_SUPPORTED, 5));
}

#[tokio::test]
async fn large_and_small_bodies_stay_in_order() {
    let (address, mut requests, writer) = server().await;
    let (connection, _pushed) = open(&address).await;
    let _writer = writer.await.unwrap();
    for size in [10, 200_000, 0, 70_000, 3] {
        connection.one_way(Request::new(size).body(vec![7; usize::try_from(size).unwrap()])).await.unwrap();
    }
    for size in [10, 200_000, 0, 70_000, 3] {
        let frame = requests.recv().await.unwrap();
        assert_eq!((frame.code, frame.body.len()), (size, usize::try_from(size).unwrap()));
        assert!(frame.is_one_way());
    }
}
