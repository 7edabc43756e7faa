//! The tests that run in virtual machines; adding one is adding a line to [`TESTS`].

use std::time::Duration;

use super::series::Series;

/// A program of this workspace, by the name that no other has.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Program {
    /// A package's binary.
    Binary(&'static str),
    /// A package's integration test: `tests/NAME.rs`.
    Integration(&'static str),
}

/// Something that a test needs in the guest beside its program.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Needed {
    /// A program of this workspace.
    Built(Program),
    /// A file or folder relative to the workspace.
    Source(&'static str),
    /// This machine's Python with its standard library.
    Python,
    /// What `workload guest` makes: real llama.cpp builds, a model, and small targets.
    Workloads,
    /// This machine's systemd, with the units that any system has.
    Systemd,
}

/// The guest's first process while a test runs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum FirstProcess {
    /// [`INIT`].
    Init,
    /// systemd, which [`INIT`] becomes: tests that want it come after all others.
    Systemd,
}

/// How the test's program has to end.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Expected {
    /// With exit status 0.
    Success,
    /// With another one, after saying each of these.
    Failure(&'static [&'static str]),
}

/// One test and the kernels that it is meant for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Test {
    pub(crate) name: &'static str,
    /// The oldest and the newest series, both included; `None` is no limit.
    pub(crate) kernels: (Option<Series>, Option<Series>),
    pub(crate) first_process: FirstProcess,
    /// Runs where it is named, or with `TRACER_FULL`.
    pub(crate) is_long: bool,
    /// Takes long and differs little from kernel to kernel, so that the commit draws one of its kernels where
    /// several run; all run it where it is named, or with `TRACER_FULL`.
    pub(crate) is_drawn: bool,
    pub(crate) program: Program,
    pub(crate) arguments: &'static [&'static str],
    pub(crate) files: &'static [Needed],
    pub(crate) expected: Expected,
    /// In the guest, which is many times slower than this machine.
    pub(crate) limit: Duration,
}

/// The guest's first process, which is also the first test.
pub(crate) const INIT: Program = Program::Binary("vm-init");
/// What makes the workloads; it runs on this machine.
pub(crate) const WORKLOAD: Program = Program::Binary("workload");
/// What is released.
pub(crate) const TRACER: Program = Program::Binary("tracer");
pub(crate) const COLLECTOR: Program = Program::Binary("tracer-collector");
/// Always built. A selection without any integration test would leave out the features that only tests
/// ask of what they share with programs, and compile all of that once more.
pub(crate) const VERIFIER: Program = Program::Integration("verifier");
/// Real llama.cpp builds, run as the tests on this machine run them, and the tracer beside them.
const TRACED_WORKLOADS: &[Needed] = &[
    Needed::Built(TRACER),
    Needed::Workloads,
    Needed::Source("tests/workloads"),
    Needed::Python,
];

/// Every test, in the order in which a guest runs them.
pub(crate) const TESTS: &[Test] = &[
    Test {
        name: "guest-is-complete",
        arguments: &["--check-guest"],
        ..on_every_kernel(INIT)
    },
    Test {
        name: "doctor-misses-nothing",
        kernels: (Some(Series(6, 12)), None),
        arguments: &["doctor"],
        ..on_every_kernel(TRACER)
    },
    Test {
        name: "doctor-names-what-6.1-lacks",
        kernels: (Some(Series(6, 1)), Some(Series(6, 5))),
        arguments: &["doctor"],
        expected: Expected::Failure(&[
            "missing  sleepable programs",
            "missing  many sites in one link",
            "tracing works here, at the costs named above",
        ]),
        ..on_every_kernel(TRACER)
    },
    Test {
        name: "an-old-kernel-is-refused",
        kernels: (None, Some(Series(5, 14))),
        arguments: &["trace", "--duration", "1s"],
        expected: Expected::Failure(&["kernel 5.10", "needs Linux 5.15 or later"]),
        ..on_every_kernel(TRACER)
    },
    Test {
        name: "the-verifier-has-no-more-work",
        kernels: SUPPORTED,
        // What it counts is printed, so that a new kernel can be added to the snapshot.
        arguments: &["--nocapture", "--test-threads=1"],
        ..on_every_kernel(VERIFIER)
    },
    Test {
        name: "llama-cpp-runs-untraced",
        // Whether guests carry the runtime; what counts calls runs it as well.
        is_drawn: true,
        arguments: &["both_decode_calls_run_the_same_steps_to_the_same_tokens"],
        ..traced_workload("workloads")
    },
    Test {
        name: "llama-cpp-is-counted-exactly",
        is_drawn: true,
        arguments: &["one_process_is_counted_exactly"],
        ..traced_workload("counts")
    },
    Test {
        name: "a-killed-process-is-counted-up-to-its-last-call",
        is_drawn: true,
        arguments: &["a_process_killed_while_it_generates"],
        ..traced_workload("counts")
    },
    Test {
        name: "a-killed-tracer-leaves-no-probe",
        arguments: &["a_killed_tracer_leaves_no_probe_and_the_target_runs_on"],
        ..traced_workload("leaving")
    },
    Test {
        name: "a-stalled-reader-leaks-nothing",
        // Before 6.12 a read never waits for a page, so nobody can be stalled in one.
        kernels: (Some(Series(6, 12)), None),
        arguments: &["a_record_of_a_stalled_reader"],
        ..traced_workload("flood")
    },
    Test {
        name: "a-cgroup-is-traced-with-what-is-below-it",
        is_drawn: true,
        ..traced_workload("cgroups")
    },
    Test {
        name: "a-links-process-filter-means-all-threads",
        // What it found is printed, whatever it is.
        arguments: &["--nocapture", "--test-threads=1"],
        ..traced_workload("filter")
    },
    Test {
        name: "a-runaway-probe-is-switched-off",
        arguments: &["a_runaway_goes_after_a_second_is_told_and_stays_away"],
        ..traced_workload("governor")
    },
    Test {
        name: "who-delays-the-end-is-named",
        // As above: before 6.12 nobody can.
        kernels: (Some(Series(6, 12)), None),
        ..traced_workload("detaching")
    },
    Test {
        name: "exceptions-pass-unharmed",
        ..traced_workload("unwinding")
    },
    Test {
        name: "every-way-to-a-file-is-seen-by-lsm",
        arguments: &["--include-ignored", "--test-threads=1", "lsm::"],
        ..file_cases()
    },
    Test {
        name: "every-way-to-a-file-is-seen-by-fentry",
        arguments: &["--include-ignored", "--test-threads=1", "fentry::"],
        ..file_cases()
    },
    Test {
        name: "every-way-to-a-file-is-seen-by-kprobe",
        is_drawn: true,
        arguments: &["--include-ignored", "--test-threads=1", "kprobe::"],
        ..file_cases()
    },
    Test {
        name: "every-way-to-a-file-is-seen-by-tracepoint",
        is_drawn: true,
        arguments: &["--include-ignored", "--test-threads=1", "tracepoint::"],
        ..file_cases()
    },
    Test {
        name: "what-an-open-costs-is-counted",
        is_drawn: true,
        // The figures are printed.
        arguments: &["--include-ignored", "--nocapture"],
        ..traced_workload("open_cost")
    },
    Test {
        name: "what-lies-below-a-file-system-is-told",
        is_drawn: true,
        arguments: &["--include-ignored", "--test-threads=1"],
        ..traced_workload("devices")
    },
    Test {
        name: "an-unverified-file-is-refused",
        is_drawn: true,
        arguments: &["--include-ignored", "--test-threads=1"],
        ..traced_workload("enforcement")
    },
    Test {
        name: "a-kernel-that-lacks-something-is-told",
        arguments: &["--include-ignored", "--test-threads=1", "d37_a_"],
        ..file_cases()
    },
    // The last one but the units: once function tracing was off, a kernel may refuse to attach programs
    // to functions.
    Test {
        name: "tiers-without-their-means-are-passed-over",
        // 7.3 does not let it be switched off.
        kernels: (Some(Series(6, 1)), Some(Series(6, 12))),
        arguments: &[
            "--include-ignored",
            "--test-threads=1",
            "--nocapture",
            "d37_tiers_",
        ],
        ..file_cases()
    },
    // It attaches to no kernel function.
    Test {
        name: "the-units-run-under-systemd",
        kernels: (Some(Series(6, 12)), Some(Series(6, 12))),
        first_process: FirstProcess::Systemd,
        is_long: true,
        arguments: &["--include-ignored", "--test-threads=1", "--nocapture"],
        files: &[
            Needed::Built(TRACER),
            Needed::Built(COLLECTOR),
            Needed::Workloads,
            Needed::Source("tests/workloads"),
            Needed::Source("packaging/systemd"),
            Needed::Python,
            Needed::Systemd,
        ],
        limit: Duration::from_secs(900),
        ..traced_workload("units")
    },
];

/// What 5.15 and older lack, the tracer does not do without.
const SUPPORTED: (Option<Series>, Option<Series>) = (Some(Series(6, 1)), None);

/// A test without arguments or files, to be completed.
const fn on_every_kernel(program: Program) -> Test {
    Test {
        name: "",
        kernels: (None, None),
        first_process: FirstProcess::Init,
        is_long: false,
        is_drawn: false,
        program,
        arguments: &[],
        files: &[],
        expected: Expected::Success,
        limit: Duration::from_secs(180),
    }
}

/// An end-to-end test of `tests/tests`, on kernels that the tracer supports.
const fn traced_workload(name: &'static str) -> Test {
    Test {
        kernels: SUPPORTED,
        files: TRACED_WORKLOADS,
        ..on_every_kernel(Program::Integration(name))
    }
}

/// The cases of `tests/tests/files/`, which share one tracer a tier.
const fn file_cases() -> Test {
    Test {
        limit: Duration::from_secs(240),
        ..traced_workload("files")
    }
}

impl Test {
    /// Whether this test is meant for kernels of `series`.
    pub(crate) fn runs_on(&self, series: Series) -> bool {
        let (oldest, newest) = self.kernels;
        oldest.is_none_or(|oldest| oldest <= series) && newest.is_none_or(|newest| series <= newest)
    }

    /// This test for a single one of those among `series` that it is meant for: the one at the place `draw`,
    /// counted around.
    pub(crate) fn drawn(self, series: &[Series], draw: usize) -> Self {
        let meant: Vec<_> = series.iter().filter(|one| self.runs_on(**one)).collect();
        match meant.len() {
            0 => self,
            count => {
                let only = Some(*meant[draw % count]);
                Self {
                    kernels: (only, only),
                    ..self
                }
            }
        }
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
    fn the_first_process_changes_once() {
        assert!(TESTS.is_sorted_by_key(|test| test.first_process == FirstProcess::Systemd));
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

    #[test]
    fn a_drawn_test_comes_to_each_of_its_kernels_in_turn() {
        let series = [Series(5, 10), Series(6, 1), Series(6, 12), Series(7, 3)];
        let test = Test {
            kernels: SUPPORTED,
            ..TESTS[0]
        };
        let drawn = |draw| -> Vec<_> {
            let test = test.drawn(&series, draw);
            series.iter().filter(|one| test.runs_on(**one)).collect()
        };
        assert_eq!(drawn(0), [&Series(6, 1)]);
        assert_eq!(drawn(1), [&Series(6, 12)]);
        assert_eq!(drawn(2), [&Series(7, 3)]);
        assert_eq!(drawn(3), [&Series(6, 1)]);
        // Not among those of this run: it has none to be drawn.
        assert_eq!(test.drawn(&series[..1], 1).kernels, SUPPORTED);
    }
}
