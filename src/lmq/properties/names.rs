//! The names of properties, and which of them are reserved. Nothing here knows a message.

/// RocketMQ's tag.
pub const TAGS: &str = "TAGS";
/// RocketMQ's keys, separated by spaces.
pub const KEYS: &str = "KEYS";
/// RocketMQ's unique key of a message: the sink writes it, one per message.
pub const UNIQ_KEY: &str = "UNIQ_KEY";
/// LMQ-10.2: the key of an ordered message.
pub const SHARDING_KEY: &str = "__SHARDINGKEY";
/// LMQ-3.2: the subtopic, with its leading slash and no trailing one.
pub const SECOND_TOPIC: &str = "mqttSecondTopic";
/// LMQ-3.3: `0`, `1` or `2`.
pub const QOS: &str = "qoslevel";
/// LMQ-3.3: the publisher.
pub const CLIENT_ID: &str = "clientId";
/// LMQ-3.3, LMQ-5.4: `true` or `false`.
pub const CLEAN_SESSION: &str = "cleansessionflag";
/// LMQ-3.4: the whole topic; tells trailing slashes, which `mqttSecondTopic` may not have.
pub const TOPIC: &str = "topic";
/// LMQ-3.4: `[{"key":"..","value":".."}]`.
pub const USER_PROPERTIES: &str = "mqtt5UserProperty";
/// LMQ-3.4: seconds.
pub const EXPIRY: &str = "mqtt5MsgExpireInterval";
/// LMQ-3.4.
pub const CONTENT_TYPE: &str = "mqtt5ContentType";
/// LMQ-4.3: the topic that the receiver is shown.
pub const REAL_TOPIC: &str = "mqttRealTopic";
/// LMQ-3 (`PropertyKeyConst`): MQTT's retain flag, `true`; absent when not set.
pub const RETAIN: &str = "mqttRetain";
/// Ours: MQTT 5 response topic.
pub const RESPONSE_TOPIC: &str = "mqtt5ResponseTopic";
/// Ours: MQTT 5 correlation data in base64.
pub const CORRELATION_DATA: &str = "mqtt5CorrelationData";
/// Ours: MQTT 5 payload format indicator, `1` for text, `0` for bytes.
pub const PAYLOAD_FORMAT: &str = "mqtt5PayloadFormat";
/// Ours: the loop guard's mark.
pub const MARK: &str = "rocketbridgeMark";
/// apache/rocketmq-mqtt (LMQ-13): the whole topic; read, never written.
pub const ORIGIN_TOPIC: &str = "originMqttTopic";
/// apache/rocketmq-mqtt (LMQ-13): as `qoslevel`; read, never written.
pub const ORIGIN_QOS: &str = "qosLevel";
/// apache/rocketmq-mqtt (LMQ-13): as `cleansessionflag`; read, never written.
pub const ORIGIN_CLEAN_SESSION: &str = "cleanSessionFlag";

/// RocketMQ's own names (`MessageConst`), sorted. `TAGS`, `KEYS` and `__SHARDINGKEY` among them cross as fields of
/// the message; the others stay on their cluster.
pub(super) const ROCKETMQ_NAMES: [&str; 63] = [
    "1ST_POP_TIME",
    "ARRIVE_TIME",
    "BORN_TIMESTAMP",
    "BUYER_ID",
    "CHECK_IMMUNITY_TIME_IN_SECONDS",
    "CLUSTER",
    "CONSUME_START_TIME",
    "CORRECTION_FLAG",
    "CORRELATION_ID",
    "DELAY",
    "DLQ_ORIGIN_MESSAGE_ID",
    "DLQ_ORIGIN_TOPIC",
    "DUP_INFO",
    "EXTEND_UNIQ_INFO",
    "INNER_BASE",
    "INNER_MULTI_DISPATCH",
    "INNER_MULTI_QUEUE_OFFSET",
    "INNER_NUM",
    "INSTANCE_ID",
    "KEYS",
    "MAX_OFFSET",
    "MAX_RECONSUME_TIMES",
    "MIN_OFFSET",
    "MQ2_FLAG",
    "MSG_REGION",
    "MSG_TYPE",
    "ORIGIN_MESSAGE_ID",
    "PGROUP",
    "POP_CK",
    "POP_CK_OFFSET",
    "PROPERTY_FORWARD_QUEUE_ID",
    "PUSH_REPLY_TIME",
    "REAL_QID",
    "REAL_TOPIC",
    "RECONSUME_TIME",
    "REDIRECT",
    "REPLY_TO_CLIENT",
    "RETRY_TOPIC",
    "TAGS",
    "TIMER_DELAY_LEVEL",
    "TIMER_DELAY_MS",
    "TIMER_DELAY_SEC",
    "TIMER_DELIVER_MS",
    "TIMER_DEL_UNIQKEY",
    "TIMER_DEQUEUE_MS",
    "TIMER_ENQUEUE_MS",
    "TIMER_OUT_MS",
    "TIMER_ROLL_TIMES",
    "TRACE_CONTEXT",
    "TRACE_ON",
    "TRANSACTION_CHECK_TIMES",
    "TRANSFER_FLAG",
    "TRAN_MSG",
    "TRAN_PREPARED_QUEUE_OFFSET",
    "TTL",
    "UNIQ_KEY",
    "WAIT",
    "__BORNHOST",
    "__CRC32#",
    "__RMQ.TRANSIENT.GROUP_SYS_FLAG",
    "__RMQ.TRANSIENT.TOPIC_SYS_FLAG",
    "__SHARDINGKEY",
    "__transactionId__",
];

/// Names with this beginning never reach a broker's disk.
const TRANSIENT: &str = "__RMQ.TRANSIENT.";

/// Names of LMQ-3, LMQ-4 and LMQ-13 and ours, whatever they are to RocketMQ.
pub(super) const CONTRACT_NAMES: [&str; 20] = [
    SECOND_TOPIC,
    QOS,
    CLIENT_ID,
    CLEAN_SESSION,
    TOPIC,
    USER_PROPERTIES,
    EXPIRY,
    CONTENT_TYPE,
    REAL_TOPIC,
    RETAIN,
    RESPONSE_TOPIC,
    CORRELATION_DATA,
    PAYLOAD_FORMAT,
    MARK,
    ORIGIN_TOPIC,
    ORIGIN_QOS,
    ORIGIN_CLEAN_SESSION,
    "mqttMessage",
    "mqttMessageId",
    "mqttPublishDubFlag",
];

/// Whether a user property of this name may not become a RocketMQ property of its own: all of RocketMQ's names
/// (its `MessageConst`), those of LMQ-3 and LMQ-13, and ours. It crosses inside `mqtt5UserProperty` alone.
pub fn is_reserved(name: &str) -> bool {
    CONTRACT_NAMES.contains(&name) || is_rocketmq_name(name)
}

/// Whether RocketMQ keeps this name for itself.
pub(super) fn is_rocketmq_name(name: &str) -> bool {
    ROCKETMQ_NAMES.binary_search(&name).is_ok() || name.starts_with(TRANSIENT)
}
