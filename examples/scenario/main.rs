//! Plays the scenarios of `scenarios/`: real brokers on free ports, the bridge with a scenario's own files, and the devices
//! and back ends of it. What does not come as its README says ends it with 1.
//!
//! `scripts/scenario` builds what this needs and runs it. Everything it starts ends with it.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it talks to a person")]

#[expect(unused_imports, reason = "of the servers' own parts, this plays no load")]
#[path = "../../tests/servers/mod.rs"]
mod servers;

mod gateways;
mod migration;
mod price_tags;
mod signalling;

use std::{
    process::ExitCode,
    sync::LazyLock,
    time::{Duration, Instant},
};

use clap::{Parser, ValueEnum};
use servers::{
    judge::Send,
    mosquitto::{Mosquitto, Options as MosquittoOptions},
    mqtt::Client,
    rocketmq::{Options as RocketMqOptions, RocketMq},
};

/// How long anything may take that is to come.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long it is listened for what is not to come.
const QUIET: Duration = Duration::from_millis(400);

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Name {
    StorageGateways,
    PriceTags,
    Signalling,
    Migration,
}

#[derive(Debug, Parser)]
struct Arguments {
    /// Which to play; all of them unless given.
    names: Vec<Name>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let mut names = Arguments::parse().names;
    if names.is_empty() {
        names.extend_from_slice(Name::value_variants());
    }
    // What a scenario says is asserted: a panic ends its task, and with it the program.
    let played = tokio::spawn(play(names));
    let fine = tokio::select! {
        played = played => played.is_ok(),
        _ = tokio::signal::ctrl_c() => false,
    };
    servers::remove_folders();
    if fine { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn play(names: Vec<Name>) {
    step("starting RocketMQ");
    let rocketmq = RocketMq::start(&RocketMqOptions::default()).await;
    for name in names {
        step(&format!("playing {}", name.to_possible_value().map_or_else(String::new, |v| v.get_name().to_owned())));
        match name {
            Name::StorageGateways => gateways::play(&rocketmq).await,
            Name::PriceTags => price_tags::play(&rocketmq).await,
            Name::Signalling => signalling::play(&rocketmq).await,
            Name::Migration => migration::play(&rocketmq).await,
        }
    }
    step("all came as it should");
}

fn step(text: &str) {
    static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);
    eprintln!("==> [{:>3}s] {text}", BEGAN.elapsed().as_secs());
}

/// A line of the play.
fn say(who: &str, what: &str) {
    println!("  {who:<22} {what}");
}

/// A Mosquitto with these lines in its configuration.
async fn broker(lines: &[&str]) -> Mosquitto {
    let lines = lines.iter().map(ToString::to_string).collect();
    Mosquitto::start(&MosquittoOptions { lines, ..MosquittoOptions::default() }).await
}

/// A back end sends a message to a subtopic.
async fn send(rocketmq: &RocketMq, topic: &str, second: &str, body: &str) {
    say("back end", &format!("sends    {topic}{second}: {body}"));
    let properties = [("mqttSecondTopic", second)];
    rocketmq.send(&Send { topic, body: body.as_bytes(), properties: &properties, ..Send::default() }).await;
}

/// What a client receives next, if something comes in time.
async fn hears(client: &mut Client, limit: Duration) -> Option<String> {
    let publish = client.next_within(limit).await?;
    Some(String::from_utf8_lossy(&publish.payload).into_owned())
}

/// A client receives just this.
async fn receives(client: &mut Client, who: &str, expected: &str) {
    assert_eq!(hears(client, PATIENCE).await.as_deref(), Some(expected), "{who}");
    say(who, &format!("receives {expected}"));
}
