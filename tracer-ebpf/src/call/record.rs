//! Assembles the record of a call in its scratch slot.

use tracer_abi::{
    Chunk, ChunkStatus, LossReason, MAX_CHUNK, MAX_VALUES, Phase, RecordHeader, RecordKind, Spec,
    SpecFlags,
};

use crate::{
    loss,
    ring::Ring,
    scratch::{Scratch, TAIL_LIMIT, load},
};

const HEADER: usize = size_of::<RecordHeader>();

/// Starts a record: the chunks will lie behind the header and the spec's slots.
#[inline(always)]
pub(super) fn begin(spec: &Spec, scratch: &mut Scratch) {
    scratch
        .carried
        .set(load(&spec.value_count).min(MAX_VALUES as u32) as u8);
    scratch
        .length
        .set(HEADER as u64 + u64::from(scratch.carried.get()) * 8);
    scratch.chunks.set(0);
}

/// Writes header and slots, and commits the record.
#[inline(never)]
pub(super) fn emit(spec: &Spec, scratch: &mut Scratch, phase: Phase, duration: u64) {
    let header = RecordHeader {
        kind: RecordKind::Call as u8,
        phase: phase as u8,
        cpu: scratch.cpu.get() as u16,
        spec: scratch.spec.get(),
        site: scratch.site.get(),
        pid: (scratch.pid_tgid.get() >> 32) as u32,
        tid: scratch.pid_tgid.get() as u32,
        sequence: 0,
        time: scratch.now.get(),
        duration,
        call: scratch.open.call,
        value_count: scratch.carried.get(),
        chunk_count: scratch.chunks.get() as u8,
        faulted: scratch.open.faulted,
        skipped: scratch.open.skipped,
        level: scratch.level.get(),
        reserved: 0,
    };
    let words = header.to_words();
    for (place, word) in scratch.record.iter_mut().zip(words) {
        *place = word;
    }
    copy_values(scratch);
    let length = scratch.length.get() as usize;
    if length > TAIL_LIMIT + size_of::<Chunk>() {
        return;
    }
    let ring = if load(&spec.flags) & SpecFlags::CRITICAL != 0 {
        Ring::critical()
    } else {
        Ring::of_cpu(scratch.cpu.get(), scratch.rings.get())
    };
    if let Some(mut ring) = ring {
        // SAFETY: header, slots and chunks up to `length` were written by this program.
        unsafe { ring.emit((&raw mut scratch.record).cast(), length) }
    }
}

/// Copies the carried slots behind the header. Written out, and with the count loaded each time: a
/// loop would be proved once for each count, and its copy is byte-wise in the compiler's hands.
#[inline(always)]
fn copy_values(scratch: &mut Scratch) {
    macro_rules! copy {
        ($($slot:literal)*) => {
            'done: {
                $(
                    if scratch.carried.get() <= $slot {
                        break 'done;
                    }
                    scratch.record[HEADER / 8 + $slot] = load(&scratch.open.values[$slot]);
                )*
            }
        };
    }
    const { assert!(MAX_VALUES == 16) }
    copy!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
}

/// Bytes that one more chunk may have.
#[inline(always)]
pub(super) fn room(scratch: &Scratch) -> u64 {
    (TAIL_LIMIT as u64).wrapping_sub(scratch.length.get())
}

/// Begins a chunk, as yet a faulted one; false, and counted, if the record is full.
#[inline(always)]
pub(super) fn make_room(scratch: &mut Scratch) -> bool {
    if scratch.length.get() > TAIL_LIMIT as u64 {
        loss::count(LossReason::Truncated, scratch.now.get());
        return false;
    }
    scratch.chunk_length.set(0);
    scratch.chunk_wanted.set(0);
    scratch.chunk_status.set(ChunkStatus::Faulted as u8);
    true
}

/// Where the bytes of the begun chunk go: [`MAX_CHUNK`] and 16 more have place there.
#[inline(always)]
pub(super) fn end(scratch: &mut Scratch) -> Option<*mut u8> {
    let length = scratch.length.get();
    if length > TAIL_LIMIT as u64 {
        return None;
    }
    let start: *mut u8 = (&raw mut scratch.record).cast();
    // SAFETY: `length` was checked above, and `record` is larger by a header, a chunk and 16 bytes.
    Some(unsafe { start.add(length as usize + size_of::<Chunk>()) })
}

/// Says that `scratch.bound` bytes of the `scratch.wanted` ones are in place; `u64::MAX` are wanted
/// where it is only known that there are more.
#[inline(always)]
pub(super) fn fill(scratch: &mut Scratch) {
    let length = scratch.bound.get();
    scratch.chunk_length.set(length);
    scratch.chunk_status.set(ChunkStatus::Whole as u8);
    if scratch.bound.get() < scratch.wanted.get() {
        scratch.chunk_status.set(ChunkStatus::Truncated as u8);
    }
    // Cut to 32 bits, in which "more" becomes 0.
    let wanted = scratch.wanted.get();
    scratch.chunk_wanted.set(wanted as u32);
    if wanted == u64::MAX {
        scratch.chunk_wanted.set(0);
    }
}

/// Appends the begun chunk to the record.
#[inline(always)]
pub(super) fn append(scratch: &mut Scratch, field: u8) {
    let Some(bytes) = end(scratch) else {
        return;
    };
    let length = scratch.chunk_length.get();
    if length > MAX_CHUNK as u64 {
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
    // SAFETY: `end` found place for MAX_CHUNK and 16 bytes, with a header in front of them.
    unsafe {
        let last: *mut u64 = bytes.add((length & !7) as usize).cast();
        *last &= kept;
        let header: *mut u64 = bytes.sub(size_of::<Chunk>()).cast();
        *header = u64::from(field)
            | u64::from(status) << 8
            | length << 16
            | u64::from(scratch.chunk_wanted.get()) << 32;
    }
    let used = size_of::<Chunk>() as u64 + ((length + 7) & !7);
    scratch.length.set(scratch.length.get() + used);
    scratch.chunks.set(scratch.chunks.get() + 1);
}
