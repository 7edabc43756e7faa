//! What is done below a file system, past it, or by the kernel for it, on a loop device of the test's
//! own: C25 and C29 of the list of ways around an auditor. Needs root.

use std::{
    fs::{self, File, OpenOptions},
    io::Read,
    os::unix::fs::{FileExt, MetadataExt},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::mpsc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use rustix::mount::{UnmountFlags, unmount};
use serde_json::Value;
use tempfile::TempDir;
use tracer_event::Body;
use tracer_tests::{
    cache::Cache,
    package::sha256_of,
    requires_root,
    tracer::{self, Line},
    workload::Target,
};

/// How long something may take on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Stands in a model's first bytes, and nowhere else on its disk.
const MARK: &[u8] = b"the first weights of a model that was signed";
const SIZE: usize = 256 << 10;

/// An ext4 file system in a file; taken off again when it is dropped.
struct Disk {
    image: PathBuf,
    folder: TempDir,
    mounted: bool,
}

impl Disk {
    /// Makes and mounts it, with what fs-verity needs; none where this host has no loop devices.
    fn new() -> Result<Option<Self>> {
        if !Path::new("/dev/loop-control").exists() {
            println!("not run: this host has no loop devices");
            return Ok(None);
        }
        let folder = tempfile::tempdir()?;
        let image = folder.path().join("image");
        File::create(&image)?.set_len(16 << 20)?;
        let options = ["-q", "-b", "4096", "-O", "verity"];
        let made = Command::new("mkfs.ext4")
            .args(options)
            .arg(&image)
            .output()
            .context("mkfs.ext4 is missing: run scripts/setup")?;
        ensure!(made.status.success(), "mkfs.ext4: {made:?}");
        fs::create_dir(folder.path().join("mounted"))?;
        let mut disk = Self {
            image,
            folder,
            mounted: false,
        };
        disk.mount()?;
        Ok(Some(disk))
    }

    fn mount(&mut self) -> Result<()> {
        let mounted = Command::new("mount")
            .args(["-o", "loop"])
            .args([&self.image, &self.root()])
            .output()?;
        ensure!(mounted.status.success(), "mount: {mounted:?}");
        self.mounted = true;
        Ok(())
    }

    fn unmount(&mut self) -> Result<()> {
        unmount(self.root(), UnmountFlags::empty())?;
        self.mounted = false;
        Ok(())
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("mounted")
    }

    /// A folder with a model, whose bytes are on the disk, and a list that names them.
    fn model(&self) -> Result<Model> {
        let folder = self.root().join("model");
        fs::create_dir(&folder)?;
        let file = folder.join("weights.bin");
        let mut bytes = vec![0x5a; SIZE];
        bytes[..MARK.len()].copy_from_slice(MARK);
        fs::write(&file, bytes)?;
        // The mark is looked for in the image.
        rustix::fs::syncfs(File::open(&file)?)?;
        let list = self.folder.path().join("SHA256SUMS");
        fs::write(&list, format!("{}  weights.bin\n", sha256_of(&file)?))?;
        Ok(Model { folder, file, list })
    }

    /// Writes over the model's first byte where it lies on the disk, past the mounted file system.
    fn write_below(&self, byte: u8) -> Result<()> {
        let image = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&self.image)?;
        let mut bytes = Vec::new();
        (&image).read_to_end(&mut bytes)?;
        let rest = &MARK[1..];
        let mut places = (1..bytes.len() - rest.len()).filter(|at| bytes[*at..].starts_with(rest));
        let at = places.next().context("the model is not on the disk")?;
        ensure!(places.next().is_none(), "the mark is on the disk twice");
        image.write_all_at(&[byte], at as u64 - 1)?;
        Ok(image.sync_all()?)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if self.mounted {
            // Also where something of the test holds it still.
            let _ = unmount(self.root(), UnmountFlags::DETACH);
        }
    }
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
    let Some(disk) = Disk::new()? else {
        return Ok(());
    };
    let model = disk.model()?;
    assert_eq!(model.served()?, MARK[0]);
    let cache = Cache::open()?;
    let watching = Watching::start(&model.folder)?;
    disk.write_below(b'!')?;
    let reader = read(&cache, &model.file)?;
    assert_eq!(
        watching.who_has_access()?,
        reader,
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
    let Some(disk) = Disk::new()? else {
        return Ok(());
    };
    let model = disk.model()?;
    let before = fs::metadata(&model.file)?;
    disk.write_below(b'!')?;
    model.forgotten()?;
    assert_eq!(model.served()?, b'!');
    disk.write_below(MARK[0])?;
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
    let Some(disk) = Disk::new()? else {
        return Ok(());
    };
    let model = disk.model()?;
    let cache = Cache::open()?;
    let enabled = Target::Accesses
        .command(&cache, &["verity"])?
        .arg(&model.file)
        .output()?;
    ensure!(enabled.status.success(), "{enabled:?}");
    let measured = String::from_utf8(enabled.stdout)?;

    let verified = model.verify(&[])?;
    verified.is(0, "match");
    assert_eq!(verified.file["guarantee"], "G3", "{verified:?}");
    let reason = verified.file["reason"]
        .as_str()
        .context("a reason is given")?;
    assert_eq!(reason, format!("fs-verity digest {}", measured.trim()));

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
    let Some(mut disk) = Disk::new()? else {
        return Ok(());
    };
    let model = disk.model()?;
    let cache = Cache::open()?;
    let enabled = Target::Accesses
        .command(&cache, &["verity"])?
        .arg(&model.file)
        .output()?;
    ensure!(enabled.status.success(), "{enabled:?}");
    disk.unmount()?;
    disk.write_below(b'!')?;
    disk.mount()?;
    let read = fs::read(&model.file).expect_err("the kernel refuses the block");
    ensure!(read.raw_os_error() == Some(5), "{read}");
    model.verify(&[])?.is(2, "failed");
    Ok(())
}

/// Reads a file in a process of its own, and says which that was.
fn read(cache: &Cache, path: &Path) -> Result<u32> {
    let mut command = Target::Accesses.command(cache, &["read"])?;
    let mut child = command.arg(path).spawn()?;
    ensure!(child.wait()?.success(), "{} was not read", path.display());
    Ok(child.id())
}

/// A tracer that watches; killed when it is dropped.
struct Watching {
    child: Child,
    incoming: mpsc::Receiver<Line>,
}

impl Watching {
    fn start(folder: &Path) -> Result<Self> {
        let mut child = Command::new(tracer::binary()?)
            .args(["files", "-o", "ndjson", "--watch"])
            .arg(folder)
            .stdout(Stdio::piped())
            .spawn()?;
        let incoming = tracer::lines(&mut child)?;
        let watching = Self { child, incoming };
        watching.until("what is watched", |line| {
            matches!(line.body, Body::FilesWatched(_)).then_some(())
        })?;
        Ok(watching)
    }

    fn until<T>(&self, what: &str, wanted: impl Fn(&Line) -> Option<T>) -> Result<T> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(line) = self.incoming.recv_timeout(left) else {
                bail!("{what} was not told");
            };
            if let Some(found) = wanted(&line) {
                return Ok(found);
            }
        }
    }

    /// Whose access is told next.
    fn who_has_access(&self) -> Result<u32> {
        self.until("an access", |line| match &line.body {
            Body::FileAccess(_) => line.place.pid.map(|pid| pid.0),
            _ => None,
        })
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
