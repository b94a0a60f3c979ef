//! rocketbridge joins MQTT brokers and Apache RocketMQ: both ways, at least once, in order.
//!
//! The modules in reading order; `ARCHITECTURE.md` says what must always hold.

pub mod message;

pub mod delivery;

pub mod calendar;

pub mod clock;

pub mod telemetry;

pub mod diagnostic;

pub mod toml_reader;

pub mod settings;

pub mod mapping;

pub mod configuration;

pub mod tls;

pub mod lmq;

pub mod mqtt;

pub mod rocketmq;

pub mod presence;

pub mod tokens;

pub mod logins;

pub mod data_dir;

pub mod parking;

pub mod status;

pub mod http;

pub mod route;

pub mod reload;

pub mod supervisor;

pub mod cli;
