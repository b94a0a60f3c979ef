//! Any lines as client id, user name, password and topic of a login.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rocketbridge_fuzz::log_in(data));
