//! `tracer_abi`: the layout of everything that crosses between the kernel and the user half.
//!
//! Both halves compile this crate, so it is `no_std`, has no dependency and no unsafe code. Every
//! type is `repr(C)` with its size asserted; a field that one half adds breaks the other's build.
//!
//! A call travels like this. User space compiles a profile into [`Spec`]s, chooses [`Site`]s in
//! the library, and attaches the entry and exit programs there, with the site's index as BPF
//! cookie. At a hit the program looks up its site and spec, asks the [`Target`] map whether this
//! process is watched, runs the spec's [`Op`]s, and emits a record: a [`RecordHeader`], the value
//! slots, then [`Chunk`]s of bytes.
#![no_std]
#![forbid(unsafe_code)]

#[path = "abi/control.rs"]
mod control;
#[path = "abi/file.rs"]
pub mod file;
#[path = "abi/kernel.rs"]
mod kernel;
#[path = "abi/loss.rs"]
mod loss;
#[path = "abi/record.rs"]
mod record;
#[path = "abi/site.rs"]
mod site;
#[path = "abi/spec.rs"]
mod spec;

pub use control::{
    Control, ExeKey, RingState, SetKey, SlotHead, Target, TargetFlags, TargetMode, USER_HZ,
};
pub use kernel::{FEATURE_FLAGS, FeatureFlag, KERNEL_FIELDS, KernelField};
pub use loss::{LossCell, LossReason};
pub use record::{
    Chunk, ChunkStatus, Exec, Exit, Fork, Phase, RecordError, RecordHeader, RecordKind, TextFront,
};
pub use site::{Histogram, Register, Site, SiteRole};
pub use spec::{CaptureLevel, Comparison, Layout, Op, OpFlags, OpKind, Source, Spec, SpecFlags};

/// Specs that can be loaded at once.
pub const MAX_SPECS: u32 = 256;
/// Probe sites that can be attached at once.
pub const MAX_SITES: u32 = 4096;
/// Operations of one spec.
pub const MAX_OPS: usize = 24;
/// 64-bit value slots of one call.
pub const MAX_VALUES: usize = 16;
/// Calls that one thread may have open at once, of all probed functions; one more displaces the
/// oldest, which is counted.
pub const MAX_OPEN_CALLS: usize = 32;
/// Pointers that one operation may follow.
pub const MAX_OFFSETS: usize = 4;
/// Bytes that the chunks of one record may hold, their headers included; a power of two.
pub const MAX_TAIL: usize = 8192;
/// Bytes that one chunk may hold; what is longer is truncated and counted.
pub const MAX_CHUNK: usize = 2048;
/// Elements that one [`OpKind::Gather`] or [`OpKind::Strided`] may read.
pub const MAX_GATHER: usize = 512;
/// Texts that one [`OpKind::Texts`] may read.
pub const MAX_TEXTS: usize = 64;
/// Bytes of one text of [`OpKind::Texts`]; what is longer is cut.
pub const MAX_TEXT: usize = 248;
/// Event rings; a CPU beyond it shares ring `cpu % MAX_RINGS`.
pub const MAX_RINGS: u32 = 64;
/// Scratch slots of one CPU: a program that is pre-empted, or sleeps in a page fault, keeps its
/// slot, and the next one on that CPU takes another.
pub const SCRATCH_SLOTS: u32 = 8;
/// Sets that one process may have; their numbers are below it.
pub const MAX_SETS: u32 = 8;
/// Levels of cgroups that are looked up for a process, the root included; systemd and Kubernetes nest
/// to about 8.
pub const MAX_CGROUP_DEPTH: i32 = 16;
/// log2 latency buckets of one histogram; bucket `i` counts `2^i <= ns < 2^(i+1)`.
pub const HISTOGRAM_BUCKETS: usize = 40;
