//! A call ends.

use aya_ebpf::{btf_maps::PerCpuArray, macros::btf_map};
use tracer_abi::{HISTOGRAM_BUCKETS, Histogram, MAX_SPECS, OpFlags, Phase, Spec, SpecFlags};

use crate::{
    atomic,
    call::{
        operations, record,
        stash::{self, Head},
    },
    scratch::{Scratch, load},
};

#[btf_map]
static HISTOGRAMS: PerCpuArray<Histogram, { MAX_SPECS as usize }> = PerCpuArray::new();

#[inline(always)]
pub(super) fn leave(spec: &Spec, scratch: &mut Scratch) {
    let Some(head) = Head::find(spec, scratch) else {
        return;
    };
    // Inner calls that are still open were left by an exception that this one caught.
    scratch.unwind_limit.set(scratch.frame.get());
    stash::unwind(spec, scratch, head);
    if !stash::close(spec, scratch, head) {
        return;
    }
    let duration = scratch.now.get().saturating_sub(scratch.open.entered);
    if duration < spec.minimum_duration {
        return;
    }
    if load(&spec.flags) & SpecFlags::HISTOGRAM != 0 {
        add(scratch.spec.get(), duration);
    }
    if load(&spec.flags) & SpecFlags::EMIT_EXIT == 0 {
        return;
    }
    record::begin(spec, scratch);
    if operations::run(spec, scratch, OpFlags::EXIT) {
        record::emit(spec, scratch, Phase::Exit, duration);
    }
}

/// Adds a duration to the spec's histogram.
#[inline(never)]
fn add(spec: u16, duration: u64) {
    let Some(histogram) = HISTOGRAMS.get_ptr_mut(u32::from(spec)) else {
        return;
    };
    // SAFETY: the lookup returned this CPU's histogram.
    let histogram = unsafe { &mut *histogram };
    atomic::add(&mut histogram.count, 1);
    atomic::add(&mut histogram.sum, duration);
    if let Some(bucket) = histogram.buckets.get_mut(log2(duration)) {
        atomic::add(bucket, 1);
    }
}

/// `floor(log2(value))`, 0 for 0, cut to the last bucket: five halvings, because BPF counts no
/// leading zeros.
#[inline(always)]
fn log2(value: u64) -> usize {
    let mut rest = value.min((1 << HISTOGRAM_BUCKETS) - 1);
    let mut log = 0;
    for step in [32, 16, 8, 4, 2, 1] {
        if rest >> step != 0 {
            rest >>= step;
            log += step;
        }
    }
    log.min(HISTOGRAM_BUCKETS - 1)
}
