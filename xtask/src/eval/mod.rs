//! `cargo xtask eval`: judges what cannot be tested by a single case.

mod document;
mod labels;
mod lexical;
mod score;

use std::{ops::Range, process::ExitCode};

use anyhow::Result;
use clap::{Args, Subcommand};
use tracer_redact::detect::{Certainty, Detectors, Finding, Group, Kind, Limits, RuleId};

use self::{
    document::{Document, Half},
    score::{Halves, Scanned, Score, Tally},
};
use crate::workspace::Workspace;

/// What to judge.
#[derive(Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    subject: Subject,
}

#[derive(Subcommand)]
enum Subject {
    /// What the detectors find in labelled texts, and what they miss
    Redaction(RedactionOptions),
}

#[derive(Args)]
struct RedactionOptions {
    /// Seed of the split into halves
    #[arg(long, default_value_t = 7)]
    seed: u64,
    /// Show misses and false alarms of this set's first half
    #[arg(long)]
    show: Option<String>,
    /// Show those of the second half as well; what is fixed by looking there is judged by nobody
    #[arg(long, requires = "show")]
    both: bool,
}

/// Lowest share of structured values that must be masked to the last byte, plain.
const PLAIN: f64 = 0.99;
/// The same for each encoding.
const ENCODED: f64 = 0.95;
/// Highest share of the runtime's own output that may raise an alarm.
const ALARMS: f64 = 0.02;
/// Highest share of other bytes that may be masked.
const COLLATERAL: f64 = 0.02;
/// How far apart the halves may be.
const GAP: f64 = 0.02;
/// Sets whose labels are silver, or name one value of a text that holds several, or take one
/// country's number for what another country's is not. No engine can hold the bars on them; each
/// half keeps what it has reached: the lowest recall, and the highest collateral.
const PARTIAL: [(&str, f64, f64); 6] = [
    ("credsweeper_samples", 0.89, 0.11),
    ("detect_secrets_tests", 0.76, 0.42),
    ("gitleaks_literals", 0.99, 0.27),
    ("kingfisher_rule_examples", 0.86, 0.20),
    ("noseyparker_rule_examples", 0.81, 0.24),
    ("presidio_recognizer_tests", 0.91, 0.14),
];
/// The set with all encodings and the runtime's own output.
const MAIN_SET: &str = "llm_chat_synth";

/// Judges; the exit status is 0 if every bar holds, 1 if one does not.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<ExitCode> {
    let Subject::Redaction(options) = &options.subject;
    let Some(folder) = document::folder(&workspace.root) else {
        println!("../shared/data/redaction is not there: nothing to judge the detectors on");
        println!("eval: 0 passed, 0 failed, 1 skipped");
        return Ok(ExitCode::SUCCESS);
    };
    let detectors = Detectors::builtin();
    let mut failures = Vec::new();
    let mut names = Vec::new();
    for set in document::sets(&folder)? {
        let mut halves = Halves::default();
        for document in &set.documents {
            let scanned = Scanned::new(scan(&detectors, document));
            let half = document.half(options.seed);
            halves.add(&set.name, document, half, &scanned);
            if options.show.as_deref() == Some(&set.name) && (half == Half::First || options.both) {
                show(&set.name, document, &scanned);
            }
        }
        if lexical::SETS.contains(&set.name.as_str()) {
            let mut words = lexical::Words::default();
            for document in &set.documents {
                words.add(document);
            }
            names.push((set.name.clone(), words));
        }
        print(&set.name, &halves);
        failures.extend(judge(&set.name, &halves));
    }
    failures.extend(lexical::judge(&names));
    for failure in &failures {
        println!("FAIL  {failure}");
    }
    Ok(ExitCode::from(u8::from(!failures.is_empty())))
}

/// Everything found; what cannot be scanned is dropped as a whole.
fn scan(detectors: &Detectors, document: &Document) -> Vec<Finding> {
    let found = detectors.scan(document.text.as_bytes(), &Limits::default());
    found.unwrap_or_else(|_| {
        Vec::from([Finding {
            range: 0..document.text.len(),
            rule: RuleId::BuiltIn("not searched"),
            kind: Kind::Secret,
            group: Group::Credentials,
            certainty: Certainty::Context,
            encoded: false,
        }])
    })
}

fn show(set: &str, document: &Document, scanned: &Scanned) {
    if document.ambiguous {
        return;
    }
    let lies_on = |start: usize, end: usize, ranges: &[Range<usize>]| {
        ranges
            .iter()
            .any(|range| range.start <= start && end <= range.end)
    };
    for span in &document.spans {
        let hit = lies_on(span.start, span.end, &scanned.values)
            || (document.weak_span && !scanned.values.is_empty());
        if !hit && score::is_structured(&span.kind) {
            let range = labels::repaired(set, document, span);
            let shows = |at: usize| {
                let covers = |found: &Range<usize>| found.contains(&at);
                !scanned.values.iter().any(covers) && !scanned.places.iter().any(covers)
            };
            let counts = labels::is_secret(set, document, span)
                && (document.weak_span || range.clone().any(shows));
            println!(
                "miss{} {} {:?} in {:?}",
                if counts { "  " } else { " *" },
                span.kind,
                &document.text[span.start..span.end],
                document.text
            );
        }
    }
    let values = scanned.findings.iter();
    for finding in values.filter(|finding| finding.group != Group::Places) {
        let range = &finding.range;
        let rule = labels::is_justified(set, document, finding);
        let sign = if rule { '*' } else { ' ' };
        let touched: Vec<_> = document
            .spans
            .iter()
            .filter(|span| span.start < range.end && range.start < span.end)
            .collect();
        // A finding on bytes may end within a character.
        let masked = String::from_utf8_lossy(&document.text.as_bytes()[range.clone()]);
        match (touched.first(), touched.last()) {
            (Some(first), Some(last)) if range.start < first.start || last.end < range.end => {
                println!(
                    "wide {sign} {masked:?} for {} in {:?}",
                    first.kind, document.text
                );
            }
            (Some(_), _) => {}
            (None, _) => println!("alarm{sign} {masked:?} in {:?}", document.text),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts are below a million")]
fn share(part: usize, whole: usize) -> f64 {
    if whole == 0 {
        0.0
    } else {
        part as f64 / whole as f64
    }
}

fn print(name: &str, halves: &Halves) {
    println!("{name}");
    for (half, score) in [("first", &halves.first), ("second", &halves.second)] {
        println!(
            "  {half:<7} structured {:>5}/{:<5} recall {:.4}  leaked {:>5} characters  precision {:.4}  collateral {:.4}  alarms {}/{}",
            score.structured.covered,
            score.structured.spans,
            score.structured.recall(),
            score.structured.leaked,
            share(score.true_findings, score.findings),
            share(score.collateral, score.outside),
            score.alarms,
            score.negatives,
        );
        if PARTIAL.iter().any(|(set, ..)| *set == name) {
            println!(
                "          by rule    {:>5}/{:<5} recall {:.4}  leaked {:>5} characters                    collateral {:.4}  alarms {}/{}",
                score.judged.covered,
                score.judged.spans,
                score.judged.recall(),
                score.judged.leaked,
                share(score.unjustified, score.outside),
                score.judged_alarms,
                score.negatives,
            );
        }
    }
    let both = |of: fn(&Score) -> &std::collections::BTreeMap<String, Tally>| {
        let mut rows = of(&halves.first).clone();
        for (key, tally) in of(&halves.second) {
            let row = rows.entry(key.clone()).or_default();
            *row = row.plus(*tally);
        }
        rows
    };
    for (title, rows) in [
        ("type", both(|score| &score.types)),
        ("encoding", both(|score| &score.encodings)),
    ] {
        for (key, tally) in rows {
            println!(
                "    {title:<8} {key:<44} {:>5}/{:<5} {:.3}  leaked {}",
                tally.covered,
                tally.spans,
                tally.recall(),
                tally.leaked
            );
        }
    }
}

fn judge(name: &str, halves: &Halves) -> Vec<String> {
    let partial = PARTIAL.iter().find(|(set, ..)| *set == name);
    let (plain, most) = partial.map_or((PLAIN, COLLATERAL), |(_, plain, most)| (*plain, *most));
    let mut failures = Vec::new();
    for (half, score) in [("first", &halves.first), ("second", &halves.second)] {
        let mut check = |holds: bool, text: String| {
            if !holds {
                failures.push(format!("{name}, {half} half: {text}"));
            }
        };
        let recall = score.structured.recall();
        let collateral = share(score.collateral, score.outside);
        let judged = score.judged.recall();
        let unjustified = share(score.unjustified, score.outside);
        if partial.is_some() {
            let sign = |holds: bool| if holds { "holds" } else { "BELOW" };
            println!(
                "{} {name}, {half} half, by rule: {judged:.4} covered (bar {PLAIN})",
                sign(judged >= PLAIN)
            );
            println!(
                "{} {name}, {half} half, by rule: {unjustified:.4} masked beside (bar {COLLATERAL})",
                sign(unjustified <= COLLATERAL)
            );
        }
        check(
            recall >= plain,
            format!("{recall:.4} of the plain structured spans are covered, the bar is {plain}"),
        );
        for (encoding, tally) in &score.encodings {
            let recall = tally.recall();
            check(
                recall >= ENCODED,
                format!("{recall:.4} of {encoding} are covered, the bar is {ENCODED}"),
            );
        }
        check(
            collateral <= most,
            format!("{collateral:.4} of the other bytes are masked, the bar is {most}"),
        );
        if name == MAIN_SET {
            let alarms = share(score.alarms, score.negatives);
            check(
                alarms <= ALARMS,
                format!("{alarms:.4} of the runtime's output raises an alarm, the bar is {ALARMS}"),
            );
        }
    }
    let gap = (halves.first.structured.recall() - halves.second.structured.recall()).abs();
    if gap > GAP && partial.is_none() {
        failures.push(format!(
            "{name}: the halves are {gap:.4} apart, the bar is {GAP}"
        ));
    }
    failures
}
