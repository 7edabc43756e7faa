//! Compares the calls that a target reports with those that the tracer read.

use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tracer_event::{Body, Recorded, call::Called};

use crate::{
    compile::SOURCES,
    memory::until_probed,
    report::{Counts, Event},
    tracer::{self, Trace, Tracing},
    workload::{Place, Running},
};

/// A call's function and its values by name.
pub type Call = (String, BTreeMap<String, Value>);

/// Lets text leave: the targets hold no secret.
pub(crate) const POLICY: &str = "[fields]\ntext = \"keep\"\n";

/// Runs the command traced at level `text` and compares: each call's values, and how often each
/// function ran that the target counts.
///
/// # Errors
/// Names the first value that was read differently from what the target passed.
pub fn read_as_passed(command: Command, profile: &str) -> Result<()> {
    let (passed, read) = run(command, profile, "text")?;
    ensure_same(&passed, &read)
}

/// What `tracer profile check` says of a profile of [`SOURCES`] beside a process, which waits before its
/// calls and after them.
///
/// # Errors
/// When the check or the process fails.
pub fn check_profile(target: Command, profile: &str) -> Result<Value> {
    let program = PathBuf::from(target.get_program());
    let mut running = Running::start(target, Place::Host)?;
    running.until_waiting()?;
    let pid = running.pid().to_string();
    let profile = format!("{SOURCES}/{profile}");
    let check = ["profile", "check", &profile, "--pid", &pid, "-o", "json"];
    let child = Command::new(tracer::binary()?)
        .args(check)
        .args(["--duration", "60s"])
        .stdout(Stdio::piped())
        .spawn()?;
    // It waits for calls only once it is attached; calls before that are not seen.
    until_probed(running.pid(), &program)?;
    running.go()?;
    running.until_waiting()?;
    let output = child.wait_with_output()?;
    running.go()?;
    running.finish()?;
    ensure!(
        output.status.success(),
        "the check ended with {}",
        output.status
    );
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Compares calls that were made with those that were read, in their order.
///
/// # Errors
/// Names the first that differs.
pub fn ensure_same(passed: &[Call], read: &[Call]) -> Result<()> {
    for ((function, passed), (probe, read)) in passed.iter().zip(read) {
        ensure!(function == probe, "{function} was called, not {probe}");
        for (name, passed) in passed {
            let found = read
                .get(name)
                .with_context(|| format!("{function}: no {name} in {read:?}"))?;
            let matches = same(passed, found, read.contains_key(&format!("{name} …")));
            ensure!(
                matches,
                "{function}: {name} is {passed}, and {found} was read"
            );
        }
    }
    ensure!(
        passed.len() == read.len(),
        "{} calls were made, and {} were read",
        passed.len(),
        read.len()
    );
    Ok(())
}

/// Whether what was read is what was passed; of what was cut, its beginning.
fn same(passed: &Value, read: &Value, cut: bool) -> bool {
    match (passed, read) {
        (Value::String(passed), Value::String(read)) => {
            passed == read || (cut && !read.is_empty() && passed.starts_with(read))
        }
        (Value::Array(passed), Value::Array(read)) => {
            let as_many = passed.len() == read.len() || (cut && !read.is_empty());
            let pairs = passed.iter().zip(read);
            as_many
                && pairs
                    .into_iter()
                    .all(|(passed, read)| same(passed, read, cut))
        }
        // A target writes 1.0 as 1.
        (Value::Number(passed), Value::Number(read)) if read.is_f64() => {
            passed.as_f64() == read.as_f64()
        }
        _ => passed == read,
    }
}

/// The calls that the target reports, and those that were traced.
///
/// # Errors
/// When the target or the tracer fails.
pub fn run(command: Command, profile: &str, level: &str) -> Result<(Vec<Call>, Vec<Call>)> {
    let folder = tempfile::tempdir()?;
    let profile_file = folder.path().join("profile.toml");
    fs::write(&profile_file, profile)?;
    let mut running = Running::start(command, Place::Host)?;
    running.until_waiting()?;
    let profile = profile_file.display().to_string();
    let mut tracing = Tracing::content(level, POLICY, &["--profile", &profile])?;
    tracing.until_attached(running.pid())?;
    running.go()?;
    running.until_waiting()?;
    running.go()?;
    let pid = running.pid();
    let lines = running.finish()?;
    let trace = tracing.interrupt()?;
    for line in &lines {
        if let Event::Counts { functions, .. } = &line.event {
            ensure_counted(functions, &trace)?;
        }
    }
    let passed = lines.into_iter().filter_map(|line| match line.event {
        Event::Call {
            function, values, ..
        } => Some((function, values)),
        _ => None,
    });
    Ok((passed.collect(), traced(&trace, pid)?))
}

/// Checks that the histogram of each function holds all of its calls.
pub(crate) fn ensure_counted(functions: &BTreeMap<String, Counts>, trace: &Trace) -> Result<()> {
    let operations = trace.operations()?;
    for (function, counts) in functions {
        let is_it = |name: &str| name.rsplit('/').next() == Some(function);
        let histogram = operations.iter().find(|(name, _)| is_it(name));
        let (_, histogram) = histogram.with_context(|| format!("no histogram of {function}"))?;
        ensure!(
            histogram.count == counts.returned,
            "{function} returned {} times, and {} were counted",
            counts.returned,
            histogram.count
        );
    }
    Ok(())
}

/// The process's calls; one that is told at its entry and at its return is one.
pub(crate) fn traced(trace: &Trace, pid: u32) -> Result<Vec<Call>> {
    let mut calls: Vec<Call> = Vec::new();
    let mut places = BTreeMap::new();
    for line in trace.of(pid) {
        let (Body::Called(called), Some(probe)) = (&line.body, &line.probe) else {
            continue;
        };
        let function = probe.as_str().rsplit('/').next().unwrap_or_default();
        let place = *places
            .entry((function, called.call))
            .or_insert_with(|| calls.len());
        if place == calls.len() {
            calls.push((function.to_owned(), BTreeMap::new()));
        }
        for (name, value) in values(called)? {
            let before = calls[place].1.insert(name.clone(), value.clone());
            ensure!(
                before.as_ref().is_none_or(|before| *before == value),
                "{function}: {name} is {before:?} at the entry and {value} at the return"
            );
        }
    }
    Ok(calls)
}

/// The values without the word that says what each is; `NAME …` stands beside what was cut.
fn values(called: &Called<Recorded>) -> Result<BTreeMap<String, Value>> {
    let mut values = BTreeMap::new();
    for (name, value) in &called.values {
        let Value::Object(tagged) = serde_json::to_value(value)? else {
            bail!("{name} has no kind");
        };
        let (kind, value) = tagged.into_iter().next().context("a value has a kind")?;
        // Numbers that could be content and are no token ids are written out.
        let value = match (kind.as_str(), value) {
            ("ids", Value::String(text)) => serde_json::from_str(&text)?,
            (_, value) => value,
        };
        values.insert(name.to_string(), value);
    }
    for name in &called.cut {
        values.insert(format!("{name} …"), Value::Bool(true));
    }
    Ok(values)
}
