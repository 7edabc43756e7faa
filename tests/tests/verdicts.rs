//! Verdicts on the files of loaded models are about the bytes that the process has mapped, whatever lies
//! at their path. Needs root and BPF.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io,
    os::{
        fd::AsRawFd,
        unix::fs::{FileExt, MetadataExt, PermissionsExt},
    },
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use rustix::fs::{MemfdFlags, memfd_create};
use tempfile::TempDir;
use tracer_event::{
    Body, Known, Recorded,
    integrity::{FileVerdict, VerdictGuarantee, VerdictOutcome},
};
use tracer_tests::{
    cache::Cache,
    disk::Disk,
    model::{self, TINY},
    package::sha256_of,
    privilege::{is_root, met_or_skipped},
    requires_root,
    tracer::{Line, Tracing},
    workload::{Place, Running, Runtime, Target},
};

/// A model of its own in a folder that every user can read, and a list that names it.
struct Bench {
    folder: TempDir,
    cache: Cache,
}

impl Bench {
    fn new() -> Result<Self> {
        Self::in_folder(tempfile::tempdir()?)
    }

    fn in_folder(folder: TempDir) -> Result<Self> {
        let cache = Cache::open()?;
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755))?;
        fs::copy(
            model::model(&cache, TINY)?,
            folder.path().join("model.gguf"),
        )?;
        let bench = Self { folder, cache };
        let digest = sha256_of(&bench.model())?;
        fs::write(
            bench.list(),
            format!("{digest}  whatever/it/is/called.gguf\n"),
        )?;
        Ok(bench)
    }

    fn model(&self) -> PathBuf {
        self.folder.path().join("model.gguf")
    }

    fn list(&self) -> PathBuf {
        self.folder.path().join("SHA256SUMS")
    }

    /// A process that has the model loaded.
    fn loaded(&self) -> Result<Running> {
        let mut running = self.before_load(&self.model(), Place::Host)?;
        running.go()?;
        running.until_waiting()?;
        Ok(running)
    }

    /// A process that waits before it loads a model.
    fn before_load(&self, model: &Path, place: Place) -> Result<Running> {
        let load = format!("load={}", model.display());
        let steps = [
            "wait", &load, "context", "wait", "generate", "wait=end", "free", "unload",
        ];
        let command = Runtime::NodeLlamaCpp.command(&self.cache, TINY, &steps)?;
        let mut running = Running::start(command, place)?;
        running.until_waiting()?;
        Ok(running)
    }

    /// The verdict on the model that the process has loaded.
    fn verdict(&self, running: &mut Running, inode: u64) -> Result<FileVerdict<Recorded>> {
        let list = self.list().display().to_string();
        let pid = running.pid().to_string();
        let mut tracing = Tracing::start(&["--pid", &pid, "--verify-sha256sums", &list])?;
        tracing.until_attached(running.pid())?;
        // A model that was there before is known by the first thing that it does.
        running.go()?;
        // Other files may be named on the command line.
        let is_ours = |line: &Line| {
            matches!(&line.body, Body::FileVerdict(verdict)
                if verdict.inode.value().is_some_and(|found| found.inode == inode))
        };
        let line = tracing.until(is_ours)?;
        running.until_waiting()?;
        let trace = tracing.interrupt()?;
        let loaded = trace
            .of(running.pid())
            .position(|line| matches!(line.body, Body::ModelLoaded(_)));
        let told = trace
            .of(running.pid())
            .position(|line| matches!(line.body, Body::FileVerdict(_)));
        assert!(loaded.context("the model was not seen")? < told.context("no verdict")?);
        match line.body {
            Body::FileVerdict(verdict) => Ok(*verdict),
            other => bail!("not what was waited for: {other:?}"),
        }
    }
}

#[test]
fn the_mapped_file_of_a_loaded_model_is_verified_by_its_bytes() -> Result<()> {
    requires_root!();
    let bench = Bench::new()?;
    let inode = fs::metadata(bench.model())?.ino();
    let mut running = bench.loaded()?;
    let verdict = bench.verdict(&mut running, inode)?;
    running.go()?;
    running.finish()?;
    assert_eq!(verdict.outcome, VerdictOutcome::Verified, "{verdict:?}");
    assert_eq!(
        verdict.guarantee,
        Known::Known(VerdictGuarantee::G2),
        "{verdict:?}"
    );
    let metadata = fs::metadata(bench.model())?;
    assert_eq!(verdict.size, Known::Known(metadata.len()));
    let digest = verdict.digest.value().context("the digest is known")?;
    assert_eq!(
        digest.to_string(),
        format!("sha256:{}", sha256_of(&bench.model())?)
    );
    Ok(())
}

#[test]
fn a_good_file_at_the_path_does_not_vouch_for_another_that_is_mapped() -> Result<()> {
    requires_root!();
    let bench = Bench::new()?;
    let good = bench.folder.path().join("good");
    fs::copy(bench.model(), &good)?;
    let changed = OpenOptions::new().write(true).open(bench.model())?;
    changed.write_all_at(&[1, 2, 3], fs::metadata(bench.model())?.len() - 1000)?;
    drop(changed);
    let inode = fs::metadata(bench.model())?.ino();
    let mut running = bench.loaded()?;
    fs::rename(&good, bench.model())?;
    let verdict = bench.verdict(&mut running, inode)?;
    running.go()?;
    running.finish()?;
    assert_eq!(verdict.outcome, VerdictOutcome::NotVerified, "{verdict:?}");
    assert_ne!(inode, fs::metadata(bench.model())?.ino());
    Ok(())
}

/// Fails unless nobody can say what the bytes are that the process reads.
fn assert_not_vouched_for(verdict: &FileVerdict<Recorded>) {
    assert_eq!(verdict.outcome, VerdictOutcome::Undetermined, "{verdict:?}");
    let guarantee = Known::Known(VerdictGuarantee::G0);
    assert_eq!(verdict.guarantee, guarantee, "{verdict:?}");
}

#[test]
fn a_mapped_file_that_somebody_can_write_is_never_verified() -> Result<()> {
    requires_root!();
    let bench = Bench::new()?;
    let inode = fs::metadata(bench.model())?.ino();
    let mut running = bench.loaded()?;
    let writer = OpenOptions::new().append(true).open(bench.model())?;
    let verdict = bench.verdict(&mut running, inode)?;
    drop(writer);
    running.go()?;
    running.finish()?;
    assert_not_vouched_for(&verdict);
    Ok(())
}

/// A6: a copy in memory, which whoever made it can still write to. Its bytes are those that are listed.
#[test]
fn a6_a_copy_in_memory_that_can_be_written_is_never_verified() -> Result<()> {
    requires_root!();
    let bench = Bench::new()?;
    // Whoever is started from here has it under the same number.
    let mut copy = File::from(memfd_create("copy", MemfdFlags::empty())?);
    io::copy(&mut File::open(bench.model())?, &mut copy)?;
    let inode = copy.metadata()?.ino();
    let path = PathBuf::from(format!("/proc/self/fd/{}", copy.as_raw_fd()));
    let mut running = bench.before_load(&path, Place::Host)?;
    running.go()?;
    running.until_waiting()?;
    let verdict = bench.verdict(&mut running, inode)?;
    running.go()?;
    running.finish()?;
    assert_not_vouched_for(&verdict);
    Ok(())
}

/// A8: in a container with its own root another file has the path of a good one.
#[test]
fn a8_a_container_is_verified_by_what_it_has_at_a_path() -> Result<()> {
    requires_root!();
    // The container has a folder of this name too, which is another one.
    let bench = Bench::in_folder(tempfile::tempdir_in("/tmp")?)?;
    let good = fs::read(bench.model())?;
    for (changed, outcome) in [
        (0, VerdictOutcome::Verified),
        (3, VerdictOutcome::NotVerified),
    ] {
        let mut running = bench.before_load(&bench.model(), Place::Container)?;
        let root = PathBuf::from(format!("/proc/{}/root", running.pid()));
        let inside = |path: &Path| -> Result<PathBuf> { Ok(root.join(path.strip_prefix("/")?)) };
        let folder = inside(bench.folder.path())?;
        fs::create_dir(&folder)?;
        fs::set_permissions(&folder, Permissions::from_mode(0o755))?;
        let mut bytes = good.clone();
        let end = bytes.len() - 1000;
        bytes[end..end + changed].fill(0x77);
        let model = inside(&bench.model())?;
        fs::write(&model, bytes)?;
        fs::set_permissions(&model, Permissions::from_mode(0o644))?;
        let inode = fs::metadata(&model)?.ino();
        running.go()?;
        running.until_waiting()?;
        let verdict = bench.verdict(&mut running, inode)?;
        running.go()?;
        running.finish()?;
        assert_eq!(verdict.outcome, outcome, "{verdict:?}");
    }
    Ok(())
}

#[test]
fn a_verdict_is_taken_back_when_somebody_may_have_written() -> Result<()> {
    let reason = taken_back(|bench| {
        let writer = OpenOptions::new().write(true).open(bench.model())?;
        Ok(writer.write_all_at(b"x", 100)?)
    })?;
    assert!(reason.is_none_or(|reason| reason == "it was opened for writing, or written, since"));
    Ok(())
}

/// D31: 20,000 processes read the file within seconds, and the table of accesses has room for 16,384.
#[test]
fn a_verdict_is_taken_back_when_events_about_writers_were_lost() -> Result<()> {
    let reason = taken_back(|bench| {
        let mut crowd = Target::Accesses.command(&bench.cache, &["crowd"])?;
        ensure!(
            crowd.arg(bench.model()).status()?.success(),
            "it went wrong"
        );
        Ok(())
    })?;
    assert!(reason.is_none_or(|reason| reason == "events about writers were lost since"));
    Ok(())
}

/// C28: ext4 gives a new file the number of the one that was deleted last.
#[test]
fn c28_a_verdict_is_not_inherited_with_an_inodes_number() -> Result<()> {
    requires_root!();
    if std::env::var_os("TRACER_FULL").is_none() {
        println!(
            "not run: a load's snapshot may say that nothing is mapped yet; TRACER_FULL=1 runs it"
        );
        return Ok(());
    }
    let Some(disk) = Disk::new(64)? else {
        return Ok(());
    };
    let bench = Bench::in_folder(tempfile::tempdir_in(disk.root())?)?;
    let bytes = fs::read(bench.model())?;
    let inode = fs::metadata(bench.model())?.ino();
    let list = bench.list().display().to_string();
    let mut tracing = Tracing::start(&["--verify-sha256sums", &list])?;
    let verdict = |running: &mut Running, tracing: &mut Tracing| -> Result<FileVerdict<Recorded>> {
        let pid = running.pid();
        tracing.until_attached(pid)?;
        running.go()?;
        // Its load is seen or not.
        let line = tracing.find(|line| {
            let is_ours = |verdict: &FileVerdict<Recorded>| {
                verdict.inode.value().is_some_and(|at| at.inode == inode)
            };
            line.place.pid.is_some_and(|seen| seen.0 == pid)
                && matches!(&line.body, Body::FileVerdict(verdict) if is_ours(verdict))
        })?;
        running.until_waiting()?;
        match line.body {
            Body::FileVerdict(verdict) => Ok(*verdict),
            other => bail!("not what was waited for: {other:?}"),
        }
    };

    let mut first = bench.loaded()?;
    let found = verdict(&mut first, &mut tracing)?;
    assert_eq!(found.outcome, VerdictOutcome::Verified, "{found:?}");
    first.go()?;
    first.finish()?;
    fs::remove_file(bench.model())?;
    let another = until_it_has_the_number(&bench.model(), inode)?;
    another.write_all_at(&bytes, 0)?;
    another.write_all_at(&[1, 2, 3], bytes.len() as u64 - 1000)?;
    drop(another);
    let mut second = bench.loaded()?;
    let found = verdict(&mut second, &mut tracing)?;
    assert_eq!(found.outcome, VerdictOutcome::NotVerified, "{found:?}");
    second.go()?;
    second.finish()?;
    tracing.interrupt()?;
    Ok(())
}

/// Makes files until one has the number; it is free once the tracer has closed the file that had it.
fn until_it_has_the_number(path: &Path, inode: u64) -> Result<File> {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let file = File::create_new(path)?;
        if file.metadata()?.ino() == inode {
            return Ok(file);
        }
        fs::remove_file(path)?;
        ensure!(
            Instant::now() < deadline,
            "the number was not used again: the file that had it is still open"
        );
        thread::sleep(Duration::from_millis(10));
    }
}

/// Waits until a model is verified, does something, and says why the verdict was taken back then.
fn taken_back(act: impl FnOnce(&Bench) -> Result<()>) -> Result<Option<String>> {
    if !met_or_skipped(is_root(), "root") {
        return Ok(None);
    }
    let bench = Bench::new()?;
    let inode = fs::metadata(bench.model())?.ino();
    let mut running = bench.loaded()?;
    let list = bench.list().display().to_string();
    let pid = running.pid().to_string();
    let mut tracing = Tracing::start(&["--pid", &pid, "--verify-sha256sums", &list])?;
    tracing.until_attached(running.pid())?;
    running.go()?;
    let says = |line: &Line, outcome| {
        matches!(&line.body, Body::FileVerdict(verdict)
            if verdict.inode.value().is_some_and(|found| found.inode == inode)
                && verdict.outcome == outcome)
    };
    tracing.until(|line| says(line, VerdictOutcome::Verified))?;
    act(&bench)?;
    let line = tracing.until(|line| says(line, VerdictOutcome::Undetermined))?;
    running.until_waiting()?;
    running.go()?;
    running.finish()?;
    tracing.interrupt()?;
    let Body::FileVerdict(verdict) = line.body else {
        bail!("not what was waited for: {line:?}");
    };
    Ok(Some(verdict.reason.as_str().to_owned()))
}
