//! The test suites: what each runs, and its share of CI's time.

use std::env;
use std::time::Duration;

/// A named group of steps with one closing line.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Suite {
    pub(crate) name: &'static str,
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
        /// Whether each test has the machine to itself: those that trace, and count what they see.
        alone: bool,
    },
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
            Step::Check(&[
                "build",
                "--release",
                "-p",
                "tracer-cli",
                "-p",
                "tracer-bench",
            ]),
            Step::Tests {
                selection: &["--package", "xtask", "--test", "reproducible"],
                alone: true,
            },
        ],
    },
    Suite {
        name: "unit",
        share: minutes(8),
        steps: &[
            Step::Tests {
                selection: &["--workspace", "--lib", "--bins"],
                alone: false,
            },
            Step::DocumentationTests,
            Step::Xtask(&["eval", "redaction"], &["eval", "redaction"]),
            Step::Xtask(&["fuzz", "--seconds", "4"], &["fuzz", "--seconds", "120"]),
        ],
    },
    Suite {
        name: "host",
        share: minutes(10),
        steps: &[Step::Tests {
            selection: &[
                "--workspace",
                "--exclude",
                "tracer-tests",
                "--exclude",
                "xtask",
                "--test",
                "*",
            ],
            alone: true,
        }],
    },
    Suite {
        name: "runtimes",
        share: minutes(8),
        steps: &[
            Step::Prepare(&["build", "--package", "tracer-cli"]),
            Step::Tests {
                selection: &["--package", "tracer-tests", "--test", "*"],
                alone: true,
            },
        ],
    },
    Suite {
        name: "vm",
        share: minutes(12),
        steps: &[Step::Xtask(
            &["vm", "--kernel", "all"],
            &["vm", "--kernel", "all"],
        )],
    },
    Suite {
        name: "bench",
        share: minutes(4),
        steps: &[Step::Xtask(&["bench", "--quick"], &["bench"])],
    },
];

impl Step {
    /// The words after `cargo`, or after this program's name for [`Step::Xtask`].
    pub(crate) fn arguments(self, nextest: bool, full: bool) -> Vec<&'static str> {
        match self {
            Self::Prepare(arguments) | Self::Check(arguments) => arguments.to_vec(),
            Self::Xtask(short, long) => if full { long } else { short }.to_vec(),
            Self::DocumentationTests => vec!["test", "--workspace", "--doc"],
            Self::Tests { selection, alone } => {
                let (head, tail): (&[_], &[_]) = match (nextest, alone) {
                    (true, true) => (&["nextest", "run"], &["--test-threads", "1"]),
                    (true, false) => (&["nextest", "run"], &[]),
                    (false, true) => (&["test"], &["--", "--show-output", "--test-threads", "1"]),
                    (false, false) => (&["test"], &["--", "--show-output"]),
                };
                // Skips are announced in the output of tests that pass.
                let shown: &[_] = match nextest {
                    true => &[
                        "--no-fail-fast",
                        "--success-output",
                        "final",
                        "--no-tests",
                        "pass",
                    ],
                    false => &["--no-fail-fast"],
                };
                [head, selection, shown, tail].concat()
            }
        }
    }
}

/// Whether skips are failures and shares are limits, as in CI.
pub(crate) fn is_strict() -> bool {
    env::var("CI").is_ok_and(|value| value == "true")
}
