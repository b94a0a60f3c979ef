//! Parked messages in a RocketMQ topic, read back for a person or for a replay.
//!
//! It reads through a source that somebody else runs, so it knows no protocol. Several routes may share a topic:
//! records of other routes are passed over.

use std::time::Duration;

use tokio::time::{Instant, timeout};
use tracing::warn;

use super::record::Record;
use crate::{
    delivery::{Delivery, Refusal, SourceHandle, SourceLink, Ticket},
    telemetry::EndState,
};

/// Nothing came for this long while all of the topic was read: it has been read to its end.
const END: Duration = Duration::from_secs(3);
/// How often it is asked whether all of the topic is read.
const LOOK: Duration = Duration::from_millis(100);

/// What the topic holds for a route since its last replay. Nothing is acknowledged, so it can be read again.
pub async fn list(route: &str, mut topic: SourceHandle, state: &EndState) -> Vec<Record> {
    let mut records = Vec::new();
    let mut quiet = Quiet::default();
    while let Some(batch) = quiet.next(&mut topic, state).await {
        records.extend(batch.iter().filter_map(|delivery| readable(delivery, route)));
    }
    records
}

/// A source that reads a route's parked messages from a topic, up to those parked since `begin` (milliseconds since
/// the epoch), which this replay itself put there. What is settled is acknowledged to the topic.
pub async fn replay(route: &str, begin: u64, mut topic: SourceHandle, state: &EndState, mut link: SourceLink) {
    link.state.up();
    let mut quiet = Quiet::default();
    let mut waiting: u64 = 0;
    let mut reading = true;
    while reading || waiting > 0 {
        tokio::select! {
            settled = link.settled.recv() => {
                let Some(tickets) = settled else { return };
                waiting -= tickets.len() as u64;
                let _gone = topic.settled.send(tickets);
            }
            batch = quiet.next(&mut topic, state), if reading => {
                let Some(batch) = batch else {
                    reading = false;
                    continue;
                };
                let (deliveries, passed_over) = sort_out(batch, route, begin, &mut reading);
                waiting += deliveries.len() as u64;
                let _gone = topic.settled.send(passed_over);
                reading &= link.deliveries.send(deliveries).await.is_ok();
            }
        }
    }
}

/// Since when nothing has come.
#[derive(Debug, Default)]
struct Quiet {
    since: Option<Instant>,
    /// How often not all of the topic was read though its brokers answer.
    held: u32,
}

impl Quiet {
    /// The next batch; nothing at the end of the topic. A source that does not read all of it, because a broker does
    /// not answer or an earlier reader still has the lock of a queue, has not come to its end, however long it takes.
    async fn next(&mut self, topic: &mut SourceHandle, state: &EndState) -> Option<Vec<Delivery>> {
        loop {
            if let Ok(batch) = timeout(LOOK, topic.deliveries.recv()).await {
                self.since = None;
                return batch;
            }
            let since = self.since.unwrap_or_else(Instant::now);
            self.since = state.reads_all().then_some(since);
            if self.since.is_none() && state.reason().is_none() {
                self.held += 1;
                if LOOK * self.held == END {
                    warn!(
                        "waits for the queues of an earlier reader of what is parked: a broker keeps them for up to a minute"
                    );
                }
            }
            if self.since.is_some_and(|since| since.elapsed() >= END) {
                return None;
            }
        }
    }
}

/// The deliveries that are this route's, and the tickets of those that are not. What could not be read once is parked
/// again, at the end of the topic: there is no leaving it where it is and going on behind it.
fn sort_out(batch: Vec<Delivery>, route: &str, begin: u64, reading: &mut bool) -> (Vec<Delivery>, Vec<Ticket>) {
    let (mut deliveries, mut passed_over) = (Vec::new(), Vec::new());
    for delivery in batch {
        let record = readable(&delivery, route);
        if record.as_ref().is_some_and(|record| record.parked_at >= begin) {
            *reading = false;
            break;
        }
        match record.and_then(|record| Some((record.message().ok()?, record))) {
            Some((message, record)) => {
                let unreadable = record.is_raw().then(|| Refusal::new(Refusal::UNDECODABLE, record.reason));
                deliveries.push(Delivery { message, suspected_duplicate: true, unreadable, ..delivery });
            }
            None => passed_over.push(delivery.ticket),
        }
    }
    (deliveries, passed_over)
}

fn readable(delivery: &Delivery, route: &str) -> Option<Record> {
    let text = String::from_utf8_lossy(&delivery.message.payload);
    match Record::from_line(&text) {
        Ok(record) => (record.route == route).then_some(record),
        Err(error) => {
            warn!(route, %error, queue = ?delivery.message.queue, "passed over: it stays in the topic");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        delivery::source_link,
        message::{Message, Topic},
        telemetry::Telemetry,
    };

    fn parked(ticket: Ticket, route: &str, at: u64) -> Delivery {
        let record = Record::new(route, &Message::new(Topic::from_mqtt("a/b"), "x"), &Refusal::new("k", "why"), at);
        let message = Message::new(Topic::from_parts("park", ""), record.to_line());
        Delivery { ticket, message, suspected_duplicate: false, packet_id: None, unreadable: None }
    }

    #[tokio::test]
    async fn a_replay_sends_its_routes_own_and_never_what_it_parked_itself() {
        let telemetry = Telemetry::default().route("r", "main", "edge", "main");
        let (topic_link, topic) = source_link(telemetry.source.clone());
        let (link, mut route) = source_link(telemetry.source.clone());
        let mut topic_settled = topic_link.settled;
        let batch = vec![parked(0, "other", 1), parked(1, "r", 1), parked(2, "r", 100), parked(3, "r", 101)];
        topic_link.deliveries.send(batch).await.unwrap();
        let replay = tokio::spawn(async move { replay("r", 100, topic, &telemetry.source, link).await });
        let sent = route.deliveries.recv().await.unwrap();
        assert_eq!(sent.iter().map(|delivery| delivery.ticket).collect::<Vec<_>>(), [1]);
        assert_eq!(sent[0].message.topic.as_str(), "a/b");
        assert_eq!(topic_settled.recv().await.unwrap(), [0]);
        route.settled.send(vec![1]).unwrap();
        assert_eq!(topic_settled.recv().await.unwrap(), [1]);
        replay.await.unwrap();
    }

    #[tokio::test]
    async fn what_could_not_be_read_is_parked_again_and_never_sent() {
        let telemetry = Telemetry::default().route("r", "main", "edge", "main");
        let (topic_link, topic) = source_link(telemetry.source.clone());
        let (link, mut route) = source_link(telemetry.source.clone());
        let raw = Message::new(Topic::from_parts("t", ""), vec![0, 255]);
        let refusal = Refusal::new(Refusal::UNDECODABLE, "cut short");
        let mut delivery = parked(0, "r", 1);
        delivery.message.payload = Record::new("r", &raw, &refusal, 1).to_line().into();
        topic_link.deliveries.send(vec![delivery]).await.unwrap();
        let replay = tokio::spawn(async move { replay("r", 100, topic, &telemetry.source, link).await });
        let sent = route.deliveries.recv().await.unwrap();
        assert_eq!((sent[0].unreadable.as_ref(), &sent[0].message.payload[..]), (Some(&refusal), &[0, 255][..]));
        drop(route);
        replay.await.unwrap();
    }

    #[tokio::test]
    async fn a_topic_that_is_not_read_yet_is_not_at_its_end() {
        let state = Telemetry::default().route("r", "main", "edge", "main").source;
        let (topic_link, topic) = source_link(state.clone());
        let (link, mut route) = source_link(Telemetry::default().route("r", "main", "edge", "main").source);
        let reads = state.clone();
        let replay = tokio::spawn(async move { replay("r", 100, topic, &reads, link).await });
        state.up();
        // Up, but another member still has the queues.
        assert!(timeout(END + END / 10, route.deliveries.recv()).await.is_err());
        assert!(!replay.is_finished());
        state.set_reads_all(true);
        topic_link.deliveries.send(vec![parked(0, "r", 1), parked(1, "r", 100)]).await.unwrap();
        assert_eq!(route.deliveries.recv().await.unwrap().len(), 1);
        drop(route);
        replay.await.unwrap();
    }
}
