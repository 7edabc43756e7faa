//! Errors as people read them: what was tried and what happened on the first line, what to do on
//! the next.

use std::{
    fmt,
    io::{self, Write},
};

use crate::text::printable;

/// An error with its remedy.
#[derive(Debug)]
pub(crate) struct Trouble {
    /// What was attempted, on what, and what happened.
    pub(crate) what: String,
    /// What to do.
    pub(crate) remedy: String,
}

impl Trouble {
    pub(crate) fn new(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            remedy: remedy.into(),
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for Trouble {}

/// Whether the chain ends in a closed pipe: the reader has seen enough, which is no error.
pub(crate) fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause
            .downcast_ref::<io::Error>()
            .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    })
}

/// Makes a panic say where it happened and nothing else: its message may quote what was captured.
pub(crate) fn hush_panics() {
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map_or_else(
            || "an unknown place".to_owned(),
            |place| format!("{}:{}", place.file(), place.line()),
        );
        let _ = writeln!(
            io::stderr(),
            "tracer: internal error at {place}; its message is not shown, as it may quote what was \
             captured"
        );
    }));
}

/// The text for standard error.
pub(crate) fn describe(error: &anyhow::Error) -> String {
    let mut text = format!("tracer: {}", indented(&format!("{error:#}")));
    for cause in error.chain() {
        if let Some(trouble) = cause.downcast_ref::<Trouble>() {
            text.push_str("\n  ");
            text.push_str(&indented(&trouble.remedy));
        }
    }
    text
}

/// Further lines of a message stand under its first; what comes from elsewhere cannot steer the
/// terminal.
fn indented(text: &str) -> String {
    text.lines().map(printable).collect::<Vec<_>>().join("\n  ")
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn the_remedy_stands_under_the_error() {
        let trouble = Trouble::new("cannot trace process 7: it is 32-bit", "trace a 64-bit one");
        let error = Err::<(), _>(trouble)
            .context("--pid")
            .expect_err("it is an error");
        assert_eq!(
            describe(&error),
            "tracer: --pid: cannot trace process 7: it is 32-bit\n  trace a 64-bit one"
        );
    }

    #[test]
    fn a_message_cannot_steer_the_terminal() {
        assert_eq!(
            describe(&anyhow::anyhow!("bad \x1b[2J")),
            "tracer: bad \\u{1b}[2J"
        );
    }
}
