//! What the supervisor tells: records, and everything that happened around them.

use std::{path::PathBuf, sync::Arc, time::Duration};

use tracer_abi::{Histogram, LossReason, SiteRole};

use crate::{
    process::{FileId, Process, ProcessId},
    time::BootNanos,
};

/// One thing that was seen. Everything but [`Observation::Records`] is rare.
#[derive(Clone, Debug)]
pub enum Observation {
    /// Records of one ring, oldest first.
    Records(RecordBatch),
    /// A process that maps a known runtime.
    RuntimeFound(Arc<Runtime>),
    /// That process ended, replaced its program or unmapped the library.
    RuntimeGone {
        /// The process.
        process: ProcessId,
        /// The library.
        library: LibraryId,
        /// When it was noticed.
        time: BootNanos,
    },
    /// A library got its probes.
    Attached(Arc<AttachReport>),
    /// A probe or a whole library did not.
    NotAttachable(NotAttachable),
    /// A process replaced its program.
    ProcessExec {
        /// The process.
        pid: u32,
        /// Start of the process, in nanoseconds since boot.
        started: u64,
        /// Its parent.
        parent: u32,
        /// The new executable.
        exe: FileId,
        /// When.
        time: BootNanos,
    },
    /// A process was made.
    ProcessFork {
        /// The parent.
        parent: u32,
        /// The child.
        pid: u32,
        /// Start of the child, in nanoseconds since boot.
        started: u64,
        /// Whether it inherited its parent's grant.
        traced: bool,
        /// When.
        time: BootNanos,
    },
    /// A process ended.
    ProcessExit {
        /// The process.
        pid: u32,
        /// Start of the process, in nanoseconds since boot.
        started: u64,
        /// Wait status as `wait(2)` has it.
        status: u32,
        /// When.
        time: BootNanos,
    },
    /// Something was seen in the kernel and not delivered whole.
    Loss(Loss),
    /// Calls of a probe that tells none of them singly.
    Operations(Box<Operations>),
    /// Probes were switched off because they cost too much; calls in the meantime are not observed.
    Shed(Shed),
    /// Probes that had been shed are back.
    Restored {
        /// The group, or the probe of a runaway site.
        group: String,
        /// Its probes.
        probes: Vec<ProbeId>,
        /// When.
        time: BootNanos,
    },
    /// A library works, as its process's CPU time shows, while none of its probes is ever hit.
    Silent {
        /// The library.
        library: LibraryId,
        /// The process.
        process: ProcessId,
        /// CPU time that the process used without a hit.
        busy: Duration,
        /// When.
        time: BootNanos,
    },
}

/// A probe of a run: the index of its spec, which every record repeats in
/// [`RecordHeader::spec`](tracer_abi::RecordHeader). Resolved by
/// [`Supervisor::probe`](crate::Supervisor::probe).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProbeId(pub u16);

/// A library of a run, by inode: processes and containers that share the file share the number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LibraryId(pub u32);

/// Records of one ring, in the order in which their producers reserved them.
///
/// Parsed with [`RecordHeader::parse`](tracer_abi::RecordHeader::parse).
#[derive(Clone, Debug, Default)]
pub struct RecordBatch {
    /// The ring; [`RecordBatch::CRITICAL`] for the critical one.
    pub ring: u16,
    bytes: Vec<u8>,
    ends: Vec<u32>,
}

impl RecordBatch {
    /// [`RecordBatch::ring`] of the critical ring.
    pub const CRITICAL: u16 = u16::MAX;

    /// An empty batch of ring `ring`.
    #[must_use]
    pub fn new(ring: u16) -> Self {
        Self {
            ring,
            bytes: Vec::new(),
            ends: Vec::new(),
        }
    }

    /// Appends a record.
    pub fn push(&mut self, record: &[u8]) {
        self.bytes.extend_from_slice(record);
        let end = u32::try_from(self.bytes.len()).expect("a batch is cut at a few MiB");
        self.ends.push(end);
    }

    /// The records, oldest first.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        let mut start = 0;
        self.ends.iter().map(move |&end| {
            let record = &self.bytes[start..end as usize];
            start = end as usize;
            record
        })
    }

    /// The record at a place, 0 being the oldest.
    #[must_use]
    pub fn record(&self, index: usize) -> Option<&[u8]> {
        let end = *self.ends.get(index)? as usize;
        let before = index
            .checked_sub(1)
            .and_then(|before| self.ends.get(before));
        let start = before.map_or(0, |&end| end as usize);
        Some(&self.bytes[start..end])
    }

    /// How many records there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Bytes of all records.
    #[must_use]
    pub fn byte_len(&self) -> usize {
        self.bytes.len()
    }
}

/// A process and a runtime's library that it maps.
#[derive(Clone, Debug)]
pub struct Runtime {
    /// The process.
    pub process: Process,
    /// [`Profile`](tracer_profile::Profile) that recognised the library, by its place in
    /// [`Config::profiles`](crate::Config::profiles).
    pub profile: usize,
    /// The library.
    pub library: LibraryId,
    /// The library's path as the process sees it.
    pub path: PathBuf,
    /// The library's file.
    pub file: FileId,
    /// The file has been removed or replaced since it was mapped.
    pub deleted: bool,
    /// GNU build-id, if the file has one.
    pub build_id: Option<Vec<u8>>,
    /// The version that the library's own code tells, where the profile knows which function does.
    pub version: Option<String>,
    /// The process mapped the library before its probes were in place: a load call may have been
    /// missed.
    pub load_may_be_missed: bool,
    /// When it was found.
    pub time: BootNanos,
}

/// What was attached to one library.
#[derive(Clone, Debug)]
pub struct AttachReport {
    /// The library.
    pub library: LibraryId,
    /// Its path when it was first seen.
    pub path: PathBuf,
    /// Its file.
    pub file: FileId,
    /// GNU build-id, if the file has one.
    pub build_id: Option<Vec<u8>>,
    /// The version that the library's own code tells, where the profile knows which function does.
    pub version: Option<String>,
    /// The profile, by its place in [`Config::profiles`](crate::Config::profiles).
    pub profile: usize,
    /// The probes that are in place.
    pub probes: Vec<AttachedProbe>,
    /// How many links hold them.
    pub links: usize,
    /// How they were attached.
    pub means: Means,
    /// From the decision to attach until the last link.
    pub took: Duration,
    /// When the last link was in place.
    pub time: BootNanos,
}

/// How sites are attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Means {
    /// One `uprobe_multi` link for many sites (Linux 6.6).
    UprobeMulti,
    /// One perf event for each site.
    PerfEvent,
}

/// A probe and its sites in one library.
#[derive(Clone, Debug)]
pub struct AttachedProbe {
    /// The probe.
    pub probe: ProbeId,
    /// The function, as the symbol table names it.
    pub symbol: String,
    /// The sites; the first is the entry's.
    pub sites: Vec<AttachedSite>,
    /// Why the exit is not probed although the profile asks for it.
    pub exit_missing: Option<String>,
}

/// A probed instruction.
#[derive(Clone, Debug)]
pub struct AttachedSite {
    /// File offset of the instruction.
    pub offset: u64,
    /// What a hit means.
    pub role: SiteRole,
    /// What a hit costs.
    pub cost: SiteCost,
}

/// What a hit of a site costs, by how the kernel runs the replaced instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SiteCost {
    /// The kernel emulates it: about 0.4 µs.
    Emulated,
    /// The kernel single-steps it: about 1 µs on bare metal, 14 µs in a nested VM.
    SingleStepped,
}

/// A probe, or a library as a whole, that is not attached, and why.
#[derive(Clone, Debug)]
pub struct NotAttachable {
    /// A process that maps the library, if one does.
    pub process: Option<ProcessId>,
    /// The library or executable.
    pub path: PathBuf,
    /// The probe; none if the whole file is meant.
    pub probe: Option<ProbeId>,
    /// What was attempted, what happened, and what to do.
    pub reason: String,
    /// When.
    pub time: BootNanos,
}

/// Losses of one reason on one CPU in a window of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loss {
    /// Why.
    pub reason: LossReason,
    /// How many.
    pub count: u64,
    /// The CPU on which the programs ran.
    pub cpu: u16,
    /// When the counter was last seen without them.
    pub since: BootNanos,
    /// The newest of them.
    pub until: BootNanos,
}

/// Calls of one histogram probe that ended in a window of time, those of all targets together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operations {
    /// The probe.
    pub probe: ProbeId,
    /// Their number and durations.
    pub calls: Histogram,
    /// The last look at the probe's table before this one.
    pub since: BootNanos,
    /// When the table was read.
    pub until: BootNanos,
}

/// Probes that were switched off, and the figures that decided it.
#[derive(Clone, Debug)]
pub struct Shed {
    /// The group, or the probe of a runaway site.
    pub group: String,
    /// The probes.
    pub probes: Vec<ProbeId>,
    /// Why.
    pub cause: ShedCause,
    /// Share of one core that they cost when it was decided; 0.05 is 5 %.
    pub share: f64,
    /// Beginning of the window in which that was measured.
    pub since: BootNanos,
    /// When they were switched off.
    pub time: BootNanos,
}

/// Why probes were switched off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShedCause {
    /// One site cost more than 5 % of a core for a second.
    Runaway,
    /// All sites together cost more than the budget.
    Budget,
}
