//! Status notices of real brokers' clients, read by a RocketMQ consumer: each way of coming and going gives exactly the
//! notices of LMQ-7.2, with the client's address and one channel for each connection.

mod mosquitto;
mod rmqtt;

use std::time::Duration;

use serde_json::Value;

use crate::{
    events::{ENDS, End},
    servers::{
        bridge::Bridge,
        device::{Arrival, Device},
        judge::{Consumer, Stored},
        rocketmq::{Options, RocketMq},
    },
};

const TOPIC: &str = "GID_dev_MQTT";
/// Longer than any notice takes to come; a broker's restart shows within a dozen seconds.
const PATIENCE: Duration = Duration::from_secs(40);

/// What a notice says but for its time.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Notice {
    tag: String,
    client_id: String,
    address: String,
    channel: String,
}

impl Notice {
    /// Reads a notice, and holds it to the form of LMQ-7.1.
    fn read(stored: &Stored) -> Self {
        let body: Value = serde_json::from_slice(&stored.body).unwrap();
        let keys: Vec<&str> = body.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(keys, ["channelId", "clientId", "clientIp", "eventType", "time"], "{body}");
        let text = |key: &str| body[key].as_str().unwrap().to_owned();
        assert_eq!(stored.tag.as_deref(), body["eventType"].as_str());
        assert!(body["time"].as_u64().unwrap() > 1_700_000_000_000, "{body}");
        let channel = text("channelId");
        assert!(channel.len() == 32 && channel.chars().all(|c| c.is_ascii_hexdigit()), "{body}");
        Self { tag: text("eventType"), client_id: text("clientId"), address: text("clientIp"), channel }
    }
}

/// A back end that judges who is offline by `tcpclean`, as the vendor's do.
struct BackEnd {
    consumer: Consumer,
}

impl BackEnd {
    async fn of(rocketmq: &RocketMq) -> Self {
        Self { consumer: rocketmq.consume_tags(TOPIC, "GID_back_end", "connect || tcpclean").await }
    }

    /// The next notice, of a client that this test knows.
    async fn next(&mut self) -> Notice {
        let stored = tokio::time::timeout(PATIENCE, self.consumer.next()).await.expect("a notice comes").unwrap();
        Notice::read(&stored)
    }

    /// The next notice is that a client came from this address; its channel.
    async fn came(&mut self, client_id: &str, address: &str) -> String {
        let notice = self.next().await;
        assert_eq!((notice.tag.as_str(), notice.client_id.as_str()), ("connect", client_id), "{notice:?}");
        assert_eq!(notice.address, address);
        notice.channel
    }

    /// The next notice is that this channel is gone.
    async fn gone(&mut self, client_id: &str, channel: &str) {
        let notice = self.next().await;
        assert_eq!((notice.tag.as_str(), notice.client_id.as_str()), ("tcpclean", client_id), "{notice:?}");
        assert_eq!(notice.channel, channel);
    }
}

/// Starts RocketMQ with the topic of the notices.
async fn rocketmq() -> RocketMq {
    let rocketmq = RocketMq::start(&Options::default()).await;
    rocketmq.create_topic(TOPIC, 4).await;
    rocketmq
}

/// Starts a bridge with one status route on the broker at this port.
async fn bridge(port: u16, rocketmq: &RocketMq, events: &str, grace: &str) -> Bridge {
    let settings = crate::servers::bridge::settings_at(port, &rocketmq.servers());
    let route = format!("[[status]]\nname = \"who\"\nfrom = {{ events = {events:?}, grace = {grace:?} }}\n");
    Bridge::start(&settings, &route).await
}

/// Devices come over this port and go in every way; each connection's address is shown with `prefix` before it.
async fn come_and_go(back_end: &mut BackEnd, arrival: &Arrival, prefix: &str) {
    for (number, end) in ENDS.into_iter().enumerate() {
        let client_id = format!("GID_dev@@@{number}-{}", arrival.web_socket);
        let device =
            Device::connect(&Arrival { client_id: client_id.clone(), keep_alive: end.keep_alive(), ..arrival.clone() })
                .await;
        let channel = back_end.came(&client_id, &format!("{prefix}{}", device.address)).await;
        end.of(device).await;
        back_end.gone(&client_id, &channel).await;
    }
}

/// All that the topic holds of clients: each channel has its notices once, `disconnect` among them only where the
/// client said so.
async fn every_channel_is_told_once(rocketmq: &RocketMq, clean: impl Fn(&str) -> bool, open: &[&str]) {
    let mut reader = rocketmq.reader(TOPIC);
    let mut channels = std::collections::BTreeMap::<(String, String), Vec<String>>::new();
    loop {
        let stored = reader.poll().await;
        if stored.is_empty() {
            break;
        }
        for notice in stored.iter().filter(|stored| stored.tag.as_deref() != Some("rocketbridge")).map(Notice::read) {
            channels.entry((notice.client_id, notice.channel)).or_default().push(notice.tag);
        }
    }
    assert!(!channels.is_empty());
    for ((client_id, channel), tags) in channels {
        let expected: &[&str] = match () {
            () if open.contains(&channel.as_str()) => &["connect"],
            () if clean(&client_id) => &["connect", "disconnect", "tcpclean"],
            () => &["connect", "tcpclean"],
        };
        assert_eq!(tags, expected, "{client_id} {channel}");
    }
}

/// Whether a device of [`come_and_go`] said DISCONNECT.
fn said_so(client_id: &str) -> bool {
    let clean = ENDS.iter().position(|end| *end == End::Disconnect).unwrap();
    client_id.starts_with(&format!("GID_dev@@@{clean}-"))
}
