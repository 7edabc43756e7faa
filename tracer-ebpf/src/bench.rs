//! Programs for measurements: what a probe costs at least, and records without a traced process.

use core::ffi::c_void;

use aya_ebpf::{
    EbpfContext,
    helpers::generated::{bpf_get_attach_cookie, bpf_loop},
    macros::uprobe,
    programs::ProbeContext,
};
use tracer_abi::{Phase, RecordHeader, RecordKind};

use crate::{
    kernel::{F_LOOP, boot_time, cpu, has},
    ring::Ring,
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
    if has(&F_LOOP) {
        // SAFETY: the context is the one that the kernel passed; the callback has the type that
        // bpf_loop calls and uses no context.
        unsafe {
            let count = bpf_get_attach_cookie(ctx.as_ptr()) as u32;
            let mut nothing = 0_u64;
            bpf_loop(
                count,
                generate_one as *mut c_void,
                (&raw mut nothing).cast(),
                0,
            );
        }
    }
    0
}

/// A record with one slot.
#[repr(C)]
struct Generated {
    header: [u64; 7],
    value: u64,
}

unsafe extern "C" fn generate_one(index: u32, _: *mut c_void) -> i64 {
    let cpu = cpu();
    let Some(control) = CONTROL.get(0) else {
        return 1;
    };
    let header = RecordHeader {
        kind: RecordKind::Call as u8,
        phase: Phase::Entry as u8,
        cpu: cpu as u16,
        time: boot_time(),
        call: u64::from(index) + 1,
        value_count: 1,
        ..RecordHeader::default()
    };
    let mut record = Generated {
        header: header.to_words(),
        value: u64::from(index),
    };
    if let Some(mut ring) = Ring::of_cpu(cpu, control.rings) {
        // SAFETY: the record is initialised and on our own stack.
        unsafe { ring.emit((&raw mut record).cast(), size_of::<Generated>()) }
    }
    0
}
