//! The listener of hooks: brokers post here what happens to their clients, and ask who may log in.
//!
//! A post is answered with 200 only when all that it makes is stored; otherwise the broker is told to post it again.
//! It must never take a post without the shared secret, where there is one.

#[cfg(test)]
pub(super) mod tests;

use std::{io, sync::Arc, time::Duration};

use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Path, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::post,
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use subtle::ConstantTimeEq;
use tokio::{net::TcpListener, time::timeout};

use super::{
    bounded::{Bounded, Bounds},
    login,
    tls::Tls,
};
use crate::{
    logins::Logins,
    presence::{
        adapter::HOOK_HEADER,
        webhook::{Doors, NotTaken},
    },
    settings::Secret,
};

/// A broker posts over a few connections, but some open one for each event.
const BOUNDS: Bounds = Bounds { connections: 256, unanswered: Duration::from_secs(60), request: 2 * BODY };
/// Bytes of a post.
const BODY: usize = 1 << 20;
/// How long a post may wait until it is stored. Brokers give up after 5 s or more.
const PATIENCE: Duration = Duration::from_secs(10);

struct Shared {
    doors: Doors,
    secret: Option<Secret>,
}

/// Takes posts until its task is ended.
pub async fn serve(
    listener: TcpListener,
    tls: Option<Tls>,
    doors: Doors,
    logins: Arc<Logins>,
    secret: Option<Secret>,
) -> io::Result<()> {
    let login = login::router(logins, secret.clone());
    let router = Router::new()
        .route("/events/{route}", post(event))
        .with_state(Arc::new(Shared { doors, secret }))
        .merge(login)
        .layer(DefaultBodyLimit::max(BODY))
        .fallback(|| async { say(StatusCode::NOT_FOUND, "post to /events/ROUTE or /login/FORM/BROKER/user") });
    axum::serve(Bounded::new(listener, tls, BOUNDS), router).await
}

async fn event(
    State(shared): State<Arc<Shared>>,
    Path(route): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if !is_authorised(&headers, shared.secret.as_ref()) {
        return say(StatusCode::UNAUTHORIZED, "`authorization: Bearer SECRET` is missing or wrong");
    }
    let hook = headers.get(HOOK_HEADER).and_then(|hook| hook.to_str().ok()).unwrap_or_default();
    match timeout(PATIENCE, shared.doors.post(&route, hook, body)).await {
        // VerneMQ expects an answer in JSON.
        Ok(Ok(())) => say(StatusCode::OK, "ok"),
        Ok(Err(error @ NotTaken::NoRoute)) => say(StatusCode::NOT_FOUND, &error.to_string()),
        Ok(Err(error @ NotTaken::Unreadable(_))) => say(StatusCode::BAD_REQUEST, &error.to_string()),
        Ok(Err(error @ NotTaken::Stopped)) => say(StatusCode::SERVICE_UNAVAILABLE, &error.to_string()),
        Err(_) => say(StatusCode::SERVICE_UNAVAILABLE, "RocketMQ has not stored it yet: post it again"),
    }
}

/// Whether a request has the secret: as a bearer token, or as the password of any user, for what cannot send headers of
/// its own but a URL with a password.
pub(super) fn is_authorised(headers: &HeaderMap, secret: Option<&Secret>) -> bool {
    let Some(secret) = secret else { return true };
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let basic = || {
        let pair = BASE64_STANDARD.decode(given.strip_prefix("Basic ")?).ok()?;
        let password = pair.iter().position(|byte| *byte == b':')? + 1;
        Some(pair[password..].to_vec())
    };
    let bearer = given.strip_prefix("Bearer ").map(|bearer| bearer.as_bytes().to_vec());
    bearer.or_else(basic).unwrap_or_default().ct_eq(secret.reveal().as_bytes()).into()
}

pub(super) fn say(status: StatusCode, result: &str) -> Response {
    let body = serde_json::json!({ "result": result }).to_string();
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}
