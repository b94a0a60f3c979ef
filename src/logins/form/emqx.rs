//! EMQX 5 and later: its HTTP authenticator and authorizer.
//!
//! Pure. What it sends is a template of its settings; ours has `clientid`, `username`, `password`, and `action`
//! (`publish`, `subscribe`) and `topic` (without `$share/<name>/`). It takes a status other than 200 as "ask the next
//! one", so a refusal is a 200, too. `expire_at` is in seconds: EMQX 5.8 and later end the connection then.

use super::{Answer, Decision, Fields, Question};
use crate::lmq::login::Action;

pub(super) fn access(fields: Fields<'_>) -> Option<Question<'_>> {
    let action = match fields.text("action") {
        "publish" => Action::Publish,
        "subscribe" => Action::Subscribe,
        _ => return None,
    };
    Some(fields.access(vec![(action, fields.text("topic"))]))
}

pub(super) fn answer(decision: Decision) -> Answer {
    let body = match decision {
        Decision::Allowed { expires: None } => r#"{"result":"allow","is_superuser":false}"#.to_owned(),
        Decision::Allowed { expires: Some(expires) } => {
            format!(r#"{{"result":"allow","is_superuser":false,"expire_at":{}}}"#, expires / 1000)
        }
        Decision::Refused => r#"{"result":"deny"}"#.to_owned(),
    };
    Answer { status: 200, body }
}
