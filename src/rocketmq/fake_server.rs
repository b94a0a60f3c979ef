//! A server that answers as a test says, for what no real one can be made to show. It speaks RocketMQ's frames.

use std::{future::Future, net::SocketAddr};

use bytes::BytesMut;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
};

use super::wire::frame::Frame;

/// What a request is answered with.
#[derive(Debug)]
pub(super) struct Answer {
    code: i32,
    fields: Value,
    body: Vec<u8>,
}

impl Answer {
    pub(super) fn new(code: i32, fields: Value, body: impl Into<Vec<u8>>) -> Self {
        Self { code, fields, body: body.into() }
    }

    fn frame(&self, opaque: i32) -> Vec<u8> {
        let header = json!({ "code": self.code, "flag": 1, "opaque": opaque, "extFields": self.fields }).to_string();
        let lengths = [4 + header.len() + self.body.len(), header.len()].map(|length| u32::try_from(length).unwrap());
        [&lengths[0].to_be_bytes(), &lengths[1].to_be_bytes(), header.as_bytes(), &self.body].concat()
    }
}

/// A server on a port of its own. Dropped, it and its connections are gone.
#[derive(Debug)]
pub(super) struct FakeServer {
    pub(super) address: SocketAddr,
    serving: JoinHandle<()>,
}

impl FakeServer {
    /// Answers requests as `answer` says, each in its own time; nothing cuts the connection.
    pub(super) async fn start<F, A>(answer: F) -> Self
    where
        F: Fn(Frame) -> A + Clone + Send + 'static,
        A: Future<Output = Option<Answer>> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, answer.clone()));
            }
        });
        Self { address, serving }
    }
}

impl Drop for FakeServer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve<F, A>(mut stream: TcpStream, answer: F)
where
    F: Fn(Frame) -> A,
    A: Future<Output = Option<Answer>> + Send + 'static,
{
    let (mut reader, mut writer) = stream.split();
    let (mut buffer, mut under_way) = (BytesMut::new(), JoinSet::new());
    loop {
        tokio::select! {
            read = reader.read_buf(&mut buffer) => {
                if !read.is_ok_and(|count| count > 0) {
                    return;
                }
                while let Some(request) = Frame::decode(&mut buffer).unwrap() {
                    let (opaque, answered) = (request.opaque, answer(request));
                    under_way.spawn(async move { (opaque, answered.await) });
                }
            }
            Some(answered) = under_way.join_next() => {
                let (opaque, Some(answer)) = answered.unwrap() else { return };
                if writer.write_all(&answer.frame(opaque)).await.is_err() {
                    return;
                }
            }
        }
    }
}
