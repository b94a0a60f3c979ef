//! Any bytes as tokens of a file or a program, and as what an endpoint of LMQ says of them.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rocketbridge_fuzz::credentials(data));
