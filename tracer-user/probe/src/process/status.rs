//! Who a process is.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{FileId, ProcessError, ProcessId, read_bounded};

/// Most bytes that are read of a small file of `/proc`.
const LIMIT: u64 = 64 << 10;

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

impl ProcessId {
    /// Which process has this pid now.
    ///
    /// # Errors
    /// If there is none.
    pub fn of(pid: u32) -> Result<Self, ProcessError> {
        let path = PathBuf::from(format!("/proc/{pid}/stat"));
        let bytes = read_bounded(&path, pid, LIMIT)?;
        let start_ticks = stat_field(&bytes, 22)
            .ok_or_else(|| malformed(&path, "it has no start time in field 22"))?;
        Ok(Self { pid, start_ticks })
    }

    /// Whether this process still lives.
    #[must_use]
    pub fn is_alive(self) -> bool {
        Self::of(self.pid).is_ok_and(|now| now == self)
    }

    /// Whether its main thread is ending: it may have let go of its memory and its files already.
    pub(crate) fn is_ending(self) -> bool {
        /// `PF_EXITING` of include/linux/sched.h.
        const EXITING: u64 = 1 << 2;
        let path = PathBuf::from(format!("/proc/{}/stat", self.pid));
        read_bounded(&path, self.pid, LIMIT)
            .ok()
            .and_then(|bytes| stat_field(&bytes, 9))
            .is_some_and(|flags| flags & EXITING != 0)
    }
}

impl Process {
    /// What `/proc` tells about `pid`.
    ///
    /// # Errors
    /// If there is no such process. What only some processes have, such as an executable, is
    /// `None` where it is missing.
    pub fn read(pid: u32) -> Result<Self, ProcessError> {
        // First: it is gone as soon as the process begins to end.
        let exe_link = PathBuf::from(format!("/proc/{pid}/exe"));
        let exe_file = fs::metadata(&exe_link).ok();
        let exe = fs::read_link(&exe_link).ok();
        let id = ProcessId::of(pid)?;
        let status = Status::read(pid)?;
        let cgroup = cgroup_path(pid);
        Ok(Self {
            id,
            name: status.value("Name").unwrap_or_default().to_owned(),
            exe,
            exe_file: exe_file.map(|metadata| FileId::of(&metadata)),
            cgroup_id: cgroup.as_deref().and_then(cgroup_id),
            container: cgroup.as_deref().and_then(container_id).map(str::to_owned),
            cgroup,
            namespace_pid: status.last_number("NSpid").unwrap_or(pid),
            uid: status.first_number("Uid").unwrap_or(u32::MAX),
        })
    }
}

/// Whether the main thread of `pid` runs with a shadow stack, on which a probe may neither touch
/// return addresses nor emulate calls.
///
/// # Errors
/// If there is no such process.
pub fn has_shadow_stack(pid: u32) -> Result<bool, ProcessError> {
    let status = Status::read(pid)?;
    Ok(status
        .value("x86_Thread_features")
        .is_some_and(|features| features.contains("shstk")))
}

/// Whether `pid` runs a 32-bit program, by the class byte of its executable.
pub(crate) fn is_32_bit(pid: u32) -> bool {
    let exe = read_bounded(Path::new(&format!("/proc/{pid}/exe")), pid, 5);
    exe.is_ok_and(|bytes| bytes == [0x7f, b'E', b'L', b'F', 1])
}

/// CPU time that a process has used, in user mode.
pub(crate) fn cpu_time(pid: u32) -> Option<Duration> {
    let bytes = read_bounded(Path::new(&format!("/proc/{pid}/stat")), pid, LIMIT).ok()?;
    let ticks = stat_field(&bytes, 14)?;
    Some(Duration::from_millis(
        ticks.saturating_mul(1000 / tracer_abi::USER_HZ),
    ))
}

/// Id of a cgroup by its path in the unified hierarchy: the inode number of its directory.
pub(crate) fn cgroup_id(path: &str) -> Option<u64> {
    [
        "/sys/fs/cgroup/cgroup.controllers",
        "/sys/fs/cgroup/unified/cgroup.controllers",
    ]
    .iter()
    .find(|marker| Path::new(marker).exists())
    .and_then(|marker| Path::new(marker).parent())
    .and_then(|root| fs::metadata(root.join(path.trim_start_matches('/'))).ok())
    .map(|metadata| metadata.ino())
}

/// `/proc/PID/status`.
struct Status(String);

impl Status {
    fn read(pid: u32) -> Result<Self, ProcessError> {
        let bytes = read_bounded(Path::new(&format!("/proc/{pid}/status")), pid, LIMIT)?;
        Ok(Self(String::from_utf8_lossy(&bytes).into_owned()))
    }

    fn value(&self, key: &str) -> Option<&str> {
        self.0
            .lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))
            .map(str::trim)
    }

    fn first_number(&self, key: &str) -> Option<u32> {
        self.value(key)?.split_whitespace().next()?.parse().ok()
    }

    fn last_number(&self, key: &str) -> Option<u32> {
        self.value(key)?
            .split_whitespace()
            .next_back()?
            .parse()
            .ok()
    }
}

/// Field `number`, counted from 1 as proc(5) does, of `/proc/PID/stat`. The second is the
/// process's name in parentheses and may itself hold spaces and parentheses.
fn stat_field(stat: &[u8], number: usize) -> Option<u64> {
    let after_name = stat.iter().rposition(|&byte| byte == b')')? + 1;
    let rest = std::str::from_utf8(stat.get(after_name..)?).ok()?;
    rest.split_ascii_whitespace()
        .nth(number.checked_sub(3)?)?
        .parse()
        .ok()
}

fn cgroup_path(pid: u32) -> Option<String> {
    let bytes = read_bounded(Path::new(&format!("/proc/{pid}/cgroup")), pid, LIMIT).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    text.lines()
        .find_map(|line| line.strip_prefix("0::"))
        .map(str::to_owned)
}

/// The innermost 64 hexadecimal digits that a component of the path ends with, as in
/// `docker-<id>.scope`, `cri-containerd-<id>.scope` and `/docker/<id>`.
fn container_id(cgroup: &str) -> Option<&str> {
    cgroup.rsplit('/').find_map(|component| {
        let component = component.strip_suffix(".scope").unwrap_or(component);
        let id = component.rsplit('-').next()?;
        (id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(id)
    })
}

fn malformed(path: &Path, what: &str) -> ProcessError {
    ProcessError::Malformed {
        path: path.to_owned(),
        what: what.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_does_not_shift_the_fields() {
        let stat = b"42 (a) b) (c) S 1 42 42 0 -1 4194560 1 2 3 4 77 6 7 8 20 0 1 0 987654 9";
        assert_eq!(stat_field(stat, 14), Some(77));
        assert_eq!(stat_field(stat, 22), Some(987_654));
        assert_eq!(stat_field(b"", 22), None);
        assert_eq!(stat_field(b"1 (x", 22), None);
    }

    #[test]
    fn container_ids_are_found_however_the_runtime_names_its_cgroup() {
        let id = "0123456789abcdef".repeat(4);
        for path in [
            format!("/system.slice/docker-{id}.scope"),
            format!("/kubepods.slice/kubepods-pod1.slice/cri-containerd-{id}.scope"),
            format!("/docker/{id}"),
            format!("/docker/{id}/init.scope"),
        ] {
            assert_eq!(container_id(&path), Some(id.as_str()), "{path}");
        }
        assert_eq!(
            container_id("/user.slice/user-1000.slice/session-1.scope"),
            None
        );
    }

    #[test]
    fn this_process_tells_who_it_is() {
        let pid = std::process::id();
        let process = Process::read(pid).expect("this process lives");
        assert_eq!(process.id.pid, pid);
        assert!(process.id.is_alive());
        assert_eq!(process.exe, std::env::current_exe().ok());
    }
}
