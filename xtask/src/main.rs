//! The project's own build steps: `cargo xtask build-ebpf` compiles the kernel half.
#![forbid(unsafe_code)]

mod bpf;
mod digest;
mod fuzz;
mod process;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::workspace::Workspace;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Build steps and test suites of tracer")]
struct Arguments {
    #[command(subcommand)]
    step: Step,
}

#[derive(Subcommand)]
enum Step {
    /// Compile the BPF programs into target/bpf
    BuildEbpf(bpf::Options),
    /// Fuzz everything that reads bytes from outside
    Fuzz(fuzz::Options),
}

fn main() -> ExitCode {
    let Arguments { step } = Arguments::parse();
    let outcome = Workspace::locate().and_then(|workspace| match step {
        Step::BuildEbpf(options) => bpf::build(&workspace, &options).map(|()| ExitCode::SUCCESS),
        Step::Fuzz(options) => fuzz::run(&workspace, &options),
    });
    outcome.unwrap_or_else(|error| {
        eprintln!("xtask: {error:#}");
        ExitCode::from(2)
    })
}
