//! Any bytes as log lines of Mosquitto.

#![no_main]

use rocketbridge::presence::adapter::Adapter;

libfuzzer_sys::fuzz_target!(|data: &[u8]| rocketbridge_fuzz::read(Adapter::Mosquitto, data));
