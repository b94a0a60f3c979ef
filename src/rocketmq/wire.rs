//! RocketMQ's remoting protocol as bytes: pure functions and plain data.
//!
//! No socket, clock, task or log in here. What comes from the wire is read with checks: a length that lies is an
//! error, never a panic. Names of codes and fields are those of Apache's Java sources, which are the reference.

pub mod acl;
pub mod batch;
pub mod code;
pub mod consume;
pub mod frame;
#[cfg(test)]
mod golden;
pub mod record;
pub mod route;
pub mod send;
pub mod unique;
