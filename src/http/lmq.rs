//! The LMQ listener: the signed status query (LMQ-8) and the token service (LMQ-9) over HTTP.
//!
//! Every answer to a request is JSON, a refusal too. It bounds connections, requests and feeds, and must never answer
//! what `lmq::status_query` has not let pass.

mod feed;
mod token;

use std::{io, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, Uri, header},
    response::{IntoResponse, Response},
    routing::get,
};
use tokio::{net::TcpListener, sync::Semaphore};

use super::{
    bounded::{Bounded, Bounds},
    tls::Tls,
};
use crate::{
    lmq::{
        parameters,
        status_query::{
            self, Kind, Question, Refusal,
            answer::{Client, Clients, Count, Listed, Number, Page, body},
        },
    },
    presence::ask::{Answer, Online, Presences},
    settings::CurrentCredentials,
    tokens::Tokens,
};

/// Back ends keep their connections, so there are fewer of them than of queries. With what else is open they stay below
/// the 1,024 files that a process may commonly have.
const BOUNDS: Bounds = Bounds { connections: 512, unanswered: Duration::from_secs(60), request: 64 << 10 };
/// Feeds at a time, so that they leave room for queries.
const FEEDS: usize = 128;
/// Bytes of a query string: ten client ids of 64 characters need less, however they are encoded.
const QUERY_MAX: usize = 16 << 10;

struct Shared {
    instance: Option<String>,
    credentials: CurrentCredentials,
    presences: Arc<dyn Presences>,
    tokens: Option<Arc<Tokens>>,
    now: fn() -> u64,
    feeds: Arc<Semaphore>,
}

/// Answers queries until its task is ended: over HTTPS alone where there is TLS. Without `tokens` there is no token
/// service. `now` is in milliseconds since the epoch.
pub async fn serve(
    listener: TcpListener,
    tls: Option<Tls>,
    (instance, credentials): (Option<String>, CurrentCredentials),
    presences: Arc<dyn Presences>,
    tokens: Option<Arc<Tokens>>,
    now: fn() -> u64,
) -> io::Result<()> {
    let shared = Shared { instance, credentials, presences, tokens, now, feeds: Arc::new(Semaphore::new(FEEDS)) };
    axum::serve(Bounded::new(listener, tls, BOUNDS), router(shared)).await
}

fn router(shared: Shared) -> Router {
    let mut router = Router::new();
    for kind in Kind::ALL {
        let ask = move |State(shared): State<Arc<Shared>>, uri: Uri| async move {
            ask(kind, uri.query().unwrap_or_default(), &shared).unwrap_or_else(|refusal| refused(&refusal))
        };
        router = router.route(kind.path(), get(ask));
    }
    if shared.tokens.is_some() {
        router = token::add(router);
    }
    router
        .fallback(|| async { refused(&Refusal::Url("no such path")) })
        .method_not_allowed_fallback(|| async { refused(&Refusal::Url("only GET is answered")) })
        .with_state(Arc::new(shared))
}

fn ask(kind: Kind, query: &str, shared: &Shared) -> Result<Response, Refusal> {
    if query.len() > QUERY_MAX {
        return Err(Refusal::Url("the URL is too long"));
    }
    let parameters = parameters::split(query).ok_or(Refusal::Url("the URL is not encoded as UTF-8"))?;
    let credentials = shared.credentials.borrow().clone();
    let question = status_query::check(kind, &parameters, shared.instance.as_deref(), &credentials, (shared.now)())?;
    Ok(answer(&question, shared))
}

fn answer(question: &Question<'_>, shared: &Shared) -> Response {
    let presences = &shared.presences;
    let body = match question {
        Question::Client(client_id) => body(&Number { online: count(presences.online(client_id)) }),
        Question::Clients(client_ids) => {
            let client = |client_id| Client { client_id, online: count(presences.online(client_id)) };
            body(&Clients { clients: client_ids.iter().copied().map(client).collect() })
        }
        Question::Group(group) => body(&Number { online: count(presences.count(group)) }),
        Question::GroupClients { group, after, limit } => {
            let online = count(presences.count(group));
            body(&page(online, presences.list(group, after, *limit), *limit))
        }
        Question::GroupChanges(group) => return open_feed(group, shared),
    };
    json(StatusCode::OK, body)
}

fn page(online: Count, clients: Vec<Online>, limit: usize) -> Page {
    let next = clients.last().filter(|_| clients.len() == limit).map(|last| last.client_id.clone());
    let clients = clients.into_iter().map(|Online { client_id, channels, connected_at, client_ip }| Listed {
        client_id,
        channels,
        connect_time: connected_at,
        client_ip,
    });
    Page { online, clients: clients.collect(), next }
}

fn open_feed(group: &str, shared: &Shared) -> Response {
    match shared.feeds.clone().try_acquire_owned() {
        Ok(place) => feed::feed(shared.presences.changes(group), place).into_response(),
        Err(_) => refused(&Refusal::Busy),
    }
}

fn count(answer: Answer) -> Count {
    match answer {
        Answer::Known(number) => Count(Some(number)),
        Answer::Unknown => Count(None),
    }
}

fn refused(refusal: &Refusal) -> Response {
    let status = StatusCode::from_u16(refusal.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    json(status, refusal.body())
}

fn json(status: StatusCode, body: String) -> Response {
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
    (status, headers, body).into_response()
}

#[cfg(test)]
pub(in crate::http) mod tests;
