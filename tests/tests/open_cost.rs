//! What the programs cost whoever opens a file, in the tiers with hooks, beside a program that does
//! nothing at the same hook and sees the same opens; and that what makes it cheap, to remember which
//! folders lie below no watched one, is forgotten in time. Runs in guests, whose kernels let programs
//! into the hooks.
//!
//! The kernel counts the time (`kernel.bpf_stats_enabled`). In an emulated guest nanoseconds mean
//! little and ratios something; what is asserted is that every open was counted, and the figures are
//! printed:
//!
//! ```text
//! cargo xtask vm --kernel all --test what-an-open-costs-is-counted
//! ```

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use tracer_probe::{
    files::{Act, EmptyProgram, FileEvent, FileSensor, Runs, SeenBy, Tier},
    process::FileId,
};
use tracer_tests::{cache::Cache, disk::Mounted, requires_root, workload::Target};

const SWITCH: &str = "/proc/sys/kernel/bpf_stats_enabled";
/// Many short rounds: an emulated processor stands still at times, and then one of them is spoiled.
const ROUNDS: usize = 61;
const OPENS: u64 = 100;

#[test]
#[ignore = "runs in guests"]
fn an_open_costs_a_small_multiple_of_an_empty_program() -> Result<()> {
    requires_root!();
    let _counting = Counting::switch_on()?;
    let files = Files::make()?;
    for tier in [Tier::Lsm, Tier::Fentry, Tier::Kprobe] {
        for (what, path) in &files.paths {
            // Each has its own programs: what one leaves in the tables is not there for the next.
            let mut sensor = FileSensor::start(Some(tier))?;
            sensor.watch(&files.watched)?;
            let empty = EmptyProgram::attach(tier)?;
            let mut measured = Vec::new();
            for _ in 0..ROUNDS {
                measured.push(round(&sensor, &empty, path)?);
            }
            println!("{tier}, {what}: {}", shown(&measured));
        }
    }
    Ok(())
}

/// Nobody has heard of the move when the file is opened: only the programs can know.
#[test]
#[ignore = "runs in guests"]
fn a_folder_that_was_passed_over_is_looked_at_again_once_it_may_matter() -> Result<()> {
    requires_root!();
    let cache = Cache::open()?;
    for tier in [Tier::Lsm, Tier::Fentry, Tier::Kprobe] {
        let system = Mounted::new("tmpfs")?;
        let at = |name: &str| system.path().join(name);
        fs::create_dir(at("watched"))?;
        for folder in ["moves", "exchanged", "stays"] {
            fs::create_dir_all(at(folder).join("below"))?;
            fs::write(at(folder).join("below/model.bin"), b"a model")?;
        }
        fs::create_dir(at("watched/exchanged"))?;
        let mut sensor = FileSensor::start(Some(tier))?;
        sensor.watch(&at("watched"))?;
        let read = |name: &str| read_by_another(&cache, &at(name));
        let mut moved = Vec::new();
        for name in [
            "moves/below/model.bin",
            "exchanged/below/model.bin",
            "stays/below/model.bin",
        ] {
            moved.push(read(name)?);
            read(name)?;
        }
        moved.pop();
        let told = opens(&mut sensor)?;
        ensure!(
            told.is_empty(),
            "{tier}: {told:?} lie below no watched folder"
        );

        fs::rename(at("moves"), at("watched/moves"))?;
        renameat_with(
            CWD,
            at("exchanged"),
            CWD,
            at("watched/exchanged"),
            RenameFlags::EXCHANGE,
        )?;
        read("watched/moves/below/model.bin")?;
        read("watched/exchanged/below/model.bin")?;
        read("stays/below/model.bin")?;
        let told = opens(&mut sensor)?;
        ensure!(
            told == moved,
            "{tier}: {told:?} instead of both moved files, {moved:?}"
        );

        sensor.watch(&at("stays"))?;
        fs::write(at("stays/below/another.bin"), b"another")?;
        let another = read("stays/below/another.bin")?;
        let told = opens(&mut sensor)?;
        ensure!(
            told == [another],
            "{tier}: {told:?} instead of {another:?}, which is watched since"
        );
    }
    Ok(())
}

/// Has another process open and read a file: what this one does is not told.
fn read_by_another(cache: &Cache, path: &Path) -> Result<FileId> {
    let name = path.to_str().context("a test's path is plain")?;
    let status = Target::Accesses.command(cache, &["read", name])?.status()?;
    ensure!(status.success(), "reading {name}: {status}");
    Ok(FileId::of(&fs::metadata(path)?))
}

/// The files that were opened to be read, as the programs tell, each once.
fn opens(sensor: &mut FileSensor) -> Result<Vec<FileId>> {
    let mut files = Vec::new();
    for event in sensor.sync()? {
        if let FileEvent::Access(access) = event
            && access.act == Act::Opened
            && access.seen_by != SeenBy::Fanotify
            && !files.contains(&access.file)
        {
            files.push(access.file);
        }
    }
    Ok(files)
}

/// Nanoseconds a run of both programs, over the same opens.
fn round(sensor: &FileSensor, empty: &EmptyProgram, path: &Path) -> Result<(f64, f64)> {
    let runs = || -> Result<(Runs, Runs)> {
        let ours = sensor.runs_at_opens()?.context("the tier sees opens")?;
        Ok((ours, empty.runs()?))
    };
    let (ours, nothing) = runs()?;
    for _ in 0..OPENS {
        File::open(path)?;
    }
    let (ours_after, nothing_after) = runs()?;
    let each = |before: Runs, after: Runs| -> Result<f64> {
        let count = after.count - before.count;
        // A kernel that pre-empts programs leaves some out, and counts those.
        let seen = count + after.missed - before.missed;
        ensure!(seen >= OPENS, "{seen} of {OPENS} opens were counted");
        let time = after.nanoseconds - before.nanoseconds;
        ensure!(time > 0, "no time was counted");
        Ok(time as f64 / count as f64)
    };
    Ok((each(ours, ours_after)?, each(nothing, nothing_after)?))
}

/// The median of the ratios with its interval of 95 %, and the medians of the times.
fn shown(measured: &[(f64, f64)]) -> String {
    let sorted = |of: fn(&(f64, f64)) -> f64| {
        let mut all: Vec<f64> = measured.iter().map(of).collect();
        all.sort_by(f64::total_cmp);
        all
    };
    let median = |all: Vec<f64>| all[all.len() / 2];
    let ratios = sorted(|(ours, nothing)| ours / nothing);
    // How many values lie below the true median is binomial, whatever their distribution.
    let away = (1.96 * (ratios.len() as f64).sqrt() / 2.0).ceil() as usize;
    let middle = ratios.len() / 2;
    let (low, high) = (ratios[middle - away], ratios[middle + away]);
    format!(
        "{:.2} ({low:.2} to {high:.2}) times an empty program, {:.0} and {:.0} ns",
        median(ratios),
        median(sorted(|(ours, _)| *ours)),
        median(sorted(|(_, nothing)| *nothing)),
    )
}

/// What is opened, by where it lies.
struct Files {
    watched: PathBuf,
    paths: Vec<(&'static str, PathBuf)>,
    _watched_system: Mounted,
    _other_system: Mounted,
}

impl Files {
    fn make() -> Result<Self> {
        let (system, other) = (Mounted::new("tmpfs")?, Mounted::new("tmpfs")?);
        let watched = system.path().join("watched");
        let below =
            |depth: usize| (0..depth).fold(system.path().join("other"), |at, _| at.join("d"));
        let mut paths = Vec::new();
        for (what, folder) in [
            ("another file system", other.path().to_owned()),
            ("not watched, 2 folders deep", below(1)),
            ("not watched, 8 folders deep", below(7)),
            ("not watched, 32 folders deep", below(31)),
            ("watched", watched.clone()),
        ] {
            fs::create_dir_all(&folder)?;
            let path = folder.join("model.bin");
            fs::write(&path, b"a model")?;
            paths.push((what, path));
        }
        Ok(Self {
            watched,
            paths,
            _watched_system: system,
            _other_system: other,
        })
    }
}

/// The kernel counts the time in programs until this is dropped.
struct Counting;

impl Counting {
    fn switch_on() -> Result<Self> {
        fs::write(SWITCH, "1").context(SWITCH)?;
        Ok(Self)
    }
}

impl Drop for Counting {
    fn drop(&mut self) {
        // It costs a few nanoseconds a run if it stays on.
        let _ = fs::write(SWITCH, "0");
    }
}
