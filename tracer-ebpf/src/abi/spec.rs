//! What to capture at a call: a short list of operations, compiled from a profile.

use crate::{MAX_OFFSETS, MAX_OPS};

/// How much of a call may leave the process, least first. An operation above the target's level
/// is skipped in the kernel, so content that nobody was granted is never copied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum CaptureLevel {
    /// When and for how long, and the result code.
    #[default]
    Timing = 0,
    /// Sizes, counts, positions, sequence numbers, paths of model files.
    Shape = 1,
    /// Token ids.
    Tokens = 2,
    /// Text.
    Text = 3,
}

/// Where an operation starts from. [`Op::index`] or [`Op::operand`] completes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Source {
    /// A general register at the site; `index` is a [`Register`](crate::Register).
    #[default]
    Register = 0,
    /// The frame address (DWARF's CFA): an argument at `[rsp+8+k]` on entry is `Frame + k`.
    Frame = 1,
    /// The result, in the register that the exit site names. Zero at an entry.
    Return = 2,
    /// The value in slot `index`; slots written on entry are still there at the exit.
    Slot = 3,
    /// The constant in [`Op::operand`].
    Constant = 4,
}

/// What an operation does with the place that it found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum OpKind {
    /// Nothing; also what an unused entry holds.
    #[default]
    None = 0,
    /// Write a number to slot `slot`. Each of the first `depth` offsets is added and the word there
    /// read: all but the last as pointers, the last with `width`. `depth` 0 takes the source
    /// itself, cut to `width`.
    Number = 1,
    /// Append a chunk: bytes at the address found by following all offsets but the last, which is
    /// only added. The length is slot `length_slot` times `width`, at most `operand` bytes.
    Bytes = 2,
    /// As [`OpKind::Bytes`], up to a NUL byte, at most `operand` bytes.
    CString = 3,
    /// Append a chunk: an array of pointers at the address, each followed to an integer of
    /// `width` bytes; the count is slot `length_slot`, at most `operand` elements.
    Gather = 4,
    /// Drop the call unless slot `slot` compares true with `operand` (see [`Comparison`]).
    Keep = 5,
    /// Write to slot `slot` whether the source, cut to `width`, is in set `length_slot` of this
    /// process: 1 it is, 0 it is not, 2 the process has no such set.
    InSet = 6,
    /// As [`OpKind::Number`], then add slot `length_slot` times `operand`: the address of an
    /// array's element.
    Scale = 7,
}

/// The relation of [`OpKind::Keep`], in [`Op::comparison`]. Signed 64-bit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Comparison {
    /// Slot equals operand.
    #[default]
    Equal = 0,
    /// Slot differs from operand.
    NotEqual = 1,
    /// Slot is less than operand.
    Less = 2,
    /// Slot is greater than operand.
    Greater = 3,
    /// Slot has one of the operand's bits.
    AnyBit = 4,
}

/// Bits of [`Op::flags`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpFlags;

impl OpFlags {
    /// Run at the entry site.
    pub const ENTRY: u8 = 1 << 0;
    /// Run at the exit site.
    pub const EXIT: u8 = 1 << 1;
    /// Sign-extend the number from `width` bytes.
    pub const SIGNED: u8 = 1 << 2;
}

/// One operation. The fields are numbers, not enums: the kernel half must accept any bit pattern.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Op {
    /// [`OpKind`].
    pub kind: u8,
    /// [`CaptureLevel`] from which the operation runs.
    pub level: u8,
    /// [`OpFlags`].
    pub flags: u8,
    /// [`Source`].
    pub source: u8,
    /// The register or slot of the source.
    pub index: u8,
    /// Slot that is written ([`OpKind::Number`], [`OpKind::InSet`], [`OpKind::Scale`]) or tested ([`OpKind::Keep`]);
    /// for chunks, the field number that [`Chunk::field`](crate::Chunk) repeats.
    pub slot: u8,
    /// Bytes of the number or element: 1, 2, 4 or 8.
    pub width: u8,
    /// How many of `offsets` are used.
    pub depth: u8,
    /// Slot of the length, count or index; the set's number for [`OpKind::InSet`].
    pub length_slot: u8,
    /// [`Comparison`] of [`OpKind::Keep`].
    pub comparison: u8,
    /// Zero.
    pub reserved: [u8; 6],
    /// Bytes added before each read.
    pub offsets: [i32; MAX_OFFSETS],
    /// Limit, constant or comparand, as the kind says.
    pub operand: i64,
}

/// Bits of [`Spec::flags`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpecFlags;

impl SpecFlags {
    /// Emit a record at the entry.
    pub const EMIT_ENTRY: u32 = 1 << 0;
    /// Stash the entry, and emit a record with the duration at the exit.
    pub const EMIT_EXIT: u32 = 1 << 1;
    /// Stash the entry, and add the duration to the spec's histogram at the exit; no record.
    pub const HISTOGRAM: u32 = 1 << 2;
    /// Records go to the critical ring, which a flood cannot displace.
    pub const CRITICAL: u32 = 1 << 3;
}

/// What to do at one function.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Spec {
    /// [`SpecFlags`].
    pub flags: u32,
    /// Which function this is; entries and exits pair by (thread, function, frame address).
    pub function: u32,
    /// Used entries of `ops`.
    pub op_count: u32,
    /// Slots that a record carries: the first `value_count`.
    pub value_count: u32,
    /// Emit one call in so many; 0 and 1 emit every call.
    pub sample_every: u32,
    /// Token bucket: calls a second; 0 for no limit.
    pub rate_per_second: u32,
    /// Token bucket: size of a burst, in calls.
    pub rate_burst: u32,
    /// How many of the first `ops` run before sampling and the token bucket: the predicates and
    /// what they test, so that one call in so many is taken of those that the predicates kept.
    pub gate_at: u32,
    /// Calls that took less are dropped at the exit, in nanoseconds.
    pub minimum_duration: u64,
    /// The operations, in order.
    pub ops: [Op; MAX_OPS],
}

const _: () = assert!(size_of::<Op>() == 40);
const _: () = assert!(size_of::<Spec>() == 40 + MAX_OPS * 40);
