//! The command `tracer`: reads arguments, runs what they ask for, and writes for people or
//! programs. It has no knowledge of runtimes, kernels or redaction of its own.
#![forbid(unsafe_code)]

mod agent;
mod arguments;
mod consent;
mod diff;
mod doctor;
mod files;
mod integrity;
mod key;
mod manual;
mod outcome;
mod output;
mod policy;
mod profile;
mod profiles;
mod ps;
mod query;
mod signals;
mod text;
mod trace;
mod trouble;

use std::process::ExitCode;

fn main() -> ExitCode {
    trouble::hush_panics();
    outcome::run(std::env::args_os())
}
