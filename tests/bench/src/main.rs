//! Runs the measurements and prints their table; `cargo xtask bench` builds it as it must be built.
#![forbid(unsafe_code)]

use std::{path::PathBuf, process::ExitCode};

use anyhow::Result;
use clap::{Parser, ValueEnum};
use tracer_bench::{
    attach, drain, hashing, machine::Machine, pipeline, probe_cost, redaction, report::Report,
    row::Row, sealing, served,
};

/// Measures every claim about speed.
#[derive(Parser)]
#[command(name = "tracer-bench")]
struct Arguments {
    /// Groups to measure; all of them unless named
    groups: Vec<Group>,
    /// Few repetitions: shows the verdicts, and fails for none
    #[arg(long)]
    quick: bool,
    /// File for the figures, as JSON
    #[arg(long)]
    results: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Group {
    /// What a probe costs the thread that hits it
    ProbeCost,
    /// How long it takes from the tracer's start to its probes
    Attach,
    /// How fast records become typed calls
    Drain,
    /// How fast records become redacted events
    Pipeline,
    /// How fast texts are searched for what must not leave
    Redaction,
    /// How fast model files are hashed
    Hashing,
    /// How fast events are sealed for a collector, and how small
    Sealing,
    /// Tokens a second of llama.cpp, traced and untraced
    Served,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(report) if report.has_failed() && !arguments.quick => ExitCode::FAILURE,
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tracer-bench: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(arguments: &Arguments) -> Result<Report> {
    let report = Report {
        machine: Machine::describe(),
        quick: arguments.quick,
        rows: measure(arguments)?,
    };
    print!("{report}");
    if let Some(file) = &arguments.results {
        report.write(file)?;
    }
    Ok(report)
}

fn measure(arguments: &Arguments) -> Result<Vec<Row>> {
    let quick = arguments.quick;
    let wanted = |group| arguments.groups.is_empty() || arguments.groups.contains(&group);
    let mut rows = Vec::new();
    // First, since the served model's computed cost needs the price of a call.
    let nanoseconds_per_pair = if wanted(Group::ProbeCost) {
        let measured = probe_cost::measure(if quick { 3 } else { 15 })?;
        rows.extend(measured.rows);
        Some(measured.nanoseconds_per_pair)
    } else {
        None
    };
    if wanted(Group::Attach) {
        rows.extend(attach::measure(if quick { 3 } else { 15 })?);
    }
    if wanted(Group::Drain) {
        rows.push(drain::measure(drain::Extent {
            repetitions: if quick { 3 } else { 11 },
            bursts: if quick { 10 } else { 50 },
        })?);
    }
    if wanted(Group::Pipeline) {
        rows.push(pipeline::measure(pipeline::Extent {
            repetitions: if quick { 3 } else { 11 },
            bursts: if quick { 5 } else { 20 },
        })?);
    }
    if wanted(Group::Redaction) {
        rows.extend(redaction::measure(redaction::Extent {
            repetitions: if quick { 3 } else { 11 },
        })?);
    }
    if wanted(Group::Hashing) {
        rows.extend(hashing::measure(hashing::Extent {
            repetitions: if quick { 3 } else { 15 },
        })?);
    }
    if wanted(Group::Sealing) {
        rows.extend(sealing::measure(sealing::Extent {
            repetitions: if quick { 3 } else { 11 },
        })?);
    }
    if wanted(Group::Served) {
        let price = match nanoseconds_per_pair {
            Some(price) => price,
            None => probe_cost::measure(3)?.nanoseconds_per_pair,
        };
        let extent = served::Extent {
            pairs: if quick { 3 } else { 30 },
            tokens: if quick { 64 } else { 128 },
        };
        rows.extend(served::measure(extent, price)?);
    }
    Ok(rows)
}
