//! The project's own build steps: `build-ebpf` compiles the kernel half, `dist` makes a release, `vm` runs
//! tests on other kernels, `fuzz` feeds the parsers, `bench` measures, `eval` judges, `test` runs every suite.
#![forbid(unsafe_code)]

mod bench;
mod bpf;
mod cargo;
#[cfg(test)]
mod causes;
mod digest;
mod dist;
mod eval;
mod fuzz;
mod process;
mod test;
mod vm;
mod words;
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
    /// Measure every claim about speed
    Bench(bench::Options),
    /// Compile the BPF programs into target/bpf
    BuildEbpf(bpf::Options),
    /// Build what users install
    Dist(dist::Options),
    /// Judge what cannot be tested by a single case
    Eval(eval::Options),
    /// Fuzz everything that reads bytes from outside
    Fuzz(fuzz::Options),
    /// Run the test suites
    Test(test::Options),
    /// Run tests in virtual machines on distribution kernels
    Vm(vm::Options),
    /// Make the list of common words that lexical redaction keeps
    Words(words::Options),
}

fn main() -> ExitCode {
    let Arguments { step } = Arguments::parse();
    let outcome = Workspace::locate().and_then(|workspace| match step {
        Step::Bench(options) => bench::run(&workspace, &options),
        Step::BuildEbpf(options) => bpf::build(&workspace, &options).map(|()| ExitCode::SUCCESS),
        Step::Dist(options) => dist::run(&workspace, &options).map(|()| ExitCode::SUCCESS),
        Step::Eval(options) => eval::run(&workspace, &options),
        Step::Fuzz(options) => fuzz::run(&workspace, &options),
        Step::Test(options) => test::run(&workspace, &options),
        Step::Vm(options) => vm::run(&workspace, &options),
        Step::Words(options) => words::run(&workspace, &options),
    });
    outcome.unwrap_or_else(|error| {
        eprintln!("xtask: {error:#}");
        ExitCode::from(2)
    })
}
