//! Memory in which a program assembles a record.
//!
//! A program can be pre-empted, and a sleepable one sleeps in a page fault, with its buffer in
//! hand; a plain per-CPU buffer would then carry one process's bytes into another's record. So each
//! CPU has [`SCRATCH_SLOTS`] slots, and a program owns one from its claim, an atomic exchange, to
//! its release. Migration is off while a program runs, so a slot is only ever contended by programs
//! of its own CPU.

use aya_ebpf::{btf_maps::Array, macros::btf_map};
use tracer_abi::{
    Chunk, MAX_CHUNK, MAX_TAIL, MAX_VALUES, RecordHeader, SCRATCH_SLOTS, SetKey, SlotHead,
};

use crate::{atomic, call::REGISTERS};

/// User space resizes it to possible CPUs × [`SCRATCH_SLOTS`].
#[btf_map]
static SCRATCH: Array<Scratch, { 64 * SCRATCH_SLOTS as usize }> = Array::new();

/// Where the last chunk's header may begin, at most.
pub(crate) const TAIL_LIMIT: usize = size_of::<RecordHeader>() + MAX_TAIL - size_of::<Chunk>();

/// Bytes that a record may take: what [`TAIL_LIMIT`] allows, and behind it room for one whole
/// chunk, because the verifier bounds the place and the length of a read each on its own.
const RECORD: usize = TAIL_LIMIT + size_of::<Chunk>() + MAX_CHUNK + 16;

/// A value in map memory that is loaded anew at each use. What the verifier has learned about a
/// register or a stack slot from comparisons makes states differ; about map memory it learns nothing.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(crate) struct Held<T>(T);

impl<T: Copy> Held<T> {
    #[inline(always)]
    pub(crate) fn get(&self) -> T {
        // SAFETY: a load through a reference.
        unsafe { (&raw const self.0).read_volatile() }
    }

    #[inline(always)]
    pub(crate) fn set(&mut self, value: T) {
        // SAFETY: a store through a reference.
        unsafe { (&raw mut self.0).write_volatile(value) }
    }
}

/// Loads a field of shared map memory at the place of its use, as [`Held`] does.
#[inline(always)]
pub(crate) fn load<T: Copy>(place: &T) -> T {
    // SAFETY: a load through a reference.
    unsafe { (&raw const *place).read_volatile() }
}

/// One slot; it begins as [`SlotHead`] says, because user space looks there for who holds it up.
#[repr(C)]
pub(crate) struct Scratch {
    /// 1 while a program owns the slot.
    claimed: u64,
    /// `bpf_get_current_pid_tgid()`.
    pub(crate) pid_tgid: Held<u64>,
    /// Boot time of the hit, in nanoseconds.
    pub(crate) now: Held<u64>,
    /// Which slot this is, over all CPUs.
    index: u64,
    /// Calls named from this slot, for their ids.
    calls: u64,
    /// The general registers at the hit.
    pub(crate) registers: [u64; REGISTERS],
    /// Where a number lands that is read from the process, or the front of a string or vector.
    pub(crate) word: [u64; 3],
    /// Frame address of the call.
    pub(crate) frame: Held<u64>,
    pub(crate) cpu: Held<u32>,
    /// Rings in use.
    pub(crate) rings: Held<u32>,
    pub(crate) spec: Held<u16>,
    pub(crate) site: Held<u16>,
    /// Capture level in force.
    pub(crate) level: Held<u8>,
    /// 1 at an entry to which no exit belongs.
    pub(crate) is_alone: Held<u8>,
    /// Register of the result, at an exit.
    pub(crate) result: Held<u8>,
    /// Key for the sets; here and not on the stack, as all that is larger than a word.
    pub(crate) set_key: SetKey,
    /// Frame below which open calls are abandoned.
    pub(crate) unwind_limit: Held<u64>,
    /// Next operation of the spec.
    pub(crate) next_op: Held<u32>,
    /// Side whose operations run, a bit of [`tracer_abi::OpFlags`].
    pub(crate) side: Held<u8>,
    /// 1 if a predicate dropped the call.
    pub(crate) is_dropped: Held<u8>,
    /// Number or address that the operation in hand came to.
    pub(crate) found: Held<u64>,
    /// Bytes of the begun chunk that are in place.
    pub(crate) chunk_length: Held<u64>,
    /// [`Chunk::wanted`] of the begun chunk.
    pub(crate) chunk_wanted: Held<u32>,
    /// [`Chunk::status`] of the begun chunk.
    pub(crate) chunk_status: Held<u8>,
    /// [`Chunk::status`] that the text in hand will have once its bytes are there.
    pub(crate) text_status: Held<u8>,
    /// Bytes that the operation in hand would like to take.
    pub(crate) wanted: Held<u64>,
    /// Bytes, or elements, that it may take.
    pub(crate) bound: Held<u64>,
    /// State of the loop that gathers an array; here and not on the stack, where the verifier would
    /// follow every number that it can take.
    pub(crate) gathering: Gathering,
    /// The call in hand; its `values` are the slots that operations work on.
    pub(crate) open: OpenCall,
    /// Bytes of `record` in use.
    pub(crate) length: Held<u64>,
    /// Slots that the record carries.
    pub(crate) carried: Held<u8>,
    /// Chunks in `record`.
    pub(crate) chunks: Held<u64>,
    /// The record, beginning with its header. Bytes at and behind `length` may be of an earlier
    /// record and are never emitted.
    pub(crate) record: [u64; RECORD / 8],
}

const _: () = assert!(
    core::mem::offset_of!(Scratch, claimed) == core::mem::offset_of!(SlotHead, claimed)
        && core::mem::offset_of!(Scratch, pid_tgid) == core::mem::offset_of!(SlotHead, pid_tgid)
        && core::mem::offset_of!(Scratch, now) == core::mem::offset_of!(SlotHead, now)
);

/// A call between its entry and its exit.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct OpenCall {
    /// Boot time of the entry, in nanoseconds.
    pub(crate) entered: u64,
    /// [`RecordHeader::call`] of the entry.
    pub(crate) call: u64,
    /// Slots that could not be read.
    pub(crate) faulted: u16,
    /// Slots above the level.
    pub(crate) skipped: u16,
    pub(crate) reserved: u32,
    /// The slots as the entry left them.
    pub(crate) values: [u64; MAX_VALUES],
}

impl OpenCall {
    /// Copies another one to here, word by word: a plain assignment becomes a byte-wise `memcpy`.
    #[inline(always)]
    pub(crate) fn copy(&mut self, from: &Self) {
        // SAFETY: loads and stores through references.
        unsafe {
            macro_rules! copy {
                ($place:expr, $value:expr) => {
                    (&raw mut $place).write_volatile((&raw const $value).read_volatile())
                };
            }
            copy!(self.entered, from.entered);
            copy!(self.call, from.call);
            copy!(self.faulted, from.faulted);
            copy!(self.skipped, from.skipped);
            for slot in 0..MAX_VALUES {
                copy!(self.values[slot], from.values[slot]);
            }
        }
    }
}

/// Where the gathering of an array stands.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Gathering {
    /// Where the array lies in the process.
    pub(crate) array: u64,
    /// From one element to the next, in bytes.
    pub(crate) stride: u64,
    /// Offset in `record` of the first element's copy.
    pub(crate) start: u64,
    /// Bytes of a number; of texts, the most that is taken of one.
    pub(crate) width: u64,
    /// 1 if the elements are pointers to the numbers; of texts, their [`tracer_abi::Layout`].
    pub(crate) element: u64,
    /// Elements that were read.
    pub(crate) done: u64,
    /// Bytes of texts that are in place, their fronts included.
    pub(crate) used: u64,
    /// Bytes of the text in hand.
    pub(crate) length: u64,
}

impl Scratch {
    /// Claims a slot of this CPU, or `None` if all are taken.
    #[inline(always)]
    pub(crate) fn claim(cpu: u32) -> Option<&'static mut Self> {
        for slot in 0..SCRATCH_SLOTS {
            let index = cpu * SCRATCH_SLOTS + slot;
            let scratch = SCRATCH.get_ptr_mut(index)?;
            // SAFETY: the lookup returned map memory. Until the exchange below has succeeded only
            // `claimed` is touched, and that atomically.
            if atomic::exchange(unsafe { &mut (*scratch).claimed }, 1) == 0 {
                // SAFETY: the slot was free, so no other program holds a reference to it.
                let scratch = unsafe { &mut *scratch };
                scratch.index = u64::from(index);
                return Some(scratch);
            }
        }
        None
    }

    /// Gives the slot back. Every path from [`Scratch::claim`] comes through here.
    #[inline(always)]
    pub(crate) fn release(&mut self) {
        // SAFETY: a plain store to a field of our own slot; volatile so that it stays behind all
        // other uses of the slot. Only this CPU's programs look at it.
        unsafe { (&raw mut self.claimed).write_volatile(0) }
    }

    /// Begins a call in `open`, with a name of its own and all slots zero.
    #[inline(always)]
    pub(crate) fn open_call(&mut self) {
        self.calls += 1;
        let open = &mut self.open;
        open.entered = self.now.get();
        // Unique within a run: slots are, and their counts only grow.
        open.call = (self.index << 40) | self.calls;
        open.faulted = 0;
        open.skipped = 0;
        for value in &mut open.values {
            // SAFETY: a store through a reference; volatile, or it becomes a byte-wise `memset`.
            unsafe { (&raw mut *value).write_volatile(0) }
        }
    }
}
