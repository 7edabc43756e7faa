//! Takes an array of texts: C strings, strings of C++ or of Rust.

use core::ffi::c_void;

use aya_ebpf::helpers::generated::bpf_loop;
use tracer_abi::{
    Chunk, ChunkStatus, Layout, LossReason, MAX_CHUNK, MAX_TEXT, MAX_TEXTS, Op, TextFront,
};

use super::operations::{locate, lower_bound, read_front, read_word, unit};
use crate::{
    call::{memory, record},
    loss,
    scratch::{Gathering, Scratch, TAIL_LIMIT, load},
};

const FRONT: u64 = size_of::<TextFront>() as u64;

/// Fills the begun chunk with texts. One that cannot be read is marked; if the array itself cannot be
/// read the chunk stays a faulted one.
#[inline(never)]
pub(super) fn take(scratch: &mut Scratch, op: &Op) {
    let unit = unit(op);
    if unit == 0 || !locate(scratch, op) {
        return;
    }
    // So many texts.
    scratch.wanted.set(scratch.wanted.get() / unit);
    scratch.gathering = Gathering {
        array: scratch.found.get(),
        stride: unit,
        start: scratch.length.get() + size_of::<Chunk>() as u64,
        width: (load(&op.operand).cast_unsigned()).min(MAX_TEXT as u64),
        element: u64::from(load(&op.element)),
        done: 0,
        used: 0,
        length: 0,
    };
    // So many bytes.
    scratch.bound.set(MAX_CHUNK as u64);
    let room = record::room(scratch);
    lower_bound(scratch, room);
    let count = scratch.wanted.get().min(MAX_TEXTS as u64) as u32;
    scratch.chunk_wanted.set(scratch.wanted.get() as u32);
    let mut context: *mut Scratch = scratch;
    // SAFETY: the callback has the type that bpf_loop calls, and its context outlives the loop.
    unsafe {
        bpf_loop(count, take_one as *mut c_void, (&raw mut context).cast(), 0);
    }
    let done = load(&scratch.gathering.done);
    if done == 0 && scratch.chunk_wanted.get() != 0 {
        return;
    }
    scratch.chunk_length.set(load(&scratch.gathering.used));
    scratch.chunk_status.set(ChunkStatus::Whole as u8);
    if done < u64::from(scratch.chunk_wanted.get()) {
        scratch.chunk_status.set(ChunkStatus::Truncated as u8);
    }
}

/// Takes one text; 1 ends the loop.
unsafe extern "C" fn take_one(index: u32, context: *mut c_void) -> i64 {
    // SAFETY: the context is the pointer to the scratch slot that the loop was given; nothing else uses
    // the slot before the loop has ended.
    let scratch = unsafe { &mut **context.cast::<*mut Scratch>() };
    let most = padded(load(&scratch.gathering.width));
    if load(&scratch.gathering.used) + FRONT + most > scratch.bound.get() {
        return 1;
    }
    let offset = u64::from(index).wrapping_mul(load(&scratch.gathering.stride));
    let front = load(&scratch.gathering.array).wrapping_add(offset);
    scratch.found.set(front);
    if !find(scratch) {
        return 1;
    }
    scratch.chunk_status.set(ChunkStatus::Faulted as u8);
    scratch.gathering.length = 0;
    copy(scratch);
    append(scratch);
    0
}

/// Goes from an element of the array to its text; false if the element cannot be read.
#[inline(always)]
fn find(scratch: &mut Scratch) -> bool {
    let layout = load(&scratch.gathering.element) as u8;
    if layout != Layout::Plain as u8 {
        return read_front(scratch, layout);
    }
    let front = scratch.found.get();
    let Some(pointer) = read_word(scratch, front, 8) else {
        return false;
    };
    scratch.found.set(pointer);
    true
}

/// Where the bytes of the text in hand go: [`MAX_TEXT`] and two more have place there.
#[inline(always)]
fn place(scratch: &mut Scratch) -> Option<*mut u8> {
    let at = load(&scratch.gathering.start).wrapping_add(load(&scratch.gathering.used));
    if at > (TAIL_LIMIT + MAX_CHUNK - MAX_TEXT) as u64 {
        return None;
    }
    let record: *mut u8 = (&raw mut scratch.record).cast();
    // SAFETY: `at` was checked above, and the record is 24 bytes longer.
    Some(unsafe { record.add(at as usize + FRONT as usize) })
}

/// Copies the text in hand, or leaves it a faulted one.
#[inline(never)]
fn copy(scratch: &mut Scratch) {
    let Some(to) = place(scratch) else {
        return;
    };
    let most = load(&scratch.gathering.width);
    if most > MAX_TEXT as u64 {
        return;
    }
    if load(&scratch.gathering.element) == Layout::Plain as u64 {
        // One byte for the NUL and one more, so that a text of just the limit is told from a longer one.
        // SAFETY: MAX_TEXT and two bytes have place.
        let read = unsafe { memory::read_string(to, most as u32 + 2, scratch.found.get()) };
        let Some(read) = read else {
            return;
        };
        let length = read.saturating_sub(1);
        scratch.gathering.length = length;
        scratch.wanted.set(length);
        scratch.chunk_status.set(ChunkStatus::Whole as u8);
        if load(&scratch.gathering.length) > load(&scratch.gathering.width) {
            scratch.gathering.length = load(&scratch.gathering.width);
            scratch.wanted.set(0);
            scratch.chunk_status.set(ChunkStatus::Truncated as u8);
        }
        return;
    }
    // Each comparison with a constant stands behind a load of its own: before 6.12 the verifier learns
    // nothing from a comparison of two registers.
    scratch.gathering.length = scratch.wanted.get();
    scratch.text_status.set(ChunkStatus::Whole as u8);
    if load(&scratch.gathering.length) > load(&scratch.gathering.width) {
        scratch.gathering.length = load(&scratch.gathering.width);
        scratch.text_status.set(ChunkStatus::Truncated as u8);
    }
    let length = load(&scratch.gathering.length);
    if length > MAX_TEXT as u64 {
        return;
    }
    // SAFETY: MAX_TEXT bytes have place.
    if unsafe { memory::read(to, length as u32, scratch.found.get()) } {
        let status = scratch.text_status.get();
        scratch.chunk_status.set(status);
    } else {
        scratch.gathering.length = 0;
    }
}

/// Writes the front of the text in hand, and steps behind it.
#[inline(always)]
fn append(scratch: &mut Scratch) {
    let Some(bytes) = place(scratch) else {
        return;
    };
    let length = load(&scratch.gathering.length);
    if length > MAX_TEXT as u64 {
        return;
    }
    let status = scratch.chunk_status.get();
    if status == ChunkStatus::Truncated as u8 {
        loss::count(LossReason::Truncated, scratch.now.get());
    } else if status == ChunkStatus::Faulted as u8 {
        loss::count(LossReason::ReadFault, scratch.now.get());
    }
    // What earlier records left in the padding is zeroed, or, where there is none, the word behind.
    let kept = (1_u64 << ((length & 7) * 8)).wrapping_sub(1);
    // SAFETY: `place` found room for MAX_TEXT bytes and a word, with a front before them.
    unsafe {
        let last: *mut u64 = bytes.add((length & !7) as usize).cast();
        *last &= kept;
        let front: *mut u64 = bytes.sub(FRONT as usize).cast();
        *front = u64::from(status) | length << 16 | u64::from(scratch.wanted.get() as u32) << 32;
    }
    scratch.gathering.used += FRONT + padded(length);
    scratch.gathering.done += 1;
}

#[inline(always)]
fn padded(length: u64) -> u64 {
    (length + 7) & !7
}
