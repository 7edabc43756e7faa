//! A call begins.

use tracer_abi::{OpFlags, Phase, Spec, SpecFlags};

use crate::{
    call::{
        operations, record,
        stash::{self, Head},
    },
    scratch::{Scratch, load},
};

#[inline(always)]
pub(super) fn enter(spec: &Spec, scratch: &mut Scratch) {
    let mut head = None;
    if load(&spec.flags) & (SpecFlags::EMIT_EXIT | SpecFlags::HISTOGRAM) != 0 {
        let Some(found) = Head::find_or_make(spec, scratch) else {
            return;
        };
        // Entering here proves that calls at this frame and below are over.
        scratch
            .unwind_limit
            .set(scratch.frame.get().wrapping_add(1));
        stash::unwind(spec, scratch, found);
        head = Some(found);
    }
    scratch.open_call();
    record::begin(spec, scratch);
    if !operations::run(spec, scratch, OpFlags::ENTRY) {
        if head.is_some() {
            stash::forget(spec, scratch);
        }
        return;
    }
    if load(&spec.flags) & SpecFlags::EMIT_ENTRY != 0 {
        record::emit(spec, scratch, Phase::Entry, 0);
    }
    if let Some(head) = head {
        stash::open(spec, scratch, head);
    }
}
