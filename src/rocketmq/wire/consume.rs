//! What a member of a consumer group asks a broker, and what it is told. Pure.
//!
//! Names and forms are those of the Java client, whose bodies are this module's tests.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{
    code::{request, response},
    frame::{Fields, Request},
    route::quote_number_names,
};
use crate::message::Queue;

/// `PullSysFlag`: hold the request until a message comes.
const SUSPEND: u32 = 2;
/// `PullSysFlag`: the request carries the subscription.
const SUBSCRIPTION: u32 = 4;
/// Java's name for "every tag".
const ALL: &str = "*";

/// A member of a consumer group and what it reads.
#[derive(Debug, Clone)]
pub struct Member {
    /// Unique in its group.
    pub client_id: String,
    /// The group, with its namespace.
    pub group: String,
    /// The topic, with its namespace.
    pub topic: String,
    /// Tags to take; none means all.
    pub tags: Vec<String>,
    /// The version of the subscription: when it was made, in milliseconds since the epoch.
    pub version: u64,
    /// Whether the members of the group share the queues.
    pub model: Model,
}

/// How the members of a group read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Model {
    /// Each queue is read by one of them.
    Clustering,
    /// Each of them reads everything.
    Broadcasting,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::struct_field_names, reason = "Java's names")]
struct Heartbeat<'m> {
    #[serde(rename = "clientID")]
    client_id: &'m str,
    consumer_data_set: [ConsumerData<'m>; 1],
    heartbeat_fingerprint: i32,
    producer_data_set: [(); 0],
    without_sub: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ConsumerData<'m> {
    consume_from_where: &'static str,
    consume_type: &'static str,
    group_name: &'m str,
    message_model: Model,
    subscription_data_set: [SubscriptionData<'m>; 2],
    unit_mode: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SubscriptionData<'m> {
    class_filter_mode: bool,
    code_set: BTreeSet<i32>,
    expression_type: &'static str,
    sub_string: String,
    sub_version: u64,
    tags_set: &'m [String],
    topic: Cow<'m, str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LockBody<'m> {
    client_id: &'m str,
    consumer_group: &'m str,
    mq_set: Vec<QueueBody<'m>>,
    only_this_broker: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct QueueBody<'m> {
    broker_name: &'m str,
    queue_id: u32,
    topic: &'m str,
}

impl Member {
    /// `HEART_BEAT`: this member is alive and reads this.
    pub fn heartbeat(&self) -> Request {
        let body = Heartbeat {
            client_id: &self.client_id,
            consumer_data_set: [ConsumerData {
                consume_from_where: "CONSUME_FROM_LAST_OFFSET",
                consume_type: "CONSUME_PASSIVELY",
                group_name: &self.group,
                message_model: self.model,
                // Java's members read the group's retry topic too, and a broker forgets what one member leaves out.
                subscription_data_set: [
                    self.subscription(Cow::Borrowed(&self.topic), &self.tags),
                    self.subscription(Cow::Owned(format!("%RETRY%{}", self.group)), &[]),
                ],
                unit_mode: false,
            }],
            heartbeat_fingerprint: 0,
            producer_data_set: [],
            without_sub: false,
        };
        Request::new(request::HEART_BEAT).body(json(&body))
    }

    fn subscription<'m>(&self, topic: Cow<'m, str>, tags: &'m [String]) -> SubscriptionData<'m> {
        SubscriptionData {
            class_filter_mode: false,
            code_set: tags.iter().map(|tag| java_hash(tag)).collect(),
            expression_type: "TAG",
            sub_string: expression(tags),
            sub_version: self.version,
            tags_set: tags,
            topic,
        }
    }

    /// `UNREGISTER_CLIENT`: this member is gone.
    pub fn unregister(&self) -> Request {
        Request::new(request::UNREGISTER_CLIENT)
            .text("clientID", self.client_id.clone())
            .text("consumerGroup", self.group.clone())
    }

    /// `GET_CONSUMER_LIST_BY_GROUP`: who else is there.
    pub fn list(&self) -> Request {
        Request::new(request::GET_CONSUMER_LIST_BY_GROUP).text("consumerGroup", self.group.clone())
    }

    /// `LOCK_BATCH_MQ`: queues of one broker that this member alone shall read for the next 60 s.
    pub fn lock(&self, queues: &[Queue]) -> Request {
        Request::new(request::LOCK_BATCH_MQ).body(self.lock_body(queues))
    }

    /// `UNLOCK_BATCH_MQ`: queues of one broker that others may read.
    pub fn unlock(&self, queues: &[Queue]) -> Request {
        Request::new(request::UNLOCK_BATCH_MQ).body(self.lock_body(queues))
    }

    fn lock_body(&self, queues: &[Queue]) -> Bytes {
        json(&LockBody {
            client_id: &self.client_id,
            consumer_group: &self.group,
            mq_set: queues
                .iter()
                .map(|queue| QueueBody { broker_name: &queue.broker, queue_id: queue.id, topic: &self.topic })
                .collect(),
            only_this_broker: false,
        })
    }

    /// `PULL_MESSAGE`: up to `most` messages from this offset on; if there is none, the broker waits for one.
    pub fn pull(&self, queue: &Queue, offset: u64, most: usize, suspend: Duration) -> Request {
        self.of_queue(request::PULL_MESSAGE, queue)
            .field("queueOffset", offset)
            .field("maxMsgNums", most)
            .field("sysFlag", SUSPEND | SUBSCRIPTION)
            .field("commitOffset", 0)
            .field("suspendTimeoutMillis", suspend.as_millis())
            .text("subscription", expression(&self.tags))
            .field("subVersion", self.version)
            .text("expressionType", "TAG")
    }

    /// `QUERY_CONSUMER_OFFSET`: up to where the group has read, or `QUERY_NOT_FOUND`.
    pub fn query_offset(&self, queue: &Queue) -> Request {
        self.of_queue(request::QUERY_CONSUMER_OFFSET, queue).text("setZeroIfNotFound", "false")
    }

    /// `UPDATE_CONSUMER_OFFSET`: the group has read everything below this offset.
    pub fn update_offset(&self, queue: &Queue, offset: u64) -> Request {
        self.of_queue(request::UPDATE_CONSUMER_OFFSET, queue).field("commitOffset", offset)
    }

    fn of_queue(&self, code: i32, queue: &Queue) -> Request {
        Request::new(code)
            .text("consumerGroup", self.group.clone())
            .text("topic", self.topic.clone())
            .field("queueId", queue.id)
    }

    /// `GET_MIN_OFFSET`: the oldest message that is left.
    pub fn min_offset(&self, queue: &Queue) -> Request {
        self.of_topic(request::GET_MIN_OFFSET, queue)
    }

    /// `GET_MAX_OFFSET`: where the next message will go.
    pub fn max_offset(&self, queue: &Queue) -> Request {
        self.of_topic(request::GET_MAX_OFFSET, queue)
    }

    /// `SEARCH_OFFSET_BY_TIMESTAMP`: the first message stored at or after this time.
    pub fn search_offset(&self, queue: &Queue, time: u64) -> Request {
        self.of_topic(request::SEARCH_OFFSET_BY_TIMESTAMP, queue).field("timestamp", time)
    }

    fn of_topic(&self, code: i32, queue: &Queue) -> Request {
        Request::new(code).text("topic", self.topic.clone()).field("queueId", queue.id)
    }
}

/// Tags as RocketMQ writes them: `a || b`, or `*`.
fn expression(tags: &[String]) -> String {
    if tags.is_empty() { ALL.to_owned() } else { tags.join(" || ") }
}

/// `DELETE_SUBSCRIPTIONGROUP`: ends a group on one broker, its offsets too.
pub fn delete_group(group: &str) -> Request {
    Request::new(request::DELETE_SUBSCRIPTIONGROUP).text("groupName", group.to_owned()).text("cleanOffset", "true")
}

/// Writing plain data to memory cannot fail.
fn json(body: &impl Serialize) -> Bytes {
    serde_json::to_vec(body).expect("plain data is always JSON").into()
}

/// Java's `String.hashCode`, by which brokers compare tags.
fn java_hash(text: &str) -> i32 {
    text.encode_utf16().fold(0, |hash: i32, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)))
}

/// The members of a group, from the answer to `list`.
pub fn decode_list(body: &[u8]) -> Result<Vec<String>, String> {
    #[derive(Deserialize)]
    struct List {
        #[serde(default, rename = "consumerIdList")]
        ids: Vec<String>,
    }
    serde_json::from_slice::<List>(body).map(|list| list.ids).map_err(|error| error.to_string())
}

/// The queues that were locked, from the answer to `lock`.
pub fn decode_locked(body: &[u8]) -> Result<Vec<Queue>, String> {
    #[derive(Deserialize)]
    struct Locked {
        #[serde(default, rename = "lockOKMQSet")]
        queues: Vec<LockedQueue>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct LockedQueue {
        broker_name: String,
        queue_id: u32,
    }
    let locked: Locked = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    Ok(locked.queues.into_iter().map(|q| Queue { broker: q.broker_name.into(), id: q.queue_id }).collect())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ClusterBody {
    #[serde(default)]
    broker_addr_table: BTreeMap<String, BrokerBody>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BrokerBody {
    #[serde(default)]
    broker_addrs: BTreeMap<String, String>,
}

/// The addresses of all masters, from the answer of a name server to `GET_BROKER_CLUSTER_INFO`.
pub fn decode_masters(body: &[u8]) -> Result<Vec<String>, String> {
    let cluster: ClusterBody = serde_json::from_slice(body)
        .or_else(|_| serde_json::from_slice(&quote_number_names(body)))
        .map_err(|error| error.to_string())?;
    Ok(cluster.broker_addr_table.into_values().filter_map(|mut broker| broker.broker_addrs.remove("0")).collect())
}

/// What a broker says to a pull.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pulled {
    /// Its body holds records.
    Found(Span),
    /// Nothing for us from the offset asked for up to `Span::next`: it holds other tags or nothing yet.
    Nothing(Span),
    /// There is no message at the offset asked for and never will be; it goes on at `Span::next`.
    Moved(Span),
    /// A person has set the group's offset to `Span::next`.
    Reset(Span),
}

/// Where a queue stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Where to pull next.
    pub next: u64,
    /// The oldest message that is left.
    pub min: u64,
    /// Where the next message will go.
    pub max: u64,
}

impl Pulled {
    /// Reads code, remark and fields of an answer; nothing when it is an error.
    pub fn read(code: i32, remark: Option<&str>, fields: &Fields) -> Option<Self> {
        let signed = |name| fields.number::<i64>(name).map(|value| u64::try_from(value).unwrap_or(0));
        let span = Span { next: signed("nextBeginOffset")?, min: signed("minOffset")?, max: signed("maxOffset")? };
        match code {
            response::SUCCESS => Some(Self::Found(span)),
            // The log was deleted under the reader: the same as a moved offset.
            response::PULL_NOT_FOUND if remark == Some("OFFSET_FOUND_NULL") => Some(Self::Moved(span)),
            response::PULL_RETRY_IMMEDIATELY if remark == Some("MESSAGE_WAS_REMOVING") => Some(Self::Moved(span)),
            response::PULL_NOT_FOUND | response::PULL_RETRY_IMMEDIATELY => Some(Self::Nothing(span)),
            response::PULL_OFFSET_MOVED if remark == Some("OFFSET_RESET") => Some(Self::Reset(span)),
            response::PULL_OFFSET_MOVED => Some(Self::Moved(span)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
