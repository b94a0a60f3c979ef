//! The admin listener: is it alive, is it ready, what are its numbers.
//!
//! It answers GET alone, bounds how many may ask at once, and shows no payload or secret. The reasons in `/ready` name
//! the topic or the client id that a person has to see to; the labels of metrics never do. Below this page are the
//! listeners that others than the operator may reach.

mod bounded;
pub mod hooks;
pub mod lmq;
pub mod login;
pub mod tls;
mod tokens;

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use tokio::{io, net::TcpListener};

use crate::{status::Status, telemetry::Telemetry, tokens::Tokens};
use bounded::{Bounded, Bounds};

/// A scraper and a person or two.
const BOUNDS: Bounds = Bounds { connections: 32, unanswered: Duration::from_secs(30), request: 64 << 10 };

const INDEX: &str = "rocketbridge\n\n\
    /live     200 while the process runs\n\
    /ready    200 when every route can read and write, else 503; JSON says which cannot and why\n\
    /metrics  numbers for Prometheus\n\
    /tokens   the tokens of the token service, a page at a time: ?after=ID&limit=N\n";

/// What the pages show.
#[derive(Debug, Clone)]
pub struct Shown {
    /// How every route is.
    pub status: Status,
    /// All numbers.
    pub telemetry: Telemetry,
    /// The token service, where there is one.
    pub tokens: Option<Arc<Tokens>>,
}

/// Serves the admin pages until its task is ended.
pub async fn serve(listener: TcpListener, shown: Shown) -> io::Result<()> {
    let router = Router::new()
        .route("/", get(|| async { INDEX }))
        .route("/live", get(|| async { "alive\n" }))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics))
        .route("/tokens", get(tokens::list))
        .with_state(shown);
    axum::serve(Bounded::new(listener, None, BOUNDS), router).await
}

async fn ready(State(shown): State<Shown>) -> impl IntoResponse {
    let readiness = shown.status.readiness();
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = serde_json::to_string(&readiness).expect("strings, numbers and lists of them are JSON");
    (status, [(header::CONTENT_TYPE, "application/json")], body)
}

async fn metrics(State(shown): State<Shown>) -> impl IntoResponse {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], shown.telemetry.encode())
}
