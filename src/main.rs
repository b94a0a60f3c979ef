//! The command line of rocketbridge.

fn main() {}
