//! NanoMQ: its `http_auth`.
//!
//! Pure. `access` is 1 for subscribing and 2 for publishing. The filters of one SUBSCRIBE come as one text, joined by
//! commas, and are permitted or refused together; so a filter that holds a comma is taken for two, each of which must be
//! permitted. It can send the password at every question. Status 200 is yes, and any other no. Its forms it does not
//! encode: a `+` in one cannot be told from a space, nor a `&` from the next field, so only JSON is taken.

use super::{Answer, Decision, Fields, Question, by_status};
use crate::lmq::login::Action;

pub(super) fn access(fields: Fields<'_>) -> Option<Question<'_>> {
    let topic = fields.text("topic");
    let wants = match fields.text("access") {
        "1" => topic.split(',').map(|filter| (Action::Subscribe, filter)).collect(),
        "2" => vec![(Action::Publish, topic)],
        _ => return None,
    };
    Some(fields.access(wants))
}

pub(super) fn answer(decision: Decision) -> Answer {
    by_status(decision, r#"{"result":"allow"}"#, r#"{"result":"deny"}"#)
}
