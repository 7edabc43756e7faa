//! A call begins.

use tracer_abi::{OpFlags, Phase, Spec, SpecFlags};

use crate::{
    call::{operations, record, stash},
    scratch::{Scratch, load},
};

#[inline(always)]
pub(super) fn enter(spec: &Spec, scratch: &mut Scratch) {
    let outer_frame = if is_followed(spec) {
        stash::unwind(spec, scratch, scratch.frame.get().wrapping_add(1))
    } else {
        0
    };

    scratch.open_call(outer_frame);
    record::begin(spec, scratch);
    let kept = operations::run(spec, scratch, OpFlags::ENTRY);
    if !kept {
        if is_followed(spec) {
            stash::forget(spec, scratch);
        }
        return;
    }
    if load(&spec.flags) & SpecFlags::EMIT_ENTRY != 0 {
        record::emit(spec, scratch, Phase::Entry, 0);
    }
    if is_followed(spec) {
        stash::open(spec, scratch);
    }
}

/// Whether the call's end is waited for.
#[inline(always)]
fn is_followed(spec: &Spec) -> bool {
    load(&spec.flags) & (SpecFlags::EMIT_EXIT | SpecFlags::HISTOGRAM) != 0
}
