//! The token service against real servers: replicas that tell each other over RocketMQ, and clients of an RMQTT that are
//! cut when their tokens end.

mod disk;
mod replicas;
mod rmqtt;
mod service;
