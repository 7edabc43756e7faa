//! Served models: steps a second of real runtimes and the time to their first token, untraced and traced, in
//! interleaved pairs.
//!
//! The workload is restarted for each figure and measured by itself. What the tracer costs is smaller than the
//! spread of a shared machine, so the bar asks two things: the bootstrap interval of the median ratio, and the
//! cost computed from hits and their measured price.

mod cost;
mod scripts;
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
use self::subject::{Pace, Subject};
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
    let mut subjects = vec![
        Subject::LlamaCpp(SMALL),
        Subject::LlamaCpp(TINY),
        Subject::OnnxRuntime,
    ];
    if extent.is_quick && env::var_os("TRACER_FULL").is_none() {
        let reason = "takes half a gigabyte and a minute to compile; TRACER_FULL=1 measures it";
        left_out.push(LeftOut {
            group: GROUP,
            peer: Subject::PyTorch.name().to_owned(),
            reason: reason.to_owned(),
        });
    } else {
        subjects.push(Subject::PyTorch);
    }
    let mut rows = Vec::new();
    for &subject in &subjects {
        rows.extend(of_model(subject, extent, prices)?);
    }
    if extent.ways > 0 {
        subjects.retain(|&subject| subject != Subject::LlamaCpp(TINY));
        for subject in subjects {
            rows.extend(ways::measure(subject, extent.ways, extent.steps, left_out)?);
        }
    }
    Ok(rows)
}

fn of_model(subject: Subject, extent: Extent, prices: Prices) -> Result<Vec<Row>> {
    const SEED: u64 = 0x7a63_6572;
    let name = subject.name();
    let has_bar = subject != Subject::LlamaCpp(TINY);
    // Without a bar fewer show as much.
    let pairs = extent.pairs.min(if has_bar { usize::MAX } else { 10 });
    let cache = Cache::open()?;
    let mut random = SplitMix(SEED);
    let (mut ratios, mut steps, mut shares) = (Vec::new(), Vec::new(), Vec::new());
    let (mut firsts, mut first_ratios) = (Vec::new(), Vec::new());
    run(subject, &cache, extent.steps)?; // the model's files come into the page cache
    for _ in 0..pairs {
        let (plain, traced) = if random.below(2) == 0 {
            let plain = run(subject, &cache, extent.steps)?;
            (plain, traced_run(subject, &cache, extent.steps, prices)?)
        } else {
            let traced = traced_run(subject, &cache, extent.steps, prices)?;
            (run(subject, &cache, extent.steps)?, traced)
        };
        ratios.push(traced.pace.speed / plain.speed);
        steps.push(1e3 / plain.speed);
        shares.push(traced.cost / f64::from(extent.steps) * plain.speed / 1e9);
        firsts.push(plain.first);
        first_ratios.push(traced.pace.first / plain.first);
    }
    let limit = |bar| if has_bar { bar } else { Bar::None };
    let pairs = format!("{pairs} pairs, {} steps each", extent.steps);
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
        Row::judge(
            GROUP,
            format!("{name}: time to first token, untraced"),
            "ms",
            firsts,
            Bar::None,
            &pairs,
        )?,
        Row::judge(
            GROUP,
            format!("{name}: time to first token, traced ÷ untraced"),
            "x",
            first_ratios,
            Bar::None,
            &pairs,
        )?,
    ])
}

/// One traced run.
struct Traced {
    pace: Pace,
    /// What its hits cost, in nanoseconds.
    cost: f64,
}

/// An untraced run.
fn run(subject: Subject, cache: &Cache, steps: u32) -> Result<Pace> {
    let mut running = subject.start(cache, steps)?;
    running.go()?;
    subject.pace(&running.finish()?)
}

fn traced_run(subject: Subject, cache: &Cache, steps: u32, prices: Prices) -> Result<Traced> {
    let mut running = subject.start(cache, steps)?;
    let mut tracing = Tracing::start(&[])?;
    let pid = running.pid();
    tracing.until_attached(pid)?;
    running.go()?;
    let pace = subject.pace(&running.finish()?)?;
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
    Ok(Traced { pace, cost })
}
