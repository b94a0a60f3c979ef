//! The MQTT end. It never sees RocketMQ code, and no type of a client crate leaves it.
