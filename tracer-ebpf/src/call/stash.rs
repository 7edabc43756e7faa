//! What a call leaves behind between its entry and its exit.
//!
//! A hash keyed by thread, function and frame address, which forgets its least recently used: calls
//! that never return (killed threads, abandoned fibers) cost nothing but their place. Under the frame
//! address 0 lies the head of the thread's open calls of that function, linked by `outer_frame`; it
//! stays when none is open, so that a call changes it in place.
//!
//! An entry that is evicted is reused at once for another thread. So nothing is taken from one until
//! its removal has shown that it was still there: only its own thread adds and removes it, hence what
//! was copied before a successful removal is its own.

use core::{ffi::c_void, ptr::NonNull};

use aya_ebpf::{
    bindings::BPF_ANY, btf_maps::LruHashMap, helpers::generated::bpf_loop, macros::btf_map,
};
use tracer_abi::{LossReason, MAX_VALUES, Phase, Spec, SpecFlags, StashKey, Stashed};

use crate::{
    call::{Turn, record},
    kernel::{F_LOOP, has},
    loss,
    scratch::{Scratch, load},
};

#[btf_map]
static STASH: LruHashMap<StashKey, Stashed, 16384> = LruHashMap::new();

/// How far below a frame an abandoned inner call is looked for, in bytes.
///
/// A call that enters at frame `f` proves that calls of its stack with a frame below `f` are over. But
/// the thread may have several stacks (fibers, `sigaltstack`), one below the other in memory, and a
/// frame on another stack may be alive. Within this distance it is taken for the same stack: fiber
/// stacks are rarely smaller, and a call reached again after an exception is rarely deeper. What lies
/// farther away is left alone; it pairs if it does return, and is forgotten if not.
const SAME_STACK: u64 = 64 * 1024;

/// Abandoned calls told at one hit; a deeper recursion is told at the following ones.
const MAX_UNWOUND: u32 = 8;

/// The head of a thread's open calls of a function: its `outer_frame` is the frame of the innermost.
#[derive(Clone, Copy)]
pub(super) struct Head(NonNull<Stashed>);

impl Head {
    /// The head of the hit's thread and function, if the thread has one.
    #[inline(always)]
    pub(super) fn find(spec: &Spec, scratch: &mut Scratch) -> Option<Self> {
        set_key(spec, scratch, 0);
        NonNull::new(STASH.get_ptr_mut(&scratch.key)?).map(Self)
    }

    /// The head, made if the thread has none; `None`, and counted, if the stash refuses it.
    #[inline(never)]
    pub(super) fn find_or_make(spec: &Spec, scratch: &mut Scratch) -> Option<Self> {
        if let Some(head) = Self::find(spec, scratch) {
            return Some(head);
        }
        scratch.open_call();
        let _ = STASH.insert(&scratch.key, &scratch.open, u64::from(BPF_ANY));
        let head = Self::find(spec, scratch);
        if head.is_none() {
            loss::count(LossReason::StashFull, scratch.now.get());
        }
        head
    }

    /// Frame of the innermost open call, or 0.
    #[inline(always)]
    pub(super) fn innermost(self) -> u64 {
        // SAFETY: the lookup returned map memory. If it was evicted meanwhile, the word is another
        // thread's frame address, for which this thread has no entry.
        unsafe { (&raw const (*self.0.as_ptr()).outer_frame).read_volatile() }
    }

    #[inline(always)]
    fn set_innermost(self, frame: u64) {
        // SAFETY: as above; a stray store changes one thread's link, which then leads nowhere.
        unsafe { (&raw mut (*self.0.as_ptr()).outer_frame).write_volatile(frame) }
    }
}

/// Tells the open calls below `scratch.unwind_limit` as unwound, innermost first.
#[inline(always)]
pub(super) fn unwind(spec: &Spec, scratch: &mut Scratch, head: Head) {
    let innermost = head.innermost();
    if !is_abandoned(innermost, scratch.unwind_limit.get()) || !has(&F_LOOP) {
        return;
    }
    scratch.innermost.set(innermost);
    unwind_loop(spec, scratch);
    head.set_innermost(scratch.innermost.get());
}

#[inline(never)]
fn unwind_loop(spec: &Spec, scratch: &mut Scratch) {
    let mut turn = Turn { spec, scratch };
    // SAFETY: the callback has the type that bpf_loop calls, and its context outlives the loop.
    unsafe {
        bpf_loop(
            MAX_UNWOUND,
            unwind_one as *mut c_void,
            (&raw mut turn).cast(),
            0,
        );
    }
}

/// Whether an open call at `frame` cannot return any more, with the stack at `limit`.
#[inline(always)]
fn is_abandoned(frame: u64, limit: u64) -> bool {
    frame != 0 && frame < limit && limit - frame <= SAME_STACK
}

/// Tells the innermost open call as unwound; 1 ends the loop.
unsafe extern "C" fn unwind_one(_: u32, context: *mut c_void) -> i64 {
    // SAFETY: the context is the `Turn` that the loop was given; nothing else uses it, or the scratch
    // slot, before the loop has ended.
    let Turn { spec, scratch } = unsafe { &mut *context.cast::<Turn<'_>>() };
    let frame = scratch.innermost.get();
    if !is_abandoned(frame, scratch.unwind_limit.get()) {
        return 1;
    }
    if !take(spec, scratch, frame) {
        scratch.innermost.set(0);
        return 1;
    }
    let outer = load(&scratch.open.outer_frame);
    scratch.innermost.set(outer);
    if load(&spec.flags) & SpecFlags::EMIT_EXIT != 0 {
        let open_for = scratch.now.get().saturating_sub(scratch.open.entered);
        record::begin(spec, scratch);
        record::emit(spec, scratch, Phase::Unwound, open_for);
    }
    0
}

/// Stashes `scratch.open` as the thread's innermost call of the function.
#[inline(always)]
pub(super) fn open(spec: &Spec, scratch: &mut Scratch, head: Head) {
    set_key(spec, scratch, scratch.frame.get());
    scratch.open.outer_frame = head.innermost();
    if STASH
        .insert(&scratch.key, &scratch.open, u64::from(BPF_ANY))
        .is_err()
    {
        loss::count(LossReason::StashFull, scratch.now.get());
        return;
    }
    head.set_innermost(scratch.frame.get());
}

/// Takes the call that ends at this hit into `scratch.open`; false if its entry was not seen.
#[inline(always)]
pub(super) fn close(spec: &Spec, scratch: &mut Scratch, head: Head) -> bool {
    let frame = scratch.frame.get();
    if !take(spec, scratch, frame) {
        return false;
    }
    if head.innermost() == frame {
        head.set_innermost(load(&scratch.open.outer_frame));
    }
    true
}

/// Forgets a call that is not followed, or its exit would pair with an older call of the same frame.
#[inline(always)]
pub(super) fn forget(spec: &Spec, scratch: &mut Scratch) {
    set_key(spec, scratch, scratch.frame.get());
    let _ = STASH.remove(&scratch.key);
}

/// Moves an entry to `scratch.open`; false if there is none.
#[inline(always)]
fn take(spec: &Spec, scratch: &mut Scratch, frame: u64) -> bool {
    set_key(spec, scratch, frame);
    let Some(entry) = STASH.get_ptr(&scratch.key) else {
        return false;
    };
    // SAFETY: the lookup returned map memory of this size; whether it was still this call's is what
    // the removal tells.
    unsafe {
        scratch.open.entered = (&raw const (*entry).entered).read_volatile();
        scratch.open.call = (&raw const (*entry).call).read_volatile();
        scratch.open.outer_frame = (&raw const (*entry).outer_frame).read_volatile();
        scratch.open.faulted = (&raw const (*entry).faulted).read_volatile();
        scratch.open.skipped = (&raw const (*entry).skipped).read_volatile();
        for slot in 0..MAX_VALUES {
            scratch.open.values[slot] = (&raw const (*entry).values[slot]).read_volatile();
        }
    }
    STASH.remove(&scratch.key).is_ok()
}

#[inline(always)]
fn set_key(spec: &Spec, scratch: &mut Scratch, frame: u64) {
    scratch.key = StashKey {
        pid_tgid: scratch.pid_tgid.get(),
        frame,
        function: spec.function,
        reserved: 0,
    };
}
