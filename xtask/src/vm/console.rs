//! What the guest says on its console, as `tests/vm/init.rs` prints it.

use std::time::Duration;

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

#[cfg(test)]
mod tests {
    use super::*;

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
