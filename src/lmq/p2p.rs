//! Point to point (LMQ-5): topics that name the one client that a message is for.

use crate::message::{Message, Topic};

/// Between the parent topic and the client id.
const LEVEL: &str = "/p2p/";

/// LMQ-5.1, LMQ-5.2: the client that a topic is for; `None` where it is for all that subscribe to it. `p2p` is level 2,
/// and all behind it the client id.
pub fn target(topic: &Topic) -> Option<&str> {
    topic.subtopic().strip_prefix(LEVEL).filter(|client_id| !client_id.is_empty())
}

/// LMQ-5.4: the client that alone is to have a message, and only while it is online: the sender's `cleansessionflag` is
/// `true`, or absent.
pub fn only_while_online(message: &Message) -> Option<&str> {
    target(&message.topic).filter(|_| message.clean_session != Some(false))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_all_behind_p2p_in_level_two() {
        for (second, client) in [
            ("/p2p/GID_a@@@1", Some("GID_a@@@1")),
            ("p2p/GID_a@@@1", Some("GID_a@@@1")),
            ("/p2p/a/b", Some("a/b")),
            ("/p2p/", None),
            ("/p2p", None),
            ("/live/100/p2p/X", None),
            ("/P2P/X", None),
            ("", None),
        ] {
            assert_eq!(target(&Topic::from_parts("ACE", second)), client, "{second}");
        }
        assert_eq!(target(&Topic::from_mqtt("ACE/p2p/GID_a@@@1")), Some("GID_a@@@1"));
        assert_eq!(target(&Topic::from_mqtt("p2p/GID_a@@@1")), None);
    }

    #[test]
    fn an_offline_client_may_miss_what_is_not_said_to_be_kept() {
        let mut message = Message::new(Topic::from_parts("ACE", "/p2p/GID_a@@@1"), "");
        for (flag, expected) in [(None, Some("GID_a@@@1")), (Some(true), Some("GID_a@@@1")), (Some(false), None)] {
            message.clean_session = flag;
            assert_eq!(only_while_online(&message), expected, "{flag:?}");
        }
        assert_eq!(only_while_online(&Message::new(Topic::from_parts("ACE", "/live"), "")), None);
    }
}
