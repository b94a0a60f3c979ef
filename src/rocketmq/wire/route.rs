//! What a name server says of a topic: its queues, and where their brokers are.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use serde::Deserialize;

use super::{code::request, frame::Request};
use crate::message::Queue;

const PERMISSION_READ: u32 = 4;
const PERMISSION_WRITE: u32 = 2;
const MASTER: i64 = 0;

/// Asks for a topic's route. Servers of 4.9.4 and later answer in JSON proper.
pub fn route_request(topic: &str) -> Request {
    Request::new(request::GET_ROUTEINFO_BY_TOPIC).text("topic", topic.to_owned()).text("acceptStandardJsonOnly", "true")
}

/// The route of one topic.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TopicRoute {
    /// The queues on each broker, sorted by the broker's name.
    pub queues: Vec<BrokerQueues>,
    /// Addresses by broker name, then by broker id; id 0 is the master.
    pub brokers: BTreeMap<Arc<str>, BTreeMap<i64, String>>,
}

/// A topic's queues on one broker.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct BrokerQueues {
    /// The broker's name.
    pub broker: Arc<str>,
    /// Queues that may be read, from 0.
    pub read: u32,
    /// Queues that may be written, from 0.
    pub write: u32,
    /// Permission bits: 4 read, 2 write.
    pub permission: u32,
}

impl TopicRoute {
    /// Reads the body of a route answer.
    pub fn decode(body: &[u8]) -> Result<Self, String> {
        let raw: Raw = serde_json::from_slice(body)
            .or_else(|_| serde_json::from_slice(&quote_number_names(body)))
            .map_err(|error| error.to_string())?;
        let mut queues: Vec<BrokerQueues> = raw
            .queues
            .into_iter()
            .map(|queue| BrokerQueues {
                broker: queue.broker.into(),
                read: queue.read,
                write: queue.write,
                permission: queue.permission,
            })
            .collect();
        queues.sort();
        let brokers = raw
            .brokers
            .into_iter()
            .map(|broker| {
                let addresses = broker.addresses.into_iter().filter_map(|(id, at)| Some((id.parse().ok()?, at)));
                (Arc::from(broker.name), addresses.collect())
            })
            .collect();
        Ok(Self { queues, brokers })
    }

    /// Queues that take messages, sorted by broker and number: those on brokers with a master.
    pub fn writable(&self) -> Vec<Queue> {
        self.expand(PERMISSION_WRITE, |queues| queues.write, |broker| self.master(broker).is_some())
    }

    /// Queues that give messages, sorted by broker and number.
    pub fn readable(&self) -> Vec<Queue> {
        self.expand(PERMISSION_READ, |queues| queues.read, |_| true)
    }

    fn expand(&self, bit: u32, count: fn(&BrokerQueues) -> u32, usable: impl Fn(&str) -> bool) -> Vec<Queue> {
        self.queues
            .iter()
            .filter(|queues| queues.permission & bit != 0 && usable(&queues.broker))
            .flat_map(|queues| (0..count(queues)).map(|id| Queue { broker: queues.broker.clone(), id }))
            .collect()
    }

    /// The address of a broker's master.
    pub fn master(&self, broker: &str) -> Option<&str> {
        self.brokers.get(broker)?.get(&MASTER).map(String::as_str)
    }

    /// The address to read from: the master, else the slave with the lowest id.
    pub fn any_address(&self, broker: &str) -> Option<&str> {
        self.brokers.get(broker)?.values().next().map(String::as_str)
    }
}

#[derive(Deserialize)]
struct Raw {
    #[serde(default, rename = "queueDatas")]
    queues: Vec<RawQueues>,
    #[serde(default, rename = "brokerDatas")]
    brokers: Vec<RawBroker>,
}

#[derive(Deserialize)]
struct RawQueues {
    #[serde(rename = "brokerName")]
    broker: String,
    #[serde(default, rename = "readQueueNums")]
    read: u32,
    #[serde(default, rename = "writeQueueNums")]
    write: u32,
    #[serde(default, rename = "perm")]
    permission: u32,
}

#[derive(Deserialize)]
struct RawBroker {
    #[serde(rename = "brokerName")]
    name: String,
    #[serde(default, rename = "brokerAddrs")]
    addresses: HashMap<String, String>,
}

/// Servers before 4.9.4 write `{0:"address"}`, which is no JSON: puts the number in quotes.
pub(super) fn quote_number_names(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len() + 32);
    let (mut in_text, mut escaped, mut in_number) = (false, false, false);
    for &byte in body {
        let starts_name = matches!(out.last(), Some(b'{' | b','));
        if !in_text && !in_number && starts_name && byte.is_ascii_digit() {
            out.push(b'"');
            in_number = true;
        } else if in_number && !byte.is_ascii_digit() {
            out.push(b'"');
            in_number = false;
        }
        if escaped {
            escaped = false;
        } else if byte == b'"' {
            in_text = !in_text;
        } else if in_text && byte == b'\\' {
            escaped = true;
        }
        out.push(byte);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const STANDARD: &str = r#"{"brokerDatas":[{"brokerAddrs":{"0":"10.0.0.1:10911","1":"10.0.0.2:10911"},"brokerName":"b","cluster":"c","enableActingMaster":false},{"brokerAddrs":{"1":"10.0.0.4:10911"},"brokerName":"a","cluster":"c"}],"filterServerTable":{},"queueDatas":[{"brokerName":"b","perm":6,"readQueueNums":2,"topicSysFlag":0,"writeQueueNums":1},{"brokerName":"a","perm":6,"readQueueNums":1,"topicSysFlag":0,"writeQueueNums":1}]}"#;

    #[test]
    fn only_queues_with_a_master_are_written_and_all_are_read() {
        let route = TopicRoute::decode(STANDARD.as_bytes()).unwrap();
        let queue = |broker: &str, id| Queue { broker: broker.into(), id };
        assert_eq!(route.writable(), [queue("b", 0)]);
        assert_eq!(route.readable(), [queue("a", 0), queue("b", 0), queue("b", 1)]);
        assert_eq!(route.master("b"), Some("10.0.0.1:10911"));
        assert_eq!((route.master("a"), route.any_address("a")), (None, Some("10.0.0.4:10911")));
    }

    #[test]
    fn permissions_are_obeyed() {
        let closed = STANDARD.replace("\"perm\":6", "\"perm\":4");
        let route = TopicRoute::decode(closed.as_bytes()).unwrap();
        assert_eq!((route.writable().len(), route.readable().len()), (0, 3));
    }

    #[test]
    fn bare_number_names_of_old_name_servers_are_read() {
        let old = STANDARD.replace(r#""0":"#, "0:").replace(r#""1":"#, "1:").replace("\"b\"", r#""{0:\",1:""#);
        let route = TopicRoute::decode(old.as_bytes()).unwrap();
        assert_eq!(route.master("{0:\",1:"), Some("10.0.0.1:10911"));
    }
}
