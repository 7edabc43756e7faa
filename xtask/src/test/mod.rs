//! `cargo xtask test`: runs the suites and closes each with one line, `NAME: N passed, N failed, N
//! skipped`, and its minutes.
//!
//! With `CI=true` a suite that ran no test, or ran longer than its share, has failed.

mod suite;
mod totals;

use std::fmt::Write as _;
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Args;

use self::suite::{SUITES, Step, Suite};
use self::totals::Totals;
use crate::workspace::Workspace;
use crate::{cargo, process};

/// How much of a failed step's output is shown; the whole is kept in a file.
const SHOWN_LINES: usize = 200;

/// What `test` can be asked.
#[derive(Args)]
pub(crate) struct Options {
    /// Suites to run; all of them unless named
    suites: Vec<String>,
    /// Run everything at its full length and write the result to tests/full-result.md
    #[arg(long, conflicts_with = "suites")]
    full: bool,
}

/// How a suite ended.
struct Ended {
    suite: &'static Suite,
    totals: Totals,
    took: Duration,
    /// Why it failed although no test did.
    complaint: Option<String>,
}

/// Runs the suites and returns this program's exit status: 0 passed, 1 something failed.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<ExitCode> {
    let chosen = chosen(options)?;
    let nextest = process::read(Command::new("cargo").args(["nextest", "--version"])).is_ok();
    let runner = Runner {
        workspace,
        logs: workspace.target.join("test"),
        nextest,
        full: options.full,
        strict: suite::is_strict(),
    };
    fs::create_dir_all(&runner.logs)
        .with_context(|| format!("making {}", runner.logs.display()))?;
    let mut ended = Vec::new();
    for suite in chosen {
        ended.push(runner.run(suite)?);
    }
    println!();
    for one in &ended {
        println!("{}", one.closing_lines());
    }
    if options.full {
        write_full_result(workspace, &ended)?;
    }
    Ok(if ended.iter().all(Ended::is_good) {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(1)
    })
}

fn chosen(options: &Options) -> Result<Vec<&'static Suite>> {
    if options.suites.is_empty() {
        let chosen = SUITES.iter().filter(|suite| options.full || !suite.is_long);
        return Ok(chosen.collect());
    }
    options
        .suites
        .iter()
        .map(|name| {
            SUITES
                .iter()
                .find(|suite| suite.name == name)
                .with_context(|| {
                    let known: Vec<_> = SUITES.iter().map(|suite| suite.name).collect();
                    format!("there is no suite `{name}`; there are {}", known.join(", "))
                })
        })
        .collect()
}

impl Ended {
    fn is_good(&self) -> bool {
        self.totals.failed == 0 && self.complaint.is_none()
    }

    /// The totals alone on a line, as tools that read test output expect them, then the rest.
    fn closing_lines(&self) -> String {
        let Self {
            suite,
            totals,
            took,
            complaint,
        } = self;
        let minutes = took.as_secs_f64() / 60.0;
        let mut lines = format!("{}: {totals}\n    in {minutes:.1} min", suite.name);
        if let Some(complaint) = complaint {
            let _ = write!(lines, "; {complaint}");
        }
        lines
    }
}

/// What all suites of one invocation share.
struct Runner<'a> {
    workspace: &'a Workspace,
    /// Where the output of each suite is kept.
    logs: PathBuf,
    nextest: bool,
    full: bool,
    strict: bool,
}

impl Runner<'_> {
    fn run(&self, suite: &'static Suite) -> Result<Ended> {
        let begun = Instant::now();
        let deadline = (self.strict && !self.full).then(|| begun + suite.share);
        let mut totals = Totals::default();
        let mut complaint = None;
        for (number, step) in suite.steps.iter().enumerate() {
            let log = self.logs.join(format!("{}.{}.log", suite.name, number + 1));
            let mut command = self.command(*step)?;
            println!("{}: {}", suite.name, process::show(&command));
            let status = run_logged(&mut command, &log, deadline)?;
            let output = fs::read(&log).with_context(|| format!("reading {}", log.display()))?;
            let output = String::from_utf8_lossy(&output);
            totals += self.counted(*step, &output, status);
            for skip in totals::announced_skips(&output) {
                println!("{}: {skip}", suite.name);
            }
            if !status.is_some_and(|status| status.success()) {
                show_end(&output, &log);
            }
            if status.is_none() {
                complaint = Some(format!("ended at its share of {} s", suite.share.as_secs()));
                break;
            }
        }
        if self.strict && totals.passed + totals.failed == 0 {
            complaint = Some("ran no test".to_owned());
        }
        let ended = Ended {
            suite,
            totals,
            took: begun.elapsed(),
            complaint,
        };
        println!("{}", ended.closing_lines());
        Ok(ended)
    }

    fn command(&self, step: Step) -> Result<Command> {
        let mut command = match step {
            Step::Xtask(..) => {
                // By this link and not by its path: building the workspace may replace the file.
                let mut command = Command::new("/proc/self/exe");
                command.current_dir(&self.workspace.root);
                command
            }
            Step::Prepare(_)
            | Step::Check(_)
            | Step::Tests { .. }
            | Step::LongTests(_)
            | Step::DocumentationTests => cargo::command(self.workspace),
        };
        command.args(step.arguments(self.nextest, self.full));
        // Tests whose length is a matter of patience read it.
        command.envs(self.full.then_some(("TRACER_FULL", "1")));
        Ok(command)
    }

    /// Totals of one step. A step that fails without naming a test counts as one failure, so that
    /// it cannot disappear among the tests of other steps.
    fn counted(&self, step: Step, output: &str, status: Option<ExitStatus>) -> Totals {
        let succeeded = status.is_some_and(|status| status.success());
        let mut counted = match step {
            Step::Xtask(..) => totals::count_own(output),
            _ => totals::count(output),
        };
        let is_whole = match step {
            Step::Check(_) => true,
            Step::Xtask(..) => counted == Totals::default(),
            Step::Prepare(_)
            | Step::Tests { .. }
            | Step::LongTests(_)
            | Step::DocumentationTests => false,
        };
        if is_whole && succeeded {
            counted.passed += 1;
        }
        if !succeeded && counted.failed == 0 {
            counted.failed += 1;
        }
        counted
    }
}

/// Runs `command` with its output in `log`; `None` when the deadline ended it.
fn run_logged(
    command: &mut Command,
    log: &Path,
    deadline: Option<Instant>,
) -> Result<Option<ExitStatus>> {
    let file = File::create(log).with_context(|| format!("writing {}", log.display()))?;
    let errors = file
        .try_clone()
        .context("sharing the log with standard error")?;
    command.stdin(Stdio::null()).stdout(file).stderr(errors);
    if deadline.is_some() {
        // Its own group, so that what it started ends with it.
        command.process_group(0);
    }
    let shown = process::show(command);
    let mut child = command
        .spawn()
        .with_context(|| format!("starting `{shown}`"))?;
    loop {
        if let Some(status) = child
            .try_wait()
            .with_context(|| format!("waiting for `{shown}`"))?
        {
            return Ok(Some(status));
        }
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            end_group(&mut child)?;
            return Ok(None);
        }
        thread::sleep(Duration::from_millis(50));
    }
}

fn end_group(child: &mut Child) -> Result<()> {
    let group = format!("-{}", child.id());
    process::run(Command::new("kill").args(["-KILL", "--", &group]))?;
    child
        .wait()
        .context("waiting for the step that was ended")?;
    Ok(())
}

fn show_end(output: &str, log: &Path) {
    let lines: Vec<_> = output.lines().collect();
    let from = lines.len().saturating_sub(SHOWN_LINES);
    for line in &lines[from..] {
        println!("    {line}");
    }
    println!("    (all of it: {})", log.display());
}

/// Keeps the result of the last full run, with when and where it was had.
fn write_full_result(workspace: &Workspace, ended: &[Ended]) -> Result<()> {
    let read = |program: &str, arguments: &[&str]| {
        let mut command = Command::new(program);
        command.current_dir(&workspace.root).args(arguments);
        process::read(&mut command).map(|text| text.trim().to_owned())
    };
    let date = read("date", &["-u", "+%Y-%m-%d %H:%M UTC"])?;
    let commit = read(
        "git",
        &["describe", "--always", "--dirty=, with local changes"],
    )?;
    let kernel = read("uname", &["-r"])?;
    let mut text = format!(
        "# The last full test run\n\n{date}, commit {commit}, host kernel {kernel}; written by \
         `scripts/test --full`.\n\n| suite | passed | failed | skipped | minutes |\n\
         |---|---|---|---|---|\n"
    );
    for one in ended {
        let Totals {
            passed,
            failed,
            skipped,
        } = one.totals;
        let minutes = one.took.as_secs_f64() / 60.0;
        let _ = writeln!(
            text,
            "| {} | {passed} | {failed} | {skipped} | {minutes:.1} |",
            one.suite.name
        );
    }
    for one in ended {
        if let Some(complaint) = &one.complaint {
            let _ = writeln!(text, "\n{}: {complaint}", one.suite.name);
        }
    }
    let path = workspace.root.join("tests/full-result.md");
    fs::write(&path, text).with_context(|| format!("writing {}", path.display()))
}
