//! Exported does not mean called: a process that works while nobody calls the functions that a profile knows
//! brings an event. Needs root and BPF.

use std::{collections::BTreeSet, thread, time::Duration};

use anyhow::{Result, ensure};
use tracer_event::{Body, Nanos};
use tracer_tests::{
    cache::Cache,
    candle,
    python::{self, Passing},
    requires_root, torch,
    tracer::{Line, Tracing},
    workload::{Place, Running},
};

/// What a process may use before silence is worth a word.
const BUSY: Nanos = Nanos(10_000_000_000);
/// What it uses, in seconds: the tracer looks once a second, at two threads.
const SECONDS: u32 = 14;
/// The runtimes that it has loaded.
const RUNTIMES: [&str; 9] = [
    "ctranslate2",
    "cuda",
    "litert",
    "llama.cpp",
    "onnxruntime",
    "openvino",
    "safetensors",
    "tokenizers",
    "whisper.cpp",
];

#[test]
fn each_runtime_that_is_loaded_and_silent_is_told_once() -> Result<()> {
    requires_root!();
    let cache = Cache::open()?;
    let start = |command| -> Result<Running> {
        let mut running = Running::start(command, Place::Host)?;
        running.until_waiting()?;
        Ok(running)
    };
    let mut busy = start(python::silent(&cache, SECONDS)?)?;
    // Another build of one of them, which is called: no word about it.
    let mut used = start(Passing::OnnxPythonCet.command(&cache)?)?;
    let mut tracing = Tracing::content("shape", "", &[])?;
    for running in [&busy, &used] {
        tracing.until_attached(running.pid())?;
    }
    // Time is counted from the tracer's first look, of which it has one a second.
    thread::sleep(Duration::from_secs(2));
    for running in [&mut used, &mut busy] {
        running.go()?;
        running.until_waiting()?;
    }
    let (pid, other) = (busy.pid(), used.pid());
    let is_of = |line: &Line, pid: u32| line.place.pid.is_some_and(|of| of.0 == pid);
    let mut told = BTreeSet::new();
    while told.len() < RUNTIMES.len() {
        let is_new = |line: &Line| is_of(line, pid) && silent_runtime(line).is_some();
        let line = tracing.until(is_new)?;
        told.extend(silent_runtime(&line).map(str::to_owned));
    }
    for mut running in [busy, used] {
        running.go()?;
        running.finish()?;
    }
    let trace = tracing.interrupt()?;
    ensure!(told.iter().eq(RUNTIMES), "silent: {told:?}");
    let (mut found, mut silent) = (0, 0);
    for line in &trace.events {
        let is_busy = is_of(line, pid);
        found += usize::from(is_busy && matches!(line.body, Body::RuntimeFound(_)));
        if let Body::Silent(told) = &line.body {
            silent += usize::from(is_busy);
            ensure!(!is_of(line, other), "{told:?} of what is called");
            ensure!(told.busy >= BUSY, "{told:?}");
        }
    }
    ensure!(
        silent == found,
        "{silent} words about {found} libraries of it"
    );
    Ok(())
}

/// The same of what is too large for every run: half a gigabyte to fetch, minutes to compile.
#[test]
fn pytorch_and_candle_are_told_when_they_are_silent() -> Result<()> {
    requires_root!();
    if std::env::var_os("TRACER_FULL").is_none() {
        println!("not run: PyTorch and candle take too long to get; TRACER_FULL=1 runs it");
        return Ok(());
    }
    let cache = Cache::open()?;
    let mut processes = Vec::new();
    for (runtime, mut command) in [
        ("pytorch", torch::command(&cache)?),
        ("candle", candle::command(&cache)?),
    ] {
        command.arg("silent");
        let mut running = Running::start(command, Place::Host)?;
        running.until_waiting()?;
        processes.push((runtime, running));
    }
    let mut tracing = Tracing::content("shape", "", &[])?;
    for (_, running) in &processes {
        tracing.until_attached(running.pid())?;
    }
    // Time is counted from the tracer's first look, of which it has one a second.
    thread::sleep(Duration::from_secs(2));
    for (runtime, mut running) in processes {
        running.go()?;
        let pid = running.pid();
        // PyTorch maps CUDA's library too, which is as silent.
        tracing.until(|line: &Line| {
            line.place.pid.is_some_and(|of| of.0 == pid) && silent_runtime(line) == Some(runtime)
        })?;
        running.until_waiting()?;
        running.go()?;
        running.finish()?;
    }
    tracing.interrupt()?.assert_nothing_lost()
}

fn silent_runtime(line: &Line) -> Option<&str> {
    match &line.body {
        Body::Silent(silent) => Some(silent.runtime.as_str()),
        _ => None,
    }
}
