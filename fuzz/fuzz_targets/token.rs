//! Any bytes as a token, and as a record that another replica tells of tokens.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rocketbridge_fuzz::token(data));
