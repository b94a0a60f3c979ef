//! The part of the hooks' listener where brokers ask who may log in: `POST /login/FORM/BROKER/user`, and `superuser` and
//! `acl` beside it.
//!
//! It must never answer a broker with anything that the broker could take for permission but a permission: whatever is
//! wrong with a request is a refusal in the form of the broker that asks.

mod fields;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::{
    Router,
    body::Bytes,
    extract::{Path, State, rejection::BytesRejection},
    http::{HeaderMap, Method, StatusCode, header},
    response::{IntoResponse, Response},
    routing::any,
};

use super::hooks::is_authorised;
use crate::{
    logins::{
        Asker, Logins, Rejected,
        form::{self, About, Answer, Decision, Fields},
    },
    presence::adapter::Adapter,
    settings::Secret,
};

struct Shared {
    logins: Arc<Logins>,
    secret: Option<Secret>,
}

/// The routes.
pub(super) fn router(logins: Arc<Logins>, secret: Option<Secret>) -> Router {
    Router::new().route("/login/{form}/{broker}/{about}", any(ask)).with_state(Arc::new(Shared { logins, secret }))
}

async fn ask(
    State(shared): State<Arc<Shared>>,
    Path((form, broker, about)): Path<(String, String, String)>,
    method: Method,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let Some(adapter) = Adapter::from_name(&form).filter(|adapter| adapter.has_login()) else {
        return (StatusCode::NOT_FOUND, "the form is none of emqx, rmqtt, nanomq and mosquitto\n").into_response();
    };
    let asker = Asker { adapter, broker: &broker };
    let decision = if is_authorised(&headers, shared.secret.as_ref()) {
        let body = body.ok().filter(|_| method == Method::POST);
        decide(&shared.logins, asker, &about, body.as_deref())
    } else {
        shared.logins.reject(asker, Rejected::Secret)
    };
    let Answer { status, body } = form::answer(adapter, decision);
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::FORBIDDEN);
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
    (status, headers, body).into_response()
}

fn decide(logins: &Logins, asker: Asker<'_>, about: &str, body: Option<&[u8]>) -> Decision {
    let fields = body.and_then(fields::read);
    let question = About::from_path(about).zip(fields.as_deref());
    match question.and_then(|(about, fields)| form::read(asker.adapter, about, Fields(fields))) {
        Some(question) => logins.decide(asker, &question),
        None => logins.reject(asker, Rejected::Unreadable),
    }
}
