//! What a run of the binary said.

use std::process::{Command, Output, Stdio};

#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) status: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    /// Runs a command to its end, without any input.
    pub(crate) fn of(command: &mut Command) -> Self {
        let output = command.stdin(Stdio::null()).output();
        output
            .expect("the binary that cargo built can be run")
            .into()
    }
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("tracer writes UTF-8");
        Self {
            status: output.status.code(),
            out: text(output.stdout),
            err: text(output.stderr),
        }
    }
}
