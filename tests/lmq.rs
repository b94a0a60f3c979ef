//! What devices and back ends written for LMQ expect, with real servers.

mod hosted;
mod p2p;
mod sign;
