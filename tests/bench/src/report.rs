//! The result table, and the file that keeps it.

use std::{
    fmt::{self, Display, Formatter},
    fs,
    path::Path,
};

use anyhow::{Context, Result};
use serde::Serialize;

use crate::{
    machine::Machine,
    row::{Bar, Row, Verdict},
};

/// What one run found.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Where and when.
    pub machine: Machine,
    /// Few repetitions: the verdicts are shown, and prove little.
    pub quick: bool,
    /// The figures.
    pub rows: Vec<Row>,
}

impl Report {
    /// Whether a bar was missed.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.rows.iter().any(|row| row.verdict == Verdict::Fail)
    }

    /// Writes all of it as JSON.
    ///
    /// # Errors
    /// If the file or its folder cannot be written.
    pub fn write(&self, file: &Path) -> Result<()> {
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder)
                .with_context(|| format!("cannot make the folder {}", folder.display()))?;
        }
        let text = serde_json::to_string_pretty(self)? + "\n";
        fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
    }
}

impl Display for Report {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        let Machine {
            processor,
            cpus,
            kernel,
            tracer,
            commit,
            rustc,
            date,
            load,
        } = &self.machine;
        writeln!(
            formatter,
            "{date}, {processor}, {cpus} CPUs, load {load}, Linux {kernel}, tracer {tracer} \
             ({commit}), {rustc}\n"
        )?;
        let titles = [
            "group",
            "row",
            "median",
            "95 % interval",
            "bar",
            "verdict",
            "note",
        ];
        let lines: Vec<[String; 7]> = std::iter::once(titles.map(str::to_owned))
            .chain(self.rows.iter().map(cells))
            .collect();
        let widths: Vec<usize> = (0..titles.len())
            .map(|column| lines.iter().map(|line| line[column].chars().count()).max())
            .map(Option::unwrap_or_default)
            .collect();
        for line in &lines {
            let padded: Vec<String> = std::iter::zip(line, &widths)
                .map(|(cell, width)| format!("{cell:width$}"))
                .collect();
            writeln!(formatter, "{}", padded.join("  ").trim_end())?;
        }
        Ok(())
    }
}

fn cells(row: &Row) -> [String; 7] {
    let unit = row.unit;
    let bar = match row.bar {
        Bar::AtMost(limit) => format!("≤ {limit} {unit}"),
        Bar::AtLeast(limit) => format!("≥ {limit} {unit}"),
        Bar::IntervalAbove(limit) => format!("interval > {limit} {unit}"),
        Bar::None => String::new(),
    };
    let verdict = match row.verdict {
        Verdict::Pass => "PASS",
        Verdict::Fail => "FAIL",
        Verdict::Inconclusive => "INCONCLUSIVE",
        Verdict::Shown => "",
    };
    [
        row.group.to_owned(),
        row.name.clone(),
        format!("{:.4} {unit}", row.median),
        format!("{:.4} … {:.4}", row.interval.low, row.interval.high),
        bar,
        verdict.to_owned(),
        row.note.clone(),
    ]
}
