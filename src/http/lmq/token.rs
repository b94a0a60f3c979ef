//! The token service (LMQ-9): `/token/apply`, `/token/revoke`, `/token/query`, by POST or GET.
//!
//! Every answer comes with HTTP status 200, a refusal too (LMQ-9.4). It bounds what it reads, and must never show a token
//! but to whoever has just asked for it to be made.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::State,
    http::{StatusCode, Uri},
    routing::get,
};
use tracing::{info, warn};

use super::{Shared, json};
use crate::{
    lmq::{
        parameters,
        token::Grant,
        token_request::{self, Apply, Call, Refusal, Wish, body},
    },
    mapping::pattern::Pattern,
    settings::Permission,
    tokens::Tokens,
};

/// Bytes of a form or a query string: 100 resources of 64 characters, or a token, however they are encoded.
const FORM_MAX: usize = 48 << 10;

/// Adds the paths of the service.
pub(super) fn add(mut router: Router<Arc<Shared>>) -> Router<Arc<Shared>> {
    for call in Call::ALL {
        let ask = move |State(shared): State<Arc<Shared>>, uri: Uri, form: Body| async move {
            let done = ask(call, uri.query().unwrap_or_default(), form, &shared).await;
            json(StatusCode::OK, done.unwrap_or_else(|refusal| refusal.body()))
        };
        router = router.route(call.path(), get(ask).post(ask));
    }
    router
}

async fn ask(call: Call, url: &str, form: Body, shared: &Shared) -> Result<String, Refusal> {
    let Some(tokens) = &shared.tokens else { return Err(Refusal::Request("no such path")) };
    let form = to_bytes(form, FORM_MAX).await.map_err(|_| Refusal::Request("the form is too long, or breaks off"))?;
    let form = str::from_utf8(&form).ok().and_then(parameters::split);
    let in_url = (url.len() <= FORM_MAX).then(|| parameters::split(url)).flatten();
    let (Some(form), Some(mut parameters)) = (form, in_url) else {
        return Err(Refusal::Request("the parameters are too long, or not encoded as a form in UTF-8"));
    };
    parameters.extend(form);
    let now = (shared.now)();
    let asked = token_request::read(call, &parameters, now)?;
    let credentials = shared.credentials.borrow().clone();
    let (access_key, key) = (asked.access_key.clone(), credentials.access_keys.get(&asked.access_key));
    let wish = asked.verify(key.map(|key| key.secret.reveal()))?;
    match wish {
        Wish::Apply(wish) => {
            let permission = key.map(|key| &key.permission).ok_or(Refusal::Signature)?;
            let token = apply(tokens, &access_key, wish, permission, shared.instance.as_deref(), now).await?;
            Ok(body(Some(&token)))
        }
        Wish::Revoke(token) => {
            let grant = tokens.of(&access_key, &token, now).map_err(Refusal::Token)?;
            revoke(tokens, grant).await?;
            Ok(body(None))
        }
        Wish::Query(token) => {
            tokens.of(&access_key, &token, now).and_then(|_| tokens.check(&token, now)).map_err(Refusal::Token)?;
            Ok(body(None))
        }
    }
}

async fn apply(
    tokens: &Tokens,
    access_key: &str,
    wish: Apply,
    permission: &Permission,
    instance: Option<&str>,
    now: u64,
) -> Result<String, Refusal> {
    if instance.is_some_and(|instance| instance != wish.instance) {
        return Err(Refusal::Instance);
    }
    if let Some(resource) = wish.resources.iter().find(|resource| !may_grant(permission, &wish, resource)) {
        return Err(Refusal::Resource(resource.clone()));
    }
    tokens.apply(access_key, wish, now).await.map_err(|error| {
        warn!(access_key, %error, "a token was not made");
        Refusal::NotMade(error.to_string())
    })
}

/// An access key may grant what it may do itself.
fn may_grant(permission: &Permission, wish: &Apply, resource: &str) -> bool {
    let Some(resource) = Pattern::plain(resource) else { return false };
    let covered = |filters: &[Pattern]| filters.iter().any(|filter| filter.covers(&resource));
    (!wish.read || covered(&permission.subscribe)) && (!wish.write || covered(&permission.publish))
}

async fn revoke(tokens: &Tokens, grant: Grant) -> Result<(), Refusal> {
    let (id, access_key) = (grant.id, grant.access_key.clone());
    match tokens.revoke(grant).await {
        Ok(()) => {
            info!(%id, access_key, "a token is revoked");
            Ok(())
        }
        Err(error) => {
            warn!(%id, access_key, %error, "a token was not revoked");
            Err(Refusal::NotRevoked(error.to_string()))
        }
    }
}
