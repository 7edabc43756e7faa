//! `cargo xtask vm`: runs tests in virtual machines on real distribution kernels.
//!
//! A guest is a kernel and one initramfs that holds the tests and what they load; there is no disk
//! and no image. Exit status: 0 passed, 1 a test failed, 2 a kernel could not be run.

mod accelerator;
mod archive;
mod console;
mod guest;
mod index;
mod initramfs;
mod kernel;
mod made;
mod modules;
mod report;
mod series;
mod suite;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Mutex;
use std::{env, fs, thread};

use anyhow::{Context, Result, bail};
use clap::Args;

use self::guest::{Accelerator, Guest, Run};
use self::initramfs::{Addition, Initramfs};
use self::kernel::{Kernel, Network, Store};
use self::made::{Made, MadeTest};
use self::report::SeriesReport;
use self::series::Series;
use self::suite::{FirstProcess, TESTS, Test};
use crate::{process, workspace::Workspace};

/// Guests that run at once: each has two processors of its own.
const PARALLEL: usize = 2;
/// What a guest needs beside its files, in MiB. 5.10 did not boot with 192.
const BASE_MEMORY: u64 = 512;
/// The file that tells the guest how to run each test, the one that holds their environment, and the
/// one that lists the modules to load.
const PLAN: &str = "/etc/tracer-tests";
const ENVIRONMENT: &str = "/etc/tracer-environment";
const MODULES: &str = "/etc/tracer-modules";

/// What `vm` can be asked.
#[derive(Args)]
pub(crate) struct Options {
    /// Series to run on, separated by commas, or `all`
    #[arg(long, default_value = "all", value_delimiter = ',')]
    kernel: Vec<String>,
    /// Read the package indexes anew, fill the cache with the kernels, and run nothing
    #[arg(long, conflicts_with = "offline")]
    fetch: bool,
    /// Use only what the cache holds
    #[arg(long)]
    offline: bool,
    /// Write the results as JUnit XML
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Run only this test; may be given more than once
    #[arg(long, value_name = "NAME")]
    test: Vec<String>,
    /// Keep the initramfs beside the console in target/vm
    #[arg(long)]
    keep: bool,
    /// Put this file or folder, with the libraries of its programs, into every guest
    #[arg(long, value_name = "PATH[:DESTINATION]")]
    with: Vec<Addition>,
    /// Run this static `tracer` where tests run the workspace's, as a release has it
    #[arg(long, value_name = "FILE")]
    tracer: Option<PathBuf>,
    /// How to run guests; by default the processor's virtualisation when a probing boot works
    #[arg(long, value_enum)]
    accelerator: Option<Accelerator>,
}

/// Runs the tests and returns this program's exit status.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<ExitCode> {
    let wanted = wanted_series(&options.kernel)?;
    let tests = wanted_tests(workspace, &options.test, &wanted)?;
    let network = match (options.fetch, options.offline) {
        (true, _) => Network::Refresh,
        (_, true) => Network::Never,
        (false, false) => Network::WhenMissing,
    };
    let store = Store::new(&workspace.cache, network);
    let kernels: Vec<_> = wanted
        .into_iter()
        .map(|series| (series, store.kernel(series)))
        .collect();
    if options.fetch {
        for (series, kernel) in kernels {
            kernel.with_context(|| format!("fetching kernel {series}"))?;
        }
        return Ok(ExitCode::SUCCESS);
    }

    let folder = workspace.target.join("vm");
    fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    let made = made::make(workspace, tests, options.tracer.as_deref())?;
    let room = Room {
        options,
        folder: &folder,
        made: &made,
        accelerator: match options.accelerator {
            Some(chosen) => chosen,
            None => {
                let first = kernels.iter().find_map(|(_, kernel)| kernel.as_ref().ok());
                accelerator::choose(workspace, first.map(|kernel| kernel.image.as_path()))?
            }
        },
    };
    let reports = room.run_all(kernels);

    if let Some(path) = &options.junit {
        report::write_junit(path, &reports)?;
    }
    let totals = report::totals(&reports);
    println!(
        "vm: {} passed, {} failed, {} skipped",
        totals.passed, totals.failed, totals.skipped
    );
    Ok(if totals.failed > 0 {
        ExitCode::from(1)
    } else if totals.not_run > 0 || totals.passed == 0 {
        ExitCode::from(2)
    } else {
        ExitCode::SUCCESS
    })
}

fn wanted_series(names: &[String]) -> Result<Vec<Series>> {
    if names.iter().any(|name| name == "all") {
        return Ok(kernel::SUITES.iter().map(|(series, _)| *series).collect());
    }
    names.iter().map(|name| name.parse()).collect()
}

/// The tests of these names, or those that run unless they are named, each for the kernels that it is to
/// run on among `series`.
fn wanted_tests(workspace: &Workspace, names: &[String], series: &[Series]) -> Result<Vec<Test>> {
    for name in names {
        if !TESTS.iter().any(|test| test.name == name) {
            let known: Vec<_> = TESTS.iter().map(|test| test.name).collect();
            bail!(
                "there is no VM test `{name}`; there are {}",
                known.join(", ")
            );
        }
    }
    if !names.is_empty() {
        let named = TESTS
            .iter()
            .filter(|test| names.iter().any(|name| name == test.name));
        return Ok(named.copied().collect());
    }
    if env::var_os("TRACER_FULL").is_some() {
        return Ok(TESTS.to_vec());
    }
    let first = draw_of_commit(workspace);
    let tests = TESTS.iter().filter(|test| !test.is_long).enumerate();
    let assigned = tests.map(|(place, test)| match test.is_drawn {
        true => test.drawn(series, first + place),
        false => *test,
    });
    Ok(assigned.collect())
}

/// Another number for each commit, and the same for each run of it; 0 outside a repository.
fn draw_of_commit(workspace: &Workspace) -> usize {
    let mut git = Command::new("git");
    git.current_dir(&workspace.root).args(["rev-parse", "HEAD"]);
    let head = process::read(&mut git).unwrap_or_default();
    let digits = head.get(..4).unwrap_or_default();
    usize::from_str_radix(digits, 16).unwrap_or_default()
}

/// What all guests of one invocation share.
struct Room<'a> {
    options: &'a Options,
    folder: &'a Path,
    made: &'a Made,
    accelerator: Accelerator,
}

impl Room<'_> {
    /// Runs every kernel's guest, at most [`PARALLEL`] at once; each result is printed as it comes.
    fn run_all(&self, kernels: Vec<(Series, Result<Kernel>)>) -> Vec<SeriesReport> {
        let queue = Mutex::new(kernels.into_iter());
        let reports = Mutex::new(Vec::new());
        // A thread that panicked has found a bug in this program; the others' results still count.
        let lock_failed = "no thread panics while it holds the lock";
        thread::scope(|scope| {
            for _ in 0..PARALLEL {
                scope.spawn(|| {
                    loop {
                        let next = queue.lock().expect(lock_failed).next();
                        let Some((series, kernel)) = next else { break };
                        let report = SeriesReport {
                            series,
                            run: kernel.and_then(|kernel| self.run_one(&kernel)),
                            console: self.console(series).display().to_string(),
                        };
                        report::print_unless_run(&report);
                        reports.lock().expect(lock_failed).push(report);
                    }
                });
            }
        });
        let mut reports = reports.into_inner().expect(lock_failed);
        reports.sort_by_key(|report| report.series);
        reports
    }

    fn run_one(&self, kernel: &Kernel) -> Result<Run> {
        let chosen: Vec<_> = self
            .made
            .tests
            .iter()
            .filter(|made| made.test.runs_on(kernel.series()))
            .collect();
        let initramfs = self.initramfs(&chosen, &kernel.modules)?.to_bytes()?;
        let path = self.folder.join(format!("{}.cpio", kernel.asked));
        fs::write(&path, &initramfs).with_context(|| format!("writing {}", path.display()))?;
        let guest = Guest {
            kernel: &kernel.image,
            series: kernel.asked,
            initramfs: &path,
            accelerator: self.accelerator,
            // The archive lies in memory twice while it is unpacked, and what it is unpacked to may
            // take half of what memory is left beside it.
            memory: BASE_MEMORY + 3 * (initramfs.len() as u64 >> 20),
            tests: chosen.iter().map(|made| made.test).collect(),
            console: self.console(kernel.asked),
        };
        let run = guest.run(|release, outcome| report::print(kernel.asked, release, outcome));
        if !self.options.keep {
            fs::remove_file(&path).with_context(|| format!("removing {}", path.display()))?;
        }
        run
    }

    /// Collects the files of `tests` and writes down how to run each.
    fn initramfs(&self, tests: &[&MadeTest], modules: &[PathBuf]) -> Result<Initramfs> {
        let mut initramfs = Initramfs::new(&self.made.init)?;
        let mut plan = String::new();
        for tool in &self.made.tools {
            initramfs.add(&in_place(tool))?;
        }
        for made in tests {
            initramfs.add(&in_place(&made.program))?;
            for file in &made.files {
                initramfs.add(&in_place(file))?;
            }
            let limit = made.test.limit.as_secs().to_string();
            let program = made.program.display().to_string();
            let first = match made.test.first_process {
                FirstProcess::Init => "init",
                FirstProcess::Systemd => "systemd",
            };
            let words: Vec<_> = [made.test.name, &limit, first, &program]
                .into_iter()
                .chain(made.test.arguments.iter().copied())
                .collect();
            plan.push_str(&words.join("\t"));
            plan.push('\n');
        }
        for addition in &self.options.with {
            initramfs.add(addition)?;
        }
        let mut listed = String::new();
        for module in modules {
            initramfs.add(&in_place(module))?;
            listed.push_str(&format!("{}\n", module.display()));
        }
        initramfs.add_text(MODULES, &listed);
        initramfs.add_text(PLAN, &plan);
        initramfs.add_text(ENVIRONMENT, &self.made.environment);
        Ok(initramfs)
    }

    fn console(&self, series: Series) -> PathBuf {
        self.folder.join(format!("{series}.console"))
    }
}

/// A file that lies in the guest where it lies here.
fn in_place(path: &Path) -> Addition {
    Addition {
        source: path.to_owned(),
        destination: path.to_owned(),
    }
}
