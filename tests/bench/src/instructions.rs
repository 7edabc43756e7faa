//! How many instructions the hot functions take, counted under valgrind. Unlike a time, a count says the
//! same on a busy machine, so that every run can compare it with what is checked in.
//!
//! Libraries choose their instructions by the processor, so that a count is compared with one of the same
//! processor, compiler and profile alone.

use std::{collections::BTreeMap, env, fs, path::PathBuf, process::Command};

use anyhow::{Context, Result, bail, ensure};

use crate::{
    machine::Machine,
    peer, pipeline, redaction,
    row::{Bar, Row},
    sealing,
};

/// Group on the command line.
pub const GROUP: &str = "instructions";

/// From the checkout's root; for each compiler, profile and processor, what was counted.
const SNAPSHOT: &str = "bench/instructions.json";
/// How much more than the snapshot is a change: hash tables differ from run to run by less.
const TOLERANCE: f64 = 1.02;

/// A hot function's work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Records of the rings to redacted events.
    Events,
    /// Text in which there is nothing to find.
    Prose,
    /// Text that is full of what must not leave.
    Dense,
    /// Events to sealed records.
    Seal,
}

impl Work {
    const ALL: [Self; 4] = [Self::Events, Self::Prose, Self::Dense, Self::Seal];

    fn name(self) -> &'static str {
        match self {
            Self::Events => "records-to-events",
            Self::Prose => "redact-prose",
            Self::Dense => "redact-dense",
            Self::Seal => "seal",
        }
    }

    /// The work that is called `name`.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|work| work.name() == name)
    }

    fn unit(self) -> &'static str {
        match self {
            Self::Events => "instructions a record",
            Self::Prose | Self::Dense => "instructions a byte",
            Self::Seal => "instructions an event",
        }
    }

    /// What it is given in the smaller of the two runs.
    fn count(self) -> u64 {
        match self {
            Self::Events => 1,
            Self::Prose | Self::Dense => 256 << 10,
            Self::Seal => 20_000,
        }
    }

    /// Does it `count` times and returns how many units that were.
    ///
    /// # Errors
    /// If it cannot be done.
    pub fn run(self, count: u64) -> Result<u64> {
        let bytes = usize::try_from(count).context("too much")?;
        match self {
            Self::Events => pipeline::work(count),
            Self::Prose => Ok(redaction::work(redaction::Text::Prose, bytes)? as u64),
            Self::Dense => Ok(redaction::work(redaction::Text::Dense, bytes)? as u64),
            Self::Seal => sealing::work(count).map(|_| count),
        }
    }
}

/// Counts each work's instructions, and judges them by the snapshot.
///
/// With `TRACER_UPDATE_SNAPSHOT=1` the counts become the snapshot.
///
/// # Errors
/// If valgrind cannot be had, or the snapshot cannot be read or written.
pub fn measure(machine: &Machine) -> Result<Vec<Row>> {
    let valgrind = peer::distribution("valgrind", "valgrind")?;
    let program = env::current_exe()?.with_file_name("tracer-bench-hot");
    let mut snapshot: BTreeMap<String, BTreeMap<String, f64>> = match fs::read(SNAPSHOT) {
        Ok(text) => {
            serde_json::from_slice(&text).with_context(|| format!("{SNAPSHOT} is damaged"))?
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => BTreeMap::new(),
        Err(error) => return Err(error).context(format!("cannot read {SNAPSHOT}")),
    };
    let updates = env::var_os("TRACER_UPDATE_SNAPSHOT").is_some();
    let Machine {
        rustc,
        profile,
        processor,
        ..
    } = machine;
    let known = format!("{rustc}, {profile}, {processor}");
    let known = snapshot.entry(known).or_default();
    let mut rows = Vec::new();
    for work in Work::ALL {
        let counted = per_unit(&valgrind, &program, work)?;
        if updates {
            known.insert(work.name().to_owned(), (counted * 100.0).round() / 100.0);
        }
        let (bar, note) = match known.get(work.name()) {
            Some(before) => (
                Bar::AtMost((before * TOLERANCE * 100.0).round() / 100.0),
                format!("checked in: {before:.2}, and 2 % more are let pass"),
            ),
            None => (
                Bar::None,
                "nothing is checked in for this compiler and processor; TRACER_UPDATE_SNAPSHOT=1 does".to_owned(),
            ),
        };
        rows.push(Row::judge(
            GROUP,
            work.name(),
            work.unit(),
            vec![counted],
            bar,
            note,
        )?);
    }
    if updates {
        let text = serde_json::to_string_pretty(&snapshot)? + "\n";
        fs::write(SNAPSHOT, text).with_context(|| format!("cannot write {SNAPSHOT}"))?;
    }
    Ok(rows)
}

/// Twice the work takes so many instructions more than once: what starting takes is in neither.
#[expect(clippy::cast_precision_loss, reason = "below 2^53")]
fn per_unit(valgrind: &PathBuf, program: &PathBuf, work: Work) -> Result<f64> {
    let run = |count: u64| -> Result<(u64, u64)> {
        let output = Command::new(valgrind)
            .args(["--tool=cachegrind", "--cache-sim=no"])
            .arg("--cachegrind-out-file=/dev/null")
            .arg(program)
            .args([work.name(), &count.to_string()])
            .output()
            .context("cannot run valgrind")?;
        let says = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "{} under valgrind ended with {}: {says}",
            work.name(),
            output.status
        );
        let units = String::from_utf8_lossy(&output.stdout).trim().parse()?;
        Ok((instructions(&says)?, units))
    };
    let (once, units_once) = run(work.count())?;
    let (twice, units_twice) = run(2 * work.count())?;
    ensure!(
        twice > once && units_twice > units_once,
        "{} did no more when asked for twice as much",
        work.name()
    );
    Ok((twice - once) as f64 / (units_twice - units_once) as f64)
}

/// Out of `==1== I   refs:      12,345`, or without the spaces in newer versions.
fn instructions(says: &str) -> Result<u64> {
    let line = says
        .lines()
        .find(|line| line.contains("refs:") && line.contains(" I "));
    let Some((_, number)) = line.and_then(|line| line.split_once("refs:")) else {
        bail!("valgrind counted nothing: {says}");
    };
    let digits: String = number.chars().filter(char::is_ascii_digit).collect();
    digits.parse().context("valgrind counted nothing")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn valgrinds_count_is_read_in_its_old_and_new_form() {
        let old = "==7== \n==7== I   refs:      1,234,567\n";
        assert_eq!(instructions(old).ok(), Some(1_234_567));
        assert_eq!(instructions("==7== I refs:        89\n").ok(), Some(89));
        assert!(instructions("valgrind: no such file").is_err());
    }
}
