//! What a run is asked to do.

use std::{io, path::PathBuf};

use tracer_abi::CaptureLevel;
use tracer_profile::Profile;

use crate::{
    load::LoadError,
    observation::Means,
    process::{self, ProcessError, ProcessId},
    target::TargetError,
    time::BootNanos,
};

/// What a run is asked to do.
#[derive(Clone, Debug)]
pub struct Config {
    /// Runtimes to look for.
    pub profiles: Vec<Profile>,
    /// Who is traced.
    pub selection: Selection,
    /// How much of each call may leave the process.
    pub level: CaptureLevel,
    /// From then on the kernel captures nothing, even if this process hangs.
    pub deadline: BootNanos,
    /// Bytes of all event rings together.
    pub ring_bytes: usize,
    /// Whether probes that cost too much are switched off.
    pub govern: bool,
    /// How to attach; none for the best that works.
    pub means: Option<Means>,
    /// From which level on the programs write a log of their own, for people who develop them;
    /// none for no log, and no code for it in the kernel.
    pub kernel_log: Option<log::Level>,
}

impl Config {
    /// Bytes of all event rings together, unless the configuration says otherwise.
    pub const RING_BYTES: usize = 8 << 20;

    /// Everything that `profiles` recognise, at the level of sizes and counts, until stopped.
    #[must_use]
    pub fn new(profiles: Vec<Profile>) -> Self {
        Self {
            profiles,
            selection: Selection::Everything,
            level: CaptureLevel::Shape,
            deadline: BootNanos::NEVER,
            ring_bytes: Self::RING_BYTES,
            govern: true,
            means: None,
            kernel_log: None,
        }
    }
}

/// Who is traced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// Every process that maps a known runtime.
    Everything,
    /// These processes, and their children.
    Pids(Vec<u32>),
    /// Processes that run this executable.
    Exe(PathBuf),
    /// Processes that map a runtime of this name.
    Runtime(String),
    /// Processes in this cgroup or below it: a path in the unified hierarchy, with or without
    /// `/sys/fs/cgroup` before it.
    Cgroup(PathBuf),
}

/// Why a run could not start, or could not go on.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The kernel half could not be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The selection names what is not there.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// The profiles have too many probes.
    #[error(
        "the profiles have {count} probes together, more than the {limit} that fit; leave out a \
         profile, or trace one runtime with --runtime"
    )]
    TooManyProbes {
        /// How many.
        count: usize,
        /// How many fit.
        limit: usize,
    },
    /// The rings fail.
    #[error("cannot wait for records: {0}")]
    Ring(io::Error),
    /// A map fails.
    #[error("cannot read or write a table of the kernel half: {0}")]
    Table(io::Error),
}

/// Refuses early what could never be traced.
pub(super) fn check_selection(selection: &Selection) -> Result<(), TargetError> {
    let Selection::Pids(pids) = selection else {
        return Ok(());
    };
    for &pid in pids {
        ProcessId::of(pid)?;
        if process::is_32_bit(pid) {
            return Err(ProcessError::Not64Bit { pid }.into());
        }
    }
    Ok(())
}
