//! PyPI's Presidio beside our detectors: its pattern recognisers, on the set with values that both are
//! made for and with texts that hold none.

use std::{
    fs,
    io::Write as _,
    ops::Range,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use tracer_redact::detect::{Detectors, Limits};
use tracer_tests::{cache::Cache, python};

use super::GROUP;
use crate::{
    clock::cpu_seconds,
    row::{Bar, Row},
};

const REQUIREMENTS: &str = include_str!("requirements.txt");
const DRIVER: &str = include_str!("driver.py");
/// Kinds that Presidio has recognisers for as we have rules. It has none for credentials.
const PERSONAL: [&str; 6] = [
    "PHONE_NUMBER",
    "CREDIT_CARD",
    "EMAIL_ADDRESS",
    "IP_ADDRESS",
    "IBAN_CODE",
    "US_SSN",
];

/// A labelled text.
#[derive(Debug, Deserialize)]
pub(super) struct Document {
    pub(super) text: String,
    #[serde(default)]
    transform: String,
    spans: Vec<Label>,
}

impl Document {
    /// An empty text of a kind.
    pub(super) fn new(transform: &str) -> Self {
        Self {
            text: String::new(),
            transform: transform.to_owned(),
            spans: Vec::new(),
        }
    }

    /// Goes on with words that nobody need hide.
    pub(super) fn say(&mut self, words: &str) {
        self.text.push_str(words);
    }

    /// Goes on with a value of a kind.
    pub(super) fn value(&mut self, kind: &str, value: &str) {
        let start = self.text.len();
        self.text.push_str(value);
        let end = self.text.len();
        let kind = kind.to_owned();
        self.spans.push(Label { kind, start, end });
    }

    /// Kinds and values.
    #[cfg(test)]
    pub(super) fn labelled(&self) -> impl Iterator<Item = (&str, &str)> {
        let labels = self.spans.iter();
        labels.map(|label| (&*label.kind, &self.text[label.start..label.end]))
    }
}

#[derive(Debug, Deserialize)]
struct Label {
    #[serde(rename = "type")]
    kind: String,
    start: usize,
    end: usize,
}

/// What an engine found in each text, and how long a pass took.
#[derive(Debug, Deserialize)]
struct Pass {
    seconds: f64,
    spans: Vec<Vec<(usize, usize)>>,
}

/// Measures both engines over the plain and the harmless texts of `documents`, which are called `name`.
///
/// # Errors
/// If Presidio cannot be installed or does not run.
pub(super) fn measure(name: &str, documents: &[Document], repetitions: usize) -> Result<Vec<Row>> {
    let is_of = |transform: &'static str| {
        documents
            .iter()
            .filter(move |document| document.transform == transform)
    };
    let plain: Vec<_> = is_of("plain").collect();
    let both: Vec<_> = plain.iter().copied().chain(is_of("negative")).collect();
    let python = python::environment(&Cache::open()?, "presidio", REQUIREMENTS)?;
    let scratch = tempfile::tempdir()?;
    let driver = scratch.path().join("driver.py");
    fs::write(&driver, DRIVER)?;
    let presidio = || {
        let mut command = Command::new(&python);
        command.arg("-I").arg(&driver);
        pass(command, &both)
    };
    let detectors = Detectors::builtin();
    scan(&detectors, &both)?;
    let mut ratios = Vec::new();
    let mut last = None;
    for _ in 0..repetitions {
        let (ours, theirs) = (scan(&detectors, &both)?, presidio()?);
        ratios.push(theirs.seconds / ours.seconds);
        last = Some((ours, theirs));
    }
    let (ours, theirs) = last.context("there is at least one repetition")?;
    let note =
        format!("{name}, plain and harmless texts; presidio-analyzer 2.2.366, patterns only");
    let note = note.as_str();
    let mut rows = vec![Row::judge(
        GROUP,
        "speed ÷ Presidio's",
        "x",
        ratios,
        Bar::None,
        note,
    )?];
    for (engine, found) in [("tracer", &ours), ("Presidio", &theirs)] {
        ensure!(
            found.spans.len() == both.len(),
            "{engine} looked at {} of {} texts",
            found.spans.len(),
            both.len()
        );
        let (of_plain, of_harmless) = found.spans.split_at(plain.len());
        rows.push(Row::judge(
            GROUP,
            format!("{engine}: mail, phone, card, IBAN, IP, SSN wholly covered"),
            "%",
            vec![covered(&plain, of_plain)],
            Bar::None,
            note,
        )?);
        let alarms = of_harmless.iter().filter(|spans| !spans.is_empty()).count();
        rows.push(Row::judge(
            GROUP,
            format!("{engine}: harmless texts with an alarm"),
            "%",
            vec![percent(alarms, of_harmless.len())],
            Bar::None,
            note,
        )?);
    }
    Ok(rows)
}

/// Percent of the personal values whose every byte lies in something that was found.
fn covered(documents: &[&Document], found: &[Vec<(usize, usize)>]) -> f64 {
    let mut all = 0;
    let mut whole = 0;
    for (document, spans) in std::iter::zip(documents, found) {
        for label in &document.spans {
            if PERSONAL.contains(&label.kind.as_str()) {
                all += 1;
                whole += usize::from(is_covered(label.start..label.end, spans));
            }
        }
    }
    percent(whole, all)
}

fn is_covered(value: Range<usize>, spans: &[(usize, usize)]) -> bool {
    let is_found = |byte: usize| {
        spans
            .iter()
            .any(|&(start, end)| (start..end).contains(&byte))
    };
    value.clone().all(is_found) && !value.is_empty()
}

#[expect(clippy::cast_precision_loss, reason = "some thousands")]
fn percent(part: usize, whole: usize) -> f64 {
    100.0 * part as f64 / whole.max(1) as f64
}

/// Our own pass.
fn scan(detectors: &Detectors, documents: &[&Document]) -> Result<Pass> {
    let limits = Limits::default();
    let before = cpu_seconds();
    let found = documents
        .iter()
        .map(|document| detectors.scan(document.text.as_bytes(), &limits))
        .collect::<Result<Vec<_>, _>>()?;
    let seconds = cpu_seconds() - before;
    let spans = found.iter().map(|findings| {
        let ranges = findings.iter().map(|finding| &finding.range);
        ranges.map(|range| (range.start, range.end)).collect()
    });
    Ok(Pass {
        seconds,
        spans: spans.collect(),
    })
}

/// The pass of a process that reads texts and says what it found.
fn pass(mut command: Command, documents: &[&Document]) -> Result<Pass> {
    let mut lines = Vec::new();
    for document in documents {
        serde_json::to_writer(&mut lines, &document.text)?;
        lines.push(b'\n');
    }
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {}", command.get_program().display()))?;
    let mut input = child.stdin.take().context("it has no input")?;
    // It says nothing before it has read everything.
    input.write_all(&lines)?;
    drop(input);
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "it ended with {}", output.status);
    serde_json::from_slice(&output.stdout).context("it did not say what it found")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_covered_by_its_every_byte_or_not_at_all() {
        assert!(is_covered(2..6, &[(0, 4), (4, 9)]));
        assert!(!is_covered(2..6, &[(0, 4), (5, 9)]));
        assert!(!is_covered(2..6, &[]));
    }
}
