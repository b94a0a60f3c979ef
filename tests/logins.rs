//! Devices that log in to a real RMQTT, which asks the bridge: who comes in, and what they may do then.

mod rmqtt;
mod tokens;
mod world;
