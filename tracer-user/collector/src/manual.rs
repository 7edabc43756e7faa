//! Completions and manual pages, made from the arguments themselves.

use std::{
    io::{self, Write as _},
    path::Path,
};

use anyhow::{Context as _, Result};

/// Prints the completions of a shell.
///
/// # Errors
/// If standard output cannot be written.
pub(crate) fn completions(command: &mut clap::Command, shell: clap_complete::Shell) -> Result<()> {
    // The generator panics where its writer fails, so it writes to memory first.
    let mut script = Vec::new();
    clap_complete::generate(shell, command, "tracer-collector", &mut script);
    let written = io::stdout().write_all(&script);
    written.context("writing to standard output")
}

/// Writes one page per command into `folder`, or prints the main page.
///
/// # Errors
/// If the folder or standard output cannot be written.
pub(crate) fn pages(command: clap::Command, folder: Option<&Path>) -> Result<()> {
    let Some(folder) = folder else {
        let mut page = Vec::new();
        clap_mangen::Man::new(command).render(&mut page)?;
        let written = io::stdout().write_all(&page);
        return written.context("writing to standard output");
    };
    let display = folder.display();
    std::fs::create_dir_all(folder).with_context(|| format!("creating {display}"))?;
    clap_mangen::generate_to(command, folder)
        .with_context(|| format!("writing manual pages to {display}"))
}
