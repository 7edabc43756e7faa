//! The gates that need the spec: one-in-N sampling and the token bucket.

use aya_ebpf::{
    btf_maps::{Array, PerCpuArray},
    macros::btf_map,
};
use tracer_abi::{LossReason, MAX_SPECS, Spec};

use crate::{atomic, loss, scratch::Scratch};

/// A spec's token bucket: the time at which it will be full again (the generic cell rate
/// algorithm), so that one word is the whole state and one exchange takes a token.
#[btf_map]
static BUCKETS: Array<u64, { MAX_SPECS as usize }> = Array::new();
/// Calls of a spec that came to the sampling gate on this CPU.
#[btf_map]
static SAMPLES: PerCpuArray<u64, { MAX_SPECS as usize }> = PerCpuArray::new();

/// Attempts at taking a token against other CPUs before the call counts as limited.
const ATTEMPTS: u32 = 4;

/// Whether the spec's limits let this call through.
#[inline(always)]
pub(super) fn pass(spec: &Spec, scratch: &Scratch) -> bool {
    let index = u32::from(scratch.spec.get());
    let now = scratch.now.get();
    if spec.sample_every > 1 && !is_sampled(index, spec.sample_every) {
        loss::count(LossReason::SampledOut, now);
        return false;
    }
    if spec.rate_per_second != 0 && !take_token(index, spec, now) {
        loss::count(LossReason::RateLimited, now);
        return false;
    }
    true
}

#[inline(never)]
fn is_sampled(index: u32, every: u32) -> bool {
    let Some(count) = SAMPLES.get_ptr_mut(index) else {
        return false;
    };
    // SAFETY: the lookup returned this CPU's counter.
    let seen = atomic::fetch_add(unsafe { &mut *count }, 1);
    seen % u64::from(every) == 0
}

#[inline(never)]
fn take_token(index: u32, spec: &Spec, now: u64) -> bool {
    let Some(full_at) = BUCKETS.get_ptr_mut(index) else {
        return false;
    };
    // SAFETY: the lookup returned map memory, which is only changed by the exchange below.
    let full_at = unsafe { &mut *full_at };
    let interval = 1_000_000_000 / u64::from(spec.rate_per_second);
    let burst = interval.wrapping_mul(u64::from(spec.rate_burst.max(1)));
    for _ in 0..ATTEMPTS {
        // SAFETY: a plain read; volatile because other CPUs exchange it.
        let seen = unsafe { (&raw const *full_at).read_volatile() };
        let taken = seen.max(now) + interval;
        if taken > now + burst {
            return false;
        }
        if atomic::compare_exchange(full_at, seen, taken) == seen {
            return true;
        }
    }
    false
}
