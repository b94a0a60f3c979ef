//! Any bytes as the query string of a status query.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rocketbridge_fuzz::query(data));
