//! Counting tests from what test runners print.

use std::fmt;
use std::ops::AddAssign;

/// How cargo test and cargo-nextest begin their closing lines.
const RESULT: &str = "test result: ";
const SUMMARY: &str = "Summary [";

/// How many tests ended how.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Totals {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    pub(crate) skipped: usize,
}

impl AddAssign for Totals {
    fn add_assign(&mut self, other: Self) {
        let Self {
            passed,
            failed,
            skipped,
        } = other;
        self.passed += passed;
        self.failed += failed;
        self.skipped += skipped;
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            passed,
            failed,
            skipped,
        } = self;
        write!(
            formatter,
            "{passed} passed, {failed} failed, {skipped} skipped"
        )
    }
}

/// Adds up the closing lines of cargo test, cargo-nextest and this program's own steps.
///
/// A test that skips itself passes as far as the runner knows and prints `skipped NAME: REASON`;
/// such a line moves one from passed to skipped.
pub(crate) fn count(output: &str) -> Totals {
    let mut totals = Totals::default();
    let mut announced = 0;
    // Under nextest every test is a run of its own, and what it prints has a result line too.
    let is_nextest = output.lines().any(|line| line.trim().starts_with(SUMMARY));
    for line in output.lines().map(str::trim) {
        if is_nextest && line.starts_with(RESULT) {
            continue;
        }
        if let Some(counted) = closing_line(line) {
            totals += counted;
        } else if is_announced_skip(line) {
            announced += 1;
        }
    }
    let moved = totals.passed.min(announced);
    totals.passed -= moved;
    totals.skipped += moved;
    totals
}

/// What a step of this program says of its tests in its last closing line. The lines of what it
/// runs itself, which it shows where that fails, count no second time.
pub(crate) fn count_own(output: &str) -> Totals {
    let own = output.lines().rev().map(str::trim);
    own.filter_map(own_counts)
        .find_map(|counts| read_counts(counts, true))
        .unwrap_or_default()
}

/// The lines by which tests say that they skipped themselves.
pub(crate) fn announced_skips(output: &str) -> impl Iterator<Item = &str> {
    output
        .lines()
        .map(str::trim)
        .filter(|line| is_announced_skip(line))
}

fn is_announced_skip(line: &str) -> bool {
    line.strip_prefix("skipped ")
        .and_then(|rest| rest.split_once(": "))
        .is_some_and(|(name, _)| !name.contains(' '))
}

fn closing_line(line: &str) -> Option<Totals> {
    let cargo = line.strip_prefix(RESULT).map(|rest| (rest, true));
    let nextest = line
        .strip_prefix(SUMMARY)
        .and_then(|rest| rest.split_once("run: "))
        .map(|(_, rest)| (rest, false));
    let own = own_counts(line).map(|rest| (rest, true));
    let (counts, counts_skips) = cargo.or(nextest).or(own)?;
    read_counts(counts, counts_skips)
}

/// The counts of a closing line of this program's own steps.
fn own_counts(line: &str) -> Option<&str> {
    line.split_once(": ")
        .filter(|(name, rest)| !name.contains(' ') && rest.ends_with(" skipped"))
        .map(|(_, rest)| rest)
}

/// `counts_skips` is whether what the runner calls skipped was meant to run.
fn read_counts(counts: &str, counts_skips: bool) -> Option<Totals> {
    let number_before = |word: &str| {
        let mut words = counts
            .split([' ', ',', ';', '.', '(', ')'])
            .filter(|w| !w.is_empty());
        let mut previous = words.next()?;
        for next in words {
            if next == word {
                return previous.parse().ok();
            }
            previous = next;
        }
        None
    };
    let count = |word: &str| number_before(word).unwrap_or(0);
    Some(Totals {
        passed: number_before("passed")?,
        failed: count("failed") + if counts_skips { 0 } else { count("timed") },
        // nextest calls the tests that a filter left out `skipped`.
        skipped: if counts_skips {
            count("ignored") + count("skipped")
        } else {
            0
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn totals(passed: usize, failed: usize, skipped: usize) -> Totals {
        Totals {
            passed,
            failed,
            skipped,
        }
    }

    #[test]
    fn several_result_lines_of_cargo_test_are_added() {
        let output = "test result: ok. 26 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out\n\
                      test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 4 filtered out";
        assert_eq!(count(output), totals(29, 2, 1));
    }

    #[test]
    fn the_summary_of_nextest_is_read_with_and_without_failures() {
        let good = "     Summary [   0.040s] 26 tests run: 26 passed, 3 skipped";
        assert_eq!(count(good), totals(26, 0, 0));
        let bad = "     Summary [   1.0s] 9/10 tests run: 6 passed (1 slow), 2 failed, 1 timed out, 0 skipped";
        assert_eq!(count(bad), totals(6, 3, 0));
    }

    #[test]
    fn result_lines_of_single_tests_under_nextest_are_not_counted_again() {
        let output = "        PASS [   0.019s] (1/1) xtask::bin/xtask one\n  stdout\n    \
                      test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 30 filtered out\n\
                      \x20    Summary [   0.019s] 1 test run: 1 passed, 0 skipped";
        assert_eq!(count(output), totals(1, 0, 0));
    }

    #[test]
    fn a_test_that_skipped_itself_is_not_counted_as_passed() {
        let output = "    skipped attaches_to_a_process: needs root\n\
                      test result: ok. 5 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out";
        assert_eq!(count(output), totals(4, 0, 1));
        assert_eq!(announced_skips(output).count(), 1);
    }

    #[test]
    fn the_closing_line_of_an_own_step_is_read() {
        assert_eq!(count("vm: 4 passed, 1 failed, 2 skipped"), totals(4, 1, 2));
    }

    #[test]
    fn what_an_own_step_shows_of_a_failed_test_is_not_counted_again() {
        let output = "one FAILED\n    test result: FAILED. 0 passed; 1 failed; 0 ignored\n\
                      vm: 4 passed, 1 failed, 0 skipped";
        assert_eq!(count_own(output), totals(4, 1, 0));
        assert_eq!(count_own("built"), totals(0, 0, 0));
    }

    #[test]
    fn ordinary_lines_count_nothing() {
        assert_eq!(
            count("warning: 2 passed the gate\nskipped a beat: or two"),
            totals(0, 0, 0)
        );
    }
}
