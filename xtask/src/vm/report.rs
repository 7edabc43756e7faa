//! Results for people and for CI.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result};

use super::console::Verdict;
use super::guest::{Outcome, Run};
use super::series::Series;

/// One series' run, or why there was none.
pub(crate) struct SeriesReport {
    pub(crate) series: Series,
    pub(crate) run: Result<Run>,
    /// Where its console is kept.
    pub(crate) console: String,
}

/// How many tests ended how.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Totals {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    pub(crate) skipped: usize,
    /// Series of which no test could run.
    pub(crate) not_run: usize,
}

/// Counts the verdicts of all series.
pub(crate) fn totals(reports: &[SeriesReport]) -> Totals {
    let mut totals = Totals::default();
    for report in reports {
        match &report.run {
            Ok(run) if run.release.is_some() => {
                for outcome in &run.outcomes {
                    match outcome.verdict {
                        Verdict::Pass => totals.passed += 1,
                        Verdict::Fail => totals.failed += 1,
                        Verdict::Skip => totals.skipped += 1,
                    }
                }
            }
            Ok(_) | Err(_) => totals.not_run += 1,
        }
    }
    totals
}

/// Prints one result, with the output of a test that failed.
pub(crate) fn print(series: Series, release: &str, outcome: &Outcome) {
    let verdict = word(outcome.verdict);
    let seconds = outcome.took.as_secs_f64();
    let output = match outcome.verdict {
        Verdict::Fail => indent(&outcome.output),
        Verdict::Pass | Verdict::Skip => String::new(),
    };
    // In one piece: another guest's results are printed meanwhile.
    print!(
        "vm: {series} ({release}): {} {verdict} ({seconds:.1} s)\n{output}",
        outcome.name
    );
}

/// Prints why no test of a series could run, if none could.
pub(crate) fn print_unless_run(report: &SeriesReport) {
    let series = report.series;
    match &report.run {
        Ok(run) if run.release.is_some() => {}
        Ok(_) => println!(
            "vm: {series}: could not run: no boot printed its banner; see {}",
            report.console
        ),
        Err(error) => println!("vm: {series}: could not run: {error:#}"),
    }
}

/// Writes all results as JUnit XML, one suite a series.
pub(crate) fn write_junit(path: &Path, reports: &[SeriesReport]) -> Result<()> {
    std::fs::write(path, junit(reports)).with_context(|| format!("writing {}", path.display()))
}

fn junit(reports: &[SeriesReport]) -> String {
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n");
    for report in reports {
        let suite = format!("vm.{}", report.series);
        let none = Vec::new();
        let (outcomes, error) = match &report.run {
            Ok(run) if run.release.is_some() => (&run.outcomes, None),
            Ok(_) => (&none, Some("no boot printed its banner".to_owned())),
            Err(error) => (&none, Some(format!("{error:#}"))),
        };
        let count = |verdict| outcomes.iter().filter(|o| o.verdict == verdict).count();
        // Writing to a String cannot fail.
        let _ = writeln!(
            xml,
            "  <testsuite name=\"{suite}\" tests=\"{}\" failures=\"{}\" skipped=\"{}\" errors=\"{}\">",
            outcomes.len() + usize::from(error.is_some()),
            count(Verdict::Fail),
            count(Verdict::Skip),
            usize::from(error.is_some()),
        );
        for outcome in outcomes {
            xml.push_str(&test_case(&suite, outcome));
        }
        if let Some(error) = error {
            let _ = writeln!(
                xml,
                "    <testcase classname=\"{suite}\" name=\"boot\"><error>{}</error></testcase>",
                escape(&error)
            );
        }
        xml.push_str("  </testsuite>\n");
    }
    xml.push_str("</testsuites>\n");
    xml
}

fn test_case(suite: &str, outcome: &Outcome) -> String {
    let body = match outcome.verdict {
        Verdict::Pass => String::new(),
        Verdict::Fail => format!("<failure>{}</failure>", escape(&outcome.output)),
        Verdict::Skip => "<skipped/>".to_owned(),
    };
    format!(
        "    <testcase classname=\"{suite}\" name=\"{}\" time=\"{:.3}\">{body}</testcase>\n",
        escape(&outcome.name),
        outcome.took.as_secs_f64()
    )
}

/// Text as XML wants it; control characters, which it cannot hold at all, become spaces.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' | '\t' => escaped.push(character),
            control if control.is_control() => escaped.push(' '),
            other => escaped.push(other),
        }
    }
    escaped
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "passed",
        Verdict::Fail => "FAILED",
        Verdict::Skip => "skipped",
    }
}

/// Output of a guest as part of a report.
pub(crate) fn indent(text: &str) -> String {
    text.lines().map(|line| format!("    {line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn reports() -> Vec<SeriesReport> {
        let outcome = |name: &str, verdict, output: &str| Outcome {
            name: name.to_owned(),
            verdict,
            took: Duration::from_millis(1500),
            output: output.to_owned(),
        };
        vec![
            SeriesReport {
                series: Series(6, 1),
                run: Ok(Run {
                    release: Some("6.1.0".to_owned()),
                    outcomes: vec![
                        outcome("good", Verdict::Pass, ""),
                        outcome("bad", Verdict::Fail, "1 < 2 \u{1b}[0m"),
                    ],
                }),
                console: String::new(),
            },
            SeriesReport {
                series: Series(7, 3),
                run: Ok(Run::default()),
                console: String::new(),
            },
        ]
    }

    #[test]
    fn a_series_that_never_booted_counts_as_not_run_and_not_as_passed() {
        let expected = Totals {
            passed: 1,
            failed: 1,
            skipped: 0,
            not_run: 1,
        };
        assert_eq!(totals(&reports()), expected);
    }

    #[test]
    fn junit_escapes_what_the_guest_printed_and_names_the_series_that_did_not_boot() {
        let xml = junit(&reports());
        assert!(xml.contains("<failure>1 &lt; 2  [0m</failure>"), "{xml}");
        assert!(
            xml.contains("classname=\"vm.7.3\" name=\"boot\"><error>"),
            "{xml}"
        );
        assert!(
            xml.contains("name=\"good\" time=\"1.500\"></testcase>"),
            "{xml}"
        );
    }
}
