//! What stands in the way before any program is loaded: rights, namespaces, lockdown.

use std::{fs, io::Read, os::unix::fs::MetadataExt};

/// `PROC_PID_INIT_INO`: the inode number of the initial pid namespace.
const INITIAL_PID_NAMESPACE: u64 = 0xefff_fffc;

const CAP_SYS_PTRACE: u32 = 19;
const CAP_SYS_ADMIN: u32 = 21;
const CAP_PERFMON: u32 = 38;
const CAP_BPF: u32 = 39;

/// What the host says about itself and about this process.
#[derive(Clone, Debug)]
pub struct Host {
    /// Kernel release, as `uname -r` has it.
    pub kernel: String,
    /// What the kernel forbids even root.
    pub lockdown: Lockdown,
    /// This process runs in the initial pid namespace, whose numbers the programs see.
    pub initial_pid_namespace: bool,
    /// Effective capabilities by bit.
    pub capabilities: u64,
    /// Memory limit of this process's cgroup, in bytes, if it has one.
    pub memory_limit: Option<u64>,
    /// Memory that this cgroup uses now, in bytes.
    pub memory_used: Option<u64>,
}

/// Whether a process here can have a shadow stack, on which an emulated `call` leaves no trace.
pub(crate) fn has_user_shadow_stacks() -> bool {
    // Every CPU's flags are alike; the first lines of the file are enough.
    let mut text = String::new();
    let read = fs::File::open("/proc/cpuinfo")
        .and_then(|file| file.take(64 << 10).read_to_string(&mut text));
    read.is_ok()
        && text
            .split_ascii_whitespace()
            .any(|flag| flag == "user_shstk")
}

/// `/sys/kernel/security/lockdown`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lockdown {
    /// Nothing, or the kernel has no lockdown.
    None,
    /// Root may not change the kernel; probes work.
    Integrity,
    /// Root may not read kernel memory either; the programs are refused.
    Confidentiality,
}

/// Why nothing can be traced here, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Obstacle {
    /// Not enough rights.
    #[error(
        "this process may not load BPF programs and look into other processes: it lacks {0}; run \
         it as root, with `sudo tracer …`"
    )]
    Rights(String),
    /// Inside a container.
    #[error(
        "this process runs in a pid namespace of its own, where process numbers are not those that \
         the kernel reports; run tracer on the host, or start its container with `--pid=host`"
    )]
    PidNamespace,
    /// The kernel is locked down.
    #[error(
        "the kernel is locked down for confidentiality and refuses programs that read memory; boot \
         without `lockdown=confidentiality`, `lockdown=integrity` is no obstacle"
    )]
    Lockdown,
    /// The kernel is too old.
    #[error(
        "kernel {kernel} has no BPF cookies, by which a program knows where it was hit; tracer \
         needs Linux 5.15 or later and is tested from 6.1 on"
    )]
    TooOld {
        /// Its release.
        kernel: String,
    },
}

impl Host {
    /// Reads what the host says.
    #[must_use]
    pub fn read() -> Self {
        Self {
            kernel: text("/proc/sys/kernel/osrelease").unwrap_or_default(),
            lockdown: Lockdown::read(),
            initial_pid_namespace: fs::metadata("/proc/self/ns/pid")
                .is_ok_and(|namespace| namespace.ino() == INITIAL_PID_NAMESPACE),
            capabilities: capabilities().unwrap_or_default(),
            memory_limit: own_cgroup_file("memory.max").and_then(|limit| limit.parse().ok()),
            memory_used: own_cgroup_file("memory.current").and_then(|used| used.parse().ok()),
        }
    }

    /// What stands in the way, if anything does.
    #[must_use]
    pub fn obstacle(&self) -> Option<Obstacle> {
        let missing = self.missing_capabilities();
        if !missing.is_empty() {
            return Some(Obstacle::Rights(missing.join(" and ")));
        }
        if !self.initial_pid_namespace {
            return Some(Obstacle::PidNamespace);
        }
        if self.lockdown == Lockdown::Confidentiality {
            return Some(Obstacle::Lockdown);
        }
        match super::cookie() {
            Ok(_) => None,
            Err(_) => Some(Obstacle::TooOld {
                kernel: self.kernel.clone(),
            }),
        }
    }

    fn has(&self, capability: u32) -> bool {
        self.capabilities >> capability & 1 == 1
    }

    /// CAP_SYS_ADMIN includes the newer CAP_BPF and CAP_PERFMON.
    fn missing_capabilities(&self) -> Vec<&'static str> {
        let admin = self.has(CAP_SYS_ADMIN);
        [
            (admin || self.has(CAP_BPF), "CAP_BPF"),
            (admin || self.has(CAP_PERFMON), "CAP_PERFMON"),
            (self.has(CAP_SYS_PTRACE), "CAP_SYS_PTRACE"),
        ]
        .into_iter()
        .filter_map(|(held, name)| (!held).then_some(name))
        .collect()
    }
}

impl Lockdown {
    /// The word in brackets is the one in force.
    fn read() -> Self {
        let text = text("/sys/kernel/security/lockdown").unwrap_or_default();
        if text.contains("[confidentiality]") {
            Self::Confidentiality
        } else if text.contains("[integrity]") {
            Self::Integrity
        } else {
            Self::None
        }
    }
}

fn capabilities() -> Option<u64> {
    let status = text("/proc/self/status")?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

fn own_cgroup_file(name: &str) -> Option<String> {
    let cgroups = text("/proc/self/cgroup")?;
    let path = cgroups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    text(&format!("/sys/fs/cgroup/{path}/{name}"))
}

fn text(path: &str) -> Option<String> {
    fs::read_to_string(path)
        .ok()
        .map(|text| text.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_obstacle_names_its_remedy() {
        let host = Host {
            kernel: "5.10.0".into(),
            lockdown: Lockdown::Confidentiality,
            initial_pid_namespace: false,
            capabilities: 0,
            memory_limit: None,
            memory_used: None,
        };
        let message = host
            .obstacle()
            .expect("it lacks every capability")
            .to_string();
        assert!(
            message.contains("CAP_BPF") && message.contains("sudo"),
            "{message}"
        );
        let host = Host {
            capabilities: u64::MAX,
            ..host
        };
        assert_eq!(host.obstacle(), Some(Obstacle::PidNamespace));
        let host = Host {
            initial_pid_namespace: true,
            ..host
        };
        assert_eq!(host.obstacle(), Some(Obstacle::Lockdown));
    }
}
