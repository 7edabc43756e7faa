//! Probes that cost too much are switched off, told, and come back; on real calls at real prices.
//! Needs root and BPF.

use std::{collections::BTreeMap, env, thread, time::Duration};

use anyhow::{Context, Result, bail};
use tracer_event::{
    Body, BootNanos, Nanos,
    agent::{Shed, ShedCause},
};
use tracer_probe::features;
use tracer_tests::{
    cache::Cache,
    compile::SOURCES,
    memory::changed_code_bytes,
    patience,
    report::Event,
    requires_root,
    tracer::{Line, Trace, Tracing},
    workload::{Place, Running, Target},
};

const SECOND: u64 = 1_000_000_000;

/// A target that calls three functions, and the tracer at its default settings.
struct Governed {
    running: Running,
    tracing: Tracing,
    program: std::path::PathBuf,
}

impl Governed {
    fn start(profile: &str, rate: u64, phases: u32, more: &[&str]) -> Result<Self> {
        let arguments = [rate.to_string(), phases.to_string()];
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let command = Target::Paced.command(&Cache::open()?, &arguments)?;
        let program = command.get_program().into();
        let mut running = Running::start(command, Place::Host)?;
        running.until_waiting()?;
        let profile = format!("{SOURCES}/{profile}");
        let pid = running.pid().to_string();
        let arguments = [&["--profile", &profile, "--pid", &pid], more].concat();
        let mut tracing = Tracing::start(&arguments)?;
        tracing.until_attached(running.pid())?;
        running.go()?;
        Ok(Self {
            running,
            tracing,
            program,
        })
    }

    fn changed_code_bytes(&self) -> Result<usize> {
        changed_code_bytes(self.running.pid(), &self.program)
    }

    /// Ends the last phase, then the tracer, then the target: how often it called each function,
    /// and what was traced.
    fn finish(self) -> Result<(BTreeMap<String, u64>, Trace)> {
        let Self {
            mut running,
            tracing,
            program: _,
        } = self;
        running.go()?;
        let counts = running.until(|event| matches!(event, Event::Counts { .. }))?;
        let trace = tracing.interrupt()?;
        running.until_waiting()?;
        running.go()?;
        running.finish()?;
        let Event::Counts { functions, .. } = counts.event else {
            bail!("not what was waited for");
        };
        let entered = functions.into_iter();
        let entered = entered.map(|(name, counts)| (name, counts.entered));
        Ok((entered.collect(), trace))
    }
}

fn shed(line: &Line) -> Option<&Shed> {
    match &line.body {
        Body::Shed(shed) => Some(shed),
        _ => None,
    }
}

/// Whether a window of the operation begins after `time`.
fn is_observed_after(trace: &Trace, operation: &str, time: BootNanos) -> bool {
    trace.events.iter().any(|line| match &line.body {
        Body::OperationHistogram(window) => {
            window.operation.as_str() == operation && window.from > time
        }
        _ => false,
    })
}

#[test]
fn a_runaway_goes_after_a_second_is_told_and_stays_away() -> Result<()> {
    requires_root!();
    // More than can be called: however little of a core the target gets, most of it goes to the exit.
    let mut governed = Governed::start("dear.toml", 2_000_000, 1, &[])?;
    assert!(governed.changed_code_bytes()? > 0);
    let line = governed.tracing.until(|line| shed(line).is_some())?;
    let event = shed(&line).context("it was waited for")?.clone();
    // The traps go too: the target runs at its own speed again.
    patience::until("no probe is left in the target's code", || {
        Ok(governed.changed_code_bytes()? == 0)
    })?;
    // Longer than a group that was shed would stay away.
    thread::sleep(Duration::from_secs(
        if env::var_os("TRACER_FULL").is_some() {
            45
        } else {
            4
        },
    ));
    assert_eq!(governed.changed_code_bytes()?, 0);
    let (made, trace) = governed.finish()?;

    assert_eq!(event.cause, ShedCause::Runaway);
    assert_eq!(event.group.as_str(), "dear");
    assert!(event.core_share > 0.05, "{event:?}");
    let names: Vec<_> = event.probes.iter().map(|name| name.as_str()).collect();
    assert_eq!(names, ["dear/dear"]);
    // Measured over a second; a busy machine may look late, but never before.
    let window = line.time.boot.since(event.since).0;
    assert!(window >= SECOND / 2, "{window} ns");
    let operations = trace.operations()?;
    let (observed, made) = (operations["dear/dear"].count, made["paced_dear"]);
    assert!(observed > 0 && observed < made, "{observed} of {made}");
    let later = BootNanos(line.time.boot.0 + 2 * SECOND);
    assert!(!is_observed_after(&trace, "dear/dear", later));
    // What was switched off is not observed, which is no loss.
    trace.assert_nothing_lost()?;
    let restored = |line: &&Line| matches!(line.body, Body::Restored(_));
    assert_eq!(trace.events.iter().filter(restored).count(), 0);
    Ok(())
}

#[test]
fn without_the_governor_nothing_is_switched_off() -> Result<()> {
    requires_root!();
    let governed = Governed::start("paced.toml", 2_000_000, 1, &["--no-govern"])?;
    thread::sleep(Duration::from_secs(4));
    assert!(governed.changed_code_bytes()? > 0);
    let (made, trace) = governed.finish()?;
    assert!(trace.events.iter().all(|line| shed(line).is_none()));
    trace.assert_nothing_lost()?;
    let operations = trace.operations()?;
    assert_eq!(operations["paced/first"].count, made["paced_first"]);
    assert_eq!(operations["paced/second"].count, made["paced_second"]);
    Ok(())
}

/// All four sites together are above the budget, and the two that stay below it. The tracer measures what
/// a site costs for itself, and may find another price than this test does at another moment: the rate
/// rises from where the budget is barely passed until the tracer finds that it is.
#[test]
fn groups_are_shed_in_the_profiles_order_and_come_back_when_the_load_has_gone() -> Result<()> {
    requires_root!();
    let Ok(costs) = features::measured_costs() else {
        eprintln!("skipped groups_are_shed: the price of a site is assumed here, not measured");
        return Ok(());
    };
    let again = env::var_os("TRACER_FULL").is_some();
    let phases = if again { 5 } else { 3 };
    let mut share = 0.015;
    let (mut governed, first_gone) = loop {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "some ten thousand"
        )]
        let rate = (share / costs.emulated.as_secs_f64()) as u64;
        let mut governed = Governed::start("paced.toml", rate, phases, &[])?;
        // It looks each second, and sheds after three looks.
        let seconds = Duration::from_secs(10);
        match governed
            .tracing
            .within(seconds, |line| shed(line).is_some())?
        {
            Some(gone) => break (governed, gone),
            None if share > 0.1 => bail!("nothing is shed at {rate} calls a second"),
            None => share *= 1.25,
        }
    };
    let mut first_gone = Some(first_gone);
    let restored = |line: &Line| matches!(line.body, Body::Restored(_));
    let mut away = Vec::new();
    for _ in 0..if again { 2 } else { 1 } {
        let gone = match first_gone.take() {
            Some(gone) => gone,
            None => governed.tracing.until(|line| shed(line).is_some())?,
        };
        let event = shed(&gone).context("it was waited for")?;
        assert_eq!(event.cause, ShedCause::Budget, "{event:?}");
        assert_eq!(event.group.as_str(), "second", "the first of the order");
        // With nothing to do there is room again.
        governed.running.go()?;
        let back = governed.tracing.until(restored)?;
        let Body::Restored(event) = &back.body else {
            bail!("not what was waited for");
        };
        assert_eq!(event.group.as_str(), "second");
        away.push((gone.time.boot, back.time.boot));
        governed.running.go()?;
    }
    // The calls of the last phase are observed again.
    let (_, back) = *away.last().context("one group came back")?;
    governed.tracing.until(|line| {
        matches!(&line.body, Body::OperationHistogram(window)
            if window.operation.as_str() == "paced/second" && window.from > back)
    })?;
    let (made, trace) = governed.finish()?;

    trace.assert_nothing_lost()?;
    let operations = trace.operations()?;
    assert_eq!(
        operations["paced/first"].count, made["paced_first"],
        "what was not shed is whole"
    );
    assert!(operations["paced/second"].count < made["paced_second"]);
    let patience: Vec<Nanos> = away.iter().map(|(gone, back)| back.since(*gone)).collect();
    assert!(patience[0].0 > 5 * SECOND, "{patience:?}");
    if let [first, second] = patience[..] {
        assert!(
            second.0 > first.0 + 5 * SECOND,
            "it waits longer: {patience:?}"
        );
    }
    Ok(())
}
