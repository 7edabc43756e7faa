//! Served models: steps a second of real runtimes, untraced and traced, in interleaved pairs.
//!
//! The workload is restarted for each figure and measured by itself. What the tracer costs is smaller than the
//! spread of a shared machine, so the bar asks two things: the bootstrap interval of the median ratio, and the
//! cost computed from hits and their measured price.

mod cost;
mod subject;
mod ways;

use std::env;

use anyhow::Result;
use tracer_tests::{
    cache::Cache,
    model::{SMALL, TINY},
    tracer::Tracing,
};

pub use self::cost::Prices;
use self::subject::Subject;
use crate::{
    peer::LeftOut,
    row::{Bar, Row},
    statistics::SplitMix,
};

/// Group on the command line.
pub const GROUP: &str = "served";

/// Highest computed cost, as a share of a step.
const COMPUTED_SHARE: f64 = 0.01;

/// How much to measure.
#[derive(Clone, Copy, Debug)]
pub struct Extent {
    /// Pairs of an untraced and a traced run.
    pub pairs: usize,
    /// Steps of one run.
    pub steps: u32,
    /// Whether what takes half a gigabyte to fetch and a minute to compile may be left out.
    pub is_quick: bool,
    /// Runs of each way to watch a model; it may be none.
    pub ways: usize,
}

/// Measures every runtime at `prices` for a probed call.
///
/// # Errors
/// If a workload or the tracer cannot be run.
pub fn measure(extent: Extent, prices: Prices, left_out: &mut Vec<LeftOut>) -> Result<Vec<Row>> {
    let mut measured = vec![
        ("134 M parameters", Subject::LlamaCpp(SMALL), true),
        ("toy of 4 M parameters", Subject::LlamaCpp(TINY), false),
        ("ONNX Runtime", Subject::OnnxRuntime, true),
    ];
    if extent.is_quick && env::var_os("TRACER_FULL").is_none() {
        let reason = "takes half a gigabyte and a minute to compile; TRACER_FULL=1 measures it";
        left_out.push(LeftOut {
            group: GROUP,
            peer: "PyTorch".to_owned(),
            reason: reason.to_owned(),
        });
    } else {
        measured.push(("PyTorch", Subject::PyTorch, true));
    }
    let mut rows = Vec::new();
    for (name, subject, has_bar) in measured {
        // Without a bar fewer show as much.
        let pairs = extent.pairs.min(if has_bar { usize::MAX } else { 10 });
        let extent = Extent { pairs, ..extent };
        rows.extend(of_model(name, subject, extent, prices, has_bar)?);
    }
    if extent.ways > 0 {
        rows.extend(ways::measure(extent.ways, extent.steps, left_out)?);
    }
    Ok(rows)
}

fn of_model(
    name: &str,
    subject: Subject,
    extent: Extent,
    prices: Prices,
    has_bar: bool,
) -> Result<Vec<Row>> {
    const SEED: u64 = 0x7a63_6572;
    let cache = Cache::open()?;
    let mut random = SplitMix(SEED);
    let (mut ratios, mut steps, mut shares) = (Vec::new(), Vec::new(), Vec::new());
    run(subject, &cache, extent.steps)?; // the model's files come into the page cache
    for _ in 0..extent.pairs {
        let (plain, traced) = if random.below(2) == 0 {
            let plain = run(subject, &cache, extent.steps)?;
            (plain, traced_run(subject, &cache, extent.steps, prices)?)
        } else {
            let traced = traced_run(subject, &cache, extent.steps, prices)?;
            (run(subject, &cache, extent.steps)?, traced)
        };
        ratios.push(traced.speed / plain);
        steps.push(1e3 / plain);
        shares.push(traced.cost / f64::from(extent.steps) * plain / 1e9);
    }
    let limit = |bar| if has_bar { bar } else { Bar::None };
    let pairs = format!("{} pairs, {} steps each", extent.pairs, extent.steps);
    let computed = match subject {
        Subject::LlamaCpp(_) => {
            "records per token, each taken as an entry with its exit and a record"
        }
        Subject::OnnxRuntime | Subject::PyTorch => {
            "every probe's hits per step, each taken as an entry with its exit and a record"
        }
    };
    Ok(vec![
        Row::judge(
            GROUP,
            format!("{name}: step, untraced"),
            "ms",
            steps,
            Bar::None,
            &pairs,
        )?,
        Row::judge(
            GROUP,
            format!("{name}: tokens/s, traced ÷ untraced"),
            "x",
            ratios,
            limit(Bar::IntervalAbove(0.98)),
            &pairs,
        )?,
        Row::judge(
            GROUP,
            format!("{name}: computed cost, share of a step"),
            "x",
            shares,
            limit(Bar::AtMost(COMPUTED_SHARE)),
            computed,
        )?,
    ])
}

/// One traced run.
struct Traced {
    /// Steps a second.
    speed: f64,
    /// What its hits cost, in nanoseconds.
    cost: f64,
}

/// Steps a second of an untraced run.
fn run(subject: Subject, cache: &Cache, steps: u32) -> Result<f64> {
    let mut running = subject.start(cache, steps)?;
    running.go()?;
    subject.speed(&running.finish()?)
}

fn traced_run(subject: Subject, cache: &Cache, steps: u32, prices: Prices) -> Result<Traced> {
    let mut running = subject.start(cache, steps)?;
    let mut tracing = Tracing::start(&[])?;
    let pid = running.pid();
    tracing.until_attached(pid)?;
    running.go()?;
    let speed = subject.speed(&running.finish()?)?;
    let trace = tracing.interrupt()?;
    trace.assert_nothing_lost()?;
    let seen = subject.seen(&trace, pid)?;
    anyhow::ensure!(
        seen >= u64::from(steps),
        "the tracer saw {seen} of {steps} steps: this measured something else"
    );
    let cost = match subject {
        Subject::LlamaCpp(_) => cost::of_records(&trace, prices)?,
        Subject::OnnxRuntime | Subject::PyTorch => cost::of_calls(&trace, pid, prices)?,
    };
    Ok(Traced { speed, cost })
}
