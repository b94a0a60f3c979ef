//! What a broker posts to a web-hook, kept in the order in which it came.

use std::time::Duration;

use axum::{Router, extract::State, routing::post};
use serde_json::Value;
use tokio::{net::TcpListener, sync::mpsc, task::JoinHandle};

use super::free_port;

/// Takes JSON by POST and answers 200. Dropping it closes its port.
#[derive(Debug)]
pub struct Hooks {
    /// Where to post to.
    pub url: String,
    told: mpsc::UnboundedReceiver<Value>,
    task: JoinHandle<()>,
}

impl Hooks {
    pub async fn start() -> Self {
        let port = free_port();
        let listener = TcpListener::bind(("127.0.0.1", port)).await.expect("bind the web-hook");
        let (sender, told) = mpsc::unbounded_channel();
        let router = Router::new().route("/events", post(take)).with_state(sender);
        let task = tokio::spawn(async move { axum::serve(listener, router).await.expect("serve the web-hook") });
        Self { url: format!("http://127.0.0.1:{port}/events"), told, task }
    }

    /// The next post, if one comes in time.
    pub async fn next_within(&mut self, limit: Duration) -> Option<Value> {
        tokio::time::timeout(limit, self.told.recv()).await.ok().flatten()
    }
}

impl Drop for Hooks {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn take(State(told): State<mpsc::UnboundedSender<Value>>, body: String) {
    let event = serde_json::from_str(&body).unwrap_or_else(|e| panic!("the web-hook got {body:?}: {e}"));
    let _ = told.send(event);
}
