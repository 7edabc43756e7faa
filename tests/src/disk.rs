//! File systems of a test's own: on a loop device, or in memory.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use tempfile::TempDir;

/// An ext4 file system in a file; taken off again when it is dropped.
#[derive(Debug)]
pub struct Disk {
    folder: TempDir,
    mounted: bool,
}

impl Disk {
    /// Makes one of so many MiB and mounts it, with what fs-verity needs; none where this host has no
    /// loop devices.
    ///
    /// # Errors
    /// If it cannot be made or mounted.
    pub fn new(mebibytes: u64) -> Result<Option<Self>> {
        if !Path::new("/dev/loop-control").exists() {
            println!("not run: this host has no loop devices");
            return Ok(None);
        }
        let mut disk = Self {
            folder: tempfile::tempdir()?,
            mounted: false,
        };
        File::create(disk.image())?.set_len(mebibytes << 20)?;
        let options = ["-q", "-b", "4096", "-O", "verity"];
        let made = Command::new("mkfs.ext4")
            .args(options)
            .arg(disk.image())
            .output()
            .context("mkfs.ext4 is missing: run scripts/setup")?;
        ensure!(made.status.success(), "mkfs.ext4: {made:?}");
        fs::create_dir(disk.root())?;
        disk.mount()?;
        Ok(Some(disk))
    }

    /// Mounts it again.
    ///
    /// # Errors
    /// If it cannot be mounted.
    pub fn mount(&mut self) -> Result<()> {
        let mounted = Command::new("mount")
            .args(["-o", "loop"])
            .args([self.image(), self.root()])
            .output()?;
        ensure!(mounted.status.success(), "mount: {mounted:?}");
        self.mounted = true;
        Ok(())
    }

    /// Takes it off, so that nothing of it is in memory.
    ///
    /// # Errors
    /// If something of it is in use.
    pub fn unmount(&mut self) -> Result<()> {
        unmount(self.root(), UnmountFlags::empty())?;
        self.mounted = false;
        Ok(())
    }

    /// A folder beside the disk, for what goes with it.
    #[must_use]
    pub fn beside(&self) -> &Path {
        self.folder.path()
    }

    /// The file that holds its bytes.
    #[must_use]
    pub fn image(&self) -> PathBuf {
        self.folder.path().join("image")
    }

    /// Where it is mounted.
    #[must_use]
    pub fn root(&self) -> PathBuf {
        self.folder.path().join("mounted")
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

/// A file system without a device, such as `tmpfs`; taken off again when it is dropped.
#[derive(Debug)]
pub struct Mounted(TempDir);

impl Mounted {
    /// Mounts one of this kind on a folder of its own.
    ///
    /// # Errors
    /// If it cannot be mounted.
    pub fn new(kind: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        mount(kind, folder.path(), kind, MountFlags::empty(), None)
            .with_context(|| format!("mounting {kind}"))?;
        Ok(Self(folder))
    }

    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Also where something of the test holds it still.
        let _ = unmount(self.0.path(), UnmountFlags::DETACH);
    }
}
