//! What devices and back ends written for LMQ expect, with real servers.

mod hosted;
mod java;
mod ordered;
mod p2p;
mod sign;
