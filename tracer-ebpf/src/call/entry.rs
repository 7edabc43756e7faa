//! A call begins.

use tracer_abi::{OpFlags, Phase, Spec, SpecFlags};

use crate::{
    call::{operations, record, unwound},
    scratch::{Scratch, load},
    thread::Thread,
};

#[inline(always)]
pub(super) fn enter(spec: &Spec, scratch: &mut Scratch) {
    let mut thread = None;
    let is_followed = load(&spec.flags) & (SpecFlags::EMIT_EXIT | SpecFlags::HISTOGRAM) != 0;
    if is_followed && scratch.is_alone.get() == 0 {
        let Some(found) = Thread::current_or_new(scratch.now.get()) else {
            return;
        };
        if found.may_have_left(scratch.frame.get()) {
            tell_unwound(spec, scratch, found);
        }
        thread = Some(found);
    }
    scratch.open_call();
    record::begin(spec, scratch);
    if !operations::run(spec, scratch, OpFlags::ENTRY) {
        return;
    }
    if load(&spec.flags) & SpecFlags::EMIT_ENTRY != 0 {
        record::emit(spec, scratch, Phase::Entry, 0);
    }
    if let Some(thread) = thread {
        remember(spec, scratch, thread);
    }
}

/// Entering at a frame proves that calls at it and below are over.
#[inline(never)]
fn tell_unwound(spec: &Spec, scratch: &mut Scratch, thread: &mut Thread) {
    let limit = scratch.frame.get().wrapping_add(1);
    scratch.unwind_limit.set(limit);
    unwound::tell(spec, scratch, thread);
}

/// Leaves the call for its exit.
#[inline(never)]
fn remember(spec: &Spec, scratch: &Scratch, thread: &mut Thread) {
    let function = load(&spec.function);
    thread
        .open(function, scratch.frame.get(), scratch.now.get())
        .copy(&scratch.open);
}
