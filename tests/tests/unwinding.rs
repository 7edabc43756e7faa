//! Exceptions, panics and long jumps pass through probed frames as if nobody watched, and the calls that
//! they end are told as unwound. Needs root and BPF.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use tracer_event::{Body, inference::Outcome};
use tracer_tests::{
    cache::Cache,
    compile::SOURCES,
    report::{Counts, Event},
    requires_root,
    tracer::{Trace, Tracing},
    workload::{Place, Running, Target},
};

#[test]
fn exceptions_and_long_jumps_leave_every_kind_of_exit_unharmed() -> Result<()> {
    requires_root!();
    traced_like_alone(Target::Unwind, "unwind.toml")
}

#[test]
fn panics_leave_probed_frames_unharmed() -> Result<()> {
    requires_root!();
    traced_like_alone(Target::Panic, "panic.toml")
}

fn traced_like_alone(target: Target, profile: &str) -> Result<()> {
    let alone = run(target, None)?;
    let profile = format!("{SOURCES}/{profile}");
    let mut tracing = None;
    let (pid, counts, checksum) = run(target, Some((&profile, &mut tracing)))?;
    let trace = tracing.context("the target was traced")?.interrupt()?;
    trace.assert_nothing_lost()?;
    assert_eq!(
        (&counts, checksum),
        (&alone.1, alone.2),
        "the target's own results"
    );
    assert_eq!(outcomes(&trace, pid), counts);
    Ok(())
}

type Watch<'a> = Option<(&'a str, &'a mut Option<Tracing>)>;

/// Runs the target to its end, traced from before its first call if asked; returns its own counts.
fn run(target: Target, watch: Watch<'_>) -> Result<(u32, BTreeMap<String, Counts>, u64)> {
    let mut running = Running::start(target.command(&Cache::open()?, &["100"])?, Place::Host)?;
    running.until_waiting()?;
    if let Some((profile, tracing)) = watch {
        let started = tracing.insert(Tracing::exact(&["--profile", profile])?);
        started.until_attached(running.pid())?;
    }
    running.go()?;
    running.until_waiting()?;
    running.go()?;
    let pid = running.pid();
    let lines = running.finish()?;
    let counts = lines.into_iter().find_map(|line| match line.event {
        Event::Counts {
            functions,
            checksum,
        } => Some((pid, functions, checksum)),
        _ => None,
    });
    counts.context("the target reported no counts")
}

/// What the tracer says became of each function's calls.
fn outcomes(trace: &Trace, pid: u32) -> BTreeMap<String, Counts> {
    let mut outcomes: BTreeMap<String, Counts> = BTreeMap::new();
    for line in trace.of(pid) {
        let (Body::Step(step), Some(probe)) = (&line.body, &line.probe) else {
            continue;
        };
        let function = probe.as_str().rsplit('/').next().unwrap_or_default();
        let counts = outcomes.entry(function.to_owned()).or_default();
        counts.entered += 1;
        match step.outcome {
            Outcome::Returned(_) => counts.returned += 1,
            Outcome::Unwound => counts.unwound += 1,
            Outcome::Ended | Outcome::NotSeen => {}
        }
    }
    outcomes
}
