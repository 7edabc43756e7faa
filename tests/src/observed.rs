//! A runtime as its user has it: `tracer trace` without a word about it, beside a process that had loaded its
//! model before and one that starts afterwards, both on the same files.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, Metadata},
    os::unix::fs::MetadataExt,
    process::Command,
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use tracer_event::{
    Body, Inode, Known, ModelId, Recorded,
    call::CallPart,
    model::{LoadResult, LoadSeen, ModelSnapshot},
};

use crate::{
    calls::{self, Call, ensure_same},
    report::{Event, Line},
    tracer::{Trace, Tracing},
    workload::{Place, Running},
};

/// What is to be seen of a runtime, beside what its processes report.
#[derive(Clone, Copy, Debug)]
pub struct Runtime<'a> {
    /// Its name in events.
    pub name: &'a str,
    /// How the name of its library begins, which each snapshot of a model lists; empty if it has none.
    pub library: &'a str,
    /// Probes whose calls name their model.
    pub naming_their_model: &'a [&'a str],
    /// Whether a process that is found loaded has a model that nobody saw it load.
    pub late_model: bool,
    /// Whether the runtime's loads cannot be seen: then such a model is in every process.
    pub unseen_loads: bool,
    /// More arguments for the tracer.
    pub arguments: &'a [&'a str],
}

/// How long the processes wait before they end.
const SETTLING: Duration = Duration::from_millis(500);
/// A switch on every profile's list, and what the processes have it set to.
const SWITCH: (&str, &str) = ("OMP_NUM_THREADS", "1");

/// Traces two processes of one command and compares: calls, loads, files, models and durations are what
/// the processes report.
///
/// # Errors
/// Names the first thing that was seen otherwise than it was.
pub fn seen_by_default(command: impl Fn() -> Result<Command>, runtime: Runtime<'_>) -> Result<()> {
    let start = || -> Result<Running> {
        let mut command = command()?;
        command.env(SWITCH.0, SWITCH.1);
        let mut running = Running::start(command, Place::Host)?;
        running.until_waiting()?;
        Ok(running)
    };
    let mut late = start()?;
    let mut tracing = Tracing::content("text", calls::POLICY, runtime.arguments)?;
    tracing.until_attached(late.pid())?;
    let before = late.lines().len();
    let mut early = start()?;
    for running in [&mut late, &mut early] {
        running.go()?;
        running.until_waiting()?;
    }
    // A process that ends sooner may be gone before its files could be looked at.
    thread::sleep(SETTLING);
    let files = files(early.lines()).into_iter().chain(files(late.lines()));
    let files = files.collect();
    let mut ended = Vec::new();
    for (mut running, from) in [(late, before), (early, 0)] {
        running.go()?;
        let pid = running.pid();
        ended.push((pid, running.finish()?.split_off(from), from > 0));
    }
    let trace = tracing.interrupt()?;
    trace.assert_nothing_lost()?;
    for (pid, lines, is_late) in ended {
        let who = if is_late {
            "found running"
        } else {
            "seen from its start"
        };
        ensure_process(&trace, pid, &lines, is_late, &files, runtime)
            .with_context(|| format!("{}, process {who}", runtime.name))?;
    }
    Ok(())
}

type Files = BTreeMap<String, (u64, u64)>;

/// The files that the loads name, by inode and size.
fn files(lines: &[Line]) -> Files {
    let paths = lines.iter().filter_map(|line| match &line.event {
        Event::Load { path, .. } => path.clone(),
        _ => None,
    });
    let known = |path: String| {
        let metadata = fs::metadata(&path).ok().filter(Metadata::is_file)?;
        Some((path, (metadata.ino(), metadata.len())))
    };
    paths.filter_map(known).collect()
}

fn ensure_process(
    trace: &Trace,
    pid: u32,
    lines: &[Line],
    is_late: bool,
    files: &Files,
    runtime: Runtime<'_>,
) -> Result<()> {
    let is_runtime = |line: &&crate::tracer::Line| matches!(&line.body, Body::RuntimeFound(found) if found.runtime.as_str() == runtime.name);
    ensure!(
        trace.of(pid).any(|line| is_runtime(&line)),
        "the runtime was not found"
    );
    let passed: Vec<Call> = lines
        .iter()
        .filter_map(|line| match &line.event {
            Event::Call {
                function, values, ..
            } => Some((function.clone(), values.clone())),
            _ => None,
        })
        .collect();
    ensure_same(&passed, &calls::traced(trace, pid)?)?;
    ensure_durations(trace, pid, lines)?;

    let mut snapshots: Vec<&ModelSnapshot<Recorded>> = trace
        .of(pid)
        .filter_map(|line| match &line.body {
            Body::ModelLoaded(snapshot) | Body::ModelLoadFailed(snapshot) => Some(&**snapshot),
            _ => None,
        })
        .collect();
    snapshots.sort_by_key(|snapshot| match snapshot.load_began {
        Known::Known(began) => began,
        Known::Unknown => Default::default(),
    });
    let (seen, unseen): (Vec<_>, Vec<_>) = snapshots
        .iter()
        .copied()
        .partition(|snapshot| snapshot.load == LoadSeen::Seen);
    ensure!(
        unseen.is_empty() != (runtime.unseen_loads || is_late && runtime.late_model),
        "{} models whose load was not seen",
        unseen.len()
    );
    let reported: Vec<(&Option<String>, Option<bool>)> = lines
        .iter()
        .filter_map(|line| match &line.event {
            Event::Load { path, loaded } => Some((path, *loaded)),
            _ => None,
        })
        .collect();
    ensure!(
        reported.len() == seen.len(),
        "{} loads, and {} were seen: {seen:#?}",
        reported.len(),
        seen.len()
    );
    for ((path, loaded), snapshot) in reported.iter().zip(&seen) {
        ensure_load(snapshot, path.as_deref(), *loaded, files)
            .with_context(|| format!("{path:?}: {snapshot:#?}"))?;
    }
    for snapshot in &snapshots {
        let has_name = |path: &Recorded| matches!(path, Recorded::Text(path) if path.rsplit('/').next().is_some_and(|name| name.starts_with(runtime.library)));
        ensure!(
            snapshot.runtime.as_str() == runtime.name,
            "{}",
            snapshot.runtime
        );
        ensure!(
            runtime.library.is_empty()
                || snapshot
                    .backends
                    .iter()
                    .any(|backend| has_name(&backend.path)),
            "{} is not among the libraries: {snapshot:#?}",
            runtime.library
        );
        let switch = snapshot
            .environment
            .iter()
            .find(|(name, _)| name.as_str() == SWITCH.0);
        ensure!(
            matches!(switch, Some((_, Recorded::Text(value))) if value == SWITCH.1),
            "the environment is {:?}",
            snapshot.environment
        );
        ensure!(snapshot.process_threads != Known::Unknown, "no threads");
    }
    let released = lines
        .iter()
        .filter(|line| matches!(line.event, Event::Released));
    let freed = trace
        .of(pid)
        .filter(|line| matches!(line.body, Body::ModelFreed(_)));
    ensure!(released.count() == freed.count(), "not as many releases");
    let models: BTreeSet<ModelId> = snapshots.iter().map(|snapshot| snapshot.model).collect();
    ensure_models(trace, pid, &models, runtime.naming_their_model)
}

/// Every call ended, and took no longer than its caller says.
fn ensure_durations(trace: &Trace, pid: u32, lines: &[Line]) -> Result<()> {
    let mut measured: BTreeMap<&str, Vec<Option<u64>>> = BTreeMap::new();
    for line in lines {
        if let Event::Call {
            function, took_ns, ..
        } = &line.event
        {
            measured.entry(function).or_default().push(*took_ns);
        }
    }
    for (function, took) in measured {
        // Only where each of its calls was measured.
        let Some(took) = took.into_iter().collect::<Option<Vec<u64>>>() else {
            continue;
        };
        let seen: Vec<u64> = called(trace, pid)
            .filter(|(name, _)| *name == function)
            .filter_map(|(_, call)| match (call.at, call.duration) {
                (CallPart::Return | CallPart::Unwound, Known::Known(duration)) => Some(duration.0),
                _ => None,
            })
            .collect();
        ensure!(
            seen.len() == took.len(),
            "{function}: {} ends of {}",
            seen.len(),
            took.len()
        );
        for (seen, took) in seen.iter().zip(&took) {
            ensure!(
                (1..=*took).contains(seen),
                "{function} took {took} ns at most, and {seen} were seen"
            );
        }
    }
    Ok(())
}

fn ensure_load(
    snapshot: &ModelSnapshot<Recorded>,
    path: Option<&str>,
    loaded: Option<bool>,
    files: &Files,
) -> Result<()> {
    let result = match snapshot.load_result {
        Known::Known(LoadResult::Loaded) => Some(true),
        Known::Known(LoadResult::Failed | LoadResult::Unwound) => Some(false),
        Known::Unknown => None,
    };
    ensure!(result == loaded, "the result is {result:?}");
    ensure!(
        matches!(snapshot.load_duration, Known::Known(took) if took.0 > 0),
        "no duration"
    );
    let (Some(path), file) = (path, snapshot.files.first()) else {
        ensure!(snapshot.files.is_empty(), "it was loaded from memory");
        return Ok(());
    };
    let file = file.context("no file")?;
    ensure!(
        matches!(&file.path, Recorded::Text(seen) if seen == path),
        "another file"
    );
    match (files.get(path), file.inode, file.size) {
        (None, Known::Unknown, _) => Ok(()),
        (Some((inode, size)), Known::Known(Inode { inode: seen, .. }), Known::Known(length)) => {
            ensure!(seen == *inode && length == *size, "another inode or size");
            Ok(())
        }
        (known, inode, size) => bail!("{known:?} was seen as {inode:?}, {size:?} bytes"),
    }
}

/// Calls that name their model name one that was told of.
fn ensure_models(
    trace: &Trace,
    pid: u32,
    models: &BTreeSet<ModelId>,
    naming: &[&str],
) -> Result<()> {
    for (function, call) in called(trace, pid) {
        if naming.contains(&function) {
            let model = call
                .model
                .with_context(|| format!("{function} names no model"))?;
            ensure!(
                models.contains(&model),
                "{function} names {model:?} of {models:?}"
            );
        }
    }
    Ok(())
}

/// The process's calls by their probes.
fn called(
    trace: &Trace,
    pid: u32,
) -> impl Iterator<Item = (&str, &tracer_event::call::Called<Recorded>)> {
    trace
        .of(pid)
        .filter_map(|line| match (&line.body, &line.probe) {
            (Body::Called(call), Some(probe)) => Some((
                probe.as_str().rsplit('/').next().unwrap_or_default(),
                &**call,
            )),
            _ => None,
        })
}
