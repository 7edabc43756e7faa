//! Programs for measurements: what a probe costs at least, and records without a traced process.

use core::ffi::c_void;

use aya_ebpf::{
    EbpfContext,
    helpers::generated::{bpf_get_attach_cookie, bpf_loop},
    macros::uprobe,
    programs::ProbeContext,
};
use tracer_abi::{LossReason, Phase, RecordHeader, RecordKind};

use crate::{
    kernel::{F_LOOP, boot_time, cpu, has},
    loss,
    ring::Ring,
    scratch::Scratch,
    target::CONTROL,
};

/// Does nothing: the price of the site itself.
#[uprobe(sleepable)]
pub(crate) fn empty(_: ProbeContext) -> u32 {
    0
}

/// Emits as many 64-byte call records as the cookie says.
#[uprobe(sleepable)]
pub(crate) fn generate(ctx: ProbeContext) -> u32 {
    if !has(&F_LOOP) {
        return 0;
    }
    let Some(mut scratch) = Scratch::claim(cpu()) else {
        loss::count(LossReason::NoScratch, boot_time());
        return 0;
    };
    // SAFETY: the context is the one that the kernel passed; the callback has the type that bpf_loop
    // calls, and its context outlives the loop.
    unsafe {
        let count = bpf_get_attach_cookie(ctx.as_ptr()) as u32;
        bpf_loop(
            count,
            generate_one as *mut c_void,
            (&raw mut scratch).cast(),
            0,
        );
    }
    scratch.release();
    0
}

/// Emits one record: a header and a slot.
unsafe extern "C" fn generate_one(index: u32, context: *mut c_void) -> i64 {
    // SAFETY: the context is the pointer to the scratch slot that the loop was given; nothing else uses
    // the slot before the loop has ended.
    let scratch = unsafe { &mut **context.cast::<*mut Scratch>() };
    let Some(control) = CONTROL.get(0) else {
        return 1;
    };
    let cpu = cpu();
    let header = RecordHeader {
        kind: RecordKind::Call as u8,
        phase: Phase::Entry as u8,
        cpu: cpu as u16,
        time: boot_time(),
        call: u64::from(index) + 1,
        value_count: 1,
        ..RecordHeader::default()
    };
    for (place, word) in scratch.record.iter_mut().zip(header.to_words()) {
        *place = word;
    }
    scratch.record[size_of::<RecordHeader>() / 8] = u64::from(index);
    if let Some(mut ring) = Ring::of_cpu(cpu, control.rings) {
        // SAFETY: the record is initialised, and the slot is our own.
        unsafe {
            ring.emit(
                (&raw mut scratch.record).cast(),
                size_of::<RecordHeader>() + 8,
            );
        }
    }
    0
}
