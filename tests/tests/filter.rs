//! A link that is limited to one process must see all of its threads: Linux 6.6 to 6.9 compare the
//! thread, so a second thread's call decides. Where the limit works, other processes stay free of
//! probes. Needs root and BPF.

use std::path::PathBuf;

use anyhow::{Context, Result};
use tracer_event::Body;
use tracer_probe::features::{Features, Support};
use tracer_tests::{
    cache::Cache,
    compile::SOURCES,
    memory::changed_code_bytes,
    report::Event,
    requires_root,
    tracer::Tracing,
    workload::{Place, Running, Target},
};

/// Calls of each of the two threads, neither of which is the process's first.
const CALLS: u64 = 20_000;

/// The running kernel's series.
fn series() -> Result<(u32, u32)> {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    let mut next = || numbers.next().and_then(|number| number.parse().ok());
    next()
        .zip(next())
        .with_context(|| format!("`{release}` is no kernel release"))
}

#[test]
fn a_link_is_limited_to_a_process_only_where_that_means_all_of_its_threads() -> Result<()> {
    requires_root!();
    let filter = Features::detect().process_filter;
    let series = series()?;
    println!("kernel {series:?}: a link's process filter: {filter:?}");
    match (series, &filter) {
        // There are no such links.
        ((..=5, _) | (6, ..6), Support::Missing(_)) => {}
        // Stable kernels of these series may have been mended: either is right if it is true.
        ((6, 6..10), _) => {}
        ((6, 10..) | (7.., _), Support::Works) => {}
        _ => panic!("not what this kernel does: {filter:?}"),
    }

    let command = || Target::Flood.command(&Cache::open()?, &[&CALLS.to_string(), "2"]);
    let program = PathBuf::from(command()?.get_program());
    let mut chosen = Running::start(command()?, Place::Host)?;
    let mut bystander = Running::start(command()?, Place::Host)?;
    for running in [&mut chosen, &mut bystander] {
        running.until_waiting()?;
    }
    let profile = format!("{SOURCES}/operation.toml");
    let pid = chosen.pid().to_string();
    let arguments = ["--profile", &profile, "--no-govern", "--pid", &pid];
    let mut tracing = Tracing::start(&arguments)?;
    tracing.until(|line| matches!(line.body, Body::Attached(_)))?;
    assert!(changed_code_bytes(chosen.pid(), &program)? > 0);
    let is_free = changed_code_bytes(bystander.pid(), &program)? == 0;
    assert_eq!(is_free, filter == Support::Works, "the bystander's code");
    for running in [&mut chosen, &mut bystander] {
        running.go()?;
        running.until(|event| matches!(event, Event::Counts { .. }))?;
    }
    let trace = tracing.interrupt()?;
    trace.assert_nothing_lost()?;
    assert_eq!(trace.operations()?["operation/call"].count, 2 * CALLS);
    for mut running in [chosen, bystander] {
        running.until_waiting()?;
        running.go()?;
        running.finish()?;
    }
    Ok(())
}
