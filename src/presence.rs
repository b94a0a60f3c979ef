//! Who is online: what brokers say of their clients becomes status notices (LMQ-7), and notices become presence.
//!
//! Below, `source`, `journal` and `api` act; all else is pure: bytes and times in, events, notices and answers out.

pub mod adapter;
pub mod api;
pub mod arrivals;
pub mod ask;
pub mod board;
pub mod connections;
pub mod event;
pub mod journal;
pub mod ledger;
pub mod lifeline;
pub mod note;
pub mod roster;
pub mod source;
pub mod view;
pub mod webhook;
