//! Who is traced: the selection, written into the kernel half's gate.

use std::{
    collections::{HashSet, VecDeque},
    fs, io,
    path::Path,
};

use tracer_abi::{
    CaptureLevel, Control, ExeKey, MAX_CGROUP_DEPTH, Target, TargetFlags, TargetMode,
};

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
    #[error("cannot look at the executable {path}: {cause}")]
    Exe {
        /// Its path.
        path: String,
        /// What happened.
        cause: io::Error,
    },
    /// There is no such cgroup.
    #[error(
        "there is no cgroup {path} in the unified hierarchy (v2) under /sys/fs/cgroup; \
         `systemd-cgls` lists those of this host"
    )]
    Cgroup {
        /// What was asked for.
        path: String,
    },
    /// The kernel half looks no deeper.
    #[error(
        "the cgroup {path} lies more than {limit} levels below the root, and no deeper one is looked \
         up at a call; name one above it"
    )]
    CgroupTooDeep {
        /// What was asked for.
        path: String,
        /// The deepest level.
        limit: usize,
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
    Map(io::Error),
}

/// Processes of which it is remembered that it was asked: more than start before a fork is told.
const MOST_ASKED: usize = 256;

/// The selection in force.
pub(crate) enum Targets {
    Everyone,
    Listed(Listed),
    Exe(FileId),
    Cgroup(TracedCgroup),
}

/// Processes by number, and those that they start.
pub(crate) struct Listed {
    pids: HashSet<u32>,
    /// Others of which it was asked lately: of one that a listed process has just started, that is told
    /// on another way, perhaps later.
    asked: VecDeque<u32>,
}

/// A cgroup, by its path: the kernel half knows it by an id that changes when it is made anew, as
/// a restarted service's is.
pub(crate) struct TracedCgroup {
    path: String,
    id: u64,
    grant: Target,
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
                let listed = Listed {
                    pids: pids.iter().copied().collect(),
                    asked: VecDeque::new(),
                };
                (Self::Listed(listed), TargetMode::Listed)
            }
            Selection::Exe(path) => {
                let file = list_exe(tables, path, grant)?;
                (Self::Exe(file), TargetMode::Listed)
            }
            Selection::Cgroup(path) => {
                let cgroup = TracedCgroup::find(path, grant)?;
                tables
                    .cgroups
                    .put(cgroup.id, &grant)
                    .map_err(TargetError::Map)?;
                (Self::Cgroup(cgroup), TargetMode::Cgroup)
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
            // Grants do not change while tracer runs, but for those of cgroups, which no thread keeps.
            generation: 1,
        };
        tables.control.put(0, &control).map_err(TargetError::Map)?;
        Ok(targets)
    }

    /// Whether a process is traced.
    pub(crate) fn includes(&self, process: &Process) -> bool {
        match self {
            Self::Everyone => process.id.pid != std::process::id(),
            Self::Listed(listed) => listed.pids.contains(&process.id.pid),
            Self::Exe(exe) => process.exe_file == Some(*exe),
            Self::Cgroup(cgroup) => cgroup.holds(process),
        }
    }

    /// Tells the kernel half of a cgroup that was made anew under the path that was selected.
    pub(crate) fn follow(&mut self, tables: &Tables) -> io::Result<()> {
        let Self::Cgroup(cgroup) = self else {
            return Ok(());
        };
        match cgroup_id(&cgroup.path) {
            Some(id) if id != cgroup.id => {
                tables.cgroups.put(id, &cgroup.grant)?;
                let old = std::mem::replace(&mut cgroup.id, id);
                tables.cgroups.remove(old)
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Whether what a process maps can matter, as far as its number tells.
    pub(crate) fn may_include(&mut self, pid: u32) -> bool {
        let Self::Listed(listed) = self else {
            return true;
        };
        if listed.pids.contains(&pid) {
            return true;
        }
        if listed.asked.len() >= MOST_ASKED {
            listed.asked.pop_front();
        }
        listed.asked.push_back(pid);
        false
    }

    /// A process that the kernel half made a target because its parent is one. Says whether
    /// [`may_include`](Self::may_include) has denied it.
    pub(crate) fn inherit(&mut self, pid: u32) -> bool {
        let Self::Listed(listed) = self else {
            return false;
        };
        listed.pids.insert(pid);
        let known = listed.asked.len();
        listed.asked.retain(|&asked| asked != pid);
        listed.asked.len() < known
    }

    /// A process that has ended.
    pub(crate) fn forget(&mut self, pid: u32) {
        if let Self::Listed(listed) = self {
            listed.pids.remove(&pid);
        }
    }

    /// Whether nobody who is traced is left, and nobody can join.
    pub(crate) fn is_exhausted(&self) -> bool {
        matches!(self, Self::Listed(listed) if listed.pids.is_empty())
    }

    /// The only process that is traced, if there is only one.
    pub(crate) fn only(&self) -> Option<u32> {
        match self {
            Self::Listed(listed) if listed.pids.len() == 1 => listed.pids.iter().next().copied(),
            Self::Listed(_) | Self::Everyone | Self::Exe(_) | Self::Cgroup(_) => None,
        }
    }

    /// Processes that need to be looked at: all, or those listed.
    pub(crate) fn candidates(&self) -> io::Result<Vec<u32>> {
        match self {
            Self::Listed(listed) => Ok(listed.pids.iter().copied().collect()),
            Self::Everyone | Self::Exe(_) | Self::Cgroup(_) => process::all(),
        }
    }
}

impl TracedCgroup {
    fn find(path: &Path, grant: Target) -> Result<Self, TargetError> {
        let path = cgroup_path(path);
        let limit = MAX_CGROUP_DEPTH as usize - 1;
        if path.split('/').filter(|name| !name.is_empty()).count() > limit {
            return Err(TargetError::CgroupTooDeep { path, limit });
        }
        let Some(id) = cgroup_id(&path) else {
            return Err(TargetError::Cgroup { path });
        };
        Ok(Self { path, id, grant })
    }

    fn holds(&self, process: &Process) -> bool {
        let path = self.path.as_str();
        let cgroup = process.cgroup.as_deref();
        let rest = cgroup.and_then(|cgroup| cgroup.strip_prefix(path));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || path.ends_with('/'))
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
    let failed = |cause| TargetError::Exe {
        path: path.display().to_string(),
        cause,
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

/// The path within the hierarchy, with one leading slash. Beside the old hierarchies the unified one
/// is mounted one folder deeper.
fn cgroup_path(path: &Path) -> String {
    let mounts = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"];
    let within = mounts
        .iter()
        .find_map(|mount| path.strip_prefix(mount).ok());
    let path = within.unwrap_or(path);
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
        assert_eq!(cgroup_path(Path::new("/sys/fs/cgroup/unified/a")), "/a");
        assert_eq!(cgroup_path(Path::new("/unified/a")), "/unified/a");
    }

    #[test]
    fn a_cgroup_that_the_kernel_half_would_not_look_up_is_refused() {
        let deep = "/level".repeat(MAX_CGROUP_DEPTH as usize);
        let refused = TracedCgroup::find(Path::new(&deep), Target::default());
        let error = refused.err().map(|error| error.to_string());
        assert!(error.is_some_and(|error| error.contains("more than 15 levels")));
    }
}
