//! The page of tokens for the operator: whose they are, what they grant, until when. It must never show a token itself.

use axum::{
    extract::State,
    http::{StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;

use super::Shown;
use crate::{
    lmq::{parameters, token::TokenId},
    tokens::record::Entry,
};

/// Tokens of a page, and where no limit is given.
const PAGE_MAX: usize = 1000;
const PAGE: usize = 100;

#[derive(Serialize)]
struct Page {
    tokens: Vec<Listed>,
    /// `after` of the next page, if there may be one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    id: String,
    access_key: String,
    instance: String,
    resources: Vec<String>,
    read: bool,
    write: bool,
    /// Milliseconds since the epoch, as all times; 0 where another replica made it and has not told yet.
    issue_time: u64,
    expire_time: u64,
    revoked: bool,
}

impl From<Entry> for Listed {
    fn from(Entry { grant, issued, revoked }: Entry) -> Self {
        Self {
            id: grant.id.to_string(),
            access_key: grant.access_key,
            instance: grant.instance,
            resources: grant.resources,
            read: grant.read,
            write: grant.write,
            issue_time: issued,
            expire_time: grant.expires,
            revoked,
        }
    }
}

/// Answers with a page of tokens in the order of their ids: those after `after`, at most `limit`.
pub(super) async fn list(State(shown): State<Shown>, uri: Uri) -> Response {
    let Some(tokens) = &shown.tokens else { return say(StatusCode::NOT_FOUND, "there is no token service") };
    let (after, limit) = match asked(uri.query().unwrap_or_default()) {
        Ok(asked) => asked,
        Err(why) => return say(StatusCode::BAD_REQUEST, why),
    };
    match tokens.page(after, limit).await {
        Ok(entries) => {
            let tokens: Vec<Listed> = entries.into_iter().map(Listed::from).collect();
            let next = tokens.last().filter(|_| tokens.len() == limit).map(|last| last.id.clone());
            json(StatusCode::OK, &Page { tokens, next })
        }
        Err(error) => say(StatusCode::SERVICE_UNAVAILABLE, &error.to_string()),
    }
}

fn asked(query: &str) -> Result<(Option<TokenId>, usize), &'static str> {
    let (mut after, mut limit) = (None, PAGE);
    for (name, value) in parameters::split(query).ok_or("the URL is not encoded as UTF-8")? {
        match name.as_str() {
            "after" => after = Some(value.parse()?),
            "limit" => {
                let number = value.parse().ok().filter(|limit| (1..=PAGE_MAX).contains(limit));
                limit = number.ok_or("`limit` must be a number from 1 to 1000")?;
            }
            _ => return Err("only `after` and `limit` may be given"),
        }
    }
    Ok((after, limit))
}

fn say(status: StatusCode, message: &str) -> Response {
    json(status, &serde_json::json!({ "message": message }))
}

fn json(status: StatusCode, body: &impl Serialize) -> Response {
    let body = serde_json::to_string(body).expect("text, numbers and lists of them are JSON");
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        lmq::token_request::Apply,
        settings::{Secret, TokenSettings},
        status::Status,
        telemetry::Telemetry,
        tokens::Tokens,
    };

    #[tokio::test]
    async fn the_pages_show_every_token_once_and_none_of_their_texts() {
        let folder = tempfile::tempdir().unwrap();
        let settings = TokenSettings { secret: Secret::new("a secret that all replicas share"), topic: None };
        let tokens = Arc::new(Tokens::open(folder.path(), &settings, 0).unwrap());
        let mut texts = Vec::new();
        for number in 1..=5 {
            let (instance, resources) = ("mqtt-xxxxx".to_owned(), vec![format!("a/{number}")]);
            let wish = Apply { instance, resources, read: true, write: false, expires: number * 100_000 };
            texts.push(tokens.apply("YYYYY", wish, number).await.unwrap());
        }
        let shown = Shown { status: Status::default(), telemetry: Telemetry::default(), tokens: Some(tokens) };
        let (mut after, mut found) = (String::new(), Vec::new());
        loop {
            let uri: Uri = format!("/tokens?limit=2{after}").parse().unwrap();
            let answer = list(State(shown.clone()), uri).await;
            let body = axum::body::to_bytes(answer.into_body(), 1 << 20).await.unwrap();
            let text = String::from_utf8(body.to_vec()).unwrap();
            assert!(!texts.iter().any(|token| text.contains(token)), "{text}");
            let page: serde_json::Value = serde_json::from_str(&text).unwrap();
            found.extend(page["tokens"].as_array().unwrap().iter().map(|token| token["issueTime"].as_u64().unwrap()));
            match page["next"].as_str() {
                Some(next) => after = format!("&after={next}"),
                None => break,
            }
        }
        found.sort_unstable();
        assert_eq!(found, [1, 2, 3, 4, 5]);
        let none = Shown { tokens: None, ..shown };
        assert_eq!(list(State(none), Uri::from_static("/tokens")).await.status(), StatusCode::NOT_FOUND);
    }

    #[test]
    fn a_page_is_asked_for_by_id_and_limit() {
        let id = "000102030405060708090a0b0c0d0eff";
        assert_eq!(asked(""), Ok((None, PAGE)));
        assert_eq!(asked(&format!("after={id}&limit=1000")), Ok((id.parse().ok(), 1000)));
        for wrong in ["after=1", "limit=0", "limit=1001", "limit=x", "x=1", "after=%ff"] {
            assert!(asked(wrong).is_err(), "{wrong}");
        }
    }
}
