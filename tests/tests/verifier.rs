//! Holds the programs to what they cost the verifier and the stack, on the kernel that runs this
//! test. Needs root and BPF.
//!
//! * **Instructions.** How much of a program the verifier walks over decides how long loading takes
//!   and whether it loads at all: the kernel refuses after a million, and a change of a few lines, or
//!   of the compiler, can multiply the paths. `verifier.json` says what each program took by series
//!   and toolchain, so that a change of it is seen where it is made and not on somebody's kernel.
//!   Of the programs that see files, a kernel counts those that it allows: on a host without LSM, fentry
//!   or kprobes only tracepoints.
//! * **Frames.** A uprobe program is pre-empted and sleeps, and a private stack, which kernels from
//!   6.13 on give to functions with large frames, does not survive that: the next run on the same CPU
//!   overwrites it. A frame that is too large crashes the kernel, rarely, and only under load. The
//!   lifecycle programs may have larger ones: a raw tracepoint does not run a program that is already
//!   running on the CPU (`__bpf_trace_run`, kernel/trace/bpf_trace.c).
//!
//! `TRACER_UPDATE_SNAPSHOT=1` writes what this kernel says into the snapshot. A guest cannot: it
//! prints the lines to be added.

use std::{collections::BTreeMap, env, fs};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use tracer_probe::verifier::{self, Purpose};
use tracer_tests::requires_root;

/// Series, toolchain, program, instructions.
type Snapshot = BTreeMap<String, BTreeMap<String, Counts>>;
type Counts = BTreeMap<String, u32>;

const SNAPSHOT: &str = include_str!("../verifier.json");
const SNAPSHOT_FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/verifier.json");

/// A tenth of what the kernel allows a program.
const CEILING: u32 = 100_000;

/// The kernel rounds a frame up to 16 bytes and gives one of 64 or more a private stack
/// (`check_max_stack_depth_subprog` and `BPF_PRIV_STACK_MIN_SIZE`, kernel/bpf/verifier.c), so that 49
/// bytes are too many already.
const LARGEST_FRAME: u32 = 48;

#[test]
fn every_program_takes_the_verifier_as_long_as_the_snapshot_says() -> Result<()> {
    requires_root!();
    let series = running_series()?;
    let toolchain = toolchain()?;
    let counts: Counts = verifier::verify()?
        .into_iter()
        .chain(verifier::verify_files()?)
        .map(|program| (program.program, program.instructions))
        .collect();
    let mut snapshot: Snapshot = serde_json::from_str(SNAPSHOT).context("reading the snapshot")?;
    let here = BTreeMap::from([(&series, BTreeMap::from([(&toolchain, &counts)]))]);
    println!("{}", serde_json::to_string_pretty(&here)?);

    for (program, &count) in &counts {
        ensure!(
            count <= CEILING,
            "{program} takes {count} instructions, more than {CEILING}"
        );
    }
    if env::var("TRACER_UPDATE_SNAPSHOT").is_ok_and(|value| value == "1") {
        snapshot
            .entry(series)
            .or_default()
            .insert(toolchain, counts);
        let text = serde_json::to_string_pretty(&snapshot)? + "\n";
        return fs::write(SNAPSHOT_FILE, text).with_context(|| format!("writing {SNAPSHOT_FILE}"));
    }
    let recorded = snapshot.get(&series);
    if let Some(exact) = recorded.and_then(|toolchains| toolchains.get(&toolchain)) {
        ensure!(
            *exact == counts,
            "on {series} with {toolchain} the verifier takes {counts:?} and not {exact:?}; if that \
             is meant, record it with TRACER_UPDATE_SNAPSHOT=1, in guests with what is printed above"
        );
        return Ok(());
    }
    // Kernels differ more from each other than toolchains do.
    let nearest: Vec<&Counts> = match recorded {
        Some(toolchains) => toolchains.values().collect(),
        None => snapshot.values().flat_map(BTreeMap::values).collect(),
    };
    near(&counts, &nearest)
        .with_context(|| format!("the snapshot does not know {series} with {toolchain}"))
}

#[test]
fn no_uprobe_program_has_a_frame_that_moves_to_the_private_stack() -> Result<()> {
    requires_root!();
    let mut uprobes = 0;
    for program in verifier::verify()? {
        println!("{}: frames of {:?} bytes", program.program, program.frames);
        if program.purpose != Purpose::Uprobe {
            continue;
        }
        uprobes += 1;
        ensure!(
            program.frames.iter().all(|&frame| frame <= LARGEST_FRAME),
            "{} has frames of {:?} bytes, and those above {LARGEST_FRAME} are not safe in a program \
             that sleeps: see tracer-ebpf/src/call/mod.rs",
            program.program,
            program.frames
        );
    }
    ensure!(uprobes > 0, "the object has no uprobe program");
    Ok(())
}

/// Each count at most a tenth below the least and a tenth above the greatest that is recorded.
fn near(counts: &Counts, recorded: &[&Counts]) -> Result<()> {
    for (program, &count) in counts {
        let known = recorded.iter().filter_map(|counts| counts.get(program));
        let least = known.clone().min();
        let greatest = known.max();
        let (Some(&least), Some(&greatest)) = (least, greatest) else {
            anyhow::bail!("nothing is recorded of {program}");
        };
        ensure!(
            count * 10 >= least * 9 && count * 10 <= greatest * 11,
            "{program} takes {count} instructions, and {least} to {greatest} are recorded"
        );
    }
    Ok(())
}

/// Such as `6.12`.
fn running_series() -> Result<String> {
    let release =
        fs::read_to_string("/proc/sys/kernel/osrelease").context("asking for the kernel")?;
    let mut parts = release.split(|c: char| !c.is_ascii_digit());
    let (major, minor) = parts
        .next()
        .zip(parts.next())
        .with_context(|| format!("the release {release:?} has no series"))?;
    Ok(format!("{major}.{minor}"))
}

/// What the object was built with.
fn toolchain() -> Result<String> {
    #[derive(Deserialize)]
    struct Built {
        rustc: String,
        llvm: String,
        bpf_linker: String,
    }
    let Built {
        rustc,
        llvm,
        bpf_linker,
    } = serde_json::from_str(verifier::BUILT_WITH)
        .context("reading what the object was built with")?;
    Ok(format!(
        "rustc {rustc}, LLVM {llvm}, bpf-linker {bpf_linker}"
    ))
}
