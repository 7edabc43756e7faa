//! Opening the very file that a process maps, whatever its paths say now.

use std::{
    fs::{File, Metadata, OpenOptions},
    io,
    os::{
        fd::AsRawFd,
        unix::fs::{MetadataExt, OpenOptionsExt},
    },
    path::{Path, PathBuf},
};

use super::{Mapping, ProcessError, inside::open_inside};

/// `OVERLAYFS_SUPER_MAGIC` of include/uapi/linux/magic.h, and those of ext2 to ext4, XFS and tmpfs.
const OVERLAYFS: libc::c_long = 0x794c_7630;
const EXT: libc::c_long = 0xef53;
const XFS: libc::c_long = 0x5846_5342;
const TMPFS: libc::c_long = 0x0102_1994;

/// A file by what the kernel knows it by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId {
    /// Device number in the kernel's encoding, `major << 20 | minor`.
    pub device: u32,
    /// Inode number.
    pub inode: u64,
}

impl FileId {
    /// What `stat` says of a file.
    #[must_use]
    pub fn of(metadata: &Metadata) -> Self {
        let device = metadata.dev();
        let device = libc::major(device) << 20 | libc::minor(device);
        Self {
            device,
            inode: metadata.ino(),
        }
    }

    /// Whether the file lies on a device that the kernel itself reads. Others (major number 0) are
    /// file systems such as FUSE, which somebody else answers for, and overlays, which may lie on one.
    pub(crate) fn is_on_a_block_device(self) -> bool {
        self.device >> 20 != 0
    }
}

/// What tells whether two open files are one inode to a probe: a probe sits on the real inode, and
/// every overlay mount above it shows that one under a device number of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum InodeKey {
    /// An ordinary file system.
    File(FileId),
    /// A file in an overlay: its times and size are those of the real inode.
    Overlay(Stamp),
}

/// Inode number, size and times of a file, without its device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Stamp {
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// A file held open, so that its inode number is not given to another file meanwhile.
#[derive(Debug)]
pub struct MappedFile {
    file: File,
    metadata: Metadata,
    path: PathBuf,
    /// `f_type` of statfs(2).
    system: libc::c_long,
}

impl MappedFile {
    /// Opens the file behind a mapping of `pid`.
    ///
    /// # Errors
    /// If the process has ended, the mapping is gone, or the file at its path is another by now.
    pub fn open(pid: u32, mapping: &Mapping) -> Result<Self, ProcessError> {
        let Mapping { start, end, .. } = mapping;
        let link = PathBuf::from(format!("/proc/{pid}/map_files/{start:x}-{end:x}"));
        let refused = match open_regular(&link) {
            Ok((file, metadata)) => return Self::new(file, metadata, &mapping.path),
            Err(error) => error,
        };
        // Without CAP_SYS_ADMIN or CAP_CHECKPOINT_RESTORE, map_files cannot be followed.
        if refused.kind() != io::ErrorKind::PermissionDenied {
            return Err(ProcessError::reading(&link, pid, refused));
        }
        let (file, metadata) = open_inside(pid, &mapping.path)
            .and_then(|file| file.metadata().map(|metadata| (file, metadata)))
            .map_err(|error| ProcessError::reading(&mapping.path, pid, error))?;
        if mapping.deleted || FileId::of(&metadata).inode != mapping.file.inode {
            return Err(ProcessError::Replaced {
                pid,
                path: mapping.path.clone(),
            });
        }
        Self::new(file, metadata, &mapping.path)
    }

    /// Opens a library that perhaps nobody maps yet.
    ///
    /// # Errors
    /// If it is not a regular file that can be read.
    pub fn open_path(path: &Path) -> io::Result<Self> {
        let (file, metadata) = open_regular(path)?;
        Self::new(file, metadata, path).map_err(io::Error::other)
    }

    fn new(file: File, metadata: Metadata, path: &Path) -> Result<Self, ProcessError> {
        let system = file_system(&file).map_err(|cause| ProcessError::Unreadable {
            path: path.to_owned(),
            cause,
        })?;
        Ok(Self {
            file,
            metadata,
            path: path.to_owned(),
            system,
        })
    }

    /// The open file.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    /// What `stat` says it is.
    #[must_use]
    pub fn id(&self) -> FileId {
        FileId::of(&self.metadata)
    }

    /// The path under which it was found.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The keys under which the inode may be known already.
    pub(crate) fn keys(&self) -> [InodeKey; 2] {
        let stamp = InodeKey::Overlay(Stamp::of(&self.metadata));
        [InodeKey::File(self.id()), stamp]
    }

    /// Whether its size and times are still those that it was opened with.
    pub(crate) fn is_unchanged(&self) -> bool {
        let now = self.file.metadata();
        now.is_ok_and(|now| Stamp::of(&now) == Stamp::of(&self.metadata))
    }

    /// Whether the file lies in an overlay.
    pub(crate) fn is_on_overlay(&self) -> bool {
        self.system == OVERLAYFS
    }

    /// Whether `mapped`, what the kernel calls the file where it is mapped, together with the inode's
    /// generation is no other file's. That is so where a new inode gets a generation of its own and `stat`
    /// says the same; on btrfs the kernel's name is that of a file in each subvolume.
    pub(crate) fn has_its_own_number(&self, mapped: FileId) -> bool {
        matches!(self.system, EXT | XFS | TMPFS) && self.id() == mapped
    }
}

/// Opens without blocking on what turns out to be a FIFO or a device.
fn open_regular(path: &Path) -> io::Result<(File, Metadata)> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    Ok((file, metadata))
}

/// What kind of file system a file lies on, by its magic number.
fn file_system(file: &File) -> io::Result<libc::c_long> {
    // SAFETY: statfs is plain old data, for which all zeroes is a value.
    let mut answer: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: the descriptor is open, and `answer` lives through the call.
    if unsafe { libc::fstatfs(file.as_raw_fd(), &raw mut answer) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(answer.f_type)
}
