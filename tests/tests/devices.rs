//! What is done below a file system, past it, or by the kernel for it, on a loop device of the test's
//! own: C25, C28 and C29 of the list of ways around an auditor. Needs root.

use std::{
    fs::{self, File, OpenOptions},
    io::Read,
    os::unix::fs::{FileExt, MetadataExt},
    path::{Path, PathBuf},
    process::{Command, Output},
};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;
use serde_json::Value;
use tracer_event::{Body, Recorded, file::FileAct};
use tracer_tests::{
    cache::Cache,
    disk::Disk,
    package::sha256_of,
    requires_root, tracer,
    watching::{PATIENCE, Watching},
    workload::Target,
};

/// Stands in a model's first bytes, and nowhere else on its disk.
const MARK: &[u8] = b"the first weights of a model that was signed";
const SIZE: usize = 256 << 10;

/// A folder with a model, whose bytes are on the disk, and a list that names them.
fn model(disk: &Disk) -> Result<Model> {
    let folder = disk.root().join("model");
    fs::create_dir(&folder)?;
    let file = folder.join("weights.bin");
    let mut bytes = vec![0x5a; SIZE];
    bytes[..MARK.len()].copy_from_slice(MARK);
    fs::write(&file, bytes)?;
    // The mark is looked for in the image.
    rustix::fs::syncfs(File::open(&file)?)?;
    let list = disk.beside().join("SHA256SUMS");
    fs::write(&list, format!("{}  weights.bin\n", sha256_of(&file)?))?;
    Ok(Model { folder, file, list })
}

/// Writes over the model's first byte where it lies on the disk, past the mounted file system.
fn write_below(disk: &Disk, byte: u8) -> Result<()> {
    let image = OpenOptions::new()
        .read(true)
        .write(true)
        .open(disk.image())?;
    let mut bytes = Vec::new();
    (&image).read_to_end(&mut bytes)?;
    let rest = &MARK[1..];
    let mut places = (1..bytes.len() - rest.len()).filter(|at| bytes[*at..].starts_with(rest));
    let at = places.next().context("the model is not on the disk")?;
    ensure!(places.next().is_none(), "the mark is on the disk twice");
    image.write_all_at(&[byte], at as u64 - 1)?;
    Ok(image.sync_all()?)
}

struct Model {
    folder: PathBuf,
    file: PathBuf,
    list: PathBuf,
}

impl Model {
    fn verify(&self, more: &[&str]) -> Result<Verified> {
        let output = Command::new(tracer::binary()?)
            .args(["verify", "-o", "json", "--sha256sums"])
            .arg(&self.list)
            .args(more)
            .arg(&self.folder)
            .output()?;
        Verified::read(&output)
    }

    /// Lets the kernel check it from now on, and says the digest that it checks against.
    fn checked_by_the_kernel(&self) -> Result<String> {
        let enabled = Target::Accesses
            .command(&Cache::open()?, &["verity"])?
            .arg(&self.file)
            .output()?;
        ensure!(enabled.status.success(), "{enabled:?}");
        Ok(String::from_utf8(enabled.stdout)?.trim().to_owned())
    }

    /// Reads it into the page cache, as who serves it does, and says the first byte.
    fn served(&self) -> Result<u8> {
        Ok(fs::read(&self.file)?[0])
    }

    /// Takes it out of the page cache.
    fn forgotten(&self) -> Result<()> {
        let file = File::open(&self.file)?;
        file.sync_all()?;
        Ok(rustix::fs::fadvise(
            &file,
            0,
            None,
            rustix::fs::Advice::DontNeed,
        )?)
    }
}

/// What `tracer verify` said of the one file.
#[derive(Debug)]
struct Verified {
    status: Option<i32>,
    file: Value,
}

impl Verified {
    fn read(output: &Output) -> Result<Self> {
        let said: Value = serde_json::from_slice(&output.stdout)
            .with_context(|| format!("it does not answer: {output:?}"))?;
        Ok(Self {
            status: output.status.code(),
            file: said["predicate"]["tracer_files"][0].clone(),
        })
    }

    fn is(&self, status: i32, finding: &str) {
        assert_eq!(self.status, Some(status), "{self:?}");
        assert_eq!(self.file["finding"], finding, "{self:?}");
    }
}

/// Whoever maps the file goes on to see what the page cache has: that is what is verified, and the
/// comparison with the disk tells the rest.
#[test]
fn c25_bytes_written_below_a_mounted_file_system_are_told_by_the_disk() -> Result<()> {
    requires_root!();
    let Some(disk) = Disk::new(16)? else {
        return Ok(());
    };
    let model = model(&disk)?;
    assert_eq!(model.served()?, MARK[0]);
    let mut watching = Watching::start(None, &model.folder)?;
    write_below(&disk, b'!')?;
    let reader = read(&model.file)?;
    let first = watching.find("an access", PATIENCE, |line| match &line.body {
        Body::FileAccess(_) => Some(line.place.pid),
        _ => None,
    })?;
    assert_eq!(
        first.map(|pid| pid.0),
        Some(reader),
        "the write was told, which is a blind spot"
    );
    drop(watching);
    assert_eq!(model.served()?, MARK[0], "it is served from memory");
    model.verify(&[])?.is(0, "match");
    model
        .verify(&["--check-disk"])?
        .is(1, "disk differs from page cache");

    model.forgotten()?;
    assert_eq!(model.served()?, b'!', "it comes from the disk");
    model.verify(&[])?.is(1, "mismatch");
    Ok(())
}

/// As bugs of the kernel do that write to pages of files that are only read: nothing on the disk and no
/// time tells of it.
#[test]
fn c25_bytes_that_are_only_in_the_page_cache_are_not_verified() -> Result<()> {
    requires_root!();
    let Some(disk) = Disk::new(16)? else {
        return Ok(());
    };
    let model = model(&disk)?;
    let before = fs::metadata(&model.file)?;
    write_below(&disk, b'!')?;
    model.forgotten()?;
    assert_eq!(model.served()?, b'!');
    write_below(&disk, MARK[0])?;
    let after = fs::metadata(&model.file)?;
    assert_eq!(
        (before.ctime(), before.ctime_nsec(), before.mtime_nsec()),
        (after.ctime(), after.ctime_nsec(), after.mtime_nsec())
    );
    model.verify(&[])?.is(1, "mismatch");
    model.forgotten()?;
    model.verify(&["--check-disk"])?.is(0, "match");
    Ok(())
}

#[test]
#[ignore = "runs in guests, whose kernels have fs-verity"]
fn c29_a_file_that_the_kernel_checks_is_g3() -> Result<()> {
    requires_root!();
    let Some(disk) = Disk::new(16)? else {
        return Ok(());
    };
    let model = model(&disk)?;
    let measured = model.checked_by_the_kernel()?;

    let verified = model.verify(&[])?;
    verified.is(0, "match");
    assert_eq!(verified.file["guarantee"], "G3", "{verified:?}");
    let reason = verified.file["reason"]
        .as_str()
        .context("a reason is given")?;
    assert_eq!(reason, format!("fs-verity digest {measured}"));

    // What the kernel vouches for is that the bytes stay, not that they are the right ones.
    let another = "0".repeat(64);
    fs::write(&model.list, format!("{another}  weights.bin\n"))?;
    model.verify(&[])?.is(1, "mismatch");
    Ok(())
}

#[test]
#[ignore = "runs in guests, whose kernels have fs-verity"]
fn c29_a_block_that_the_kernel_refuses_is_not_verified() -> Result<()> {
    requires_root!();
    let Some(mut disk) = Disk::new(16)? else {
        return Ok(());
    };
    let model = model(&disk)?;
    model.checked_by_the_kernel()?;
    disk.unmount()?;
    write_below(&disk, b'!')?;
    disk.mount()?;
    let read = fs::read(&model.file).expect_err("the kernel refuses the block");
    ensure!(read.raw_os_error() == Some(5), "{read}");
    model.verify(&[])?.is(2, "failed");
    Ok(())
}

/// ext4 gives a new file the number of the one that was deleted last.
#[test]
fn c28_a_number_that_is_used_again_is_another_file() -> Result<()> {
    requires_root!();
    let Some(disk) = Disk::new(16)? else {
        return Ok(());
    };
    let folder = disk.root().join("watched");
    fs::create_dir(&folder)?;
    let make = |path: &Path| -> Result<u64> {
        fs::write(path, b"a model")?;
        Ok(fs::metadata(path)?.ino())
    };
    let first = folder.join("first");
    let number = make(&first)?;
    let mut watching = Watching::start(None, &folder)?;
    let reader = read(&first)?;
    assert_eq!(path_of_access(&mut watching, reader, number)?, first);

    // All of it is told at once, so that the end of the first file comes with the begin of the second.
    watching.signal(Signal::STOP)?;
    fs::remove_file(&first)?;
    let second = folder.join("second");
    assert_eq!(make(&second)?, number, "the number was not used again");
    let reader = read(&second)?;
    watching.signal(Signal::CONT)?;
    let told = path_of_access(&mut watching, reader, number)?;
    // Where no program sees the open, the tracer cannot know yet which of the two was read.
    let is_late =
        watching.watched.tier.as_str() == "tracepoint" && watching.is_blind_to("reused_numbers");
    assert!(told == second || (told == first && is_late), "{told:?}");
    // It stays watched when the first one's end has long been told.
    let third = folder.join("third");
    make(&third)?;
    let reader = read(&third)?;
    let other = fs::metadata(&third)?.ino();
    assert_eq!(path_of_access(&mut watching, reader, other)?, third);
    let reader = read(&second)?;
    assert_eq!(path_of_access(&mut watching, reader, number)?, second);

    // Outside of the watched folder it is nobody's concern. What was told so far may name the second file
    // as the end of the first one.
    watching.seen.clear();
    fs::remove_file(&second)?;
    watching.until("the end of the second file", PATIENCE, |_, access| {
        let is_second =
            |path: &Recorded| matches!(path, Recorded::Text(path) if Path::new(path) == second);
        access.act == FileAct::Deleted && access.path.value().is_some_and(is_second)
    })?;
    let outside = disk.root().join("outside");
    assert_eq!(make(&outside)?, number, "the number was not used again");
    let stranger = read(&outside)?;
    let reader = read(&third)?;
    assert_eq!(
        whose_access(&mut watching, &[stranger, reader])?,
        reader,
        "an access to a file that nobody watches was told"
    );
    Ok(())
}

/// Reads a file in a process of its own, and says which that was.
fn read(path: &Path) -> Result<u32> {
    let mut command = Target::Accesses.command(&Cache::open()?, &["read"])?;
    let mut child = command.arg(path).spawn()?;
    ensure!(child.wait()?.success(), "{} was not read", path.display());
    Ok(child.id())
}

/// Which of these processes is told first to have had an access.
fn whose_access(watching: &mut Watching, of: &[u32]) -> Result<u32> {
    watching.find("an access", PATIENCE, |line| match &line.body {
        Body::FileAccess(_) => line
            .place
            .pid
            .map(|pid| pid.0)
            .filter(|pid| of.contains(pid)),
        _ => None,
    })
}

/// Where the file is that a process has had an access to, as the first one tells it.
fn path_of_access(watching: &mut Watching, pid: u32, inode: u64) -> Result<PathBuf> {
    let access = watching.until("the access", PATIENCE, |line, _| {
        line.place.pid.is_some_and(|seen| seen.0 == pid)
    })?;
    assert_eq!(access.inode.inode, inode, "{access:?}");
    match access.path.value() {
        Some(Recorded::Text(path)) => Ok(PathBuf::from(path)),
        other => bail!("its path is not known: {other:?}"),
    }
}
