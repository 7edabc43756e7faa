//! Latency histograms, and two programs that do nothing but fill them.
//!
//! A function that is called a million times a second can bear neither a record nor the machinery of
//! one: these programs claim no scratch slot, copy no registers and run no operation. They serve the
//! specs of which [`Spec::only_times`] is true; the others with a histogram come here from `exit`.

use aya_ebpf::{
    btf_maps::PerCpuArray,
    helpers::bpf_get_current_pid_tgid,
    macros::{btf_map, uprobe},
    programs::ProbeContext,
};
use tracer_abi::{
    Control, HISTOGRAM_BUCKETS, Histogram, LossReason, MAX_SPECS, Site, SiteRole, TargetMode,
};

use crate::{
    atomic,
    call::{SITES, SPECS, cookie, count_hit, registers},
    kernel, loss,
    scratch::load,
    target::{self, CONTROL, Grant},
    thread::Thread,
};

#[btf_map]
static HISTOGRAMS: PerCpuArray<Histogram, { MAX_SPECS as usize }> = PerCpuArray::new();

/// A probe fired where a call begins that is only timed.
#[uprobe(sleepable)]
pub(crate) fn time_entry(ctx: ProbeContext) -> u32 {
    begin(&ctx);
    0
}

/// A probe fired where such a call ends.
#[uprobe(sleepable)]
pub(crate) fn time_exit(ctx: ProbeContext) -> u32 {
    end(&ctx);
    0
}

#[inline(always)]
fn begin(ctx: &ProbeContext) -> Option<()> {
    let control = CONTROL.get(0)?;
    let thread = match Thread::current() {
        Some(thread) if thread.has_grant_of(control.generation) => thread,
        _ => admit(control)?,
    };
    let site = arrive(ctx, SiteRole::Entry)?;
    let function = load(&SPECS.get(u32::from(site.spec))?.function);
    let frame = registers::frame_at(ctx, site.frame_offset);
    let now = kernel::boot_time();
    if now >= thread.deadline.get() {
        loss::count(LossReason::Expired, now);
        return None;
    }
    if thread.may_have_left(frame) {
        thread.forget_abandoned(function, frame.wrapping_add(1));
    }
    thread.open(function, frame, now).entered = now;
    Some(())
}

/// Passes the gate of who the long way, for a thread that does not have its grant of `control` yet.
#[inline(never)]
fn admit(control: &Control) -> Option<&'static mut Thread> {
    let mut grant = Grant::default();
    let tgid = (bpf_get_current_pid_tgid() >> 32) as u32;
    if !target::find(control, tgid, &mut grant) {
        return None;
    }
    let thread = Thread::current_or_new(kernel::boot_time())?;
    thread.deadline.set(grant.deadline);
    // A process can move to another cgroup, which changes no generation.
    if control.mode != TargetMode::Cgroup as u32 {
        thread.granted.set(control.generation);
    }
    Some(thread)
}

/// Who is asked is no question here: an open call answers it.
#[inline(always)]
fn end(ctx: &ProbeContext) -> Option<()> {
    let now = kernel::boot_time();
    let thread = Thread::current()?;
    let site = arrive(ctx, SiteRole::Exit)?;
    let spec = SPECS.get(u32::from(site.spec))?;
    let function = load(&spec.function);
    let frame = registers::frame_at(ctx, site.frame_offset);
    let deadline = thread.deadline.get();
    let call = if thread.newest_is(function, frame) {
        thread.close_newest()
    } else {
        thread.forget_abandoned(function, frame);
        thread.close(function, frame)?
    };
    let entered = load(&call.entered);
    if now >= deadline {
        loss::count(LossReason::Expired, now);
        return None;
    }
    let duration = now.saturating_sub(entered);
    if duration >= spec.minimum_duration {
        add(site.spec, duration);
    }
    Some(())
}

/// The site of a hit, if it is on; counts the hit.
#[inline(always)]
fn arrive(ctx: &ProbeContext, role: SiteRole) -> Option<&'static Site> {
    let index = cookie(ctx);
    count_hit(index);
    SITES.get(index).filter(|site| site.role == role as u8)
}

/// Adds a duration to the spec's histogram.
#[inline(never)]
pub(super) fn add(spec: u16, duration: u64) {
    let Some(histogram) = HISTOGRAMS.get_ptr_mut(u32::from(spec)) else {
        return;
    };
    // SAFETY: the lookup returned this CPU's histogram.
    let histogram = unsafe { &mut *histogram };
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
