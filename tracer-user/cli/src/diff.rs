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
    let differences = diff(&a.snapshot, &b.snapshot);
    let text = match format {
        DocumentFormat::Pretty => pretty(&a, &b, &differences, Palette::for_stream(&io::stdout())),
        DocumentFormat::Json => document(&a, &b, &differences),
    };
    io::stdout()
        .write_all(text.as_bytes())
        .context("write to standard output")?;
    Ok(if differences.is_empty() {
        Outcome::Something
    } else {
        Outcome::Nothing
    })
}

fn pretty(a: &Found, b: &Found, differences: &[Difference], palette: Palette) -> String {
    let mut text = format!("A  {}\nB  {}\n\n", printable(&a.title), printable(&b.title));
    if differences.is_empty() {
        text.push_str("nothing differs\n");
        return text;
    }
    let mut table = Table::with_heading(&["FIELD", "A", "B"]);
    for Difference { path, left, right } in differences {
        table.row([
            (Tone::Strong, path.clone()),
            (Tone::Plain, word(left.as_ref())),
            (Tone::Plain, word(right.as_ref())),
        ]);
    }
    text.push_str(&table.render(palette));
    let verb = if differences.len() == 1 {
        "differs"
    } else {
        "differ"
    };
    text.push_str(&format!(
        "\n{} {verb}\n",
        counted(differences.len() as u64, "field")
    ));
    text
}

fn word(value: Option<&Value>) -> String {
    match value {
        None => "-".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

fn document(a: &Found, b: &Found, differences: &[Difference]) -> String {
    let differences: Vec<Value> = differences
        .iter()
        .map(|Difference { path, left, right }| json!({ "field": path, "a": left, "b": right }))
        .collect();
    let document = json!({ "a": a.title, "b": b.title, "differences": differences });
    format!("{document:#}\n")
}
