//! `tracer doctor`: what this kernel and host allow, what is missing, what that costs, and what to
//! do about it.

mod files;
mod finding;

use std::{
    io::{self, Write},
    time::Duration,
};

use anyhow::{Context, Result};
use serde::Serialize;
use tracer_probe::features::{Features, measured_costs};

use self::{
    files::Files,
    finding::{Finding, State, findings},
};
use crate::{
    arguments::typed::DocumentFormat,
    outcome::Outcome,
    text::{Palette, Table, Tone, printable, short_duration},
};

/// What `doctor` found, in the words of its JSON.
#[derive(Debug, Serialize)]
struct Report {
    /// Kernel release.
    kernel: String,
    /// What all findings together mean.
    verdict: Verdict,
    /// Why nothing can be traced, and what to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    obstacle: Option<String>,
    /// What a hit of a probed instruction costs here, in nanoseconds, where it could be measured.
    site_cost_ns: SiteCosts,
    /// Feature by feature.
    findings: Vec<Finding>,
    /// How model files are watched here, where anything works at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    files: Option<Files>,
}

#[derive(Debug, Serialize)]
struct SiteCosts {
    emulated: Option<u64>,
    single_stepped: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    /// Everything works.
    Full,
    /// Tracing works, with the costs that the findings name.
    Degraded,
    /// Nothing can be traced.
    Unusable,
}

/// Reports. Degraded and unusable both count as nothing found, exit status 1.
///
/// # Errors
/// If standard output cannot be written.
pub(crate) fn run(format: DocumentFormat) -> Result<Outcome> {
    let report = examine();
    let text = match format {
        DocumentFormat::Pretty => pretty(&report, Palette::for_stream(&io::stdout())),
        DocumentFormat::Json => format!("{}\n", serde_json::to_string_pretty(&report)?),
    };
    io::stdout()
        .write_all(text.as_bytes())
        .context("write to standard output")?;
    Ok(match report.verdict {
        Verdict::Full => Outcome::Something,
        Verdict::Degraded | Verdict::Unusable => Outcome::Nothing,
    })
}

fn examine() -> Report {
    let features = Features::detect();
    let obstacle = features.host.obstacle();
    let findings = findings(&features);
    let is_missing = |finding: &&Finding| finding.state == State::Missing;
    let verdict = if obstacle.is_some() || findings.iter().filter(is_missing).any(|f| f.needed) {
        Verdict::Unusable
    } else if findings.iter().any(|finding| is_missing(&finding)) {
        Verdict::Degraded
    } else {
        Verdict::Full
    };
    let costs = measured_costs().ok();
    let files = obstacle.is_none().then(Files::examine);
    let nanoseconds = |cost: Duration| u64::try_from(cost.as_nanos()).ok();
    Report {
        kernel: features.host.kernel,
        verdict,
        obstacle: obstacle.map(|obstacle| obstacle.to_string()),
        site_cost_ns: SiteCosts {
            emulated: costs.and_then(|costs| nanoseconds(costs.emulated)),
            single_stepped: costs.and_then(|costs| nanoseconds(costs.stepped)),
        },
        findings,
        files,
    }
}

fn pretty(report: &Report, palette: Palette) -> String {
    let Report {
        kernel,
        verdict,
        obstacle,
        site_cost_ns,
        findings,
        files,
    } = report;
    let mut text = palette.paint(Tone::Strong, &format!("kernel {}", printable(kernel)));
    text.push_str("\n\n");
    let mut table = Table::default();
    for finding in findings {
        let (tone, word) = match (finding.state, finding.needed) {
            (State::Works, _) => (Tone::Good, "ok"),
            (State::Missing, true) => (Tone::Bad, "missing"),
            (State::Missing, false) => (Tone::Warning, "missing"),
            (State::Untried, _) => (Tone::Faint, "untried"),
        };
        let what = match &finding.reason {
            Some(reason) => format!("{} ({reason})", finding.what),
            None => finding.what.to_owned(),
        };
        table.row([
            (tone, format!("  {word}")),
            (Tone::Plain, finding.name.to_owned()),
            (Tone::Faint, what),
        ]);
    }
    text.push_str(&table.render(palette));
    for finding in findings
        .iter()
        .filter(|finding| finding.state == State::Missing)
    {
        text.push_str(&format!(
            "\n{}: {}\n  {}\n",
            palette.paint(Tone::Strong, finding.name),
            finding.cost,
            finding.remedy
        ));
    }
    if let (Some(emulated), Some(stepped)) = (site_cost_ns.emulated, site_cost_ns.single_stepped) {
        text.push_str(&format!(
            "\na probed instruction costs {} a hit where the kernel emulates it, {} where it \
             single-steps it\n",
            short_duration(Duration::from_nanos(emulated)),
            short_duration(Duration::from_nanos(stepped)),
        ));
    }
    if let Some(files) = files {
        text.push_str(&files.pretty(palette));
    }
    let (tone, sentence) = match (verdict, obstacle) {
        (Verdict::Full, _) => (
            Tone::Good,
            "tracing works here, with everything it can use".to_owned(),
        ),
        (Verdict::Degraded, _) => (
            Tone::Warning,
            "tracing works here, at the costs named above".to_owned(),
        ),
        (Verdict::Unusable, Some(obstacle)) => {
            (Tone::Bad, format!("tracing does not work here: {obstacle}"))
        }
        (Verdict::Unusable, None) => (
            Tone::Bad,
            "tracing does not work here: something that it needs is missing".to_owned(),
        ),
    };
    text.push_str(&format!("\n{}\n", palette.paint(tone, &sentence)));
    text
}
