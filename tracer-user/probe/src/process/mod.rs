//! Processes: who they are, what they map, and how to open the very file that they map.
//!
//! Everything here comes from `/proc`, whose text the watched process partly controls (its name,
//! its paths): parsers are bounded and never trust it.

mod debug_file;
mod file;
mod inside;
mod maps;
mod mounts;
mod status;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

pub use file::{FileId, MappedFile};
pub use inside::open_inside;
pub use maps::{Mapping, executable_mappings, file_mappings};
pub use status::{Process, has_shadow_stack};

pub(crate) use debug_file::debug_files;
pub(crate) use file::InodeKey;
pub(crate) use maps::{FileOffset, own_file_offset};
pub(crate) use mounts::{Mounts, Standpoint, device_of_mount};
pub(crate) use status::{cgroup_id, cpu_time, is_32_bit};

/// A process that no other one can be mistaken for: pids are reused, start times are not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProcessId {
    /// Process id (tgid) in the initial pid namespace.
    pub pid: u32,
    /// Start since boot in ticks of 1/100 s, field 22 of `/proc/PID/stat`.
    pub start_ticks: u64,
}

/// Why a process cannot be looked at.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// There is none.
    #[error("there is no process {pid}, or it has just ended")]
    Gone {
        /// The pid.
        pid: u32,
    },
    /// A file of `/proc` cannot be read.
    #[error("cannot read {}: {cause}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What happened.
        cause: io::Error,
    },
    /// A file of `/proc` does not look as it should.
    #[error("cannot make sense of {}: {what}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The process runs 32-bit code.
    #[error(
        "process {pid} is a 32-bit program; only 64-bit x86 programs can be traced, run the \
         runtime's 64-bit build"
    )]
    Not64Bit {
        /// The pid.
        pid: u32,
    },
    /// What the path names is no longer what the process maps.
    #[error(
        "{} is not the file that process {pid} maps any more: it was replaced after it was loaded",
        path.display()
    )]
    Replaced {
        /// The pid.
        pid: u32,
        /// The path.
        path: PathBuf,
    },
}

impl ProcessError {
    fn reading(path: &Path, pid: u32, cause: io::Error) -> Self {
        let gone =
            cause.kind() == io::ErrorKind::NotFound || cause.raw_os_error() == Some(libc::ESRCH);
        if gone && !Path::new(&format!("/proc/{pid}")).exists() {
            return Self::Gone { pid };
        }
        Self::Unreadable {
            path: path.to_owned(),
            cause,
        }
    }
}

/// Every process that is visible now, in no order.
///
/// # Errors
/// If `/proc` cannot be listed.
pub fn all() -> io::Result<Vec<u32>> {
    let entries = fs::read_dir("/proc")?;
    let pid = |entry: io::Result<fs::DirEntry>| entry.ok()?.file_name().to_str()?.parse().ok();
    Ok(entries.filter_map(pid).collect())
}

/// Reads at most `limit` bytes of a file of `/proc/PID`.
fn read_bounded(path: &Path, pid: u32, limit: u64) -> Result<Vec<u8>, ProcessError> {
    use io::Read;
    // Nearly all are shorter, and a read costs more than the memory.
    let mut bytes = Vec::with_capacity(4096.min(usize::try_from(limit).unwrap_or(4096)));
    fs::File::open(path)
        .and_then(|file| file.take(limit).read_to_end(&mut bytes))
        .map_err(|error| ProcessError::reading(path, pid, error))?;
    Ok(bytes)
}
