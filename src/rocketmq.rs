//! The RocketMQ end. It never sees MQTT code.
