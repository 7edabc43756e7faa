//! What each process gives up before it begins.
//!
//! Capture keeps the few capabilities that tracing needs, and loses every way to a network: seccomp
//! leaves it no socket but those of AF_UNIX. Ship keeps no capability and no user but its own, sees
//! no file but its folder's (Landlock), and calls nothing that it does not need (seccomp). All of it
//! is inherited by whatever a process would start.

mod filter;

use std::{io, path::Path};

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible as _, NetPort,
    PathBeneath, PathFd, Ruleset, RulesetAttr as _, RulesetCreatedAttr as _, RulesetError,
    RulesetStatus, Scope,
};
use rustix::{
    process::DumpableBehavior,
    thread::{self, CapabilitySet, CapabilitySets},
};

/// What capture may still do, and why.
pub const CAPTURE_NEEDS: &[(CapabilitySet, &str)] = &[
    (CapabilitySet::BPF, "loads programs and maps"),
    (
        CapabilitySet::PERFMON,
        "attaches probes, and reads memory in programs",
    ),
    (
        CapabilitySet::SYS_PTRACE,
        "reads what /proc tells of other users' processes",
    ),
    (
        CapabilitySet::DAC_READ_SEARCH,
        "opens libraries and models that their users alone may read",
    ),
    (
        CapabilitySet::CHECKPOINT_RESTORE,
        "opens the very file that a process has mapped",
    ),
    (
        CapabilitySet::LEASE,
        "holds leases on model files while they are hashed",
    ),
    (
        CapabilitySet::SYS_ADMIN,
        "watches model files for writers (fanotify), and traces before 5.16",
    ),
];

/// A process could not be confined. It must not go on.
#[derive(Debug, thiserror::Error)]
pub enum ConfineError {
    /// The system refused.
    #[error("giving up {what}: {cause}")]
    System {
        /// What was to be given up.
        what: &'static str,
        /// Why that failed.
        cause: io::Error,
    },
    /// The filter of system calls could not be made or installed.
    #[error("filtering system calls: {0}")]
    Filter(filter::FilterError),
    /// Landlock refused.
    #[error("restricting files and ports (Landlock): {0}")]
    Landlock(RulesetError),
    /// A folder could not be opened.
    #[error("restricting files (Landlock): {0}")]
    Folder(landlock::PathFdError),
}

impl From<RulesetError> for ConfineError {
    fn from(cause: RulesetError) -> Self {
        Self::Landlock(cause)
    }
}

fn gave_up(what: &'static str) -> impl FnOnce(rustix::io::Errno) -> ConfineError {
    move |error| ConfineError::System {
        what,
        cause: error.into(),
    }
}

/// Confines capture. Call it while there is one thread.
///
/// # Errors
/// If any of it fails.
pub fn capture(needs_admin: bool, ends_with_parent: bool) -> Result<(), ConfineError> {
    let mut kept = CapabilitySet::empty();
    for (capability, _) in CAPTURE_NEEDS {
        if *capability != CapabilitySet::SYS_ADMIN || needs_admin {
            kept |= *capability;
        }
    }
    keep_capabilities(kept)?;
    private_memory(ends_with_parent)?;
    filter::capture().map_err(ConfineError::Filter)
}

/// What ship may still reach.
#[derive(Clone, Debug)]
pub struct Reach<'a> {
    /// Folders that it writes.
    pub written: &'a [&'a Path],
    /// Files and folders that it reads.
    pub read: &'a [&'a Path],
    /// TCP ports that it connects to.
    pub ports: &'a [u16],
    /// Whether it ends with whoever started it.
    pub ends_with_parent: bool,
}

/// What a name service reads (nsswitch.conf(5), resolv.conf(5)), and the libraries that glibc loads
/// for it.
const NAME_SERVICE: &[&str] = &[
    "/etc/hosts",
    "/etc/resolv.conf",
    "/etc/nsswitch.conf",
    "/etc/host.conf",
    "/etc/gai.conf",
    "/etc/ld.so.cache",
    "/run/systemd/resolve",
    "/lib",
    "/lib64",
    "/usr/lib",
];

/// Confines ship. Call it while there is one thread. Says how far Landlock could be had.
///
/// # Errors
/// If any of it fails. A kernel without Landlock is no failure: the caller says so.
pub fn ship(reach: &Reach<'_>) -> Result<RulesetStatus, ConfineError> {
    keep_capabilities(CapabilitySet::empty())?;
    private_memory(reach.ends_with_parent)?;
    let status = landlock(reach)?;
    filter::ship().map_err(ConfineError::Filter)?;
    Ok(status)
}

/// Becomes another user for good. Call it while there is one thread.
///
/// # Errors
/// If the system refuses.
pub fn become_user(user: u32, group: u32) -> Result<(), ConfineError> {
    let (uid, gid) = (
        rustix::process::Uid::from_raw(user),
        rustix::process::Gid::from_raw(group),
    );
    bound_capabilities(CapabilitySet::empty())?;
    thread::set_thread_groups(&[]).map_err(gave_up("supplementary groups"))?;
    thread::set_thread_res_gid(gid, gid, gid).map_err(gave_up("the group root"))?;
    thread::set_thread_res_uid(uid, uid, uid).map_err(gave_up("the user root"))
}

fn keep_capabilities(kept: CapabilitySet) -> Result<(), ConfineError> {
    thread::clear_ambient_capability_set().map_err(gave_up("ambient capabilities"))?;
    bound_capabilities(kept)?;
    let present = thread::capabilities(None).map_err(gave_up("capabilities"))?;
    let sets = CapabilitySets {
        effective: kept.intersection(present.permitted),
        permitted: kept.intersection(present.permitted),
        inheritable: CapabilitySet::empty(),
    };
    thread::set_capabilities(None, sets).map_err(gave_up("capabilities"))?;
    thread::set_no_new_privs(true).map_err(gave_up("new privileges"))
}

/// A program that is executed gets no more than is kept: the bounding set is what root's would be.
fn bound_capabilities(kept: CapabilitySet) -> Result<(), ConfineError> {
    let present = thread::capabilities(None).map_err(gave_up("capabilities"))?;
    if !present.effective.contains(CapabilitySet::SETPCAP) {
        return Ok(());
    }
    for capability in CapabilitySet::all().difference(kept).iter() {
        match thread::remove_capability_from_bounding_set(capability) {
            // An older kernel knows fewer.
            Ok(()) | Err(rustix::io::Errno::INVAL) => {}
            Err(error) => return Err(gave_up("capabilities")(error)),
        }
    }
    Ok(())
}

/// No core dump, and no other process of this user looks in. Where nobody else would end it, the
/// process ends with whoever started it.
fn private_memory(ends_with_parent: bool) -> Result<(), ConfineError> {
    if ends_with_parent {
        rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::TERM))
            .map_err(gave_up("a life after its parent"))?;
    }
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(gave_up("core dumps"))
}

fn landlock(reach: &Reach<'_>) -> Result<RulesetStatus, ConfineError> {
    let abi = ABI::V5;
    let reading: BitFlags<AccessFs> = AccessFs::ReadFile | AccessFs::ReadDir;
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(abi))?
        .handle_access(AccessNet::from_all(abi))?
        .scope(Scope::from_all(ABI::V6))?
        .create()?;
    for path in reach.written {
        let writing = reading
            | AccessFs::WriteFile
            | AccessFs::MakeReg
            | AccessFs::MakeDir
            | AccessFs::RemoveFile
            | AccessFs::Truncate
            | AccessFs::Refer;
        let folder = PathFd::new(path).map_err(ConfineError::Folder)?;
        rules = rules.add_rule(PathBeneath::new(folder, writing))?;
    }
    let names = NAME_SERVICE.iter().map(|path| Path::new(*path));
    for path in names.chain(reach.read.iter().copied()) {
        // What is not there is not read.
        let Ok(opened) = PathFd::new(path) else {
            continue;
        };
        let is_folder = path.is_dir();
        let access = if is_folder {
            reading
        } else {
            AccessFs::ReadFile.into()
        };
        rules = rules.add_rule(PathBeneath::new(opened, access))?;
    }
    // A name service may answer by TCP.
    for port in reach.ports.iter().chain(&[53]) {
        rules = rules.add_rule(NetPort::new(*port, AccessNet::ConnectTcp))?;
    }
    Ok(rules.restrict_self()?.ruleset)
}
