//! Counts what was seen and not delivered, by CPU and reason.

use aya_ebpf::{btf_maps::PerCpuArray, macros::btf_map};
use tracer_abi::{LossCell, LossReason};

use crate::atomic;

#[btf_map]
static LOSSES: PerCpuArray<LossCell, { LossReason::COUNT as usize }> = PerCpuArray::new();

/// Counts one loss at boot time `now`.
#[inline(never)]
pub(crate) fn count(reason: LossReason, now: u64) {
    if let Some(cell) = LOSSES.get_ptr_mut(reason as u32) {
        // SAFETY: the lookup returned this CPU's cell, which lives as long as the program runs.
        let cell = unsafe { &mut *cell };
        atomic::add(&mut cell.count, 1);
        cell.newest = now;
    }
}
