//! Any bytes as webhooks of the generic form.

#![no_main]

use rocketbridge::presence::adapter::Adapter;

libfuzzer_sys::fuzz_target!(|data: &[u8]| rocketbridge_fuzz::read(Adapter::Generic, data));
