//! RMQTT: its plugin `rmqtt-auth-http`.
//!
//! Pure. `access` is 1 for subscribing and 2 for publishing; a topic comes without `$share/<name>/`. It takes a status
//! other than 2xx as "ask the next plugin", and a text that it does not know as permission, so every answer is a 200
//! with JSON. With an `acl`, however empty, it heeds `expire_at` (seconds), if it is told to.
//!
//! It puts values in place of `%c`, `%u`, `%t` and the like one after the other: a client id or a user name that holds
//! such a pair comes here changed.

use super::{Answer, Decision, Fields, Question};
use crate::lmq::login::Action;

pub(super) fn access(fields: Fields<'_>) -> Option<Question<'_>> {
    let action = match fields.text("access") {
        "1" => Action::Subscribe,
        "2" => Action::Publish,
        _ => return None,
    };
    Some(fields.access(vec![(action, fields.text("topic"))]))
}

pub(super) fn answer(decision: Decision) -> Answer {
    let body = match decision {
        Decision::Allowed { expires: None } => r#"{"result":"allow","superuser":false}"#.to_owned(),
        Decision::Allowed { expires: Some(expires) } => {
            format!(r#"{{"result":"allow","superuser":false,"expire_at":{},"acl":[]}}"#, expires / 1000)
        }
        Decision::Refused => r#"{"result":"deny"}"#.to_owned(),
    };
    Answer { status: 200, body }
}
