//! Runs a real model runtime by hand, or prints where one is: for scripts, benchmarks and people.

use std::{os::unix::process::CommandExt, process::Command};

use anyhow::{Context, Result};
use clap::{Parser, Subcommand, ValueEnum};
use tracer_tests::{
    cache::Cache,
    debian,
    model::{self, SMALL, Shape, TINY},
    package::{NODE_LLAMA_CPP, XLLAMACPP},
    privilege,
    workload::{NOBODY, Runtime},
};

#[derive(Parser)]
#[command(about, version)]
struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Fetch and build what the named parts need, and print the folder of each.
    Fetch {
        #[arg(required = true)]
        parts: Vec<Part>,
    },
    /// Print the path of a model file, made on first use.
    Model { shape: Size },
    /// Run steps on a runtime; the report goes to standard output (see workloads/README.md).
    Run {
        runtime: Build,
        shape: Size,
        /// Keep the current user instead of becoming `nobody`.
        #[arg(long)]
        as_is: bool,
        /// Options and steps of the workload.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        steps: Vec<String>,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum Part {
    NodeLlamaCpp,
    Xllamacpp,
    DebianLlamaCpp,
}

#[derive(Clone, Copy, ValueEnum)]
enum Build {
    NodeLlamaCpp,
    Xllamacpp,
}

#[derive(Clone, Copy, ValueEnum)]
enum Size {
    Tiny,
    Small,
}

impl Size {
    fn shape(self) -> Shape {
        match self {
            Self::Tiny => TINY,
            Self::Small => SMALL,
        }
    }
}

fn main() -> Result<()> {
    let cache = Cache::open()?;
    match Arguments::parse().action {
        Action::Fetch { parts } => {
            for part in parts {
                let folder = match part {
                    Part::NodeLlamaCpp => NODE_LLAMA_CPP.unpacked(&cache)?,
                    Part::Xllamacpp => XLLAMACPP.unpacked(&cache)?,
                    Part::DebianLlamaCpp => debian::llama_cpp(&cache)?.folder,
                };
                println!("{}", folder.display());
            }
        }
        Action::Model { shape } => println!("{}", model::model(&cache, shape.shape())?.display()),
        Action::Run {
            runtime,
            shape,
            as_is,
            steps,
        } => {
            let steps: Vec<&str> = steps.iter().map(String::as_str).collect();
            let runtime = match runtime {
                Build::NodeLlamaCpp => Runtime::NodeLlamaCpp,
                Build::Xllamacpp => Runtime::Xllamacpp,
            };
            let mut command: Command = runtime.command(&cache, shape.shape(), &steps)?;
            if privilege::is_root() && !as_is {
                command.uid(NOBODY).gid(NOBODY);
            }
            return Err(command.current_dir("/").exec()).context("cannot run the workload");
        }
    }
    Ok(())
}
