//! Probe sites, and the histograms that they fill.

use crate::HISTOGRAM_BUCKETS;

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
    /// The call begins, and no site tells its end: nothing is kept for it.
    EntryAlone = 3,
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

/// Latencies of one spec on one CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Histogram {
    /// Sum of all durations, in nanoseconds.
    pub sum: u64,
    /// Calls by `floor(log2(ns))`; the last bucket also holds what is longer.
    pub buckets: [u64; HISTOGRAM_BUCKETS],
}

impl Histogram {
    /// How many calls were added.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.buckets.iter().sum()
    }
}

const _: () = assert!(size_of::<Site>() == 8);
const _: () = assert!(size_of::<Histogram>() == 8 + HISTOGRAM_BUCKETS * 8);
