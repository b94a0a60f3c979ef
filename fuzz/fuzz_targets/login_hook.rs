//! Any bytes as what a broker asks about a login.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rocketbridge_fuzz::ask(data));
