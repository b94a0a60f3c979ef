//! Names and sizes as the contract limits them (LMQ-2, LMQ-5.1), held only where a route asks for it.

use super::{notice::group_and_device, p2p};
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
    let client_id = p2p::target(&message.topic);
    // The client id has a clause of its own.
    let path = client_id.map_or(topic, |client_id| topic[..topic.len() - client_id.len()].trim_end_matches('/'));
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
    for client_id in client_id.into_iter().chain(message.client_id.as_deref()) {
        if let Some(fault) = client_id_fault(client_id) {
            return Err(limit(fault));
        }
    }
    Ok(())
}

/// What LMQ-2.1 has against a client id, in words that name the clause.
pub fn client_id_fault(client_id: &str) -> Option<String> {
    let characters = client_id.chars().count();
    if characters > MAX_CHARACTERS {
        return Some(format!("LMQ-2.1: a client id of {characters} characters is over {MAX_CHARACTERS}"));
    }
    let shown = client_id.escape_default();
    if client_id.contains(is_invisible) {
        return Some(format!("LMQ-2.1: the client id `{shown}` holds an invisible character"));
    }
    if client_id.contains('/') || group_and_device(client_id).is_none_or(|(_, device)| device.is_empty()) {
        return Some(format!("LMQ-2.1: `{shown}` is no client id: it must be GROUP@@@DEVICE"));
    }
    None
}

/// Spaces, control characters, and what takes no room or only orders what is around it.
fn is_invisible(c: char) -> bool {
    let formats = matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    formats || c.is_control() || c.is_whitespace()
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
            ("ACE/p2p/", Some("LMQ-2.2")),
            ("ACE/p2p/a/b", Some("LMQ-2.1")),
            ("ACE/p2p/dev1", Some("LMQ-2.1")),
            ("ACE/p2p/@@@dev1", Some("LMQ-2.1")),
            ("ACE/p2p/GID_a@@@", Some("LMQ-2.1")),
            ("ACE/p2p/GID_a@@@dev 1", Some("LMQ-2.1")),
            ("ACE/p2p/GID_a@@@dev\u{200b}1", Some("LMQ-2.1")),
            ("ACE/live/p2p/a@b", Some("LMQ-2.2")),
        ] {
            let result = check(&Message::new(Topic::from_mqtt(topic), ""));
            let said = result.err().map(|refusal| refusal.reason[..7].to_owned());
            assert_eq!(said.as_deref(), clause, "{topic}");
        }
        let of_size = |size| Message::new(Topic::from_mqtt("ACE"), vec![0; size]);
        assert_eq!(check(&of_size(MAX_PAYLOAD)), Ok(()));
        assert!(check(&of_size(MAX_PAYLOAD + 1)).unwrap_err().reason.starts_with("LMQ-2.3"));
        let of_client = |id: &str| Message { client_id: Some(id.to_owned()), ..of_size(1) };
        assert_eq!(check(&of_client("GID_a@@@dev.1")), Ok(()));
        assert!(check(&of_client("dev1")).unwrap_err().reason.starts_with("LMQ-2.1"));
    }
}
