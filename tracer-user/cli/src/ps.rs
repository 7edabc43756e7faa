//! `tracer ps`: the model runtimes that run here, and what would be attached to them.

pub(crate) mod listing;
pub(crate) mod view;

use std::io::{self, Write};

use anyhow::{Context, Result, anyhow, bail};
use tracer_probe::{
    features::{Host, Obstacle},
    survey::{Survey, survey},
};
use tracer_profile::Profile;

use self::listing::list;
use crate::{
    arguments::{meant, typed::ListFormat},
    outcome::Outcome,
    profiles,
    text::{Palette, counted, printable},
};

/// Processes that could not be looked at are named up to this many; the rest is counted.
const NAMED_GAPS: usize = 3;

/// Lists the runtimes.
///
/// # Errors
/// If a profile cannot be read, or standard output cannot be written.
pub(crate) fn run(arguments: &meant::Ps) -> Result<Outcome> {
    let meant::Ps {
        verbose,
        format,
        pid,
        profiles,
    } = arguments;
    let profiles = profiles::load(profiles)?;
    if !Host::read().initial_pid_namespace {
        return Err(anyhow!(Obstacle::PidNamespace).context("cannot list the host's processes"));
    }
    let found = survey(&profiles, *pid, *verbose);
    if let (Some(pid), 0, Some((_, reason))) = (pid, found.processes, found.unreadable.first()) {
        bail!("cannot look at process {pid}: {reason}");
    }
    let processes = list(&found, &profiles);
    let text = match format {
        ListFormat::Pretty => {
            view::render(&processes, *verbose, Palette::for_stream(&io::stdout()))
        }
        ListFormat::Json => format!("{}\n", serde_json::to_string_pretty(&processes)?),
        ListFormat::Ndjson => {
            let lines: Result<Vec<String>, _> =
                processes.iter().map(serde_json::to_string).collect();
            lines?.into_iter().map(|line| line + "\n").collect()
        }
    };
    io::stdout()
        .write_all(text.as_bytes())
        .context("write to standard output")?;
    // The list stays clean for programs; what it lacks goes to standard error.
    let _ = io::stderr().write_all(remarks(&found, &profiles, *verbose).as_bytes());
    Ok(if processes.is_empty() {
        Outcome::Nothing
    } else {
        Outcome::Something
    })
}

/// What the list does not show: that it is empty and why, and whom it could not look at.
pub(crate) fn remarks(found: &Survey, profiles: &[Profile], verbose: bool) -> String {
    let mut text = String::new();
    // Beside a runtime that was found, its own helper libraries look like stripped ones.
    if !verbose && !found.runtimes.is_empty() {
        return text;
    }
    if found.runtimes.is_empty() {
        text.push_str(&format!(
            "tracer: no model runtime runs here: looked at {} and {}\n{}",
            counted_processes(found.processes),
            counted(found.files as u64, "mapped file"),
            profiles::looked_for(profiles),
        ));
    }
    for path in &found.stripped {
        text.push_str(&format!(
            "tracer: {} is named like a model runtime but has none of the functions that would \
             show it: stripped, or a build that no profile knows\n",
            printable(&path.display().to_string())
        ));
    }
    if !found.unreadable.is_empty() {
        let gaps = found.unreadable.len();
        text.push_str(&format!(
            "tracer: {} could not be looked at",
            counted_processes(gaps)
        ));
        if !rustix::process::geteuid().is_root() {
            text.push_str("; run as root to see all: sudo tracer ps");
        }
        text.push('\n');
        for (pid, reason) in found.unreadable.iter().take(NAMED_GAPS) {
            text.push_str(&format!("  {pid}: {}\n", printable(reason)));
        }
        if gaps > NAMED_GAPS {
            text.push_str(&format!("  … and {} more\n", gaps - NAMED_GAPS));
        }
    }
    text
}

fn counted_processes(number: usize) -> String {
    match number {
        1 => "1 process".to_owned(),
        _ => format!("{number} processes"),
    }
}
