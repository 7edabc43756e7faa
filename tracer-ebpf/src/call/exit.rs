//! A call ends.

use tracer_abi::{OpFlags, Phase, Spec, SpecFlags};

use crate::{
    call::{histogram, operations, record, unwound},
    scratch::{Scratch, load},
    thread::Thread,
};

#[inline(always)]
pub(super) fn leave(spec: &Spec, scratch: &mut Scratch) {
    let Some(thread) = Thread::current() else {
        return;
    };
    if thread.newest_is(load(&spec.function), scratch.frame.get()) {
        scratch.open.copy(thread.close_newest());
    } else if !close_other(spec, scratch, thread) {
        return;
    }
    let duration = scratch.now.get().saturating_sub(scratch.open.entered);
    if duration < spec.minimum_duration {
        return;
    }
    if load(&spec.flags) & SpecFlags::HISTOGRAM != 0 {
        histogram::add(scratch.spec.get(), duration);
    }
    if load(&spec.flags) & SpecFlags::EMIT_EXIT == 0 {
        return;
    }
    record::begin(spec, scratch);
    if operations::run(spec, scratch, OpFlags::EXIT) {
        record::emit(spec, scratch, Phase::Exit, duration);
    }
}

/// Ends a call that is not the thread's newest; false if its entry was not seen.
#[inline(never)]
fn close_other(spec: &Spec, scratch: &mut Scratch, thread: &mut Thread) -> bool {
    // Inner calls that are still open were left by an exception that this one caught.
    scratch.unwind_limit.set(scratch.frame.get());
    unwound::tell(spec, scratch, thread);
    let Some(call) = thread.close(load(&spec.function), scratch.frame.get()) else {
        return false;
    };
    scratch.open.copy(call);
    true
}
