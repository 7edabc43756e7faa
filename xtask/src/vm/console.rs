//! What the guest says on its console, as `tests/vm/init.rs` prints it.

use std::time::Duration;

use super::guest::STUCK_LIMIT;

/// Begins every line that is meant for this program and not for a reader.
const MARK: &str = "TRACER-VM ";

/// One statement of the guest.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Statement {
    /// The guest runs this kernel release.
    Banner(String),
    /// A test begins.
    Start(String),
    /// A test ended.
    Result {
        name: String,
        verdict: Verdict,
        took: Duration,
    },
    /// Every requested test has ended.
    Done,
}

/// How a test ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Verdict {
    Pass,
    Fail,
    Skip,
}

/// Reads one console line; `None` when it is ordinary output or a statement that was garbled.
///
/// The kernel may print in front of the statement on the same line, so the mark is searched for.
pub(crate) fn parse(line: &str) -> Option<Statement> {
    let (_, statement) = line.split_once(MARK)?;
    let words: Vec<_> = statement.split_whitespace().collect();
    match words.as_slice() {
        ["BANNER", release] => Some(Statement::Banner((*release).to_owned())),
        ["START", name] => Some(Statement::Start((*name).to_owned())),
        ["RESULT", name, verdict, milliseconds] => Some(Statement::Result {
            name: (*name).to_owned(),
            verdict: match *verdict {
                "pass" => Verdict::Pass,
                "fail" => Verdict::Fail,
                "skip" => Verdict::Skip,
                _ => return None,
            },
            took: Duration::from_millis(milliseconds.parse().ok()?),
        }),
        ["DONE"] => Some(Statement::Done),
        _ => None,
    }
}

/// Whether the kernel's watchdog says of a processor that it has been stuck for [`STUCK_LIMIT`]. Emulated
/// ones were seen to run for ever into a breakpoint that the kernel had put there while it patched a
/// function, and had taken away again (Linux 6.1, QEMU 7.2).
pub(crate) fn is_stuck(line: &str) -> bool {
    let stuck = line
        .split_once("BUG: soft lockup - CPU#")
        .and_then(|(_, rest)| rest.split_once(" stuck for "))
        .and_then(|(_, rest)| rest.split_once('s'));
    stuck
        .and_then(|(seconds, _)| seconds.parse().ok())
        .is_some_and(|seconds| Duration::from_secs(seconds) >= STUCK_LIMIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_processor_is_stuck_after_a_while() {
        let says = |seconds: u32| {
            format!(
                "[  196.98] watchdog: BUG: soft lockup - CPU#0 stuck for {seconds}s! [files:598]"
            )
        };
        assert!(!is_stuck(&says(52)));
        assert!(is_stuck(&says(78)));
        assert!(!is_stuck("the processor is stuck for 100s"));
    }

    #[test]
    fn a_result_is_read_behind_a_kernel_message_and_with_a_carriage_return() {
        assert_eq!(
            parse("[    2.1] hid: up TRACER-VM RESULT smoke pass 1234\r"),
            Some(Statement::Result {
                name: "smoke".to_owned(),
                verdict: Verdict::Pass,
                took: Duration::from_millis(1234),
            })
        );
    }

    #[test]
    fn a_banner_names_the_kernel() {
        assert_eq!(
            parse("TRACER-VM BANNER 6.1.0-50-cloud-amd64"),
            Some(Statement::Banner("6.1.0-50-cloud-amd64".to_owned()))
        );
    }

    #[test]
    fn garbled_statements_and_ordinary_lines_say_nothing() {
        for line in [
            "",
            "test result: ok",
            "TRACER-VM",
            "TRACER-VM RESULT smoke pass",
            "TRACER-VM RESULT smoke maybe 1",
            "TRACER-VM RESULT smoke pass soon",
            "TRACER-VM DONE twice",
        ] {
            assert_eq!(parse(line), None, "{line}");
        }
    }
}
