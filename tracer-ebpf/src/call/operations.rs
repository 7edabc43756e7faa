//! The interpreter: runs a spec's operations.
//!
//! The loop is `bpf_loop`, whose body the verifier proves once (a plain loop is proved turn by turn,
//! and within a loop it hardly remembers states, so that every combination of branches counts). State
//! lies in the scratch slot and each field of an operation is loaded where it is used: the verifier
//! then learns nothing that would set one path through the body apart from another. Without bpf_loop
//! (before 5.17) a record tells time only.

use core::ffi::c_void;

use aya_ebpf::{btf_maps::HashMap, helpers::generated::bpf_loop, macros::btf_map};
use tracer_abi::{
    Chunk, Comparison, Layout, LossReason, MAX_CHUNK, MAX_GATHER, MAX_OFFSETS, MAX_OPS, Op,
    OpFlags, OpKind, SetKey, Source, Spec,
};

use crate::{
    call::{REGISTERS, Turn, gates, memory, record, texts},
    kernel::{F_LOOP, has},
    loss,
    scratch::{Gathering, Scratch, TAIL_LIMIT, load},
};

#[btf_map]
pub(crate) static SETS: HashMap<SetKey, u8, 16384> = HashMap::new();

/// Runs the operations of one side (a bit of [`OpFlags`]); false if the call is to be dropped, by a
/// predicate or, at an entry, by the spec's limits.
#[inline(always)]
pub(super) fn run(spec: &Spec, scratch: &mut Scratch, side: u8) -> bool {
    scratch.side.set(side);
    scratch.is_dropped.set(0);
    scratch.next_op.set(0);
    if side == OpFlags::ENTRY {
        if load(&spec.gate_at) != 0 && !run_until(spec, scratch, load(&spec.gate_at)) {
            return false;
        }
        if !gates::pass(spec, scratch) {
            return false;
        }
    }
    run_until(spec, scratch, MAX_OPS as u32)
}

/// Runs the operations from `scratch.next_op` to `end`; false if a predicate dropped the call.
#[inline(always)]
fn run_until(spec: &Spec, scratch: &mut Scratch, end: u32) -> bool {
    if !has(&F_LOOP) {
        return true;
    }
    let count = load(&spec.op_count)
        .min(end)
        .saturating_sub(scratch.next_op.get());
    let mut turn = Turn { spec, scratch };
    // SAFETY: the callback has the type that bpf_loop calls, and its context outlives the loop.
    unsafe {
        bpf_loop(count, run_next as *mut c_void, (&raw mut turn).cast(), 0);
    }
    turn.scratch.is_dropped.get() == 0
}

/// Runs the next operation; 1 ends the loop.
unsafe extern "C" fn run_next(_: u32, context: *mut c_void) -> i64 {
    // SAFETY: the context is the `Turn` that the loop was given; nothing else uses it, or the scratch
    // slot, before the loop has ended.
    let Turn { spec, scratch } = unsafe { &mut *context.cast::<Turn<'_>>() };
    let index = scratch.next_op.get();
    scratch.next_op.set(index.wrapping_add(1));
    let Some(op) = spec.ops.get(index as usize) else {
        return 1;
    };
    if load(&op.flags) & scratch.side.get() != 0 && !run_one(scratch, op) {
        scratch.is_dropped.set(1);
        return 1;
    }
    0
}

#[inline(always)]
fn run_one(scratch: &mut Scratch, op: &Op) -> bool {
    if load(&op.kind) == OpKind::Keep as u8 {
        return load(&op.level) > scratch.level.get() || compares(scratch, op);
    }
    if load(&op.level) > scratch.level.get() {
        if is_number(op) {
            scratch.open.skipped |= bit(load(&op.slot));
        }
        return true;
    }
    scratch.found.set(source(scratch, op));
    let is_found = follow(scratch, op);
    if is_number(op) {
        number(scratch, op, is_found);
    } else {
        chunk(scratch, op, is_found);
    }
    true
}

#[inline(always)]
fn is_number(op: &Op) -> bool {
    is_word(op) || load(&op.kind) == OpKind::Length as u8
}

/// Whether what the last offset leads to is read as a number, not only the address of something.
#[inline(always)]
fn is_word(op: &Op) -> bool {
    let kind = load(&op.kind);
    kind == OpKind::Number as u8 || kind == OpKind::InSet as u8 || kind == OpKind::Scale as u8
}

/// Goes from the source through the offsets, to a number or to the address of bytes, in
/// `scratch.found`; false if a read on the way faults.
#[inline(always)]
fn follow(scratch: &mut Scratch, op: &Op) -> bool {
    let mut step = 0;
    while step < MAX_OFFSETS {
        if step as u8 >= load(&op.depth) {
            break;
        }
        let offset = i64::from(load(&op.offsets[step]));
        step += 1;
        let address = scratch.found.get().wrapping_add_signed(offset);
        scratch.found.set(address);
        let mut width = 8;
        if step as u8 == load(&op.depth) {
            if !is_word(op) {
                break;
            }
            width = load(&op.width);
        }
        let Some(word) = read_word(scratch, address, width) else {
            return false;
        };
        scratch.found.set(word);
    }
    true
}

/// Writes the number that was found to its slot.
#[inline(always)]
fn number(scratch: &mut Scratch, op: &Op, is_found: bool) {
    let target = load(&op.slot);
    let mut is_found = is_found;
    if is_found && load(&op.kind) == OpKind::Length as u8 {
        is_found = measure(scratch, op);
    }
    if !is_found {
        scratch.open.faulted |= bit(target);
        loss::count(LossReason::ReadFault, scratch.now.get());
        return;
    }
    let is_signed = load(&op.flags) & OpFlags::SIGNED != 0;
    let mut value = cut(scratch.found.get(), load(&op.width), is_signed);
    if load(&op.kind) == OpKind::InSet as u8 {
        value = set_membership(scratch, op, value);
    } else if load(&op.kind) == OpKind::Scale as u8 {
        let index = slot(scratch, load(&op.length_slot));
        value = value.wrapping_add(index.wrapping_mul(load(&op.operand).cast_unsigned()));
    }
    if let Some(slot) = scratch.open.values.get_mut(usize::from(target)) {
        *slot = value;
    }
}

/// Appends the chunk whose address was found.
#[inline(always)]
fn chunk(scratch: &mut Scratch, op: &Op, is_found: bool) {
    if !is_chunk(op) || !record::make_room(scratch) {
        return;
    }
    if is_found {
        if load(&op.kind) == OpKind::Bytes as u8 {
            bytes(scratch, op);
        } else if load(&op.kind) == OpKind::CString as u8 {
            string(scratch, op);
        } else if load(&op.kind) == OpKind::Texts as u8 {
            texts::take(scratch, op);
        } else {
            gather(scratch, op);
        }
    }
    record::append(scratch, load(&op.slot));
}

#[inline(always)]
fn is_chunk(op: &Op) -> bool {
    let kind = load(&op.kind);
    kind == OpKind::Bytes as u8
        || kind == OpKind::CString as u8
        || kind == OpKind::Gather as u8
        || kind == OpKind::Strided as u8
        || kind == OpKind::Texts as u8
}

#[inline(always)]
fn source(scratch: &Scratch, op: &Op) -> u64 {
    let kind = load(&op.source);
    let index = load(&op.index);
    if kind == Source::Register as u8 {
        register(scratch, index)
    } else if kind == Source::Frame as u8 {
        scratch.frame.get()
    } else if kind == Source::Return as u8 {
        register(scratch, scratch.result.get())
    } else if kind == Source::Slot as u8 {
        slot(scratch, index)
    } else if kind == Source::Constant as u8 {
        load(&op.operand).cast_unsigned()
    } else {
        0
    }
}

#[inline(always)]
fn register(scratch: &Scratch, index: u8) -> u64 {
    scratch.registers[usize::from(index) & (REGISTERS - 1)]
}

#[inline(always)]
fn slot(scratch: &Scratch, index: u8) -> u64 {
    scratch
        .open
        .values
        .get(usize::from(index))
        .copied()
        .unwrap_or(0)
}

#[inline(always)]
fn bit(slot: u8) -> u16 {
    1 << (slot & 15)
}

/// Reads a number of `width` bytes.
#[inline(always)]
pub(super) fn read_word(scratch: &mut Scratch, address: u64, width: u8) -> Option<u64> {
    scratch.word[0] = 0;
    let to = (&raw mut scratch.word).cast();
    // SAFETY: `word` has room for 24 bytes, and the width is cut to 15.
    let is_read = unsafe { memory::read(to, u32::from(width & 15), address) };
    // SAFETY: our own memory; volatile because the helper wrote it.
    is_read.then(|| unsafe { (&raw const scratch.word[0]).read_volatile() })
}

/// Cuts a number to `width` bytes.
#[inline(always)]
fn cut(value: u64, width: u8, is_signed: bool) -> u64 {
    let unused = 64_u32.wrapping_sub(u32::from(width) * 8) & 63;
    if is_signed {
        ((value << unused).cast_signed() >> unused).cast_unsigned()
    } else {
        (value << unused) >> unused
    }
}

#[inline(always)]
fn compares(scratch: &Scratch, op: &Op) -> bool {
    let left = slot(scratch, load(&op.slot)).cast_signed();
    let right = load(&op.operand);
    let relation = load(&op.comparison);
    if relation == Comparison::Equal as u8 {
        left == right
    } else if relation == Comparison::NotEqual as u8 {
        left != right
    } else if relation == Comparison::Less as u8 {
        left < right
    } else if relation == Comparison::Greater as u8 {
        left > right
    } else {
        left & right != 0
    }
}

/// 1 if the value is in the process's set, 0 if not, 2 if the process has no such set.
#[inline(never)]
fn set_membership(scratch: &mut Scratch, op: &Op, value: u64) -> u64 {
    scratch.set_key = SetKey {
        pid: (scratch.pid_tgid.get() >> 32) as u32,
        set: u32::from(load(&op.length_slot)),
        value,
    };
    if SETS.get_ptr(&scratch.set_key).is_some() {
        return 1;
    }
    scratch.set_key.value = SetKey::EXISTS;
    if SETS.get_ptr(&scratch.set_key).is_some() {
        0
    } else {
        2
    }
}

/// Goes on from the front of something in `scratch.found` to its beginning, and puts the bytes that it
/// has to `scratch.wanted`; false if the front cannot be read. A negative number means none.
#[inline(never)]
pub(super) fn locate(scratch: &mut Scratch, op: &Op) -> bool {
    let layout = load(&op.layout);
    if layout == Layout::Plain as u8 {
        let count = slot(scratch, load(&op.length_slot));
        scratch.wanted.set(count);
    } else if !read_front(scratch, layout) {
        return false;
    }
    if scratch.wanted.get().cast_signed() < 0 {
        scratch.wanted.set(0);
    }
    if scratch.wanted.get() > u64::from(u32::MAX) {
        scratch.wanted.set(u64::from(u32::MAX));
    }
    if load(&op.layout) != Layout::BeginEnd as u8 {
        let wanted = scratch.wanted.get() * unit(op);
        scratch.wanted.set(wanted);
    }
    true
}

/// From one element to the next, in bytes.
#[inline(always)]
pub(super) fn unit(op: &Op) -> u64 {
    let stride = load(&op.stride);
    if stride != 0 {
        return u64::from(stride);
    }
    u64::from(load(&op.width))
}

/// Reads the front of a string, slice or vector at `scratch.found`: puts there where the elements
/// begin, and to `scratch.wanted` how many there are, or for [`Layout::BeginEnd`] how many bytes.
#[inline(never)]
pub(super) fn read_front(scratch: &mut Scratch, layout: u8) -> bool {
    let mut length = 16;
    if layout >= Layout::LibcxxString as u8 {
        length = 24;
    }
    let to = (&raw mut scratch.word).cast();
    // SAFETY: `word` has room for 24 bytes.
    if !unsafe { memory::read(to, length, scratch.found.get()) } {
        return false;
    }
    let (first, second) = (load(&scratch.word[0]), load(&scratch.word[1]));
    if layout == Layout::LengthPointer as u8 {
        scratch.found.set(second);
        scratch.wanted.set(first);
    } else if layout == Layout::BeginEnd as u8 {
        scratch.found.set(first);
        scratch.wanted.set(second.wrapping_sub(first));
    } else if layout == Layout::CapacityPointerLength as u8 {
        scratch.found.set(second);
        scratch.wanted.set(load(&scratch.word[2]));
    } else if layout != Layout::LibcxxString as u8 {
        scratch.found.set(first);
        scratch.wanted.set(second);
    } else if first & 1 != 0 {
        scratch.found.set(load(&scratch.word[2]));
        scratch.wanted.set(second);
    } else {
        // The text lies behind its own length.
        scratch.found.set(scratch.found.get().wrapping_add(1));
        scratch.wanted.set((first & 0xff) >> 1);
    }
    true
}

/// Puts the number of elements of what lies at `scratch.found` there.
#[inline(always)]
fn measure(scratch: &mut Scratch, op: &Op) -> bool {
    if !locate(scratch, op) {
        return false;
    }
    let size = load(&op.operand).cast_unsigned();
    // By zero the machine divides to zero.
    scratch
        .found
        .set(scratch.wanted.get().checked_div(size).unwrap_or(0));
    true
}

/// Puts the operation's limit, in bytes, to `scratch.bound`, lowered to what a chunk may hold and what
/// the record has room for. One comparison at a time, each behind a store: the verifier would follow
/// every combination of what several in a row may yield.
#[inline(always)]
fn bound(scratch: &mut Scratch, op: &Op, width: u64) {
    let limit = load(&op.operand).cast_unsigned();
    scratch.bound.set(limit);
    if scratch.bound.get().cast_signed() < 0 {
        scratch.bound.set(0);
    }
    lower_bound(scratch, MAX_CHUNK as u64);
    let bytes = scratch.bound.get() * width;
    scratch.bound.set(bytes);
    lower_bound(scratch, MAX_CHUNK as u64);
    let room = record::room(scratch);
    lower_bound(scratch, room);
}

#[inline(always)]
pub(super) fn lower_bound(scratch: &mut Scratch, to: u64) {
    if scratch.bound.get() > to {
        scratch.bound.set(to);
    }
}

#[inline(always)]
fn bytes(scratch: &mut Scratch, op: &Op) {
    if !locate(scratch, op) {
        return;
    }
    bound(scratch, op, 1);
    let wanted = scratch.wanted.get();
    lower_bound(scratch, wanted);
    let Some(to) = record::end(scratch) else {
        return;
    };
    let length = scratch.bound.get();
    if length > MAX_CHUNK as u64 {
        return;
    }
    // SAFETY: a chunk of MAX_CHUNK bytes fits behind the record's end.
    if unsafe { memory::read(to, length as u32, scratch.found.get()) } {
        record::fill(scratch);
    }
}

#[inline(always)]
fn string(scratch: &mut Scratch, op: &Op) {
    bound(scratch, op, 1);
    let Some(to) = record::end(scratch) else {
        return;
    };
    let limit = scratch.bound.get();
    if limit > MAX_CHUNK as u64 {
        return;
    }
    // One byte for the NUL and one more, so that a string of just the limit is told from a longer one.
    // SAFETY: a chunk of MAX_CHUNK bytes and 16 more fit behind the record's end.
    let read = unsafe { memory::read_string(to, limit as u32 + 2, scratch.found.get()) };
    let Some(read) = read else {
        return;
    };
    // A length with the NUL; what the limit cut off is of unknown length.
    let length = read.saturating_sub(1);
    if length > scratch.bound.get() {
        scratch.wanted.set(u64::MAX);
    } else {
        scratch.bound.set(length);
        scratch.wanted.set(length);
    }
    record::fill(scratch);
}

#[inline(never)]
fn gather(scratch: &mut Scratch, op: &Op) {
    let width = u64::from(load(&op.width));
    let unit = unit(op);
    if width == 0 || width > 8 || unit == 0 || !locate(scratch, op) {
        return;
    }
    let wanted = scratch.wanted.get() / unit * width;
    scratch.wanted.set(wanted);
    bound(scratch, op, width);
    lower_bound(scratch, wanted);
    let fitting = scratch.bound.get() / width;
    scratch.bound.set(fitting);
    lower_bound(scratch, MAX_GATHER as u64);
    scratch.gathering = Gathering {
        array: scratch.found.get(),
        stride: unit,
        start: scratch.length.get() + size_of::<Chunk>() as u64,
        width,
        element: u64::from(load(&op.kind) == OpKind::Gather as u8),
        done: 0,
        used: 0,
        length: 0,
    };
    let mut context: *mut Scratch = scratch;
    // SAFETY: the callback has the type that bpf_loop calls, and its context outlives the loop.
    unsafe {
        bpf_loop(
            scratch.bound.get() as u32,
            gather_one as *mut c_void,
            (&raw mut context).cast(),
            0,
        );
    }
    if load(&scratch.gathering.done) == scratch.bound.get() {
        let length = scratch.bound.get() * load(&scratch.gathering.width);
        scratch.bound.set(length);
        record::fill(scratch);
    }
}

/// Reads one element of the array, or the number that it points to; 1 ends the loop.
unsafe extern "C" fn gather_one(index: u32, context: *mut c_void) -> i64 {
    // SAFETY: the context is the pointer to the scratch slot that the loop was given; nothing else uses
    // the slot before the loop has ended.
    let scratch = unsafe { &mut **context.cast::<*mut Scratch>() };
    let offset = u64::from(index).wrapping_mul(load(&scratch.gathering.stride));
    let from = load(&scratch.gathering.array).wrapping_add(offset);
    scratch.found.set(from);
    if load(&scratch.gathering.element) != 0 {
        let Some(pointer) = read_word(scratch, from, 8) else {
            return 1;
        };
        scratch.found.set(pointer);
    }
    let width = load(&scratch.gathering.width);
    let done = load(&scratch.gathering.done);
    let at = load(&scratch.gathering.start).wrapping_add(done.wrapping_mul(width));
    if at > (TAIL_LIMIT + MAX_CHUNK) as u64 {
        return 1;
    }
    let record: *mut u8 = (&raw mut scratch.record).cast();
    let from = scratch.found.get();
    // SAFETY: `at` was checked above, and the record is 24 bytes longer; the width is cut to 15.
    let is_read = unsafe { memory::read(record.add(at as usize), (width & 15) as u32, from) };
    if !is_read {
        return 1;
    }
    scratch.gathering.done = done + 1;
    0
}
