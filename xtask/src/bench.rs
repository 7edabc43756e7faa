//! `cargo xtask bench`: builds what is measured as users get it, and measures it.

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use clap::Args;

use crate::{bpf, cargo, process, workspace::Workspace};

/// What to measure.
#[derive(Args)]
pub(crate) struct Options {
    /// Groups to measure; all of them unless named
    groups: Vec<String>,
    /// Few repetitions, a few minutes: shows the verdicts, and fails for none but counts of
    /// instructions
    #[arg(long)]
    quick: bool,
    /// As --quick, with the unoptimised programs that the tests use: shows that every measurement
    /// works, which is all that CI asks
    #[arg(long)]
    smoke: bool,
}

/// Installs what is missing and builds, in release, and measures. A smoke test takes what the tests before
/// it have built.
///
/// Only a full run of every group replaces `bench/results.json`, which is checked in; others write
/// to the build folder, as does the page with the plots of all of them. The exit status is 0 if no bar
/// was missed, 1 if one was.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<ExitCode> {
    if !options.smoke {
        let mut setup = Command::new(workspace.root.join("scripts/setup"));
        process::run(setup.current_dir(&workspace.root))?;
        bpf::build(workspace, &bpf::Options::default())?;
    }
    // A selection of packages would compile what they depend on once more, with fewer features.
    let arguments: &[_] = match options.smoke {
        true => &["build", "--workspace", "--all-targets"],
        false => &[
            "build",
            "--release",
            "-p",
            "tracer-cli",
            "-p",
            "tracer-collector",
            "-p",
            "tracer-bench",
        ],
    };
    let built = cargo::executables(workspace, arguments)?;
    let program = |name: &str| -> Result<&PathBuf> {
        // A program's unit tests have its name, and lie among what it depends on.
        let is_tests =
            |path: &PathBuf| path.parent().is_some_and(|folder| folder.ends_with("deps"));
        let found = built
            .iter()
            .find(|(built, path)| built == name && !is_tests(path));
        let (_, path) = found.with_context(|| format!("cargo built no program {name}"))?;
        Ok(path)
    };
    let is_quick = options.quick || options.smoke;
    let is_complete = options.groups.is_empty() && !is_quick;
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
    if is_quick {
        command.arg("--quick");
    }
    let status = command.status().context("starting tracer-bench")?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    let code = code.with_context(|| format!("tracer-bench ended with {status}"))?;
    Ok(ExitCode::from(code))
}
