//! From arguments to exit status: 0 found something, 1 found nothing, 2 went wrong, as grep has it.

use std::{
    ffi::OsString,
    io::{self, Write},
    process::ExitCode,
};

use anyhow::Result;
use clap::Parser;

use crate::{
    agent,
    arguments::{Invocation, meant, typed::Typed},
    diff, doctor, files, integrity, key, manual, policy, profile, ps, query, trace, trouble,
};

/// How a command that did not go wrong ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// What was asked for is there; for `diff` and `policy`: nothing differs, nothing is found.
    Something,
    /// It is not; for `diff` and `policy`: something differs, something is found.
    Nothing,
    /// What could be found out does not tell; it was printed.
    Undetermined,
}

/// Runs the command and says how it ended. Errors go to standard error.
pub(crate) fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let typed = match Typed::try_parse_from(arguments) {
        Ok(typed) => typed,
        Err(refusal) => {
            // Help and version arrive here too; clap knows which goes to which stream. If that
            // stream is closed there is nobody left to tell.
            let _ = refusal.print();
            return if refusal.use_stderr() {
                ExitCode::from(2)
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    match meant::resolve(typed).and_then(carry_out) {
        Ok(Outcome::Something) => ExitCode::SUCCESS,
        Ok(Outcome::Nothing) => ExitCode::from(1),
        Ok(Outcome::Undetermined) => ExitCode::from(2),
        Err(error) if trouble::is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "{}", trouble::describe(&error));
            ExitCode::from(2)
        }
    }
}

fn carry_out(invocation: Invocation) -> Result<Outcome> {
    match invocation {
        Invocation::Doctor(format) => doctor::run(format),
        Invocation::Ps(ps) => ps::run(&ps),
        Invocation::Trace(trace) => trace::run(trace),
        Invocation::Diff(arguments) => diff::run(&arguments),
        Invocation::Files(files) => files::run(files),
        Invocation::ReleaseFiles => files::release(),
        Invocation::Profile(arguments) => profile::run(&arguments),
        Invocation::Verify(arguments) => integrity::verify::run(&arguments),
        Invocation::Sign(arguments) => integrity::sign::run(&arguments),
        Invocation::Query(query) => query::run(&query),
        Invocation::Nodes(nodes) => query::nodes(&nodes),
        Invocation::Key(key) => key::run(&key),
        Invocation::Agent(arguments) => agent::run(&arguments),
        Invocation::LeaseKeeper => integrity::keep_leases(),
        Invocation::GateWatchdog => files::watchdog(),
        Invocation::Policy(policy) => policy::run(&policy),
        Invocation::Completions(shell) => manual::completions(shell),
        Invocation::Man(folder) => manual::pages(folder.as_deref()),
    }
}
