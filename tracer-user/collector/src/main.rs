//! The command `tracer-collector`.
#![forbid(unsafe_code)]

mod command;
mod manual;
mod rotate;

use std::process::ExitCode;

fn main() -> ExitCode {
    command::run()
}
