//! Topics as the contract limits them: LMQ-2.2, LMQ-2.3 and LMQ-5.1, held only where a route asks for it.

use crate::{delivery::Refusal, message::Message};

/// LMQ-2.1 and LMQ-2.2: characters of a topic, and of a client id.
const MAX_CHARACTERS: usize = 64;
/// LMQ-2.3: bytes of a payload.
const MAX_PAYLOAD: usize = 64 * 1024;

/// Refuses, as `lmq_limit`, what LMQ's own brokers would not take; the reason names the clause.
pub fn check(message: &Message) -> Result<(), Refusal> {
    if message.payload.len() > MAX_PAYLOAD {
        return Err(limit(format!("LMQ-2.3: a payload of {} bytes is over {MAX_PAYLOAD}", message.payload.len())));
    }
    let topic = message.topic.as_str();
    let (path, client_id) = match point_to_point(topic) {
        Some((path, client_id)) => (path, Some(client_id)),
        None => (topic, None),
    };
    let characters = path.chars().count();
    if characters > MAX_CHARACTERS {
        return Err(limit(format!("LMQ-2.2: a topic of {characters} characters is over {MAX_CHARACTERS}")));
    }
    if path.split('/').any(str::is_empty) {
        return Err(limit(format!("LMQ-2.2: the topic `{path}` has an empty level")));
    }
    if let Some(c) = path.chars().find(|c| !c.is_ascii_alphanumeric() && !matches!(c, '-' | '_' | '/')) {
        return Err(limit(format!("LMQ-2.2: a topic may not hold `{}`", c.escape_default())));
    }
    client_id.map_or(Ok(()), check_client_id)
}

/// LMQ-5.1: `<parent>/p2p/<clientId>`, the part before the client id and the client id.
fn point_to_point(topic: &str) -> Option<(&str, &str)> {
    let (parent, rest) = topic.split_once('/')?;
    let client_id = rest.strip_prefix("p2p/")?;
    Some((&topic[..parent.len() + "/p2p".len()], client_id))
}

/// LMQ-2.1: its length, and no character that cannot be seen or that parts levels.
pub(super) fn check_client_id(client_id: &str) -> Result<(), Refusal> {
    let characters = client_id.chars().count();
    if characters > MAX_CHARACTERS {
        return Err(limit(format!("LMQ-2.1: a client id of {characters} characters is over {MAX_CHARACTERS}")));
    }
    if client_id.is_empty() || client_id.contains(|c: char| c.is_control() || c.is_whitespace() || c == '/') {
        return Err(limit(format!("LMQ-2.1: `{}` is no client id", client_id.escape_default())));
    }
    Ok(())
}

fn limit(reason: String) -> Refusal {
    Refusal::new("lmq_limit", reason)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Topic;

    #[test]
    fn limits_name_their_clause() {
        let long = ["ACE/", &"x".repeat(61)].concat();
        let client = ["ACE/p2p/GID_a@@@", &"x".repeat(56)].concat();
        for (topic, clause) in [
            ("ACE/live/100", None),
            ("ACE", None),
            (&long[..64], None),
            (&long, Some("LMQ-2.2")),
            ("ACE//a", Some("LMQ-2.2")),
            ("ACE/a/", Some("LMQ-2.2")),
            ("ACE/a.b", Some("LMQ-2.2")),
            ("ACE/\u{e9}", Some("LMQ-2.2")),
            ("ACE/p2p/GID_a@@@dev.1", None),
            (&client, None),
            (&[&client, "x"].concat(), Some("LMQ-2.1")),
            ("ACE/p2p/", Some("LMQ-2.1")),
            ("ACE/p2p/a/b", Some("LMQ-2.1")),
            ("ACE/live/p2p/a@b", Some("LMQ-2.2")),
        ] {
            let result = check(&Message::new(Topic::from_mqtt(topic), ""));
            let said = result.err().map(|refusal| refusal.reason[..7].to_owned());
            assert_eq!(said.as_deref(), clause, "{topic}");
        }
        let large = Message::new(Topic::from_mqtt("ACE"), vec![0; MAX_PAYLOAD + 1]);
        assert!(check(&large).unwrap_err().reason.starts_with("LMQ-2.3"));
    }
}
