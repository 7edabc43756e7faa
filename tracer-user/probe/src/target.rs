//! Who is traced: the selection, written into the kernel half's gate.

use std::{collections::HashSet, fs, io, path::Path};

use tracer_abi::{CaptureLevel, Control, ExeKey, Target, TargetFlags, TargetMode};

use crate::{
    load::Tables,
    process::{self, FileId, Process, ProcessError, ProcessId, cgroup_id},
    supervisor::Selection,
    time::BootNanos,
};

/// Why a selection selects nothing.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// No such process.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// The executable cannot be looked at.
    #[error("cannot look at the executable {path}: {source}")]
    Exe {
        /// Its path.
        path: String,
        /// What happened.
        source: io::Error,
    },
    /// There is no such cgroup.
    #[error(
        "there is no cgroup {path} under /sys/fs/cgroup; `systemd-cgls` lists those of this host"
    )]
    Cgroup {
        /// What was asked for.
        path: String,
    },
    /// There is no profile for the runtime.
    #[error("no profile is for the runtime {name}; there are profiles for {known}")]
    Runtime {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// The kernel half's map refused it.
    #[error("cannot tell the kernel half whom to trace: {0}")]
    Map(#[source] io::Error),
}

/// The selection in force.
pub(crate) enum Targets {
    Everyone,
    Listed(HashSet<u32>),
    Exe(FileId),
    Cgroup(String),
}

impl Targets {
    /// Writes the selection into the kernel half.
    pub(crate) fn grant(
        selection: &Selection,
        level: CaptureLevel,
        deadline: BootNanos,
        tables: &Tables,
        rings: u32,
    ) -> Result<Self, TargetError> {
        let grant = Target {
            start_ticks: 0,
            deadline: deadline.0,
            level: level as u8,
            flags: TargetFlags::INHERIT,
            reserved: [0; 6],
        };
        let (targets, mode) = match selection {
            Selection::Everything | Selection::Runtime(_) => (Self::Everyone, TargetMode::Everyone),
            Selection::Pids(pids) => {
                for &pid in pids {
                    list(tables, ProcessId::of(pid)?, grant)?;
                }
                (
                    Self::Listed(pids.iter().copied().collect()),
                    TargetMode::Listed,
                )
            }
            Selection::Exe(path) => {
                let file = list_exe(tables, path, grant)?;
                (Self::Exe(file), TargetMode::Listed)
            }
            Selection::Cgroup(path) => {
                let path = cgroup_path(path);
                let missing = || TargetError::Cgroup { path: path.clone() };
                let id = cgroup_id(&path).ok_or_else(missing)?;
                tables.cgroups.put(id, &grant).map_err(TargetError::Map)?;
                (Self::Cgroup(path), TargetMode::Cgroup)
            }
        };
        // Probing tracer itself would feed on itself.
        let this = Target {
            flags: TargetFlags::EXCLUDE,
            ..Target::default()
        };
        tables
            .targets
            .put(std::process::id(), &this)
            .map_err(TargetError::Map)?;
        let control = Control {
            mode: mode as u32,
            rings,
            everyone: grant,
        };
        tables.control.put(0, &control).map_err(TargetError::Map)?;
        Ok(targets)
    }

    /// Whether a process is traced.
    pub(crate) fn includes(&self, process: &Process) -> bool {
        match self {
            Self::Everyone => process.id.pid != std::process::id(),
            Self::Listed(pids) => pids.contains(&process.id.pid),
            Self::Exe(exe) => process.exe_file == Some(*exe),
            Self::Cgroup(path) => process.cgroup.as_deref().is_some_and(|cgroup| {
                cgroup.strip_prefix(path.as_str()).is_some_and(|rest| {
                    rest.is_empty() || rest.starts_with('/') || path.ends_with('/')
                })
            }),
        }
    }

    /// A process that the kernel half made a target because its parent is one.
    pub(crate) fn inherit(&mut self, pid: u32) {
        if let Self::Listed(pids) = self {
            pids.insert(pid);
        }
    }

    /// A process that has ended.
    pub(crate) fn forget(&mut self, pid: u32) {
        if let Self::Listed(pids) = self {
            pids.remove(&pid);
        }
    }

    /// Whether nobody who is traced is left, and nobody can join.
    pub(crate) fn is_exhausted(&self) -> bool {
        matches!(self, Self::Listed(pids) if pids.is_empty())
    }

    /// The only process that is traced, if there is only one.
    pub(crate) fn only(&self) -> Option<u32> {
        match self {
            Self::Listed(pids) if pids.len() == 1 => pids.iter().next().copied(),
            Self::Listed(_) | Self::Everyone | Self::Exe(_) | Self::Cgroup(_) => None,
        }
    }

    /// Processes that need to be looked at: all, or those listed.
    pub(crate) fn candidates(&self) -> io::Result<Vec<u32>> {
        match self {
            Self::Listed(pids) => Ok(pids.iter().copied().collect()),
            Self::Everyone | Self::Exe(_) | Self::Cgroup(_) => process::all(),
        }
    }
}

fn list(tables: &Tables, id: ProcessId, grant: Target) -> Result<(), TargetError> {
    let target = Target {
        start_ticks: id.start_ticks,
        ..grant
    };
    tables
        .targets
        .put(id.pid, &target)
        .map_err(TargetError::Map)
}

/// Lists the executable, then the processes that run it already.
fn list_exe(tables: &Tables, path: &Path, grant: Target) -> Result<FileId, TargetError> {
    let failed = |source| TargetError::Exe {
        path: path.display().to_string(),
        source,
    };
    let file = FileId::of(&fs::metadata(path).map_err(failed)?);
    let key = ExeKey {
        inode: file.inode,
        device: file.device,
        reserved: 0,
    };
    tables.exes.put(key, &grant).map_err(TargetError::Map)?;
    for pid in process::all().map_err(failed)? {
        let exe = fs::metadata(format!("/proc/{pid}/exe")).map(|exe| FileId::of(&exe));
        if exe.is_ok_and(|exe| exe == file)
            && let Ok(id) = ProcessId::of(pid)
        {
            list(tables, id, grant)?;
        }
    }
    Ok(file)
}

/// The path within the hierarchy, with one leading slash.
fn cgroup_path(path: &Path) -> String {
    let path = path.strip_prefix("/sys/fs/cgroup").unwrap_or(path);
    format!("/{}", path.display().to_string().trim_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cgroup_may_be_named_with_or_without_its_mount_point() {
        for path in ["/sys/fs/cgroup/a/b", "/a/b/", "a/b"] {
            assert_eq!(cgroup_path(Path::new(path)), "/a/b");
        }
        assert_eq!(cgroup_path(Path::new("/sys/fs/cgroup")), "/");
    }
}
