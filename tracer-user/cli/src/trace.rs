//! `tracer trace`: follows running models and those that start meanwhile.

mod detaching;
pub(crate) mod run;
pub(crate) mod settings;
mod vouching;

use std::io::{self, Write};

use anyhow::{Context, Result, anyhow};
use rustix::process::DumpableBehavior;
use tracer_probe::{features::Host, time::BootNanos};

use self::{run::Run, settings::Settings};
use crate::{
    arguments::meant::{self, level_name},
    consent::{ceiling, journal},
    outcome::Outcome,
    output::outputs::Outputs,
    signals::StopRequest,
    trouble::Trouble,
};

/// Traces until a signal, the duration, or the selected processes' end.
///
/// # Errors
/// If the host does not allow it, a file cannot be read, or events could not be written.
pub(crate) fn run(arguments: meant::Trace) -> Result<Outcome> {
    let settings = Settings::read(arguments)?;
    if settings.arguments.print_only {
        write!(io::stdout(), "{settings}").context("write to standard output")?;
        return Ok(Outcome::Something);
    }
    let level = settings.arguments.level;
    ceiling::permit(level)?;
    if let Some(obstacle) = Host::read().obstacle() {
        return Err(anyhow!(obstacle).context("cannot trace"));
    }
    let outputs = Outputs::open(&settings.arguments.outputs, settings.captures_content())?;
    let stop = StopRequest::listen()?;
    if !settings.captures_content() {
        return trace(&settings, outputs, &stop);
    }
    if !settings.shows_content() {
        let _ = writeln!(
            io::stderr(),
            "tracer: the policy drops content, so this run captures it in vain; --policy FILE with \
             text = \"scan\" shows it, see tracer policy --help"
        );
    }
    // Neither a core dump nor another process of this user gets at what is held.
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .context("keep the kernel from writing this process's memory to a core dump")?;
    let log = journal::record(&settings.journal_entry())?;
    let outcome = trace(&settings, outputs, &stop);
    let ending = format!("capture at level {} ended", level_name(level));
    log.write(&ending).map_err(|error| {
        Trouble::new(
            format!(
                "cannot note the end of the capture in {}: {error}",
                log.place()
            ),
            "its beginning is noted there; see what keeps the log from writing",
        )
    })?;
    outcome
}

fn trace(settings: &Settings, outputs: Outputs, stop: &StopRequest) -> Result<Outcome> {
    let asked = BootNanos::now();
    let mut run = Run::start(settings, outputs)?;
    let from = if settings.captures_content() {
        asked
    } else {
        BootNanos::now()
    };
    let deadline = settings
        .arguments
        .duration
        .map(|duration| from.after(duration));
    while !stop.is_made() && deadline.is_none_or(|deadline| BootNanos::now() < deadline) {
        match run.go_on(deadline) {
            Ok(true) => {}
            Ok(false) => break,
            Err(error) => {
                // What the run still holds back is written if it can be; why it ended counts more.
                let _ = run.finish().map(|(outputs, _)| outputs.finish());
                return Err(error);
            }
        }
    }
    let (outputs, outcome) = run.finish()?;
    outputs.finish()?;
    Ok(outcome)
}
