//! Runs the measurements and prints their table; `cargo xtask bench` builds it as it must be built.
#![forbid(unsafe_code)]

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Result;
use clap::{Parser, ValueEnum};
use tracer_bench::{
    attach, collector, drain, files, footprint, hashing, instructions, machine::Machine, page,
    peer::LeftOut, pipeline, probe_cost, redaction, report::Report, row::Row, sealing, served,
};

/// Measures every claim about speed.
#[derive(Parser)]
#[command(name = "tracer-bench")]
struct Arguments {
    /// Groups to measure; all of them unless named
    groups: Vec<Group>,
    /// Few repetitions: shows the verdicts, and fails for none but counts of instructions
    #[arg(long)]
    quick: bool,
    /// File for the figures, as JSON
    #[arg(long)]
    results: Option<PathBuf>,
    /// File for the figures and their plots, as HTML
    #[arg(long)]
    page: Option<PathBuf>,
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
    /// What the tracer takes where nothing happens
    Footprint,
    /// Instructions of the hot functions, against what is checked in; fails in a quick run too
    Instructions,
    /// How fast texts are searched for what must not leave
    Redaction,
    /// How fast model files are hashed
    Hashing,
    /// What an open costs while files are watched
    Files,
    /// How fast events are sealed for a collector, and how small
    Sealing,
    /// How fast a collector takes events in, and finds them again
    Collector,
    /// Tokens a second of llama.cpp, traced and untraced
    Served,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(report) if report.has_failed() => ExitCode::FAILURE,
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tracer-bench: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(arguments: &Arguments) -> Result<Report> {
    let machine = Machine::describe();
    let (rows, left_out) = measure(arguments, &machine)?;
    let report = Report {
        machine,
        quick: arguments.quick,
        rows,
        left_out,
    };
    print!("{report}");
    if let Some(file) = &arguments.results {
        report.write(file)?;
    }
    if let Some(file) = &arguments.page {
        page::write(&report, file)?;
    }
    Ok(report)
}

fn measure(arguments: &Arguments, machine: &Machine) -> Result<(Vec<Row>, Vec<LeftOut>)> {
    let quick = arguments.quick;
    let wanted = |group| arguments.groups.is_empty() || arguments.groups.contains(&group);
    let mut rows = Vec::new();
    let mut left_out = Vec::new();
    // First, since the served model's computed cost needs the price of a call.
    let nanoseconds_per_pair = if wanted(Group::ProbeCost) {
        let measured = probe_cost::measure(if quick { 2 } else { 15 })?;
        rows.extend(measured.rows);
        left_out.extend(measured.left_out);
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
    if wanted(Group::Footprint) {
        rows.extend(footprint::measure(footprint::Extent {
            repetitions: if quick { 1 } else { 5 },
            idle: Duration::from_secs(if quick { 5 } else { 20 }),
        })?);
    }
    if wanted(Group::Instructions) {
        match instructions::measure(machine) {
            Ok(counted) => rows.extend(counted),
            Err(why) => left_out.push(LeftOut::because(instructions::GROUP, "valgrind", &why)),
        }
    }
    if wanted(Group::Redaction) {
        rows.extend(redaction::measure(
            redaction::Extent {
                repetitions: if quick { 3 } else { 11 },
            },
            &mut left_out,
        )?);
    }
    if wanted(Group::Hashing) {
        rows.extend(hashing::measure(
            hashing::Extent {
                repetitions: if quick { 3 } else { 15 },
            },
            &mut left_out,
        )?);
    }
    if wanted(Group::Files) {
        rows.extend(files::measure(if quick { 3 } else { 15 }, &mut left_out)?);
    }
    if wanted(Group::Sealing) {
        rows.extend(sealing::measure(sealing::Extent {
            repetitions: if quick { 3 } else { 11 },
        })?);
    }
    if wanted(Group::Collector) {
        rows.extend(collector::measure(collector::Extent {
            repetitions: if quick { 3 } else { 11 },
            stored: if quick { 500_000 } else { 10_000_000 },
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
    Ok((rows, left_out))
}
