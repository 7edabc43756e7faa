//! What the file programs and user space share: which inodes are watched, and what each process does
//! to them.
//!
//! The truth is a table of counters by (process, inode), [`FileAccess`]; nothing that a watched inode
//! sees is told only once. A [`FileTold`] in the ring says that there is something to read in that
//! table, so that user space need not wait for its next look.

use crate::KernelField;

/// Processes that are let through whatever is enforced: the tracer and what it starts.
pub const MAX_EXEMPT: u32 = 64;
/// Inodes that can be watched at once.
pub const MAX_WATCHED: u32 = 65_536;
/// Folders below which every file is watched.
pub const MAX_FOLDERS: u32 = 4096;
/// Processes, each with each of its files, that can be counted between two looks.
pub const MAX_ACCESSES: u32 = 16_384;
/// Processes that ended lately, of which user space may still ask.
pub const MAX_EXITED: u32 = 4096;
/// Marks of what is watched, [`FileKey::mark`]; a power of two.
pub const MAX_MARKS: u32 = 32_768;
/// Folders of which is remembered that they lie below no watched one; a power of two.
pub const MAX_CLEARED: u32 = 4096;
/// Folders that are looked at above a file that is not watched yet.
pub const MAX_FOLDER_DEPTH: u32 = 64;
/// Bytes of a file's own name, `NAME_MAX` of `linux/limits.h` and the NUL behind it.
pub const MAX_FILE_NAME: usize = 256;
/// Between two records of one kind for one process and file, in nanoseconds; what comes in between
/// is counted.
pub const TELL_EVERY: u64 = 100_000_000;

/// An inode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(C)]
pub struct FileKey {
    /// Inode number.
    pub inode: u64,
    /// Kernel device number of its file system.
    pub device: u32,
    /// Zero.
    pub reserved: u32,
}

impl FileKey {
    /// Where it is marked that the inode is watched; others may have the same mark. That of a device has
    /// no inode.
    #[inline(always)]
    #[must_use]
    pub const fn mark(&self) -> u32 {
        mixed(self.inode, (self.device as u64) << 32) as u32 % MAX_MARKS
    }

    /// Where it is marked that something on this inode's device is watched.
    #[inline(always)]
    #[must_use]
    pub const fn device_mark(&self) -> u32 {
        Self { inode: 0, ..*self }.mark()
    }
}

/// What can be said of the watched folders.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct FoldersState {
    /// How often another one was watched; 0 where none is.
    pub version: u32,
    /// Whether the programs are there that count how often names are moved.
    pub moves_are_counted: u32,
}

/// Takes another word into a hash: the lower half of the result depends on every bit of both. A multiplication
/// by an odd number loses nothing; this one is the greatest below 2⁶⁴ ÷ φ (Knuth, TAOCP 3, 6.4).
#[inline(always)]
#[must_use]
pub const fn mixed(hash: u64, word: u64) -> u64 {
    let hash = (hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    hash ^ hash >> 32
}

/// Something that a process did to a watched inode; the index of its counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u32)]
pub enum FileAct {
    /// Opened for reading.
    Open = 0,
    /// Opened for writing, or for both.
    OpenWritable = 1,
    /// Mapped such that the file's bytes cannot be changed through the mapping.
    Map = 2,
    /// Mapped shared from a descriptor that may write.
    MapWritable = 3,
    /// Got its descriptor from another process.
    Receive = 4,
    /// Read through a descriptor.
    Read = 5,
    /// Written: bytes changed through a descriptor or a mapping.
    Write = 6,
    /// Touched pages of a mapping.
    PageIn = 7,
    /// Was refused to open or map it.
    Refused = 8,
}

impl FileAct {
    /// How many there are.
    pub const COUNT: usize = 9;

    /// Every one, in the order of its number.
    pub const ALL: [Self; Self::COUNT] = [
        Self::Open,
        Self::OpenWritable,
        Self::Map,
        Self::MapWritable,
        Self::Receive,
        Self::Read,
        Self::Write,
        Self::PageIn,
        Self::Refused,
    ];
}

/// Who did something. Read from the running thread, never from what it says about itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct FileActor {
    /// Start of the process since boot, in nanoseconds.
    pub started: u64,
    /// Its cgroup (v2).
    pub cgroup: u64,
    /// Inode of its executable; 0 for a kernel thread.
    pub exe_inode: u64,
    /// Kernel device number of the executable's file system.
    pub exe_device: u32,
    /// Real user id in the initial user namespace.
    pub uid: u32,
    /// Its parent process.
    pub parent: u32,
    /// The thread that came first.
    pub tid: u32,
}

/// A process and an inode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(C)]
pub struct AccessKey {
    /// Inode number.
    pub inode: u64,
    /// Kernel device number.
    pub device: u32,
    /// Process (tgid) in the initial pid namespace.
    pub pid: u32,
    /// Start of the process since boot, in nanoseconds: pids are reused.
    pub started: u64,
}

/// What a process did to an inode since its entry was made; user space takes differences.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct FileAccess {
    /// Who.
    pub actor: FileActor,
    /// Boot time of the entry's first access, in nanoseconds.
    pub first: u64,
    /// Boot time of the newest.
    pub newest: u64,
    /// First page that was read or touched, where the hook tells; `u64::MAX` if none was.
    pub lowest: u64,
    /// Page behind the last one.
    pub highest: u64,
    /// How often, by [`FileAct`].
    pub counts: [u64; FileAct::COUNT],
    /// Boot time of the newest record of each.
    pub told: [u64; FileAct::COUNT],
}

/// A record: the entry of this key has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct FileTold {
    /// Which entry.
    pub key: AccessKey,
    /// The folder that the file was reached through, if it was just opened; else 0.
    pub folder: FileKey,
    /// Boot time, in nanoseconds.
    pub time: u64,
    /// [`FileAct`].
    pub act: u32,
    /// Bytes of `name` without the NUL.
    pub name_length: u32,
    /// The file's own name in that folder.
    pub name: [u8; MAX_FILE_NAME],
}

/// What did not get out of the file programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u32)]
pub enum FileLoss {
    /// The ring had no room: the counters tell it all the same, at the next look.
    RingFull = 0,
    /// The table of accesses had no room: an access is lost.
    TableFull = 1,
    /// A file lay deeper than [`MAX_FOLDER_DEPTH`]: whether it is watched is not known.
    TooDeep = 2,
    /// The table of watched inodes had no room: what happens to a file is not seen.
    WatchedFull = 3,
}

impl FileLoss {
    /// How many there are.
    pub const COUNT: u32 = 4;

    /// Every one, in the order of its number.
    pub const ALL: [Self; Self::COUNT as usize] = [
        Self::RingFull,
        Self::TableFull,
        Self::TooDeep,
        Self::WatchedFull,
    ];
}

/// Every [`KernelField`] of the file programs' object.
pub const FILE_FIELDS: [KernelField; 27] = [
    field("O_TASK_GROUP_LEADER", "task_struct", "group_leader"),
    field("O_TASK_REAL_PARENT", "task_struct", "real_parent"),
    field("O_TASK_TGID", "task_struct", "tgid"),
    field("O_TASK_START_BOOTTIME", "task_struct", "start_boottime"),
    field("O_TASK_MM", "task_struct", "mm"),
    field("O_TASK_SIGNAL", "task_struct", "signal"),
    field("O_SIGNAL_LIVE", "signal_struct", "live"),
    field("O_MM_EXE_FILE", "mm_struct", "exe_file"),
    field("O_FILE_INODE", "file", "f_inode"),
    field("O_FILE_MODE", "file", "f_mode"),
    field("O_FILE_PATH", "file", "f_path"),
    field("O_PATH_DENTRY", "path", "dentry"),
    field("O_DENTRY_PARENT", "dentry", "d_parent"),
    field("O_DENTRY_INODE", "dentry", "d_inode"),
    field("O_DENTRY_NAME", "dentry", "d_name"),
    field("O_DENTRY_SUPER_BLOCK", "dentry", "d_sb"),
    field("O_QSTR_NAME", "qstr", "name"),
    field("O_QSTR_HASH", "qstr", "hash"),
    field("O_INODE_NUMBER", "inode", "i_ino"),
    field("O_INODE_MODE", "inode", "i_mode"),
    field("O_INODE_GENERATION", "inode", "i_generation"),
    field("O_INODE_SUPER_BLOCK", "inode", "i_sb"),
    field("O_SUPER_BLOCK_DEVICE", "super_block", "s_dev"),
    field("O_MAPPING_HOST", "address_space", "host"),
    field("O_KIOCB_FILE", "kiocb", "ki_filp"),
    field("O_ITER_SOURCE", "iov_iter", "data_source"),
    field("O_ITER_COUNT", "iov_iter", "count"),
];

const fn field(global: &'static str, structure: &'static str, field: &'static str) -> KernelField {
    KernelField {
        global,
        structure,
        field,
    }
}

const _: () = assert!(size_of::<FileKey>() == 16);
const _: () = assert!(size_of::<FoldersState>() == 8);
const _: () = assert!(size_of::<FileActor>() == 40);
const _: () = assert!(size_of::<AccessKey>() == 24);
const _: () = assert!(size_of::<FileAccess>() == 40 + 32 + 16 * FileAct::COUNT);
const _: () = assert!(size_of::<FileTold>() == 24 + 16 + 16 + MAX_FILE_NAME);
