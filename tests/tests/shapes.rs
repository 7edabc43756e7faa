//! Whatever way C, C++ or Rust passes a value, the tracer reads what the target says it passed. Needs
//! root and BPF.

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tracer_event::Recorded;
use tracer_event::{Body, call::Called};
use tracer_tests::{
    cache::Cache,
    compile::SOURCES,
    report::Event,
    requires_root,
    tracer::{Trace, Tracing},
    workload::{Place, Running, Target},
};

/// A call's function and its values by name.
type Call = (String, BTreeMap<String, Value>);

/// Lets text leave: the targets hold no secret.
const POLICY: &str = "[fields]\ntext = \"keep\"\n";

#[test]
fn every_way_of_passing_a_value_in_cxx_is_read_exactly() -> Result<()> {
    requires_root!();
    let command = Target::Shapes.command(&Cache::open()?, &[])?;
    reads_what_was_passed(
        command,
        &fs::read_to_string(format!("{SOURCES}/shapes.toml"))?,
    )
}

#[test]
fn the_strings_and_vectors_of_libcxx_are_read_exactly() -> Result<()> {
    requires_root!();
    let command = Target::ShapesLibcxx.command(&Cache::open()?, &[])?;
    let profile = fs::read_to_string(format!("{SOURCES}/shapes.toml"))?;
    // The same values, laid out as the other library does.
    let profile = profile
        .replace("\"string_view ", "\"str ")
        .replace("\"string ", "\"libcxx_string ")
        .replace("of string ", "of libcxx_string ")
        .replace("\"strings ", "\"libcxx_strings ")
        .replace("rsi size 32", "rsi size 24");
    reads_what_was_passed(command, &profile)
}

#[test]
fn every_way_of_passing_text_and_slices_in_rust_is_read_exactly() -> Result<()> {
    requires_root!();
    let command = Target::Slices.command(&Cache::open()?, &[])?;
    reads_what_was_passed(
        command,
        &fs::read_to_string(format!("{SOURCES}/slices.toml"))?,
    )
}

#[test]
fn below_the_level_of_content_only_sizes_leave_the_process() -> Result<()> {
    requires_root!();
    let command = Target::Slices.command(&Cache::open()?, &[])?;
    let profile = fs::read_to_string(format!("{SOURCES}/slices.toml"))?;
    let (_, calls) = run(command, &profile, "shape")?;
    ensure!(!calls.is_empty(), "nothing was traced");
    for (function, values) in calls {
        for (name, value) in values {
            let is_size = matches!(name.as_str(), "number" | "word_count");
            let is_withheld = value == "level";
            ensure!(is_size != is_withheld, "{function}: {name} is {value}");
        }
    }
    Ok(())
}

fn reads_what_was_passed(command: Command, profile: &str) -> Result<()> {
    let (passed, read) = run(command, profile, "text")?;
    for ((function, passed), (probe, read)) in passed.iter().zip(&read) {
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
fn run(command: Command, profile: &str, level: &str) -> Result<(Vec<Call>, Vec<Call>)> {
    let folder = tempfile::tempdir()?;
    let (profile_file, policy_file) = (
        folder.path().join("profile.toml"),
        folder.path().join("policy.toml"),
    );
    fs::write(&profile_file, profile)?;
    fs::write(&policy_file, POLICY)?;
    let argument = |path: &Path| path.display().to_string();
    let mut running = Running::start(command, Place::Host)?;
    running.until_waiting()?;
    let (profile, policy) = (argument(&profile_file), argument(&policy_file));
    let mut tracing = Tracing::exact_at(level, &["--profile", &profile, "--policy", &policy])?;
    tracing.until_attached(running.pid())?;
    running.go()?;
    running.until_waiting()?;
    running.go()?;
    let pid = running.pid();
    let lines = running.finish()?;
    let trace = tracing.interrupt()?;
    let passed = lines.into_iter().filter_map(|line| match line.event {
        Event::Call { function, values } => Some((function, values)),
        _ => None,
    });
    Ok((passed.collect(), traced(&trace, pid)?))
}

fn traced(trace: &Trace, pid: u32) -> Result<Vec<Call>> {
    let mut calls = Vec::new();
    for line in trace.of(pid) {
        let (Body::Called(called), Some(probe)) = (&line.body, &line.probe) else {
            continue;
        };
        let function = probe.as_str().rsplit('/').next().unwrap_or_default();
        calls.push((function.to_owned(), values(called)?));
    }
    Ok(calls)
}

/// The values without the word that says what each is; `NAME …` stands beside what was cut.
fn values(called: &Called<Recorded>) -> Result<BTreeMap<String, Value>> {
    let mut values = BTreeMap::new();
    for (name, value) in &called.values {
        let Value::Object(tagged) = serde_json::to_value(value)? else {
            anyhow::bail!("{name} has no kind");
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
