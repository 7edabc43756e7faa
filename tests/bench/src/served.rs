//! Served model: tokens a second of real llama.cpp, untraced and traced, in interleaved pairs.
//!
//! The workload is restarted for each figure and measured by itself: from the first decode call's
//! begin to the last one's end. What the tracer costs is smaller than the spread of a shared
//! machine, so the bar asks two things: the bootstrap interval of the median ratio, and the cost
//! computed from hits and their measured price.

mod ways;

use anyhow::{Context, Result};
use tracer_tests::{
    cache::Cache,
    model::{SMALL, Shape, TINY},
    report::{Event, Line},
    tracer::Tracing,
    workload::{Place, Running, Runtime},
};

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
    /// Tokens of one run.
    pub tokens: u32,
    /// Runs of each way to watch a model.
    pub ways: usize,
}

/// Measures both models; `nanoseconds_per_pair` is what a probed call with its exit and record was
/// measured to cost.
///
/// # Errors
/// If the workload or the tracer cannot be run.
pub fn measure(
    extent: Extent,
    nanoseconds_per_pair: f64,
    left_out: &mut Vec<LeftOut>,
) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    rows.extend(of_model(
        "134 M parameters",
        SMALL,
        extent,
        nanoseconds_per_pair,
        true,
    )?);
    rows.extend(of_model(
        "toy of 4 M parameters",
        TINY,
        extent,
        nanoseconds_per_pair,
        false,
    )?);
    rows.extend(ways::measure(extent.ways, extent.tokens, left_out)?);
    Ok(rows)
}

fn of_model(
    name: &str,
    shape: Shape,
    extent: Extent,
    nanoseconds_per_pair: f64,
    has_bar: bool,
) -> Result<Vec<Row>> {
    const SEED: u64 = 0x7a63_6572;
    let cache = Cache::open()?;
    let mut random = SplitMix(SEED);
    let (mut ratios, mut steps, mut shares) = (Vec::new(), Vec::new(), Vec::new());
    run(&cache, shape, extent.tokens)?; // the model's file comes into the page cache
    for _ in 0..extent.pairs {
        let (plain, traced) = if random.below(2) == 0 {
            let plain = run(&cache, shape, extent.tokens)?;
            (plain, traced_run(&cache, shape, extent.tokens)?)
        } else {
            let traced = traced_run(&cache, shape, extent.tokens)?;
            (run(&cache, shape, extent.tokens)?, traced)
        };
        ratios.push(traced.speed.tokens_per_second / plain.tokens_per_second);
        steps.push(1e3 / plain.tokens_per_second);
        let records_per_token = traced.records / f64::from(extent.tokens);
        shares.push(records_per_token * nanoseconds_per_pair * plain.tokens_per_second / 1e9);
    }
    let limit = |bar| if has_bar { bar } else { Bar::None };
    let pairs = format!("{} pairs, {} tokens each", extent.pairs, extent.tokens);
    let computed = "records per token, each taken as an entry with its exit and a record";
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

struct Speed {
    tokens_per_second: f64,
}

struct TracedRun {
    speed: Speed,
    records: f64,
}

fn start(cache: &Cache, shape: Shape, tokens: u32) -> Result<Running> {
    let tokens = tokens.to_string();
    let steps = ["--n", &tokens, "load", "context", "wait", "generate"];
    let command = Runtime::NodeLlamaCpp.command(cache, shape, &steps)?;
    let mut running = Running::start(command, Place::Host)?;
    running.until_waiting()?;
    Ok(running)
}

fn run(cache: &Cache, shape: Shape, tokens: u32) -> Result<Speed> {
    let mut running = start(cache, shape, tokens)?;
    running.go()?;
    speed(&running.finish()?)
}

fn traced_run(cache: &Cache, shape: Shape, tokens: u32) -> Result<TracedRun> {
    let mut running = start(cache, shape, tokens)?;
    let mut tracing = Tracing::start(&[])?;
    tracing.until_attached(running.pid())?;
    running.go()?;
    let speed = speed(&running.finish()?)?;
    let trace = tracing.interrupt()?;
    trace.assert_nothing_lost()?;
    let summary = trace.summary()?;
    anyhow::ensure!(
        summary.steps >= u64::from(tokens),
        "the tracer saw {} of {tokens} steps: this measured something else",
        summary.steps
    );
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    let records = summary.records as f64;
    Ok(TracedRun { speed, records })
}

/// Decode calls a second after the first one, which holds the prompt.
fn speed(report: &[Line]) -> Result<Speed> {
    let ends: Vec<u64> = report
        .iter()
        .filter(|line| matches!(line.event, Event::DecodeEnd { .. }))
        .map(|line| line.boot_ns)
        .collect();
    let (Some(first), Some(last)) = (ends.first(), ends.last()) else {
        anyhow::bail!("the workload reported no decode call");
    };
    let calls = u32::try_from(ends.len() - 1).context("more calls than were asked for")?;
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    let seconds = (last - first) as f64 / 1e9;
    Ok(Speed {
        tokens_per_second: f64::from(calls) / seconds,
    })
}
