//! What the topic of notices holds, beside what the clients did.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{GROUP, TOPIC};
use crate::servers::{
    fleet::{Connection, End, Fleet},
    rocketmq::RocketMq,
};

/// A channel: its client and address, and its notices, each counted once however often it was sent.
#[derive(Debug, Default)]
struct Channel {
    whose: BTreeSet<(String, String)>,
    told: BTreeSet<(String, u64)>,
}

/// Channels by id, as the topic has them.
async fn channels(rocketmq: &RocketMq) -> BTreeMap<String, Channel> {
    let mut reader = rocketmq.reader(TOPIC);
    let mut channels = BTreeMap::<String, Channel>::new();
    loop {
        let stored = reader.poll().await;
        if stored.is_empty() {
            return channels;
        }
        for stored in stored.iter().filter(|stored| stored.tag.as_deref() != Some("rocketbridge")) {
            let notice: Value = serde_json::from_slice(&stored.body).unwrap();
            let text = |key: &str| notice[key].as_str().unwrap().to_owned();
            let channel = channels.entry(text("channelId")).or_default();
            channel.whose.insert((text("clientId"), text("clientIp")));
            channel.told.insert((text("eventType"), notice["time"].as_u64().unwrap()));
        }
    }
}

/// What is wrong with the notices, in words: nothing where each connection has exactly those of LMQ-7.2. With `lossy`,
/// some may be missing; none may be false.
pub(super) async fn faults(rocketmq: &RocketMq, history: &[Connection], lossy: bool) -> Vec<String> {
    let mut known: BTreeMap<(String, String), Vec<Option<End>>> = BTreeMap::new();
    for Connection { number, peer, end } in history {
        known.entry((Fleet::id(GROUP, *number), peer.to_string())).or_default().push(*end);
    }
    let mut faults = Vec::new();
    for (id, channel) in channels(rocketmq).await {
        let tags: Vec<&str> = channel.told.iter().map(|(tag, _)| tag.as_str()).collect();
        // A lossy one may be the end of a connection whose address nobody heard.
        let whose = channel.whose.first().filter(|_| channel.whose.len() == 1);
        let Some(ends) = whose.and_then(|whose| known.get_mut(whose)) else {
            if !(lossy && whose.is_some_and(|(_, peer)| peer.is_empty()) && !tags.contains(&"connect")) {
                faults.push(format!("{id} is nobody's: {channel:?}"));
            }
            continue;
        };
        // A client may have used one address twice: the connection that fits exactly is the channel's.
        let place = |lossy| ends.iter().position(|end| fits(*end, &tags, lossy));
        let Some(place) = place(false).or_else(|| place(lossy)) else {
            faults.push(format!("{id} of {whose:?}, which ended {ends:?}: {:?}", channel.told));
            continue;
        };
        ends.remove(place);
    }
    if !lossy {
        let untold = known.iter().filter(|(_, ends)| !ends.is_empty());
        faults.extend(untold.map(|(whose, ends)| format!("nothing of {whose:?}, which ended {ends:?}")));
    }
    faults
}

/// Whether these are the notices of a connection that ended so.
fn fits(end: Option<End>, tags: &[&str], lossy: bool) -> bool {
    match end {
        None => tags == ["connect"],
        // Whichever end was heard of counts as its own.
        Some(_) if lossy => tags[0] == "connect",
        // A client that comes again at once may be quicker than its own DISCONNECT.
        Some(End::Said) => tags == ["connect", "disconnect", "tcpclean"] || tags == ["connect", "tcpclean"],
        Some(_) => tags == ["connect", "tcpclean"],
    }
}
