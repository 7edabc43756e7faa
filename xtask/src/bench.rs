//! `cargo xtask bench`: builds what is measured as users get it, and measures it.

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use clap::Args;

use crate::{cargo, workspace::Workspace};

/// What to measure.
#[derive(Args)]
pub(crate) struct Options {
    /// Groups to measure; all of them unless named
    groups: Vec<String>,
    /// Few repetitions, a few minutes: shows the verdicts, and fails for none but counts of
    /// instructions
    #[arg(long)]
    quick: bool,
}

/// Builds in release and measures.
///
/// Only a full run of every group replaces `bench/results.json`, which is checked in; others write
/// to the build folder, as does the page with the plots of all of them. The exit status is 0 if no bar was missed, 1 if one was.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<ExitCode> {
    let built = cargo::executables(
        workspace,
        &[
            "build",
            "--release",
            "--package",
            "tracer-cli",
            "--package",
            "tracer-bench",
        ],
    )?;
    let program = |name: &str| -> Result<&PathBuf> {
        let found = built.iter().find(|(built, _)| built == name);
        let (_, path) = found.with_context(|| format!("cargo built no program {name}"))?;
        Ok(path)
    };
    let is_complete = options.groups.is_empty() && !options.quick;
    let folder = if is_complete {
        &workspace.root
    } else {
        &workspace.target
    };
    let mut command = Command::new(program("tracer-bench")?);
    command
        .current_dir(&workspace.root)
        .env("TRACER_BIN", program("tracer")?)
        .args(&options.groups)
        .arg("--results")
        .arg(folder.join("bench").join("results.json"))
        .arg("--page")
        .arg(workspace.target.join("bench").join("index.html"));
    if options.quick {
        command.arg("--quick");
    }
    let status = command.status().context("starting tracer-bench")?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    let code = code.with_context(|| format!("tracer-bench ended with {status}"))?;
    Ok(ExitCode::from(code))
}
