//! The MQTT end. It never sees RocketMQ code, and no type of a client crate leaves it.
//!
//! [`source::run`] reads, [`sink::run`] publishes; each owns one session on one broker, over a loop of their own
//! that is written once ([`session`]). [`watch`] sees what a broker drops; [`probe`] looks at a broker without leaving
//! anything behind.

mod backoff;
#[cfg(test)]
mod fake_broker;
mod ledger;
mod login;
mod outbox;
mod overlap;
mod packet;
pub mod probe;
mod reason;
mod retained;
mod session;
pub mod sink;
pub mod source;
mod tokens;
mod transport;
pub mod watch;
