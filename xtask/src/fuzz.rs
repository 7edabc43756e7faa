//! `cargo xtask fuzz`: runs the fuzz targets of `tests/fuzz` on the stable compiler.
//!
//! libFuzzer wants the coverage pass of LLVM, which `-C passes` names without a nightly compiler
//! (<https://clang.llvm.org/docs/SanitizerCoverage.html>). Crashing inputs stay in
//! `target/fuzz/crashes/TARGET`, the corpus grows in the cache folder.

use std::num::NonZero;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::Mutex;
use std::{fs, panic, thread};

use anyhow::{Context, Result};
use clap::Args;

use crate::{process, workspace::Workspace};

/// The triple is named so that `RUSTFLAGS` reach no build script.
const HOST: &str = "x86_64-unknown-linux-gnu";

const INSTRUMENTATION: &str = "--cfg fuzzing -Ccodegen-units=1 -Cdebug-assertions \
    -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares";

/// How libFuzzer introduces the number of inputs in its closing statistics.
const RUN_COUNT: &str = "stat::number_of_executed_units:";

/// How to fuzz.
#[derive(Args)]
pub(crate) struct Options {
    /// Targets to run; all of them unless named
    targets: Vec<String>,
    /// Seconds for each target
    #[arg(long, default_value_t = 60)]
    seconds: u32,
    /// Seed of the first mutation, for a run that can be repeated
    #[arg(long, default_value_t = 1)]
    seed: u32,
}

/// Builds the targets and runs each for its time.
///
/// The exit status is 0 if none found anything, 1 if one did.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<ExitCode> {
    let known = known_targets(workspace)?;
    for target in &options.targets {
        let list = known.join(", ");
        anyhow::ensure!(
            known.contains(target),
            "no fuzz target {target}; there are {list}"
        );
    }
    let chosen = if options.targets.is_empty() {
        &known
    } else {
        &options.targets
    };

    let build_folder = workspace.target.join("fuzz");
    process::run(
        Command::new("cargo")
            .current_dir(&workspace.root)
            .env("RUSTFLAGS", INSTRUMENTATION)
            .env("CARGO_PROFILE_RELEASE_LTO", "off")
            // Compiling takes longer than a short run does; a few inputs fewer are tried in its time.
            .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1")
            .env_remove("CARGO_ENCODED_RUSTFLAGS")
            .args([
                "build",
                "--quiet",
                "--release",
                "--package",
                "tracer-fuzz",
                "--target",
                HOST,
            ])
            .arg("--target-dir")
            .arg(&build_folder),
    )?;

    // As many at once as there are processors: each uses one.
    let workers = thread::available_parallelism().map_or(1, NonZero::get);
    let waiting = Mutex::new(chosen.iter());
    let next = || waiting.lock().ok()?.next();
    let work = || -> Result<usize> {
        let mut failed = 0;
        while let Some(target) = next() {
            failed += usize::from(!fuzz(workspace, &build_folder, target, options)?);
        }
        Ok(failed)
    };
    let failed: usize = thread::scope(|scope| {
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        workers
            .into_iter()
            .map(|worker| {
                worker
                    .join()
                    .unwrap_or_else(|panic| panic::resume_unwind(panic))
            })
            .sum::<Result<usize>>()
    })?;
    let passed = chosen.len() - failed;
    println!("fuzz: {passed} passed, {failed} failed, 0 skipped");
    Ok(if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Runs one target for its time, and tells whether nothing was found.
fn fuzz(
    workspace: &Workspace,
    build_folder: &Path,
    target: &str,
    options: &Options,
) -> Result<bool> {
    let corpus = workspace.cache.join("corpus").join(target);
    let crashes = build_folder.join("crashes").join(target);
    for folder in [&corpus, &crashes] {
        fs::create_dir_all(folder)
            .with_context(|| format!("making the folder {}", folder.display()))?;
    }
    let seeds = workspace.root.join("tests/fuzz/seeds").join(target);
    plant(&seeds, &corpus)?;
    let log = build_folder.join(format!("{target}.log"));
    let log_file = fs::File::create(&log).with_context(|| format!("making {}", log.display()))?;
    let mut command = Command::new(build_folder.join(HOST).join("release").join(target));
    command
        .arg(format!("-max_total_time={}", options.seconds))
        .arg(format!("-seed={}", options.seed))
        .arg(format!("-artifact_prefix={}/", crashes.display()))
        .args([
            "-timeout=10",
            "-rss_limit_mb=2048",
            "-max_len=65536",
            "-verbosity=0",
        ])
        .args(["-print_final_stats=1"])
        .arg(&corpus)
        .stderr(log_file);
    let found = process::run(&mut command).is_err();
    let report = fs::read(&log).with_context(|| format!("reading {}", log.display()))?;
    let report = String::from_utf8_lossy(&report);
    let runs = report
        .lines()
        .find_map(|line| line.strip_prefix(RUN_COUNT))
        .unwrap_or("?");
    println!(
        "fuzz {target}: {} inputs in {} s",
        runs.trim(),
        options.seconds
    );
    if found {
        let (crashes, log) = (crashes.display(), log.display());
        println!("fuzz {target}: FAILED; the input is in {crashes}, the report in {log}");
        for line in report.lines().filter(|line| tells_why(line)).take(3) {
            println!("    {line}");
        }
    }
    Ok(!found)
}

/// Where a Rust panic says so, and where libFuzzer gives the input.
fn tells_why(line: &str) -> bool {
    line.contains("panicked at") || line.starts_with("SUMMARY") || line.starts_with("Base64")
}

/// Puts the checked-in seeds of a target into its corpus, C sources as the shared library that they
/// compile to.
fn plant(seeds: &Path, corpus: &Path) -> Result<()> {
    if !seeds.is_dir() {
        return Ok(());
    }
    for entry in fs::read_dir(seeds).with_context(|| format!("listing {}", seeds.display()))? {
        let seed = entry
            .with_context(|| format!("listing {}", seeds.display()))?
            .path();
        let name = seed.file_stem().context("a seed has no name")?;
        let planted = corpus.join(name);
        if seed.extension().is_some_and(|extension| extension == "c") {
            let mut compiler = Command::new("cc");
            compiler
                .args(["-shared", "-fPIC", "-O2", "-nostdlib", "-o"])
                .arg(&planted)
                .arg(&seed);
            process::run(&mut compiler)?;
        } else {
            fs::copy(&seed, &planted).with_context(|| format!("copying {}", seed.display()))?;
        }
    }
    Ok(())
}

/// One target a file in `tests/fuzz/targets`.
fn known_targets(workspace: &Workspace) -> Result<Vec<String>> {
    let folder = workspace.root.join("tests/fuzz/targets");
    let mut names = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| format!("listing {}", folder.display()))? {
        let path = entry
            .with_context(|| format!("listing {}", folder.display()))?
            .path();
        names.extend(
            path.file_stem()
                .map(|stem| stem.to_string_lossy().into_owned()),
        );
    }
    names.sort();
    Ok(names)
}
