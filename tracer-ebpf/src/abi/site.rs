//! Probe sites, and what a call leaves behind between its entry and its exit.

use crate::{HISTOGRAM_BUCKETS, MAX_VALUES};

/// A general register, in the order of DWARF's x86-64 numbering (System V ABI, figure 3.36).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
#[expect(missing_docs, reason = "the registers' own names")]
pub enum Register {
    #[default]
    Rax = 0,
    Rdx = 1,
    Rcx = 2,
    Rbx = 3,
    Rsi = 4,
    Rdi = 5,
    Rbp = 6,
    Rsp = 7,
    R8 = 8,
    R9 = 9,
    R10 = 10,
    R11 = 11,
    R12 = 12,
    R13 = 13,
    R14 = 14,
    R15 = 15,
}

/// What a hit of the site means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum SiteRole {
    /// The site is switched off: a hit does nothing.
    #[default]
    Off = 0,
    /// The call begins.
    Entry = 1,
    /// The call ends.
    Exit = 2,
}

/// One probed instruction. Its index is the BPF cookie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Site {
    /// Index of the spec.
    pub spec: u16,
    /// [`SiteRole`].
    pub role: u8,
    /// [`Register`] that holds the result at this exit.
    pub result: u8,
    /// From `rsp` to the frame address (CFA) at this instruction, in bytes.
    pub frame_offset: i32,
}

/// Key of the stash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct StashKey {
    /// `bpf_get_current_pid_tgid()`: process in the high half, thread in the low.
    pub pid_tgid: u64,
    /// Frame address (CFA) of the call; 0 is the key of the thread's innermost open call.
    pub frame: u64,
    /// [`Spec::function`](crate::Spec).
    pub function: u32,
    /// Zero.
    pub reserved: u32,
}

/// An open call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Stashed {
    /// Boot time of the entry, in nanoseconds.
    pub entered: u64,
    /// [`RecordHeader::call`](crate::RecordHeader) of the entry.
    pub call: u64,
    /// Frame address of the next outer open call of the same function in the same thread, or 0.
    pub outer_frame: u64,
    /// Slots that could not be read.
    pub faulted: u16,
    /// Slots above the level.
    pub skipped: u16,
    /// Spec index of the call.
    pub spec: u16,
    /// Zero.
    pub reserved: u16,
    /// The slots as the entry left them.
    pub values: [u64; MAX_VALUES],
}

/// Latencies of one spec on one CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Histogram {
    /// Calls.
    pub count: u64,
    /// Their sum, in nanoseconds.
    pub sum: u64,
    /// Calls by `floor(log2(ns))`; the last bucket also holds what is longer.
    pub buckets: [u64; HISTOGRAM_BUCKETS],
}

const _: () = assert!(size_of::<Site>() == 8);
const _: () = assert!(size_of::<StashKey>() == 24);
const _: () = assert!(size_of::<Stashed>() == 32 + MAX_VALUES * 8);
const _: () = assert!(size_of::<Histogram>() == 16 + HISTOGRAM_BUCKETS * 8);
