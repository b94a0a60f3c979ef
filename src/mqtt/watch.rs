//! Watching what a broker drops: Mosquitto counts it under `$SYS`, and tells the clients concerned nothing.
//!
//! A session of its own, which leaves nothing behind. A broker without that topic, or one that keeps it from us, is
//! not watched, and that is no fault. It must never hold up a route.

use std::{convert::Infallible, future::pending, sync::Arc};

use tracing::{debug, warn};

use super::{
    login::Login,
    packet::{Filter, Incoming},
    session::{self, Duty, Ending, Link},
};
use crate::{message::Qos, settings::MqttBroker, telemetry::BrokerTelemetry};

/// Mosquitto's count, since it started, of the messages that it dropped since a client's queue was full.
const TOPIC: &str = "$SYS/broker/publish/messages/dropped";

/// So many connections that told nothing: this broker has no such count, or keeps it from us, and may close over the
/// question.
const FRUITLESS: u32 = 3;

/// Watches until it is dropped, or there is nothing to see.
pub async fn run(broker: Arc<MqttBroker>, telemetry: BrokerTelemetry) {
    let login = Login::aside(&broker, &format!("watch.{}", broker.name));
    let mut watch = Watch { broker: broker.name.clone(), telemetry, last: None, fruitless: 0 };
    session::run(&login, &mut watch).await;
}

struct Watch {
    broker: String,
    telemetry: BrokerTelemetry,
    last: Option<u64>,
    fruitless: u32,
}

impl Watch {
    fn counted(&mut self, dropped: u64) {
        self.telemetry.dropped(dropped);
        // A broker that was restarted counts from 0 again.
        let before = self.last.replace(dropped).unwrap_or(dropped);
        if let Some(more @ 1..) = dropped.checked_sub(before) {
            warn!(broker = %self.broker, dropped = more,
                "the broker dropped messages that waited for one of its clients; if that is the bridge they are lost: \
                 raise max_queued_messages");
        }
    }
}

impl Duty for Watch {
    type Event = Infallible;

    fn clean_start(&self) -> bool {
        true
    }

    fn connected(&mut self, link: &mut Link) {
        let filter = Filter { path: TOPIC.to_owned(), qos: Qos::AtMostOnce };
        if let Err(error) = link.codec.subscribe(&mut link.out, 1, &[filter], None) {
            debug!(broker = %self.broker, %error, "is not watched");
        }
    }

    fn away(&mut self, reason: String) {
        debug!(broker = %self.broker, %reason, "is not watched");
    }

    fn disconnected(&mut self, _ending: &Ending) {
        self.fruitless += u32::from(self.last.is_none());
    }

    async fn next(&mut self) -> Infallible {
        pending().await
    }

    fn event(&mut self, event: Infallible, _link: Option<&mut Link>) {
        match event {}
    }

    fn accepts(&self, _first: u8) -> bool {
        true
    }

    fn packet(&mut self, packet: Incoming, _link: &mut Link) -> Result<(), Ending> {
        match packet {
            Incoming::Publish(publish) => {
                let count =
                    std::str::from_utf8(&publish.message.payload).ok().and_then(|text| text.trim().parse().ok());
                if let Some(count) = count.filter(|_| publish.message.topic.as_str() == TOPIC) {
                    self.counted(count);
                }
                Ok(())
            }
            Incoming::Disconnect(reason) => Err(Ending::Disconnected(reason)),
            _ => Ok(()),
        }
    }

    fn is_blameless(&self) -> bool {
        true
    }

    fn is_finished(&self) -> bool {
        self.fruitless >= FRUITLESS
    }

    fn ends_session(&self) -> bool {
        true
    }
}
