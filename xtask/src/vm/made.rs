//! Building what guests run: the tests, the tracer, and the workloads.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::suite::{INIT, Needed, Program, TRACER, Test, VERIFIER, WORKLOAD};
use crate::workspace::Workspace;
use crate::{cargo, process};

/// Programs that tests start by name.
const TOOLS: [&str; 13] = [
    "cat",
    "chmod",
    "cp",
    "echo",
    "env",
    "ls",
    "mkdir",
    "mkfs.ext4",
    "mount",
    "rm",
    "setpriv",
    "sh",
    "unshare",
];

/// systemd, and what tests ask it with.
const SYSTEMD: [&str; 6] = [
    "/lib/systemd/systemd",
    "/lib/systemd/systemd-journald",
    "/usr/bin/systemctl",
    "/usr/bin/systemd-sysusers",
    "/usr/bin/journalctl",
    // Units reload with it.
    "/bin/kill",
];
/// Debian's units that others are ordered by, and the journal.
const UNITS: [&str; 15] = [
    "basic.target",
    "local-fs.target",
    "multi-user.target",
    "network-online.target",
    "network.target",
    "paths.target",
    "shutdown.target",
    "slices.target",
    "sockets.target",
    "swap.target",
    "sysinit.target",
    "systemd-journald.service",
    "systemd-journald.socket",
    "timers.target",
    "umount.target",
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

/// Builds the programs and the workloads that `tests` need, each once. `tracer` takes the place of the
/// workspace's.
pub(super) fn make(workspace: &Workspace, tests: Vec<Test>, tracer: Option<&Path>) -> Result<Made> {
    let mut programs = build(workspace, &needed_programs(&tests))?;
    if let Some(tracer) = tracer {
        let path = std::path::absolute(tracer)
            .with_context(|| format!("looking for {}", tracer.display()))?;
        programs.insert(TRACER, path);
    }
    let mut workloads = None;
    let mut made = Vec::new();
    for test in tests {
        let mut files = Vec::new();
        for needed in test.files {
            match *needed {
                Needed::Built(program) => files.push(programs[&program].clone()),
                Needed::Source(path) => files.push(workspace.root.join(path)),
                Needed::Python => files.extend(python()?),
                Needed::Systemd => files.extend(systemd()?),
                Needed::Workloads => {
                    if workloads.is_none() {
                        workloads = Some(make_workloads(&programs[&WORKLOAD])?);
                    }
                    files.extend(workloads.iter().flat_map(|made| made.parts.clone()));
                }
            }
        }
        made.push(MadeTest {
            test,
            program: programs[&test.program].clone(),
            files,
        });
    }
    Ok(Made {
        init: programs[&INIT].clone(),
        tests: made,
        tools: find_tools()?,
        environment: workloads.map_or_else(String::new, |made| {
            format!("TRACER_CACHE={}\n", made.cache.display())
        }),
    })
}

fn needed_programs(tests: &[Test]) -> BTreeSet<Program> {
    let mut programs = BTreeSet::from([INIT, VERIFIER]);
    for test in tests {
        programs.insert(test.program);
        programs.extend(test.files.iter().filter_map(|needed| match *needed {
            Needed::Built(program) => Some(program),
            Needed::Workloads => Some(WORKLOAD),
            Needed::Source(_) | Needed::Python | Needed::Systemd => None,
        }));
    }
    programs
}

/// Builds all of `programs` at once: the path of each.
///
/// The whole workspace is selected, as the other suites do, so that what they have compiled is used: a
/// selection of packages would compile what they depend on once more, with fewer features.
fn build(
    workspace: &Workspace,
    programs: &BTreeSet<Program>,
) -> Result<BTreeMap<Program, PathBuf>> {
    let mut arguments = vec!["build", "--workspace"];
    for program in programs {
        arguments.extend(match program {
            Program::Binary(name) => ["--bin", name],
            Program::Integration(name) => ["--test", name],
        });
    }
    let built = cargo::executables(workspace, &arguments)?;
    programs
        .iter()
        .map(|program| {
            let (Program::Binary(name) | Program::Integration(name)) = program;
            let mut named = built.iter().filter(|(found, _)| found == name);
            match (named.next(), named.next()) {
                (Some((_, path)), None) => Ok((*program, path.clone())),
                (None, _) => bail!("cargo built no program named {name}"),
                (Some(_), Some(_)) => bail!("two programs of this workspace are named {name}"),
            }
        })
        .collect()
}

/// What `workload guest` made.
struct Workloads {
    cache: PathBuf,
    parts: Vec<PathBuf>,
}

fn make_workloads(program: &Path) -> Result<Workloads> {
    let listing = process::read(Command::new(program).arg("guest"))
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

/// The files of this machine's systemd. Of what it loads only where there is need, it gets libbpf.
fn systemd() -> Result<Vec<PathBuf>> {
    let units = UNITS.map(|unit| Path::new("/lib/systemd/system").join(unit));
    let files: Vec<_> = SYSTEMD
        .iter()
        .map(PathBuf::from)
        .chain(units)
        .chain(["/usr/lib/x86_64-linux-gnu/libbpf.so.1".into()])
        .collect();
    if let Some(missing) = files.iter().find(|path| !path.is_file()) {
        bail!(
            "{} is missing: this test takes systemd 252 or later from a Debian system with it, and libbpf1",
            missing.display()
        );
    }
    Ok(files)
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
