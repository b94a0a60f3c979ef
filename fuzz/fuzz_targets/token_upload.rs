//! Any bytes as what a broker's webhook tells of a token that a client sent.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rocketbridge_fuzz::token_upload(data));
