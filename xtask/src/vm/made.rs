//! Building what guests run: the tests, the tracer, and the workloads.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::suite::{INIT, Needed, Program, Test};
use crate::workspace::Workspace;
use crate::{cargo, process};

/// Programs that tests start by name.
const TOOLS: [&str; 12] = [
    "cat", "chmod", "cp", "echo", "env", "ls", "mkdir", "mount", "rm", "setpriv", "sh", "unshare",
];

/// Everything that was made on this machine for the guests.
pub(super) struct Made {
    /// The guest's first process.
    pub(super) init: PathBuf,
    /// In the order in which guests run them.
    pub(super) tests: Vec<MadeTest>,
    pub(super) tools: Vec<PathBuf>,
    /// Lines of the form `NAME=VALUE`.
    pub(super) environment: String,
}

/// A test's program and the files that it needs.
pub(super) struct MadeTest {
    pub(super) test: Test,
    pub(super) program: PathBuf,
    pub(super) files: Vec<PathBuf>,
}

/// Builds the programs and the workloads that `tests` need, each once.
pub(super) fn make(workspace: &Workspace, tests: Vec<Test>) -> Result<Made> {
    let mut workloads = None;
    let mut made = Vec::new();
    for test in tests {
        let mut files = Vec::new();
        for needed in test.files {
            match *needed {
                Needed::Built(program) => files.push(build(workspace, program)?),
                Needed::Source(path) => files.push(workspace.root.join(path)),
                Needed::Python => files.extend(python()?),
                Needed::Workloads => {
                    if workloads.is_none() {
                        workloads = Some(make_workloads(workspace)?);
                    }
                    files.extend(workloads.iter().flat_map(|made| made.parts.clone()));
                }
            }
        }
        made.push(MadeTest {
            test,
            program: build(workspace, test.program)?,
            files,
        });
    }
    Ok(Made {
        init: build(workspace, INIT)?,
        tests: made,
        tools: find_tools()?,
        environment: workloads.map_or_else(String::new, |made| {
            format!("TRACER_CACHE={}\n", made.cache.display())
        }),
    })
}

fn build(workspace: &Workspace, program: Program) -> Result<PathBuf> {
    let (arguments, name): (&[&str], _) = match program {
        Program::Binary { package, name } => {
            (&["build", "--package", package, "--bin", name], name)
        }
        Program::Integration { package, name } => (
            &["test", "--no-run", "--package", package, "--test", name],
            name,
        ),
    };
    cargo::executables(workspace, arguments)?
        .into_iter()
        .find_map(|(found, path)| (found == name).then_some(path))
        .with_context(|| format!("cargo built no program named {name}"))
}

/// What `workload guest` made.
struct Workloads {
    cache: PathBuf,
    parts: Vec<PathBuf>,
}

fn make_workloads(workspace: &Workspace) -> Result<Workloads> {
    let arguments = [
        "run",
        "--quiet",
        "--package",
        "tracer-tests",
        "--bin",
        "workload",
        "guest",
    ];
    let listing = process::read(cargo::command(workspace).args(arguments))
        .context("making the workloads that run in guests")?;
    let mut lines = listing.lines().map(PathBuf::from);
    Ok(Workloads {
        cache: lines
            .next()
            .context("`workload guest` names no cache folder")?,
        parts: lines.collect(),
    })
}

/// The interpreter that the workloads use, and the folder of its standard library.
fn python() -> Result<[PathBuf; 2]> {
    let program = "/usr/bin/python3";
    let ask = "import sysconfig; print(sysconfig.get_path('stdlib'))";
    let library = process::read(Command::new(program).args(["-c", ask]))
        .context("looking for Python's standard library")?;
    Ok([program.into(), library.trim().into()])
}

fn find_tools() -> Result<Vec<PathBuf>> {
    TOOLS
        .iter()
        .map(|tool| {
            ["/usr/bin", "/bin", "/usr/sbin", "/sbin"]
                .iter()
                .map(|folder| Path::new(folder).join(tool))
                .find(|path| path.is_file())
                .with_context(|| format!("`{tool}`, which guests need, is not installed"))
        })
        .collect()
}
