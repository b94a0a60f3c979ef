//! All integration tests, in one binary: it links once, and servers are started once for all of them.
//!
//! A plain `cargo test` ignores the tests that need real servers and says so; `scripts/test` fetches the servers and
//! runs them all.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

mod architecture;
mod cli;
mod clusters;
mod documents;
mod events;
mod faults;
mod files;
mod harness;
mod lmq;
mod logins;
mod mqtt_ends;
mod notices;
mod reading;
mod refusals;
mod running;
mod servers;
mod tokens;
mod waves;
