//! `tracer policy`: checks redaction policies and tries them on text.

use std::{
    fs::File,
    io::{self, Read, Write},
    path::Path,
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use tracer_redact::{CaptureLevel, Engine, Explained, Field, Policy, Raw, Redacted};

use crate::{
    arguments::{
        meant::is_standard_input,
        typed::{self, DocumentFormat, TryOn},
    },
    outcome::Outcome,
    text::{Palette, Table, Tone, counted, printable},
    trace::{run::run_key, settings::read_policy},
};

/// Bytes of a text that a policy is tried on; what is longer is withheld in a run too.
const LONGEST_TEXT: u64 = 1 << 20;

/// Runs one of the commands.
///
/// # Errors
/// If a file cannot be read or is no policy, or standard output cannot be written.
pub(crate) fn run(policy: &typed::Policy) -> Result<Outcome> {
    match policy {
        typed::Policy::Lint { policy, output } => lint(policy, *output),
        typed::Policy::Test { try_on } => test(try_on),
        typed::Policy::Explain { try_on } => explain(try_on),
        typed::Policy::Diff {
            left,
            right,
            output,
        } => diff(left, right, *output),
    }
}

fn lint(path: &Path, format: DocumentFormat) -> Result<Outcome> {
    let policy = read_policy(path)?;
    let built_in = policy.detectors()?.lint().map_err(|errors| {
        let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
        anyhow::anyhow!(
            "the built-in rules do not do what they say: {}",
            errors.join("; ")
        )
    })?;
    let own = policy.rules().len();
    let digest = policy.digest();
    let text = match format {
        DocumentFormat::Pretty => format!(
            "{}: can be used, with {} of its own and {built_in} built-in ones\n{digest}\n\n{policy}",
            printable(&path.display().to_string()),
            counted(own as u64, "rule"),
        ),
        DocumentFormat::Json => document(&json!({
            "policy": path.display().to_string(),
            "digest": digest.to_string(),
            "own_rules": own,
            "built_in_rules": built_in,
            "resolved": policy.to_string(),
        })),
    };
    print(&text)?;
    Ok(Outcome::Something)
}

fn test(try_on: &TryOn) -> Result<Outcome> {
    let (engine, field) = engine(try_on)?;
    let text = read_text(&try_on.text)?;
    let redacted = engine.redact(
        field,
        Raw::new(tracer_redact::Content::text(text.as_slice())),
    );
    let changed = !is_text(&redacted, &text);
    let tally = engine.tally();
    let shown = match try_on.output {
        DocumentFormat::Pretty => {
            let mut shown = match redacted.value() {
                Ok(tracer_redact::Content::Text(bytes)) => {
                    let text = String::from_utf8_lossy(bytes);
                    let lines: Vec<_> = text.split_inclusive('\n').map(line).collect();
                    lines.concat()
                }
                Ok(_) => String::new(),
                Err(reason) => format!("(nothing leaves: {})", reason.name()),
            };
            if !shown.ends_with('\n') {
                shown.push('\n');
            }
            shown
        }
        DocumentFormat::Json => document(&json!({
            "text": redacted,
            "redacted": tally.replaced,
        })),
    };
    print(&shown)?;
    Ok(found(changed))
}

fn explain(try_on: &TryOn) -> Result<Outcome> {
    let (engine, field) = engine(try_on)?;
    let text = read_text(&try_on.text)?;
    let treatment = engine.treatment(field).to_string();
    let explained = engine.explain(field, &text)?;
    let shown = match try_on.output {
        DocumentFormat::Pretty => pretty(&treatment, field, &text, &explained),
        DocumentFormat::Json => document(&json!({
            "field": field.name(),
            "treatment": treatment,
            "findings": explained.iter().map(finding).collect::<Vec<_>>(),
        })),
    };
    print(&shown)?;
    Ok(found(!explained.is_empty()))
}

fn diff(left: &Path, right: &Path, format: DocumentFormat) -> Result<Outcome> {
    let differences = read_policy(left)?.differences(&read_policy(right)?);
    let shown =
        match format {
            DocumentFormat::Json => document(&Value::from_iter(differences.iter().map(
                |found| json!({"place": found.place, "left": found.left, "right": found.right}),
            ))),
            DocumentFormat::Pretty if differences.is_empty() => {
                "the two policies treat everything alike\n".to_owned()
            }
            DocumentFormat::Pretty => {
                let mut table = Table::with_heading(&["PLACE", "A", "B"]);
                let side = |side: &Option<String>| match side {
                    Some(text) => first_line(text),
                    None => "-".to_owned(),
                };
                for found in &differences {
                    let cells = [found.place.clone(), side(&found.left), side(&found.right)];
                    table.row(cells.map(|cell| (Tone::Plain, cell)));
                }
                table.render(Palette::for_stream(&io::stdout()))
            }
        };
    print(&shown)?;
    Ok(found(!differences.is_empty()))
}

fn pretty(treatment: &str, field: Field<'_>, text: &[u8], explained: &[Explained]) -> String {
    let mut shown = format!("{} = {treatment}\n", field.name());
    if explained.is_empty() {
        shown.push_str("nothing is found\n");
        return shown;
    }
    shown.push('\n');
    let heading = [
        "LINE", "COLUMN", "BYTES", "KIND", "GROUP", "RULE", "WHY", "ACTION",
    ];
    let mut table = Table::with_heading(&heading);
    for found in explained {
        let (line, column) = place(text, found.range.start);
        let why = match found.encoded {
            true => format!("{}, encoded", found.certainty),
            false => found.certainty.to_owned(),
        };
        let cells = [
            line.to_string(),
            column.to_string(),
            found.range.len().to_string(),
            found.kind.clone(),
            found.group.to_owned(),
            found.rule.clone(),
            why,
            found.action.to_string().replace('"', ""),
        ];
        table.row(cells.map(|cell| (Tone::Plain, cell)));
    }
    shown.push_str(&table.render(Palette::for_stream(&io::stdout())));
    shown
}

fn finding(found: &Explained) -> Value {
    json!({
        "start": found.range.start,
        "end": found.range.end,
        "kind": found.kind,
        "group": found.group,
        "rule": found.rule,
        "why": found.certainty,
        "encoded": found.encoded,
        "action": found.action.name(),
    })
}

fn engine(try_on: &TryOn) -> Result<(Engine, Field<'static>)> {
    let policy = match &try_on.policy {
        Some(path) => read_policy(path)?,
        None => Policy::default(),
    };
    let names = Field::ALL.map(Field::name);
    let Some(field) = Field::ALL
        .into_iter()
        .find(|field| field.name() == try_on.field)
    else {
        bail!(
            "--field: there is no field `{}`; give one of {}",
            try_on.field,
            names.join(", ")
        );
    };
    ensure!(
        field != Field::TokenIds,
        "--field: token ids are no text; they are treated as the text that they stand for"
    );
    Ok((Engine::new(policy, CaptureLevel::Text, run_key()?)?, field))
}

fn read_text(path: &Path) -> Result<Vec<u8>> {
    let name = path.display();
    let mut text = Vec::new();
    let read = match is_standard_input(path) {
        true => io::stdin().take(LONGEST_TEXT + 1).read_to_end(&mut text),
        false => {
            File::open(path).and_then(|file| file.take(LONGEST_TEXT + 1).read_to_end(&mut text))
        }
    };
    read.with_context(|| format!("read the text {name}"))?;
    ensure!(
        text.len() as u64 <= LONGEST_TEXT,
        "the text {name} is longer than the {LONGEST_TEXT} bytes that are searched at once; try a part"
    );
    Ok(text)
}

fn is_text(redacted: &Redacted<tracer_redact::Content>, text: &[u8]) -> bool {
    matches!(redacted.value(), Ok(tracer_redact::Content::Text(bytes)) if bytes == text)
}

/// Line and column in characters, from 1.
fn place(text: &[u8], at: usize) -> (usize, usize) {
    let before = &text[..at];
    let begins = before
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |at| at + 1);
    let lines = before.iter().filter(|byte| **byte == b'\n').count();
    (
        lines + 1,
        String::from_utf8_lossy(&before[begins..]).chars().count() + 1,
    )
}

/// A line that cannot steer the terminal.
fn line(line: &str) -> String {
    match line.strip_suffix('\n') {
        Some(line) => format!("{}\n", printable(line)),
        None => printable(line).into_owned(),
    }
}

fn first_line(text: &str) -> String {
    let mut lines = text.lines().filter(|line| !line.starts_with("[["));
    let first = lines.next().unwrap_or_default().to_owned();
    match lines.next() {
        Some(_) => format!("{first} …"),
        None => first,
    }
}

fn document(value: &Value) -> String {
    format!("{value:#}\n")
}

fn print(text: &str) -> Result<()> {
    io::stdout()
        .write_all(text.as_bytes())
        .context("write to standard output")
}

const fn found(something: bool) -> Outcome {
    match something {
        true => Outcome::Nothing,
        false => Outcome::Something,
    }
}
