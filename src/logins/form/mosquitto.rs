//! Mosquitto with mosquitto-go-auth: its HTTP backend.
//!
//! Pure. `acc` is 1 for a message that is about to be delivered, 2 for publishing, 3 for both and 4 for subscribing. It
//! reads the status, or `ok` in the body; its response mode `text` is not for this.

use super::{Answer, Decision, Fields, Question, by_status};
use crate::lmq::login::Action;

pub(super) fn access(fields: Fields<'_>) -> Option<Question<'_>> {
    let topic = fields.text("topic");
    let wants = match fields.text("acc") {
        "1" | "4" => vec![(Action::Subscribe, topic)],
        "2" => vec![(Action::Publish, topic)],
        "3" => vec![(Action::Subscribe, topic), (Action::Publish, topic)],
        _ => return None,
    };
    Some(fields.access(wants))
}

pub(super) fn answer(decision: Decision) -> Answer {
    by_status(decision, r#"{"ok":true,"error":""}"#, r#"{"ok":false,"error":"refused"}"#)
}
