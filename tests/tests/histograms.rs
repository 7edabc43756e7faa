//! Hot operations are counted and timed in the kernel: the windows that the tracer tells add up to
//! exactly the calls that were made. Needs root and BPF.

use anyhow::{Context, Result, ensure};
use tracer_event::{Body, BootNanos};
use tracer_tests::{
    cache::Cache,
    calls::check_profile,
    compile::SOURCES,
    model::TINY,
    report::{Account, Event},
    requires_root,
    tracer::Tracing,
    workload::{Place, Running, Runtime, Target},
};

#[test]
fn an_operation_counts_exactly_the_calls_that_its_target_made() -> Result<()> {
    requires_root!();
    const CALLS: u64 = 150_000;
    let mut running = Running::start(
        Target::Flood.command(&Cache::open()?, &[&CALLS.to_string(), "2"])?,
        Place::Host,
    )?;
    running.until_waiting()?;
    let pid = running.pid();
    let profile = format!("{SOURCES}/operation.toml");
    let arguments = ["--profile", &profile, "--no-govern", "--pid"];
    let mut tracing = Tracing::start(&[&arguments[..], &[&pid.to_string()]].concat())?;
    tracing.until_attached(pid)?;
    let began = BootNanos(running.lines().last().context("it waits")?.boot_ns);
    running.go()?;
    running.until(|event| matches!(event, Event::Counts { .. }))?;
    let trace = tracing.interrupt()?;
    running.until_waiting()?;
    running.go()?;
    running.finish()?;

    trace.assert_nothing_lost()?;
    let operations = trace.operations()?;
    let [(name, calls)] = &operations.iter().collect::<Vec<_>>()[..] else {
        anyhow::bail!("not the one operation: {operations:?}");
    };
    assert_eq!(name.as_str(), "operation/call");
    assert_eq!(calls.count, 2 * CALLS);
    // Two threads cannot have spent more than their time, nor nothing.
    let elapsed = calls.to.since(began).0;
    assert!(
        calls.sum.0 > 0 && calls.sum.0 <= 2 * elapsed,
        "{calls:?} within {elapsed} ns"
    );
    let summary = trace.summary()?;
    assert_eq!(summary.records, 0, "nothing is told per call");
    assert!(
        trace.stderr.contains("300,000 operations"),
        "{}",
        trace.stderr
    );
    Ok(())
}

#[test]
fn a_profile_check_shows_how_long_an_operation_takes_and_ends_by_itself() -> Result<()> {
    requires_root!();
    const CALLS: u64 = 20_000;
    let target = Target::Flood.command(&Cache::open()?, &[&CALLS.to_string(), "1"])?;
    let checked = check_profile(target, "operation.toml")?;
    let latencies = &checked["libraries"][0]["probes"][0]["latencies"];
    let count = latencies["count"].as_u64().context("no latencies")?;
    // The window that it looked at may have ended before the last call.
    ensure!((1..=CALLS).contains(&count), "{latencies}");
    Ok(())
}

/// The default probes of llama.cpp beside those of ggml: one graph a decode call.
#[test]
fn graphs_of_llama_cpp_are_as_many_as_its_decode_calls() -> Result<()> {
    requires_root!();
    let cache = Cache::open()?;
    let steps = [
        "--n", "40", "load", "context", "wait", "generate", "reuse", "wait",
    ];
    let mut running = Running::start(
        Runtime::NodeLlamaCpp.command(&cache, TINY, &steps)?,
        Place::Host,
    )?;
    running.until_waiting()?;
    let pid = running.pid();
    let arguments = ["--profile", "ggml", "--no-govern", "--pid"];
    let mut tracing = Tracing::start(&[&arguments[..], &[&pid.to_string()]].concat())?;
    tracing.until_attached(pid)?;
    running.go()?;
    running.until_waiting()?;
    let trace = tracing.interrupt()?;
    running.go()?;
    let account = Account::of(&running.finish()?)?;

    trace.assert_nothing_lost()?;
    let calls = account.calls.len() as u64;
    assert!(calls > 40, "{calls} decode calls");
    assert_eq!(trace.steps(pid).len() as u64, calls);
    let operations = trace.operations()?;
    for name in ["ggml/sched-compute", "ggml/cpu-compute"] {
        let graphs = operations
            .get(name)
            .with_context(|| format!("{name} was not timed"))?;
        assert_eq!(graphs.count, calls, "{name}: {graphs:?}");
    }
    // ggml's own profile, which knows nothing of models, does not stand in for llama.cpp's.
    let snapshot = trace.of(pid).find_map(|line| match &line.body {
        Body::ModelLoaded(snapshot) => Some(snapshot),
        _ => None,
    });
    let snapshot = snapshot.context("the model was not told")?;
    assert_eq!(snapshot.runtime.as_str(), "llama.cpp");
    assert!(snapshot.backends.len() > 1, "{:?}", snapshot.backends);
    // What is inside takes no longer than what is around it.
    assert!(operations["ggml/cpu-compute"].sum <= operations["ggml/sched-compute"].sum);
    Ok(())
}
