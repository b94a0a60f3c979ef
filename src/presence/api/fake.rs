//! For tests: an HTTP interface that does as it is told, since a real broker cannot be brought to be slow or endless.

use std::time::{Duration, UNIX_EPOCH};

use serde_json::json;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpListener,
    sync::mpsc,
};

use crate::settings::{BrokerApi, HttpUrl, TlsFiles};

/// What it does with a request.
#[derive(Clone)]
pub(crate) enum Act {
    /// Answers with these bytes and closes.
    Says(String),
    /// Begins an answer and goes on for ever, so many bytes at a time.
    GoesOn(usize, Duration),
    /// Says nothing.
    IsSilent,
}

/// An answer with this body.
pub(crate) fn ok(body: &str) -> Act {
    Act::Says(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()))
}

/// An answer with another status.
pub(crate) fn status(line: &str) -> Act {
    Act::Says(format!("HTTP/1.1 {line}\r\ncontent-length: 2\r\n\r\n{{}}"))
}

/// EMQX's answer, with clients of the node `n` that connected at these times in milliseconds.
pub(crate) fn emqx(clients: &[(&str, u64)], hasnext: bool) -> Act {
    let time = |at: u64| humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_millis(at)).to_string();
    let row =
        |(id, at): &(&str, u64)| json!({"clientid": id, "node": "n", "connected": true, "connected_at": time(*at)});
    let data: Vec<_> = clients.iter().map(row).collect();
    ok(&json!({"data": data, "meta": {"hasnext": hasnext}}).to_string())
}

/// Takes one request; its head comes out.
pub(super) async fn act<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, act: impl Fn(&str) -> Act) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    match act(&head) {
        Act::Says(answer) => stream.write_all(answer.as_bytes()).await.unwrap(),
        Act::GoesOn(bytes, pause) => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n").await;
            while stream.write_all(&vec![b' '; bytes]).await.is_ok() {
                tokio::time::sleep(pause).await;
            }
        }
        Act::IsSilent => drop(stream.read_u8().await),
    }
    head
}

/// An interface that does as it is told; the heads of the requests come out.
pub(crate) async fn serve(
    does: impl Fn(&str) -> Act + Send + Clone + 'static,
) -> (BrokerApi, mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (told, heads) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let head = act(stream, does.clone()).await;
            let _ = told.send(head);
        }
    });
    let url = HttpUrl { encrypted: false, host: "127.0.0.1".into(), port };
    (BrokerApi { url, login: None, tls: TlsFiles::default() }, heads)
}
