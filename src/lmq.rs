//! The LMQ contract: pure functions, each citing its clause. No socket, clock or log in here.

pub mod credentials;
pub mod login;
pub mod notice;
pub mod p2p;
pub mod parameters;
pub mod properties;
pub mod shard;
pub mod signature;
pub mod status_query;
pub mod token;
pub mod token_request;
pub mod topics;
