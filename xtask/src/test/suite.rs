//! The test suites: what each runs, and its share of CI's time.

use std::env;
use std::time::Duration;

/// A named group of steps with one closing line.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Suite {
    pub(crate) name: &'static str,
    /// Whether it runs under `--full` and where it is named, and not in CI.
    pub(crate) is_long: bool,
    /// What CI grants it.
    pub(crate) share: Duration,
    pub(crate) steps: &'static [Step],
}

/// One command of a suite.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    /// `cargo ARGUMENTS`, without which the next steps cannot run; counted only when it fails.
    Prepare(&'static [&'static str]),
    /// `cargo ARGUMENTS`, which passes or fails as a whole.
    Check(&'static [&'static str]),
    /// The tests that these arguments select, with cargo-nextest where it is installed.
    Tests {
        selection: &'static [&'static str],
        /// What chooses the same among the integration tests of the whole workspace, in the words of
        /// cargo-nextest's filters. The build suite has compiled those; a selection of packages would
        /// compile what they depend on once more, with fewer features.
        filter: Option<&'static str>,
        /// Whether each test has the machine to itself: those that trace, and count what they see.
        alone: bool,
    },
    /// As [`Step::Tests`] with the machine to themselves: those that are marked as ignored because
    /// they take many minutes.
    LongTests(&'static [&'static str]),
    /// The examples in the documentation, among them those that must not compile.
    DocumentationTests,
    /// Another step of this program; the second list is for `--full`.
    Xtask(&'static [&'static str], &'static [&'static str]),
}

const fn minutes(count: u64) -> Duration {
    Duration::from_secs(count * 60)
}

/// Every suite, in the order in which they run: what fails fastest comes first.
pub(crate) const SUITES: &[Suite] = &[
    Suite {
        name: "build",
        is_long: false,
        share: minutes(12),
        steps: &[
            Step::Xtask(&["build-ebpf"], &["build-ebpf"]),
            Step::Check(&["fmt", "--all", "--check"]),
            Step::Check(&["build", "--workspace", "--all-targets"]),
            Step::Check(&[
                "clippy",
                "--workspace",
                "--all-targets",
                "--",
                "-D",
                "warnings",
            ]),
            Step::Check(&["doc", "--workspace", "--no-deps"]),
        ],
    },
    Suite {
        name: "unit",
        is_long: false,
        share: minutes(8),
        steps: &[
            Step::Tests {
                selection: &["--workspace", "--lib", "--bins"],
                filter: None,
                alone: false,
            },
            Step::DocumentationTests,
            Step::Xtask(&["eval", "redaction"], &["eval", "redaction"]),
            Step::Tests {
                selection: &["--package", "xtask", "--test", "reproducible"],
                filter: Some("binary(reproducible)"),
                alone: true,
            },
        ],
    },
    Suite {
        name: "host",
        is_long: false,
        share: minutes(10),
        steps: &[
            Step::Tests {
                selection: &[
                    "--workspace",
                    "--exclude",
                    "tracer-tests",
                    "--exclude",
                    "xtask",
                    "--test",
                    "*",
                ],
                filter: Some("not (package(tracer-tests) or package(xtask))"),
                alone: true,
            },
            // Here for the minutes that compiling with instrumentation takes, which the other suites lack.
            Step::Xtask(&["fuzz", "--seconds", "4"], &["fuzz", "--seconds", "120"]),
        ],
    },
    Suite {
        name: "runtimes",
        is_long: false,
        share: minutes(8),
        steps: &[
            Step::Prepare(&["build", "--workspace", "--all-targets"]),
            Step::Tests {
                selection: &["--package", "tracer-tests", "--test", "*"],
                filter: Some("package(tracer-tests) and not binary(durability)"),
                alone: true,
            },
        ],
    },
    Suite {
        name: "durability",
        is_long: false,
        share: minutes(6),
        steps: &[
            Step::Prepare(&["build", "--workspace", "--all-targets"]),
            Step::Tests {
                selection: &["--package", "tracer-tests", "--test", "durability"],
                filter: Some("binary(durability)"),
                alone: true,
            },
        ],
    },
    Suite {
        name: "vm",
        is_long: false,
        share: minutes(12),
        steps: &[Step::Xtask(
            &["vm", "--kernel", "all"],
            &["vm", "--kernel", "all"],
        )],
    },
    Suite {
        name: "release",
        is_long: true,
        share: minutes(30),
        steps: &[Step::LongTests(&[
            "--package",
            "tracer-tests",
            "--test",
            "release",
        ])],
    },
    Suite {
        name: "bench",
        is_long: false,
        share: minutes(4),
        steps: &[Step::Xtask(&["bench", "--smoke"], &["bench"])],
    },
];

impl Step {
    /// The words after `cargo`, or after this program's name for [`Step::Xtask`].
    pub(crate) fn arguments(self, nextest: bool, full: bool) -> Vec<&'static str> {
        match self {
            Self::Prepare(arguments) | Self::Check(arguments) => arguments.to_vec(),
            Self::Xtask(short, long) => if full { long } else { short }.to_vec(),
            Self::DocumentationTests => vec!["test", "--workspace", "--doc"],
            Self::Tests {
                selection,
                filter,
                alone,
            } => {
                let tail: &[_] = match alone {
                    true => &["--test-threads", "1"],
                    false => &[],
                };
                match filter {
                    Some(filter) if nextest => {
                        let selection = ["--workspace", "--test", "*", "--filterset", filter];
                        tests(nextest, &selection, tail)
                    }
                    Some(_) | None => tests(nextest, selection, tail),
                }
            }
            Self::LongTests(selection) => {
                let only: &[_] = match nextest {
                    true => &["--run-ignored", "only", "--test-threads", "1"],
                    false => &["--ignored", "--test-threads", "1"],
                };
                tests(nextest, selection, only)
            }
        }
    }
}

/// Arguments of cargo that run the selected tests, with `tail` for the runner.
fn tests(nextest: bool, selection: &[&'static str], tail: &[&'static str]) -> Vec<&'static str> {
    // Skips are announced in the output of tests that pass.
    let (head, shown): (&[_], &[_]) = match nextest {
        true => (
            &["nextest", "run"],
            &[
                "--no-fail-fast",
                "--success-output",
                "final",
                "--no-tests",
                "pass",
            ],
        ),
        false => (&["test"], &["--no-fail-fast", "--", "--show-output"]),
    };
    [head, selection, shown, tail].concat()
}

/// Whether skips are failures and shares are limits, as in CI.
pub(crate) fn is_strict() -> bool {
    env::var("CI").is_ok_and(|value| value == "true")
}
