//! A runtime as its user has it: `tracer trace` without a word about it, beside processes that had loaded their
//! model before and such that start afterwards, on the host and in containers, all on the same libraries.

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

/// A process of the runtime.
struct Process {
    running: Running,
    place: Place,
    /// Lines of its report from before the tracer had its probes.
    before: Option<usize>,
    files: Files,
}

/// Traces four processes of one command and compares: calls, loads, files, models and durations are what
/// the processes report. Two are found running and two start later; one of either kind is in a container.
///
/// # Errors
/// Names the first thing that was seen otherwise than it was.
pub fn seen_by_default(command: impl Fn() -> Result<Command>, runtime: Runtime<'_>) -> Result<()> {
    const PLACES: [Place; 2] = [Place::Host, Place::Container];
    let start = |place: Place| -> Result<Process> {
        let mut command = command()?;
        command.env(SWITCH.0, SWITCH.1);
        Ok(Process {
            running: Running::start(command, place)?,
            place,
            before: None,
            files: Files::new(),
        })
    };
    let mut processes = Vec::new();
    for place in PLACES {
        processes.push(start(place)?);
    }
    for late in &mut processes {
        late.running.until_waiting()?;
        late.before = Some(late.running.lines().len());
    }
    let mut tracing = Tracing::content("text", calls::POLICY, runtime.arguments)?;
    for late in &processes {
        tracing.until_attached(late.running.pid())?;
    }
    for place in PLACES {
        let mut early = start(place)?;
        early.running.until_waiting()?;
        processes.push(early);
    }
    for process in &mut processes {
        process.running.go()?;
        process.running.until_waiting()?;
        process.files = files(&process.running);
    }
    // A process that ends sooner may be gone before its files could be looked at.
    thread::sleep(SETTLING);
    let mut ended = Vec::new();
    for process in processes {
        let Process {
            mut running,
            place,
            before,
            files,
        } = process;
        running.go()?;
        let pid = running.pid();
        let lines = running.finish()?.split_off(before.unwrap_or_default());
        ended.push((pid, lines, place, before.is_some(), files));
    }
    let trace = tracing.interrupt()?;
    trace.assert_nothing_lost()?;
    ensure_attached_once(&trace)?;
    for (pid, lines, place, is_late, files) in ended {
        let when = if is_late {
            "found running"
        } else {
            "seen from its start"
        };
        ensure_process(&trace, pid, &lines, is_late, &files, runtime)
            .with_context(|| format!("{}, process {when}, {place:?}", runtime.name))?;
    }
    Ok(())
}

/// However many processes map a file, it gets its probes once.
fn ensure_attached_once(trace: &Trace) -> Result<()> {
    let mut seen = BTreeSet::new();
    for line in &trace.events {
        if let Body::Attached(attached) = &line.body {
            let library = &attached.library;
            let is_first = seen.insert((&attached.runtime, library.inode));
            ensure!(is_first, "{library:?} got its probes twice");
        }
    }
    Ok(())
}

type Files = BTreeMap<String, (u64, u64)>;

/// The files that the loads name, by inode and size, as the process sees them.
fn files(running: &Running) -> Files {
    let paths = running.lines().iter().filter_map(|line| match &line.event {
        Event::Load { path, .. } => path.clone(),
        _ => None,
    });
    let known = |path: String| {
        let seen = format!("/proc/{}/root{path}", running.pid());
        let metadata = fs::metadata(seen).ok().filter(Metadata::is_file)?;
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
    ensure_version(trace, pid, lines)?;
    ensure_durations(trace, pid, lines)?;
    ensure_ends(trace, pid, lines)?;

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

/// Wherever an event has the version of the library that it is about, it is what that says itself, and there is
/// none if it does not say.
///
/// # Errors
/// Names what was told, and what the process said.
pub fn ensure_version(trace: &Trace, pid: u32, lines: &[Line]) -> Result<()> {
    let said: BTreeSet<&str> = lines
        .iter()
        .filter_map(|line| match &line.event {
            Event::Version { version } => Some(version.as_str()),
            _ => None,
        })
        .collect();
    let (mut found, mut loaded) = (BTreeSet::new(), BTreeSet::new());
    for line in trace.of(pid) {
        match &line.body {
            Body::RuntimeFound(runtime) => found.extend(text(&runtime.library.version)),
            Body::ModelLoaded(snapshot) | Body::ModelLoadFailed(snapshot) => {
                loaded.insert(text(&snapshot.runtime_version));
            }
            _ => {}
        }
    }
    ensure!(
        found == said,
        "the library says {said:?}, and {found:?} is told"
    );
    let expected: BTreeSet<Option<&str>> = match said.first() {
        Some(version) => BTreeSet::from([Some(*version)]),
        None => BTreeSet::from([None]),
    };
    ensure!(
        loaded.is_subset(&expected),
        "the library says {said:?}, and {loaded:?} is told of models"
    );
    Ok(())
}

fn text(known: &Known<Recorded>) -> Option<&str> {
    match known {
        Known::Known(Recorded::Text(text)) => Some(text),
        _ => None,
    }
}

/// What an exception left is told so, and nothing else is.
fn ensure_ends(trace: &Trace, pid: u32, lines: &[Line]) -> Result<()> {
    let mut reported: BTreeMap<&str, Vec<bool>> = BTreeMap::new();
    for line in lines {
        if let Event::Call {
            function, unwound, ..
        } = &line.event
        {
            reported.entry(function).or_default().push(*unwound);
        }
    }
    for (function, reported) in reported {
        let of_it = called(trace, pid).filter(|(name, _)| *name == function);
        let seen: Vec<bool> = of_it
            .filter(|(_, call)| call.at != CallPart::Entry)
            .map(|(_, call)| call.at == CallPart::Unwound)
            .collect();
        // Of some functions only the entry is told.
        ensure!(
            seen == reported || (seen.is_empty() && !reported.contains(&true)),
            "{function}: left by an exception {reported:?}, and {seen:?} was seen"
        );
    }
    Ok(())
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
                (CallPart::Return, Known::Known(duration)) => Some(duration.0),
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
        Known::Known(LoadResult::Failed | LoadResult::Unwound | LoadResult::Unfinished) => {
            Some(false)
        }
        Known::Unknown => None,
    };
    ensure!(result == loaded, "the result is {result:?}");
    let is_unwound = snapshot.load_result == Known::Known(LoadResult::Unwound);
    ensure!(
        match snapshot.load_duration {
            Known::Known(took) => took.0 > 0 && !is_unwound,
            Known::Unknown => is_unwound,
        },
        "the duration is {:?}",
        snapshot.load_duration
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
