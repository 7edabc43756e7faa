//! Processes: who they are and what they map.

use std::path::PathBuf;

/// A process that no other one can be mistaken for: pids are reused, start times are not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProcessId {
    /// Process id (tgid) in the initial pid namespace.
    pub pid: u32,
    /// Start since boot in ticks of 1/100 s, field 22 of `/proc/PID/stat`.
    pub start_ticks: u64,
}

/// A file by what the kernel knows it by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId {
    /// Device number in the kernel's encoding, `major << 20 | minor`.
    pub device: u32,
    /// Inode number.
    pub inode: u64,
}

/// What `/proc` tells about a process.
#[derive(Clone, Debug)]
pub struct Process {
    /// Which one.
    pub id: ProcessId,
    /// Its name, at most 15 bytes, as `comm` has it.
    pub name: String,
    /// Path of its executable as the process sees it.
    pub exe: Option<PathBuf>,
    /// Its executable.
    pub exe_file: Option<FileId>,
    /// Path in the unified cgroup hierarchy.
    pub cgroup: Option<String>,
    /// Id of that cgroup as the programs see it.
    pub cgroup_id: Option<u64>,
    /// Container id, if the cgroup's path names one.
    pub container: Option<String>,
    /// Process id in its own pid namespace.
    pub namespace_pid: u32,
    /// Real user id.
    pub uid: u32,
}
