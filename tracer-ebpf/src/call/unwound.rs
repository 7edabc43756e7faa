//! Tells the calls that were left without returning: by an exception, by `longjmp`.

use core::ffi::c_void;

use aya_ebpf::helpers::generated::bpf_loop;
use tracer_abi::{MAX_OPEN_CALLS, Phase, Spec, SpecFlags};

use crate::{
    call::record,
    kernel::{F_LOOP, has},
    scratch::{Scratch, load},
    thread::Thread,
};

/// What the turn of the loop works on.
struct Turn<'a> {
    spec: &'a Spec,
    scratch: &'a mut Scratch,
    thread: &'a mut Thread,
}

/// Tells the open calls of the function below `scratch.unwind_limit` as unwound, innermost first.
#[inline(always)]
pub(super) fn tell(spec: &Spec, scratch: &mut Scratch, thread: &mut Thread) {
    if !has(&F_LOOP) {
        return;
    }
    let mut turn = Turn {
        spec,
        scratch,
        thread,
    };
    // SAFETY: the callback has the type that bpf_loop calls, and its context outlives the loop.
    unsafe {
        bpf_loop(
            MAX_OPEN_CALLS as u32,
            tell_one as *mut c_void,
            (&raw mut turn).cast(),
            0,
        );
    }
}

/// Tells one; 1 ends the loop.
unsafe extern "C" fn tell_one(_: u32, context: *mut c_void) -> i64 {
    // SAFETY: the context is the `Turn` that the loop was given; nothing else uses it, the scratch slot
    // or the thread's calls before the loop has ended.
    let Turn {
        spec,
        scratch,
        thread,
    } = unsafe { &mut *context.cast::<Turn<'_>>() };
    let limit = scratch.unwind_limit.get();
    let Some(call) = thread.close_abandoned(load(&spec.function), limit) else {
        return 1;
    };
    if load(&spec.flags) & SpecFlags::EMIT_EXIT != 0 {
        scratch.open.copy(call);
        let open_for = scratch.now.get().saturating_sub(scratch.open.entered);
        record::begin(spec, scratch);
        record::emit(spec, scratch, Phase::Unwound, open_for);
    }
    0
}
