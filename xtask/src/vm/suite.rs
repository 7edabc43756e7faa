//! The tests that run in virtual machines; adding one is adding a line to [`TESTS`].

use std::time::Duration;

use super::series::Series;

/// What a test runs.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Program {
    /// A binary of a workspace package.
    Binary {
        package: &'static str,
        name: &'static str,
    },
    /// An integration test of a workspace package: `tests/NAME.rs`.
    #[expect(dead_code, reason = "the probe crate's tests are not listed yet")]
    Integration {
        package: &'static str,
        name: &'static str,
    },
}

/// A file that a test needs in the guest.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Needed {
    /// Relative to cargo's build folder.
    #[expect(dead_code, reason = "no listed test loads the BPF object yet")]
    Built(&'static str),
    /// Relative to the cache folder.
    #[expect(dead_code, reason = "no listed test runs a real runtime yet")]
    Cached(&'static str),
}

/// One test and the kernels that it is meant for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Test {
    pub(crate) name: &'static str,
    /// The oldest and the newest series, both included; `None` is no limit.
    pub(crate) kernels: (Option<Series>, Option<Series>),
    pub(crate) program: Program,
    pub(crate) arguments: &'static [&'static str],
    pub(crate) files: &'static [Needed],
    /// In the guest, which is many times slower than this machine.
    pub(crate) limit: Duration,
}

/// Every test, in the order in which a guest runs them.
pub(crate) const TESTS: &[Test] = &[Test {
    name: "guest-is-complete",
    kernels: (None, None),
    program: Program::Binary {
        package: "tracer-tests",
        name: "vm-init",
    },
    arguments: &["--check-guest"],
    files: &[],
    limit: Duration::from_secs(30),
}];

impl Test {
    /// Whether this test is meant for kernels of `series`.
    pub(crate) fn runs_on(&self, series: Series) -> bool {
        let (oldest, newest) = self.kernels;
        oldest.is_none_or(|oldest| oldest <= series) && newest.is_none_or(|newest| series <= newest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_single_words_and_unique() {
        for (position, test) in TESTS.iter().enumerate() {
            assert!(!test.name.contains([' ', ',', '\t']), "{}", test.name);
            assert!(
                TESTS[..position]
                    .iter()
                    .all(|other| other.name != test.name)
            );
        }
    }

    #[test]
    fn both_ends_of_the_range_are_included() {
        let test = Test {
            kernels: (Some(Series(6, 1)), Some(Series(6, 12))),
            ..TESTS[0]
        };
        assert!(!test.runs_on(Series(5, 10)));
        assert!(test.runs_on(Series(6, 1)));
        assert!(test.runs_on(Series(6, 12)));
        assert!(!test.runs_on(Series(7, 3)));
    }
}
