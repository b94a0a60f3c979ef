//! The demo: both brokers on free ports, rocketbridge with the sample mappings, a few devices and a back end.
//!
//! `scripts/demo` builds what this needs and runs it. Everything it starts ends with it.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it talks to a person")]

#[expect(unused_imports, reason = "of the servers' own parts, this plays no load")]
#[path = "../../tests/servers/mod.rs"]
mod servers;

mod show;

use std::{process::ExitCode, sync::Arc, time::Duration};

use clap::Parser;
use rumqttc_v5::mqttbytes::QoS;
use servers::{
    bridge::Bridge,
    judge::{Consumer, Send},
    mosquitto::{Mosquitto, Options as MosquittoOptions},
    mqtt::{Client, Login},
    rocketmq::{self, Options as RocketMqOptions, RocketMq},
};
use show::{Flow, step};

/// The lines of the plant and their devices.
const DEVICES: [(&str, &str); 5] = [("a", "m1"), ("a", "m2"), ("a", "m3"), ("b", "m7"), ("b", "m8")];
/// Each device publishes its temperature this often.
const INTERVAL: Duration = Duration::from_millis(1500);
/// What is on its way at the end gets so long to arrive.
const PATIENCE: Duration = Duration::from_secs(10);
/// Above it, the back end has the fan run.
const WARM: f64 = 24.0;

#[derive(Debug, Parser)]
struct Arguments {
    /// Stop by itself so many seconds after the first reading arrived; else Ctrl-C ends it.
    #[arg(long)]
    seconds: Option<u64>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let all_arrived = tokio::select! {
        stage = Stage::build() => stage.play(arguments.seconds).await,
        _ = tokio::signal::ctrl_c() => true,
    };
    servers::remove_folders();
    if all_arrived { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// All that runs, ready to play on. Whatever way it ends, the servers end with it.
struct Stage {
    mosquitto: Mosquitto,
    rocketmq: Arc<RocketMq>,
    bridge: Bridge,
    readings: Consumer,
    alarms: Consumer,
}

impl Stage {
    async fn build() -> Self {
        step("starting Mosquitto");
        let mosquitto = Mosquitto::start(&MosquittoOptions::default()).await;
        step(&format!("Mosquitto listens on 127.0.0.1:{}; starting RocketMQ {}", mosquitto.port, rocketmq::version()));
        let rocketmq = Arc::new(RocketMq::start(&RocketMqOptions::default()).await);
        step(&format!(
            "RocketMQ's name server listens on {}, its broker on {}; creating topics",
            rocketmq.servers()[0],
            rocketmq.brokers[0].address()
        ));
        for topic in ["plant", "alarms", "cmd"] {
            rocketmq.create_topic(topic, 4).await;
        }
        let readings = rocketmq.consume("plant", "GID_backend").await;
        let alarms = rocketmq.consume("alarms", "GID_backend_alarms").await;
        let mut bridge = Bridge::samples(&mosquitto, &rocketmq);
        step("starting `rocketbridge run` with rocketbridge.toml and mappings/");
        bridge.run();
        bridge.ready().await;
        step(&format!("rocketbridge is ready; see http://127.0.0.1:{0}/metrics and /ready", bridge.admin));
        Self { mosquitto, rocketmq, bridge, readings, alarms }
    }

    /// Plays until the end. Says whether all that was sent has arrived.
    async fn play(mut self, seconds: Option<u64>) -> bool {
        let flow = Arc::new(Flow::start());
        let mut playing = tokio::task::JoinSet::new();
        playing.spawn(back_end(self.rocketmq.clone(), [self.readings, self.alarms], flow.clone()));
        for (number, (line, machine)) in DEVICES.into_iter().enumerate() {
            playing.spawn(device(self.mosquitto.port, number, line, machine, flow.clone()));
        }
        let end = async {
            flow.first_stored().await;
            match seconds {
                Some(seconds) => tokio::time::sleep(Duration::from_secs(seconds)).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = end => {}
            _ = tokio::signal::ctrl_c() => println!(),
            Some(ended) = playing.join_next() => ended.expect("devices and back end play until the end"),
        }
        flow.stop();
        tokio::select! {
            () = flow.settled() => {}
            () = tokio::time::sleep(PATIENCE) => {}
            _ = tokio::signal::ctrl_c() => {}
        }
        playing.abort_all();
        step("stopping rocketbridge and both brokers");
        self.bridge.terminate(Duration::from_secs(10));
        flow.sum_up()
    }
}

/// A machine that tells its temperature and obeys commands.
async fn device(port: u16, number: usize, line: &str, machine: &str, flow: Arc<Flow>) {
    let mut client = Client::connect(&Login::new(port, &format!("GID_plant@@@{machine}"))).await;
    client.subscribe(&format!("cmd/{line}/{machine}/#"), QoS::AtLeastOnce).await;
    let mut temperature = 21.0 + 0.5 * f64::from(u32::try_from(number).unwrap_or(0));
    let mut fan = false;
    tokio::time::sleep(INTERVAL / 5 * u32::try_from(number).unwrap_or(0)).await;
    loop {
        temperature += if fan { -1.5 } else { 0.9 };
        let (topic, payload) = (format!("plant/{line}/{machine}/up/temp"), format!("{temperature:.1}"));
        if flow.published(machine, &topic, &payload) {
            client.publish(&topic, QoS::AtLeastOnce, payload.clone()).await;
        }
        let alarm = format!("plant/{line}/{machine}/alarm/warm");
        if temperature > WARM && !fan && flow.published(machine, &alarm, &payload) {
            client.publish(&alarm, QoS::ExactlyOnce, payload).await;
        }
        let next = tokio::time::Instant::now() + INTERVAL;
        while let Some(command) = client.next_within(next.saturating_duration_since(tokio::time::Instant::now())).await
        {
            let said = String::from_utf8_lossy(&command.payload).into_owned();
            flow.delivered(machine, &String::from_utf8_lossy(&command.topic), &said);
            fan = said == "fan on";
        }
    }
}

/// A program on the RocketMQ side: it watches the temperatures and sends commands to warm and cold machines.
async fn back_end(rocketmq: Arc<RocketMq>, [mut readings, mut alarms]: [Consumer; 2], flow: Arc<Flow>) {
    while let Some(reading) = tokio::select! { reading = readings.next() => reading, alarm = alarms.next() => alarm } {
        let subtopic = reading.properties.get("mqttSecondTopic").cloned().unwrap_or_default();
        let value = String::from_utf8_lossy(&reading.body).into_owned();
        flow.stored(&reading.topic, &subtopic, reading.keys.as_deref(), reading.tag.as_deref(), &value);
        let Some(machine) = subtopic.strip_suffix("/up/temp") else { continue };
        let command = match value.parse::<f64>() {
            Ok(warm) if warm > WARM => "fan on",
            Ok(cold) if cold < 21.0 => "fan off",
            _ => continue,
        };
        let target = format!("{machine}/fan");
        if flow.commanded(&target, command) {
            let properties = [("mqttSecondTopic", target.as_str())];
            let (body, tag) = (command.as_bytes(), Some("MQ2MQTT"));
            rocketmq.send(&Send { topic: "cmd", body, tag, properties: &properties, ..Send::default() }).await;
        }
    }
}
