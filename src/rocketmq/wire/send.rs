//! Requests that store messages, and the names that brokers take.

use bytes::Bytes;

use super::{
    batch::parts,
    code::request::{SEND_BATCH_MESSAGE, SEND_MESSAGE_V2},
    frame::Request,
};

const MAX_TOPIC: usize = 127;
/// Topics that are a broker's own: it refuses whatever a client sends there.
const OWN_TOPICS: [&str; 6] = [
    "SCHEDULE_TOPIC_XXXX",
    "RMQ_SYS_TRANS_HALF_TOPIC",
    "RMQ_SYS_TRANS_OP_HALF_TOPIC",
    "TRANS_CHECK_MAX_TIME_TOPIC",
    "SELF_TEST_TOPIC",
    "OFFSET_MOVED_EVENT",
];
/// Where brokers keep what a consumer sends back; no batch may go there.
const RETRY_PREFIX: &str = "%RETRY%";

/// Where and as whom to send.
#[derive(Debug, Clone, Copy)]
pub struct Destination<'d> {
    /// The producer group.
    pub group: &'d str,
    /// The topic, with its namespace.
    pub topic: &'d str,
    /// The queue's number.
    pub queue: u32,
    /// Milliseconds since the epoch, shown as the time at which the messages were born.
    pub born: u64,
}

/// A request that stores the entries of a body, all or none.
pub fn send_batch(to: Destination, entries: Bytes) -> Request {
    head(SEND_BATCH_MESSAGE, to).text("m", "true").body(entries)
}

/// A request that stores a single entry. Its body may be as large as the broker takes, while a batch also counts
/// what is around it. An empty body goes as a batch of one: a frame without a body is an error to brokers.
pub fn send_one(to: Destination, entry: Bytes) -> Request {
    let single = parts(entry.clone())
        .filter(|(body, _)| !body.is_empty())
        .and_then(|(body, properties)| Some((body, std::str::from_utf8(&properties).ok()?.to_owned())));
    match single {
        Some((body, properties)) => head(SEND_MESSAGE_V2, to).text("m", "false").text("i", properties).body(body),
        None => send_batch(to, entry),
    }
}

/// The default topic is the topic itself, so that no broker creates a missing one on our behalf.
fn head(code: i32, to: Destination) -> Request {
    Request::new(code)
        .text("a", to.group.to_owned())
        .text("b", to.topic.to_owned())
        .text("c", to.topic.to_owned())
        .text("d", "4")
        .field("e", to.queue)
        .text("f", "0")
        .field("g", to.born)
        .text("h", "0")
        .text("j", "0")
        .text("k", "false")
}

/// Why brokers would refuse a topic of this name (with its namespace); nothing when they take it.
pub fn topic_fault(topic: &str) -> Option<String> {
    if topic.is_empty() {
        return Some("it is empty".to_owned());
    }
    if let Some(found) = topic.chars().find(|c| !(c.is_ascii_alphanumeric() || "%|-_".contains(*c))) {
        return Some(format!("RocketMQ topics hold letters, digits, `-`, `_`, `%` and `|`, not {found:?}"));
    }
    if topic.len() > MAX_TOPIC {
        return Some(format!("it has {} characters, RocketMQ takes {MAX_TOPIC}", topic.len()));
    }
    (OWN_TOPICS.contains(&topic) || topic.starts_with(RETRY_PREFIX)).then(|| "it is RocketMQ's own".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_judged_as_brokers_judge_them() {
        for topic in ["a", "plant_1-x", "ns%plant", "a|b", &"a".repeat(127)] {
            assert_eq!(topic_fault(topic), None, "{topic}");
        }
        for topic in ["", "a/b", "a b", "ü", "a.b", &"a".repeat(128), "SELF_TEST_TOPIC", "%RETRY%g"] {
            assert!(topic_fault(topic).is_some(), "{topic}");
        }
    }
}
