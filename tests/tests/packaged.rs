//! Builds of llama.cpp that people get from a registry and that are too large for every run: what is traced is
//! exactly what they did, of a process that is found running and of one that starts later, in a container. Needs
//! root and BPF.

use std::{env, process::Command};

use anyhow::{Context, Result, ensure};
use tracer_event::{
    Body, Known,
    model::{LoadResult, LoadSeen},
};
use tracer_tests::{
    cache::Cache,
    comparison::assert_exact,
    model::TINY,
    python,
    report::Account,
    requires_root,
    tracer::{Trace, Tracing},
    workload::{Place, Running, Runtime},
};

/// 120 MB to fetch. Its library is of August 2024: no version, other names, other layouts.
#[test]
fn gpt4all_is_counted_exactly() -> Result<()> {
    requires_root!();
    if !is_full("GPT4All takes 120 MB to fetch") {
        return Ok(());
    }
    let cache = Cache::open()?;
    counted_exactly(|| python::gpt4all(&cache), &[false])
}

/// Minutes to compile. Its library is stripped, and has both decode calls.
#[test]
fn llama_cpp_python_is_counted_exactly() -> Result<()> {
    requires_root!();
    if !is_full("llama-cpp-python takes minutes to compile") {
        return Ok(());
    }
    let cache = Cache::open()?;
    let steps = [
        "--n", "24", "load", "context", "wait", "generate", "reuse", "bad", "wait",
    ];
    counted_exactly(
        || Runtime::LlamaCppPython.command(&cache, TINY, &steps),
        &[],
    )
}

/// Traces a process that has its model already, and one that starts later in a container. `loads` are the
/// results of the loads that follow the first one, which only the later process makes while it is traced.
fn counted_exactly(command: impl Fn() -> Result<Command>, loads: &[bool]) -> Result<()> {
    let start = |place: Place| -> Result<Running> {
        let mut running = Running::start(command()?, place)?;
        running.until_waiting()?;
        Ok(running)
    };
    let late = start(Place::Host)?;
    let mut tracing = Tracing::exact(&[])?;
    tracing.until_attached(late.pid())?;
    let early = start(Place::Container)?;
    let mut ended = Vec::new();
    for (mut running, is_late) in [(late, true), (early, false)] {
        running.go()?;
        running.until_waiting()?;
        running.go()?;
        let pid = running.pid();
        ended.push((pid, is_late, running.finish()?));
    }
    let trace = tracing.interrupt()?;
    trace.assert_nothing_lost()?;
    for (pid, is_late, lines) in ended {
        let account = Account::of(&lines)?;
        let who = if is_late {
            "found running"
        } else {
            "started later"
        };
        assert_exact(&account, &trace, pid).context(who)?;
        let loads: Vec<bool> = if is_late {
            loads.to_vec()
        } else {
            [&[true], loads].concat()
        };
        ensure_loads(&trace, pid, is_late, &loads).context(who)?;
    }
    Ok(())
}

fn ensure_loads(trace: &Trace, pid: u32, is_late: bool, loads: &[bool]) -> Result<()> {
    let snapshots: Vec<_> = trace
        .of(pid)
        .filter_map(|line| match &line.body {
            Body::ModelLoaded(snapshot) | Body::ModelLoadFailed(snapshot) => Some(snapshot),
            _ => None,
        })
        .collect();
    let seen: Vec<bool> = snapshots
        .iter()
        .filter(|snapshot| snapshot.load == LoadSeen::Seen)
        .map(|snapshot| snapshot.load_result == Known::Known(LoadResult::Loaded))
        .collect();
    ensure!(seen == loads, "loads {loads:?}, and {seen:?} were seen");
    let unseen = snapshots.len() - seen.len();
    ensure!(
        unseen == usize::from(is_late),
        "{unseen} models whose load was not seen"
    );
    Ok(())
}

fn is_full(reason: &str) -> bool {
    let is_full = env::var_os("TRACER_FULL").is_some();
    if !is_full {
        println!("not run: {reason}; TRACER_FULL=1 runs it");
    }
    is_full
}
