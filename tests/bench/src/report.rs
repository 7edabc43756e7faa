//! The result table, and the file that keeps it.

use std::{
    fmt::{self, Display, Formatter},
    fs,
    path::Path,
};

use anyhow::{Context, Result};
use serde::Serialize;

use crate::{
    instructions,
    machine::Machine,
    peer::LeftOut,
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
    /// Comparisons that this machine does not allow, and why.
    pub left_out: Vec<LeftOut>,
    /// How long each group was measured.
    pub took: Vec<Took>,
}

/// How long a group was measured, what it installed and compiled included.
#[derive(Clone, Debug, Serialize)]
pub struct Took {
    /// Group on the command line.
    pub group: &'static str,
    /// What it measures, in a sentence.
    pub about: String,
    /// Seconds.
    pub seconds: u64,
}

impl Report {
    /// Whether a bar was missed; of a quick run, one of those that do not depend on repetitions.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        let counts = |row: &Row| !self.quick || row.group == instructions::GROUP;
        let missed = |row: &Row| row.verdict == Verdict::Fail && counts(row);
        self.rows.iter().any(missed)
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
        writeln!(formatter, "{}\n", self.machine)?;
        let titles = [
            "group",
            "row",
            "median",
            "95 % interval",
            "n",
            "bar",
            "verdict",
            "note",
        ];
        let lines: Vec<[String; 8]> = std::iter::once(titles.map(str::to_owned))
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
        for LeftOut {
            group,
            peer,
            reason,
        } in &self.left_out
        {
            writeln!(formatter, "{group}: not compared with {peer}: {reason}")?;
        }
        let each = self.took.iter();
        let each: Vec<_> = each
            .map(|Took { group, seconds, .. }| format!("{group} {seconds} s"))
            .collect();
        let all: u64 = self.took.iter().map(|took| took.seconds).sum();
        writeln!(formatter, "measured in {all} s: {}", each.join(", "))
    }
}

fn cells(row: &Row) -> [String; 8] {
    let verdict = match row.verdict {
        Verdict::Pass => "PASS",
        Verdict::Fail => "FAIL",
        Verdict::Inconclusive => "INCONCLUSIVE",
        Verdict::Shown => "",
    };
    [
        row.group.to_owned(),
        row.name.clone(),
        format!("{} {}", figure(row.median), row.unit),
        interval_text(row),
        row.values.len().to_string(),
        bar_text(row),
        verdict.to_owned(),
        row.note.clone(),
    ]
}

/// A row's limit, in words; empty if it has none.
#[must_use]
pub fn bar_text(row: &Row) -> String {
    let unit = row.unit;
    match row.bar {
        Bar::AtMost(limit) => format!("≤ {limit} {unit}"),
        Bar::AtLeast(limit) => format!("≥ {limit} {unit}"),
        Bar::IntervalAbove(limit) => format!("interval > {limit} {unit}"),
        Bar::None => String::new(),
    }
}

/// The 95 % interval of a row's median.
#[must_use]
pub fn interval_text(row: &Row) -> String {
    format!(
        "{} … {}",
        figure(row.interval.low),
        figure(row.interval.high)
    )
}

/// A figure with as many decimals as say something.
#[must_use]
pub fn figure(value: f64) -> String {
    match value.abs() {
        large if large >= 1000.0 => format!("{value:.0}"),
        middle if middle >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.3}"),
    }
}
