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
    /// only added. Where they begin and how many there are says [`Op::layout`], in elements of `width`
    /// bytes; at most `operand` bytes.
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
    /// Write to slot `slot` how long the thing is whose front lies at the address, as
    /// [`OpKind::Bytes`] finds it: by [`Op::layout`], in elements of `operand` bytes.
    Length = 8,
    /// Append a chunk: numbers of `width` bytes that lie [`Op::stride`] bytes apart; where they are
    /// and how many by [`Op::layout`], at most `operand` elements.
    Strided = 9,
    /// Append a chunk of texts: elements that lie [`Op::stride`] bytes apart, where and how many by
    /// [`Op::layout`]. Each is a text by [`Op::element`], of which at most `operand` bytes are
    /// taken. The chunk holds a [`TextFront`](crate::TextFront) and the bytes, padded to 8, for each.
    Texts = 10,
}

/// How something that has a beginning and a length says where they are, in [`Op::layout`] and
/// [`Op::element`]. The address is that of its front.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Layout {
    /// The address is the beginning, and slot `length_slot` the number of elements. As an element:
    /// a pointer to a C string.
    #[default]
    Plain = 0,
    /// Pointer, then number of elements: libstdc++'s `std::string` and `std::span`, Rust's `&str` and
    /// slices.
    PointerLength = 1,
    /// Number of elements, then pointer: libstdc++'s `std::string_view`.
    LengthPointer = 2,
    /// Pointer to the beginning, pointer behind the end: `std::vector` of both libraries.
    BeginEnd = 3,
    /// libc++'s `std::string`: bit 0 of the first byte says whether it is long (capacity, length,
    /// pointer) or short (the rest of the byte is the length, the bytes follow).
    LibcxxString = 4,
    /// Capacity, pointer, number of elements: Rust's `Vec` and `String`, as its compiler has laid
    /// them since 2024 without promising to.
    CapacityPointerLength = 5,
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
    /// Slot that is written ([`OpKind::Number`], [`OpKind::InSet`], [`OpKind::Scale`],
    /// [`OpKind::Length`]) or tested ([`OpKind::Keep`]); for chunks, the field number that [`Chunk::field`](crate::Chunk) repeats.
    pub slot: u8,
    /// Bytes of the number or element: 1, 2, 4 or 8.
    pub width: u8,
    /// How many of `offsets` are used.
    pub depth: u8,
    /// Slot of the length, count or index; the set's number for [`OpKind::InSet`].
    pub length_slot: u8,
    /// [`Comparison`] of [`OpKind::Keep`].
    pub comparison: u8,
    /// [`Layout`] of what a chunk or a length is taken of.
    pub layout: u8,
    /// [`Layout`] of one text of [`OpKind::Texts`].
    pub element: u8,
    /// From one element to the next, in bytes, where that is not `width`; else 0.
    pub stride: u16,
    /// Zero.
    pub reserved: u16,
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
    /// Keep the entry, and emit a record with the duration at the exit.
    pub const EMIT_EXIT: u32 = 1 << 1;
    /// Keep the entry, and add the duration to the spec's histogram at the exit; no record.
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

impl Spec {
    /// Whether the spec does nothing but time every call for its histogram, so that the programs
    /// that only do that can serve it.
    #[must_use]
    pub const fn only_times(&self) -> bool {
        self.flags == SpecFlags::HISTOGRAM
            && self.op_count == 0
            && self.sample_every <= 1
            && self.rate_per_second == 0
    }
}

const _: () = assert!(size_of::<Op>() == 40);
const _: () = assert!(size_of::<Spec>() == 40 + MAX_OPS * 40);
