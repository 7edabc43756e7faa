//! `gate = "deny"`: the kernel refuses. In guests, whose kernels let programs do that.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::{
        fd::AsRawFd,
        unix::fs::{FileExt, MetadataExt, OpenOptionsExt},
    },
    path::Path,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Result, bail, ensure};
use rustix::{fs::OFlags, process::Signal};
use tracer_tests::{disk::Disk, requires_root, tracer};

use crate::{Enforcing, LARGE, Models, accesses, cut, is_refused, sha256, soon};

const UNTIL_IT_ENDS: &str = "gate = \"deny\"\non_agent_death = \"allow\"";
const FOR_GOOD: &str = "gate = \"deny\"\non_agent_death = \"deny\"";

fn release() -> Result<Option<i32>> {
    let status = Command::new(tracer::binary()?)
        .args(["files", "--release"])
        .status()?;
    Ok(status.code())
}

#[test]
#[ignore = "runs in guests"]
fn the_kernel_lets_in_what_is_verified_and_nothing_else() -> Result<()> {
    requires_root!();
    let models = Models::new()?;
    let before = File::open(&models.bad)?;
    let writer = OpenOptions::new().append(true).open(&models.bad)?;
    let enforcing = models.enforce(UNTIL_IT_ENDS)?;
    let mut text = String::new();
    File::open(&models.good)?.read_to_string(&mut text)?;
    assert_eq!(text, "the model that was signed");
    is_refused(File::open(&models.bad))?;
    let refusal = enforcing.refusal()?;
    assert_eq!(refusal.seen_by.as_str(), "lsm");
    assert!(refusal.reason.is_some(), "{refusal:?}");
    // A descriptor from before reads, as the policy's document says, and maps nothing.
    before.read_at(&mut [0; 4], 0)?;
    let mapped = accesses("map-input", &models.bad, Stdio::from(before))?;
    ensure!(!mapped, "it was mapped");
    is_refused(OpenOptions::new().append(true).open(&models.good))?;
    is_refused(File::create(models.folder.path().join("new.bin")))?;
    ensure!(!cut(&models.good)?, "it was truncated");
    drop(writer);
    enforcing.interrupt()?;
    soon("it is refused without a tracer", || {
        File::open(&models.bad).is_ok()
    })?;
    assert_eq!(release()?, Some(1), "nothing was pinned");
    Ok(())
}

#[test]
#[ignore = "runs in guests"]
fn a_file_that_is_moved_in_opens_once_it_is_verified() -> Result<()> {
    requires_root!();
    let models = Models::new()?;
    models.list(&sha256(b"the next model"))?;
    let enforcing = models.enforce(UNTIL_IT_ENDS)?;
    let staged = models.beside.path().join("staged");
    let moved = models.folder.path().join("moved.bin");
    fs::write(&staged, b"the next model")?;
    fs::rename(&staged, &moved)?;
    soon("the new model is verified", || File::open(&moved).is_ok())?;
    fs::write(&staged, b"something else")?;
    fs::rename(&staged, &moved)?;
    is_refused(File::open(&moved))?;
    thread::sleep(Duration::from_secs(1));
    is_refused(File::open(&moved))?;
    enforcing.interrupt()
}

/// A descriptor that could write was there before the policy.
#[test]
#[ignore = "runs in guests"]
fn what_is_written_through_an_old_descriptor_is_no_longer_let_in() -> Result<()> {
    requires_root!();
    let models = Models::new()?;
    let writer = OpenOptions::new().write(true).open(&models.good)?;
    let enforcing = models.enforce(UNTIL_IT_ENDS)?;
    // While it can write, nobody vouches for the file.
    is_refused(File::open(&models.good))?;
    writer.write_at(b"THE", 0)?;
    drop(writer);
    soon("it is refused still", || File::open(&models.good).is_err())?;
    enforcing.interrupt()
}

#[test]
#[ignore = "runs in guests"]
fn the_policy_outlives_the_tracer_only_where_that_was_chosen() -> Result<()> {
    requires_root!();
    let models = Models::new()?;
    // The kernel takes its time to let go of a program.
    let opens = || File::open(&models.bad).is_ok();
    models.enforce(UNTIL_IT_ENDS)?.kill()?;
    soon("it is refused without a tracer", opens)?;

    models.enforce(FOR_GOOD)?.kill()?;
    is_refused(File::open(&models.bad))?;
    File::open(&models.good)?;
    // The next one takes over, and locks itself out of nothing.
    let next = models.enforce(FOR_GOOD)?;
    is_refused(File::open(&models.bad))?;
    File::open(&models.good)?;
    let second = Command::new(tracer::binary()?)
        .args(["files", "--enforce"])
        .arg(models.policy(FOR_GOOD)?)
        .output()?;
    assert_eq!(second.status.code(), Some(2));
    let said = String::from_utf8_lossy(&second.stderr);
    ensure!(
        said.contains("enforces a policy on this host already"),
        "{said}"
    );
    next.kill()?;
    is_refused(File::open(&models.bad))?;

    assert_eq!(release()?, Some(0));
    soon("it is refused after the release", opens)?;
    assert_eq!(release()?, Some(1));
    Ok(())
}

/// C28: when a hash ends, the number of a file that was deleted meanwhile may be another's.
#[test]
#[ignore = "runs in guests"]
fn a_file_that_was_deleted_before_it_was_hashed_is_not_let_in() -> Result<()> {
    requires_root!();
    // Of memory without a name nobody could vouch anyway.
    let Some(disk) = Disk::new(256)? else {
        return Ok(());
    };
    let models = Models::below(disk.root().as_path())?;
    models.list(&sha256(b"the next model"))?;
    let enforcing = models.enforce(UNTIL_IT_ENDS)?;
    let (large, next) = (
        models.folder.path().join("large.bin"),
        models.folder.path().join("next.bin"),
    );
    // What comes first is hashed first, and the other one waits for that; longer and longer.
    for size in (0..5).map(|doubled| LARGE << doubled) {
        let first = moved_in(&models, &large, |file| file.set_len(size))?;
        let second = moved_in(&models, &next, |mut file| file.write_all(b"the next model"))?;
        let has = |file: &File| enforcing.has_open(file);
        soon("the tracer opens it, or is done with it", || {
            has(&second) || reopened(&second).is_ok()
        })?;
        enforcing.stop()?;
        let waits = has(&first) && has(&second);
        fs::remove_file(&next)?;
        enforcing.signal(Signal::CONT)?;
        fs::remove_file(&large)?;
        if waits {
            soon("it is hashed", || !has(&second))?;
            is_refused(reopened(&second))?;
            // Where its name stays, the same bytes are let in.
            moved_in(&models, &next, |mut file| file.write_all(b"the next model"))?;
            soon("it is verified", || File::open(&next).is_ok())?;
            return enforcing.interrupt();
        }
    }
    bail!("no file had to wait until another one was hashed")
}

/// Makes a file elsewhere and moves it in. What is returned opens nothing.
fn moved_in(models: &Models, to: &Path, fill: impl FnOnce(File) -> io::Result<()>) -> Result<File> {
    let staged = models.beside.path().join("staged");
    fill(File::create(&staged)?)?;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(OFlags::PATH.bits().cast_signed())
        .open(&staged)?;
    fs::rename(&staged, to)?;
    Ok(file)
}

/// Opens a file by its inode, whatever name it has or had.
fn reopened(file: &File) -> io::Result<File> {
    File::open(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

impl Enforcing {
    /// Whether the tracer has a descriptor of this file.
    fn has_open(&self, file: &File) -> bool {
        let wanted = file.metadata().map(|file| (file.dev(), file.ino()));
        let Ok(wanted) = wanted else { return false };
        let entries = fs::read_dir(format!("/proc/{}/fd", self.child.id()));
        entries.into_iter().flatten().flatten().any(|entry| {
            fs::metadata(entry.path()).is_ok_and(|found| (found.dev(), found.ino()) == wanted)
        })
    }
}
