//! Runs a real model runtime by hand, or prints where one is: for scripts, benchmarks and people.

use std::{iter, os::unix::process::CommandExt, path::PathBuf, process::Command};

use anyhow::{Context, Result};
use clap::{Parser, Subcommand, ValueEnum};
use tracer_tests::{
    cache::Cache,
    debian,
    model::{self, SMALL, Shape, TINY},
    package::{NODE_LLAMA_CPP, XLLAMACPP},
    privilege,
    workload::{NOBODY, Runtime, Target},
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
    /// Make everything that the tests need inside a virtual machine, where nothing can be fetched or
    /// compiled, and print the cache folder and then the path of each part.
    Guest,
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
        Action::Guest => {
            println!("{}", cache.folder().display());
            for part in guest_parts(&cache)? {
                println!("{}", part.display());
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

/// Both builds of llama.cpp with what drives them, the tiny model, and the small targets.
fn guest_parts(cache: &Cache) -> Result<Vec<PathBuf>> {
    let mut parts = vec![NODE_LLAMA_CPP.unpacked(cache)?, XLLAMACPP.unpacked(cache)?];
    let commands = [
        Runtime::NodeLlamaCpp.command(cache, TINY, &[])?,
        Runtime::Xllamacpp.command(cache, TINY, &[])?,
        Target::Flood.command(cache, &[])?,
        Target::Stall.command(cache, &[])?,
        Target::Unwind.command(cache, &[])?,
        Target::Panic.command(cache, &[])?,
        Target::Paced.command(cache, &[])?,
        Target::Accesses.command(cache, &[])?,
    ];
    // A command line names the program, the libraries and the model that it was made with.
    for command in &commands {
        parts.extend(
            iter::once(command.get_program())
                .chain(command.get_args())
                .map(PathBuf::from)
                .filter(|path| path.starts_with(cache.folder()) && path.is_file()),
        );
    }
    parts.sort();
    parts.dedup();
    Ok(parts)
}
