//! The LMQ contract: pure functions, each citing its clause. No socket, clock or log in here.

pub mod properties;
pub mod topics;
