//! `tracer diff`: what differs between two model loads.

mod snapshots;

use std::io::{self, Write};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tracer_event::diff::{Difference, diff};

use self::snapshots::Found;
use crate::{
    arguments::{meant, typed::DocumentFormat},
    outcome::Outcome,
    text::{Palette, Table, Tone, counted, printable},
};

/// What a snapshot has where it knows nothing.
const NOT_KNOWN: [&str; 2] = ["unknown", "not seen"];

/// Compares the two snapshots and prints what differs.
///
/// # Errors
/// If a snapshot cannot be read or picked, or standard output cannot be written.
pub(crate) fn run(arguments: &meant::Diff) -> Result<Outcome> {
    let meant::Diff {
        left,
        right,
        format,
    } = arguments;
    let a = snapshots::read(&left.0, left.1)?;
    let b = snapshots::read(&right.0, right.1)?;
    let (gaps, differences) = diff(&a.snapshot, &b.snapshot).into_iter().partition(is_gap);
    let comparison = Comparison {
        a,
        b,
        differences,
        gaps,
    };
    let text = match format {
        DocumentFormat::Pretty => comparison.pretty(Palette::for_stream(&io::stdout())),
        DocumentFormat::Json => comparison.json(),
    };
    io::stdout()
        .write_all(text.as_bytes())
        .context("write to standard output")?;
    Ok(if comparison.differences.is_empty() {
        Outcome::Something
    } else {
        Outcome::Nothing
    })
}

struct Comparison {
    a: Found,
    b: Found,
    /// What is known on both sides and not the same.
    differences: Vec<Difference>,
    /// What only one side knows: a load that was not seen tells nothing of its parameters.
    gaps: Vec<Difference>,
}

/// Whether one side does not know what it has there.
fn is_gap(difference: &Difference) -> bool {
    [&difference.left, &difference.right]
        .into_iter()
        .any(|side| {
            side.as_ref()
                .and_then(Value::as_str)
                .is_some_and(|word| NOT_KNOWN.contains(&word))
        })
}

impl Comparison {
    fn pretty(&self, palette: Palette) -> String {
        let Self {
            a,
            b,
            differences,
            gaps,
        } = self;
        let mut text = format!("A  {}\nB  {}\n\n", printable(&a.title), printable(&b.title));
        if differences.is_empty() {
            text.push_str("nothing that both sides know differs\n");
        } else {
            let mut table = Table::with_heading(&["FIELD", "A", "B"]);
            for Difference { path, left, right } in differences {
                table.row([
                    (Tone::Strong, path.clone()),
                    (Tone::Plain, word(left.as_ref())),
                    (Tone::Plain, word(right.as_ref())),
                ]);
            }
            text.push_str(&table.render(palette));
        }
        if !gaps.is_empty() {
            let fields: Vec<&str> = gaps.iter().map(|gap| gap.path.as_str()).collect();
            let gaps = format!(
                "\n{} known on one side only: {}\n",
                counted(gaps.len() as u64, "field"),
                printable(&fields.join(", ")),
            );
            text.push_str(&palette.paint(Tone::Faint, &gaps));
        }
        text
    }

    fn json(&self) -> String {
        let Self {
            a,
            b,
            differences,
            gaps,
        } = self;
        let list = |list: &[Difference]| -> Vec<Value> {
            list.iter()
                .map(|Difference { path, left, right }| json!({ "field": path, "a": left, "b": right }))
                .collect()
        };
        let document = json!({
            "a": a.title,
            "b": b.title,
            "differences": list(differences),
            "known_on_one_side": list(gaps),
        });
        format!("{document:#}\n")
    }
}

fn word(value: Option<&Value>) -> String {
    match value {
        None => "-".to_owned(),
        Some(Value::String(text)) => text.clone(),
        // The field names a file or library that only one side has.
        Some(Value::Object(_)) => "present".to_owned(),
        Some(other) => other.to_string(),
    }
}
