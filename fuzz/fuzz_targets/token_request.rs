//! Any bytes as a form or a query string of the token service.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rocketbridge_fuzz::token_request(data));
