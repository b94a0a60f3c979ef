//! The command line of rocketbridge.

use std::process::ExitCode;

fn main() -> ExitCode {
    rocketbridge::cli::main()
}
