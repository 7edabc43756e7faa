//! Filters of system calls.

mod number;

use std::collections::BTreeMap;

use rustix::io::Errno;
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch,
};

use self::number as sys;

/// A filter could not be made or installed.
#[derive(Debug, thiserror::Error)]
pub enum FilterError {
    /// Its rules contradict each other.
    #[error("making the filter: {0}")]
    Rules(BackendError),
    /// The kernel refused it.
    #[error("installing the filter: {0}")]
    Install(seccompiler::Error),
}

impl From<BackendError> for FilterError {
    fn from(cause: BackendError) -> Self {
        Self::Rules(cause)
    }
}

/// The bit of x32's numbers: the same calls under another number
/// (<https://github.com/torvalds/linux/blob/v6.18/arch/x86/include/uapi/asm/unistd.h>).
const X32: i64 = 0x4000_0000;

const AF_UNIX: u64 = 1;
const AF_INET: u64 = 2;
const AF_INET6: u64 = 10;
const AF_NETLINK: u64 = 16;

/// Capture: everything but networks and what no tracer has a use for.
pub(super) fn capture() -> Result<(), FilterError> {
    let mut rules: Rules = BTreeMap::new();
    let not_local = || SeccompRule::new(vec![argument(0, SeccompCmpOp::Ne, AF_UNIX)?]);
    rules.insert(sys::SOCKET, vec![not_local()?]);
    rules.insert(sys::SOCKETPAIR, vec![not_local()?]);
    for call in sys::NOT_FOR_CAPTURE {
        rules.insert(*call, Vec::new());
    }
    for (call, rules_of) in rules.clone() {
        rules.insert(call | X32, rules_of);
    }
    let filter = SeccompFilter::new(
        rules,
        SeccompAction::Allow,
        SeccompAction::Errno(refused()),
        ARCHITECTURE,
    )?;
    install(filter)
}

/// Ship: what files, sockets, threads and time need.
pub(super) fn ship() -> Result<(), FilterError> {
    let mut rules: Rules = BTreeMap::new();
    for call in sys::FOR_SHIP {
        rules.insert(*call, Vec::new());
    }
    let any_of = |index, values: &[u64]| {
        let rules = values
            .iter()
            .map(|value| SeccompRule::new(vec![argument(index, SeccompCmpOp::Eq, *value)?]));
        rules.collect::<Result<Vec<_>, BackendError>>()
    };
    let families = [AF_UNIX, AF_INET, AF_INET6, AF_NETLINK];
    rules.insert(sys::SOCKET, any_of(0, &families)?);
    rules.insert(sys::SOCKETPAIR, any_of(0, &[AF_UNIX])?);
    // FIONBIO, FIONREAD, TCGETS.
    rules.insert(sys::IOCTL, any_of(1, &[0x5421, 0x541b, 0x5401])?);
    // The other filter answers: of two errors the kernel gives that of the later filter.
    rules.insert(sys::CLONE3, Vec::new());
    // PR_SET_NAME, PR_SET_VMA.
    rules.insert(sys::PRCTL, any_of(0, &[15, 0x5356_4d41])?);
    // CLONE_THREAD: threads, and no processes.
    let thread = argument(0, SeccompCmpOp::MaskedEq(0x0001_0000), 0x0001_0000)?;
    rules.insert(sys::CLONE, vec![SeccompRule::new(vec![thread])?]);
    let filter = SeccompFilter::new(
        rules,
        SeccompAction::Errno(refused()),
        SeccompAction::Allow,
        ARCHITECTURE,
    )?;
    // Its flags lie in memory, where no filter looks; without it glibc uses clone.
    let missing = u32::try_from(Errno::NOSYS.raw_os_error()).unwrap_or_default();
    let clone3 = SeccompFilter::new(
        BTreeMap::from([(sys::CLONE3, Vec::new())]),
        SeccompAction::Allow,
        SeccompAction::Errno(missing),
        ARCHITECTURE,
    )?;
    install(clone3)?;
    install(filter)
}

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: TargetArch = TargetArch::x86_64;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: TargetArch = TargetArch::aarch64;

fn argument(index: u8, is: SeccompCmpOp, value: u64) -> Result<SeccompCondition, BackendError> {
    SeccompCondition::new(index, SeccompCmpArgLen::Dword, is, value)
}

fn refused() -> u32 {
    u32::try_from(Errno::PERM.raw_os_error()).unwrap_or_default()
}

fn install(filter: SeccompFilter) -> Result<(), FilterError> {
    let program: BpfProgram = filter.try_into()?;
    seccompiler::apply_filter(&program).map_err(FilterError::Install)
}
