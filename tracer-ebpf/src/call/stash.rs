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

use core::ffi::c_void;

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

/// Tells the open calls below `limit` as unwound, innermost first. Returns the frame of the innermost
/// call that stays open, or 0.
#[inline(always)]
pub(super) fn unwind(spec: &Spec, scratch: &mut Scratch, limit: u64) -> u64 {
    let Some(head) = STASH.get_ptr_mut(key(spec, scratch, 0)) else {
        return 0;
    };
    // SAFETY: the lookup returned map memory. If it is evicted meanwhile, the word read is another
    // thread's frame address, for which this thread has no entry.
    let innermost = unsafe { (&raw const (*head).outer_frame).read_volatile() };
    if !is_abandoned(innermost, limit) || !has(&F_LOOP) {
        return innermost;
    }
    scratch.innermost.set(innermost);
    scratch.unwind_limit.set(limit);
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
    let innermost = turn.scratch.innermost.get();
    // SAFETY: as above; a stray write changes one thread's link, which then leads nowhere.
    unsafe { (&raw mut (*head).outer_frame).write_volatile(innermost) }
    innermost
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
pub(super) fn open(spec: &Spec, scratch: &mut Scratch) {
    if STASH
        .insert(
            key(spec, scratch, scratch.frame.get()),
            &scratch.open,
            u64::from(BPF_ANY),
        )
        .is_err()
    {
        loss::count(LossReason::StashFull, scratch.now.get());
        return;
    }
    set_head(spec, scratch);
}

/// Takes the call that ends at this hit into `scratch.open`; false if its entry was not seen.
#[inline(always)]
pub(super) fn close(spec: &Spec, scratch: &mut Scratch) -> bool {
    if !take(spec, scratch, scratch.frame.get()) {
        return false;
    }
    let Some(head) = STASH.get_ptr_mut(key(spec, scratch, 0)) else {
        return true;
    };
    // SAFETY: as in `unwind`.
    unsafe {
        let innermost = &raw mut (*head).outer_frame;
        if innermost.read_volatile() == scratch.frame.get() {
            innermost.write_volatile(scratch.open.outer_frame);
        }
    }
    true
}

/// Forgets a call that is not followed, or its exit would pair with an older call of the same frame.
#[inline(always)]
pub(super) fn forget(spec: &Spec, scratch: &Scratch) {
    let _ = STASH.remove(key(spec, scratch, scratch.frame.get()));
}

/// Moves an entry to `scratch.open`; false if there is none.
#[inline(always)]
fn take(spec: &Spec, scratch: &mut Scratch, frame: u64) -> bool {
    let key = key(spec, scratch, frame);
    let Some(entry) = STASH.get_ptr(key) else {
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
    STASH.remove(key).is_ok()
}

/// Makes this hit's call the head of the thread's open ones.
#[inline(always)]
fn set_head(spec: &Spec, scratch: &mut Scratch) {
    let key = key(spec, scratch, 0);
    if let Some(head) = STASH.get_ptr_mut(key) {
        // SAFETY: as in `unwind`.
        unsafe { (&raw mut (*head).outer_frame).write_volatile(scratch.frame.get()) }
        return;
    }
    scratch.open.outer_frame = scratch.frame.get();
    if STASH
        .insert(key, &scratch.open, u64::from(BPF_ANY))
        .is_err()
    {
        loss::count(LossReason::StashFull, scratch.now.get());
    }
}

#[inline(always)]
fn key(spec: &Spec, scratch: &Scratch, frame: u64) -> StashKey {
    StashKey {
        pid_tgid: scratch.pid_tgid.get(),
        frame,
        function: spec.function,
        reserved: 0,
    }
}
