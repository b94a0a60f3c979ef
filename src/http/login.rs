//! The part of the hooks' listener where brokers ask who may log in: `POST /login/FORM/BROKER/user`, and `superuser` and
//! `acl` beside it; and tell of the tokens that clients send: `POST /login/FORM/BROKER/token`.
//!
//! It must never answer a broker with anything that the broker could take for permission but a permission: whatever is
//! wrong with a request is a refusal in the form of the broker that asks.

pub mod fields;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::{
    Router,
    body::Bytes,
    extract::{Path, State, rejection::BytesRejection},
    http::{HeaderMap, Method, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{any, post},
};

use super::hooks::{is_authorised, say};
use crate::{
    logins::{
        Asker, Logins, Rejected,
        form::{self, About, Answer, Fields},
    },
    presence::adapter::Adapter,
    settings::Secret,
    tokens::upload,
};

const NO_FORM: &str = "the form is none of emqx, rmqtt, nanomq and mosquitto";

struct Shared {
    logins: Arc<Logins>,
    secret: Option<Secret>,
}

/// The routes.
pub(super) fn router(logins: Arc<Logins>, secret: Option<Secret>) -> Router {
    Router::new()
        .route("/login/{form}/{broker}/{about}", any(ask))
        .route("/login/{form}/{broker}/token", post(renew))
        .with_state(Arc::new(Shared { logins, secret }))
}

/// A token that a client has sent. Whether it counts is for the client to hear, not for its broker.
async fn renew(
    State(shared): State<Arc<Shared>>,
    Path((form, broker)): Path<(String, String)>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    if !is_authorised(&headers, shared.secret.as_ref()) {
        return say(StatusCode::UNAUTHORIZED, &Rejected::Secret.to_string());
    }
    let Some(adapter) = Adapter::from_name(&form) else { return say(StatusCode::NOT_FOUND, NO_FORM) };
    let upload = body.map_err(|_| "its body cannot be read").and_then(|body| upload::read(adapter, &body));
    match upload {
        Err(why) => say(StatusCode::BAD_REQUEST, why),
        Ok(None) => say(StatusCode::OK, "not about a token"),
        Ok(Some(upload)) => match shared.logins.renew(Asker { adapter, broker: &broker }, &upload) {
            Ok(()) => say(StatusCode::OK, "ok"),
            Err(why) => say(StatusCode::NOT_FOUND, &why.to_string()),
        },
    }
}

async fn ask(
    State(shared): State<Arc<Shared>>,
    Path((form, broker, about)): Path<(String, String, String)>,
    method: Method,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let Some(adapter) = Adapter::from_name(&form).filter(|adapter| adapter.has_login()) else {
        return (StatusCode::NOT_FOUND, format!("{NO_FORM}\n")).into_response();
    };
    let asker = Asker { adapter, broker: &broker };
    let Answer { status, body } = if is_authorised(&headers, shared.secret.as_ref()) {
        let body = body.ok().filter(|_| method == Method::POST);
        answer(&shared.logins, asker, &about, body.as_deref())
    } else {
        form::answer(adapter, None, shared.logins.reject(asker, Rejected::Secret))
    };
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::FORBIDDEN);
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
    (status, headers, body).into_response()
}

fn answer(logins: &Logins, asker: Asker<'_>, about: &str, body: Option<&[u8]>) -> Answer {
    let adapter = asker.adapter;
    if body.is_some_and(|body| !fields::is_json(body)) && !form::encodes_forms(adapter) {
        return form::answer(adapter, None, logins.reject(asker, Rejected::Form));
    }
    let fields = body.and_then(fields::read);
    let question = About::from_path(about).zip(fields.as_deref());
    let question = question.and_then(|(about, fields)| form::read(adapter, about, Fields(fields)));
    let decision = match &question {
        Some(question) => logins.decide(asker, question),
        None => logins.reject(asker, Rejected::Unreadable),
    };
    form::answer(adapter, question.as_ref(), decision)
}
