//! `tracer diff`: what differs between two model loads.

mod compare;
mod snapshots;

use std::io::{self, Write};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use self::compare::{Difference, compare};
use crate::{
    arguments::{meant, typed::DocumentFormat},
    outcome::Outcome,
    text::{Palette, Table, Tone, counted},
};

/// Compares the two snapshots and prints what differs.
///
/// # Errors
/// If a snapshot cannot be read or picked, or standard output cannot be written.
pub(crate) fn run(arguments: &meant::Diff) -> Result<Outcome> {
    let meant::Diff { left, right, all, format } = arguments;
    let a = snapshots::read(&left.0, left.1)?;
    let b = snapshots::read(&right.0, right.1)?;
    let mut differences = compare(&a, &b);
    if !all {
        differences.retain(|difference| is_configuration(&difference.field));
    }
    let text = match format {
        DocumentFormat::Pretty => {
            let palette = Palette::for_stream(&io::stdout());
            pretty([&a, &b], &differences, palette)
        }
        DocumentFormat::Json => format!("{:#}\n", json!({ "differences": differences })),
    };
    io::stdout().write_all(text.as_bytes()).context("write to standard output")?;
    Ok(if differences.is_empty() { Outcome::Something } else { Outcome::Nothing })
}
