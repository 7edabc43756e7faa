//! Completions and manual pages, made from the arguments themselves so that they cannot disagree
//! with them.

use std::{
    io::{self, Write},
    path::Path,
};

use anyhow::{Context, Result};
use clap::CommandFactory;

use crate::{arguments::typed::Typed, outcome::Outcome};

/// Prints the completions of a shell.
///
/// # Errors
/// If standard output cannot be written.
pub(crate) fn completions(shell: clap_complete::Shell) -> Result<Outcome> {
    // The generator panics where its writer fails, so it writes to memory first.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Typed::command(), "tracer", &mut script);
    io::stdout()
        .write_all(&script)
        .context("write to standard output")?;
    Ok(Outcome::Something)
}

/// Writes one page per command into `folder`, or prints the main page.
///
/// # Errors
/// If the folder or standard output cannot be written.
pub(crate) fn pages(folder: Option<&Path>) -> Result<Outcome> {
    match folder {
        Some(folder) => {
            std::fs::create_dir_all(folder)
                .with_context(|| format!("create the folder {}", folder.display()))?;
            clap_mangen::generate_to(Typed::command(), folder)
                .with_context(|| format!("write manual pages to {}", folder.display()))?;
        }
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(Typed::command()).render(&mut page)?;
            io::stdout()
                .write_all(&page)
                .context("write to standard output")?;
        }
    }
    Ok(Outcome::Something)
}
