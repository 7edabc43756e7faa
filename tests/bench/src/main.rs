//! Runs the measurements and prints their table; `cargo xtask bench` builds it as it must be built.
#![forbid(unsafe_code)]

use std::{
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use clap::{Parser, ValueEnum};
use tracer_bench::{
    attach, collector, drain, files, footprint, hashing, instructions, latency,
    machine::Machine,
    overload, page,
    peer::LeftOut,
    pipeline, probe_cost, redaction,
    report::{Report, Took},
    rings,
    row::Row,
    sealing, served, whole,
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
    // First, since the served model's computed cost needs the price of a call.
    /// What a probe costs the thread that hits it
    ProbeCost,
    /// How long it takes from the tracer's start to its probes
    Attach,
    /// How fast records become typed calls, what they cost who writes them, and what becomes of too many
    Drain,
    /// How fast records become redacted events
    Pipeline,
    /// How long it takes from a call to its line on a terminal
    Latency,
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
    /// How fast calls of a process become events that a collector has stored
    Whole,
    /// Steps a second and first tokens of llama.cpp, ONNX Runtime and PyTorch, traced and untraced
    Served,
}

impl Group {
    /// As the command line's help says it.
    fn about(self) -> String {
        let value = self.to_possible_value();
        let help = value.as_ref().and_then(|value| value.get_help());
        help.map(ToString::to_string).unwrap_or_default()
    }

    /// As the command line and the rows have it.
    const fn name(self) -> &'static str {
        match self {
            Self::ProbeCost => probe_cost::GROUP,
            Self::Attach => attach::GROUP,
            Self::Drain => drain::GROUP,
            Self::Pipeline => pipeline::GROUP,
            Self::Latency => latency::GROUP,
            Self::Footprint => footprint::GROUP,
            Self::Instructions => instructions::GROUP,
            Self::Redaction => redaction::GROUP,
            Self::Hashing => hashing::GROUP,
            Self::Files => files::GROUP,
            Self::Sealing => sealing::GROUP,
            Self::Collector => collector::GROUP,
            Self::Whole => whole::GROUP,
            Self::Served => served::GROUP,
        }
    }
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
    let mut run = Run {
        machine: Machine::describe(),
        quick: arguments.quick,
        prices: None,
        left_out: Vec::new(),
    };
    let (mut rows, mut took) = (Vec::new(), Vec::new());
    for &group in Group::value_variants() {
        if !arguments.groups.is_empty() && !arguments.groups.contains(&group) {
            continue;
        }
        let name = group.name();
        eprintln!("measuring {name}");
        let begun = Instant::now();
        rows.extend(
            run.measure(group)
                .with_context(|| format!("measuring {name}"))?,
        );
        took.push(Took {
            group: name,
            about: group.about(),
            seconds: begun.elapsed().as_secs(),
        });
    }
    let report = Report {
        machine: run.machine,
        quick: run.quick,
        rows,
        left_out: run.left_out,
        took,
    };
    print!("{report}");
    if let Some(file) = &arguments.results {
        report.write(file)?;
    }
    if let Some(file) = &arguments.page {
        page::write(&report, file)?;
        println!("drawn in {}", file.display());
    }
    Ok(report)
}

/// What groups share.
struct Run {
    machine: Machine,
    quick: bool,
    /// The price of a call, once it was measured.
    prices: Option<served::Prices>,
    left_out: Vec<LeftOut>,
}

impl Run {
    fn measure(&mut self, group: Group) -> Result<Vec<Row>> {
        // Few repetitions, or all.
        let quick = self.quick;
        let of = |few: usize, all: usize| if quick { few } else { all };
        // Programs without optimisation show that a measurement works, and need not do so three times.
        let is_smoke = quick && cfg!(debug_assertions);
        let times = |few: usize, all: usize| if is_smoke { 1 } else { of(few, all) };
        let left_out = &mut self.left_out;
        match group {
            Group::ProbeCost => {
                let measured = probe_cost::measure(times(2, 11))?;
                left_out.extend(measured.left_out);
                self.prices = Some(measured.prices);
                Ok(measured.rows)
            }
            Group::Attach => attach::measure(times(3, 15)),
            Group::Drain => {
                let mut rows = vec![drain::measure(drain::Extent {
                    repetitions: times(3, 11),
                    bursts: of(10, 50),
                })?];
                match rings::measure(times(3, 11)) {
                    Ok(compared) => rows.extend(compared),
                    Err(why) => {
                        left_out.push(LeftOut::because(drain::GROUP, "one ring of all CPUs", &why));
                    }
                }
                rows.extend(overload::measure(of(1, 5), of(200_000, 1_000_000) as u64)?);
                Ok(rows)
            }
            Group::Pipeline => Ok(vec![pipeline::measure(pipeline::Extent {
                repetitions: times(3, 11),
                bursts: of(5, 20) as u64,
            })?]),
            Group::Latency => latency::measure(of(2, 7)),
            Group::Footprint => footprint::measure(footprint::Extent {
                repetitions: of(1, 5),
                idle: Duration::from_secs(if is_smoke { 2 } else { of(5, 10) as u64 }),
            }),
            Group::Instructions => match instructions::measure(&self.machine) {
                Ok(counted) => Ok(counted),
                Err(why) => {
                    left_out.push(LeftOut::because(instructions::GROUP, "valgrind", &why));
                    Ok(Vec::new())
                }
            },
            Group::Redaction => {
                let repetitions = times(3, 11);
                redaction::measure(redaction::Extent { repetitions }, left_out)
            }
            Group::Hashing => {
                let repetitions = times(3, 9);
                hashing::measure(hashing::Extent { repetitions }, left_out)
            }
            Group::Files => files::measure(times(3, 9), left_out),
            Group::Sealing => sealing::measure(sealing::Extent {
                repetitions: times(3, 11),
            }),
            Group::Collector => {
                let extent = collector::Extent {
                    repetitions: times(3, 11),
                    stored: if is_smoke {
                        100_000
                    } else {
                        of(500_000, 10_000_000) as u64
                    },
                    sent: if is_smoke {
                        20_000
                    } else {
                        of(200_000, 1_000_000) as u64
                    },
                    followed: Duration::from_secs(of(1, 2) as u64),
                    amounts: match (is_smoke, quick) {
                        (true, _) => &[20_000],
                        (false, true) => &[10_000, 100_000],
                        (false, false) => &[100_000, 1_000_000, 10_000_000],
                    },
                };
                collector::measure(extent, left_out)
            }
            Group::Whole => whole::measure(whole::Extent {
                repetitions: of(1, 5),
                calls: if is_smoke {
                    100_000
                } else {
                    of(300_000, 3_000_000) as u64
                },
            }),
            Group::Served => {
                let prices = match self.prices {
                    Some(prices) => prices,
                    None => probe_cost::measure(3)?.prices,
                };
                let extent = served::Extent {
                    pairs: of(2, 30),
                    steps: if is_smoke { 32 } else { of(64, 128) as u32 },
                    is_quick: quick,
                    ways: if is_smoke { 0 } else { of(1, 3) },
                };
                served::measure(extent, prices, left_out)
            }
        }
    }
}
