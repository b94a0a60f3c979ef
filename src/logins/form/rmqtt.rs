//! RMQTT: its plugin `rmqtt-auth-http`.
//!
//! Pure. `access` is 1 for subscribing and 2 for publishing; a topic comes without `$share/<name>/`. It takes a status
//! other than 2xx as "ask the next plugin", and a text that it does not know as permission, so every answer is a 200
//! with JSON. With an `acl`, however empty, it heeds `expire_at` (seconds), if it is told to.
//!
//! It puts values in place of `%c`, `%u`, `%t` and the like one after the other: a client id or a user name that holds
//! such a pair comes here changed, and at a login otherwise than later. So whose P2P topics are a client's own it must
//! never be told by the client id that comes here: RMQTT, which knows the true one, is given a rule at the login.

use serde_json::{Value, json};

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

pub(super) fn answer(question: Option<&Question<'_>>, decision: Decision) -> Answer {
    let body = match (decision, question) {
        (Decision::Allowed { expires }, Some(Question::Login { client_id, .. })) => {
            let mut body = json!({ "result": "allow", "superuser": false, "acl": own_p2p(client_id) });
            if let Some(expires) = expires {
                body["expire_at"] = (expires / 1000).into();
            }
            body.to_string()
        }
        (Decision::Allowed { .. }, _) => r#"{"result":"allow","superuser":false}"#.to_owned(),
        (Decision::Refused, _) => r#"{"result":"deny"}"#.to_owned(),
    };
    Answer { status: 200, body }
}

/// The rule by which a client reads what is sent to it alone; RMQTT puts the client id in. None for a client id that would
/// stand for more than one level there: no such pair hides one of these letters.
fn own_p2p(client_id: &str) -> Value {
    if client_id.contains(['+', '#', '/']) {
        return json!([]);
    }
    json!([{ "permission": "allow", "action": "subscribe", "topic": "+/p2p/${clientid}" }])
}
