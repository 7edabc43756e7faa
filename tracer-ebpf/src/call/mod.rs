//! Follows calls of user-space functions: one program at their entries, one at their exits, both
//! driven by the tables of sites and specs.
//!
//! The gates stand in the order of their cost: who (target, deadline), where (site, spec), whether
//! (predicates, sampling, token bucket), how much (level, per operation).
//!
//! # Frames of at most 48 bytes
//!
//! From 6.13 on the kernel gives a BPF function of this type whose frame has 64 bytes or more a
//! *private stack*, one per CPU (`bpf_enable_priv_stack`, kernel/bpf/verifier.c), in the belief that
//! it does not run twice at a time on a CPU. Uprobe programs do: they are pre-empted, and they sleep.
//! The second run then overwrites the first one's spilled registers, pointers among them; on 7.3 that
//! crashed the kernel. So what is larger than a word lies in the scratch slot, and the work is cut
//! into functions that are not inlined and whose frames stay below the limit.

mod entry;
mod exit;
mod gates;
mod histogram;
mod memory;
mod operations;
mod record;
mod registers;
mod texts;
mod unwound;

use aya_ebpf::{
    EbpfContext,
    btf_maps::{Array, PerCpuArray},
    helpers::{bpf_get_current_pid_tgid, generated::bpf_get_attach_cookie},
    macros::{btf_map, uprobe},
    programs::ProbeContext,
};
use tracer_abi::{LossReason, MAX_SITES, MAX_SPECS, Site, SiteRole, Spec};

pub(crate) use operations::SETS;
pub(crate) use registers::REGISTERS;

use crate::{
    atomic, kernel, loss,
    scratch::Scratch,
    target::{self, CONTROL, Grant},
};

#[btf_map]
static SPECS: Array<Spec, { MAX_SPECS as usize }> = Array::new();
#[btf_map]
static SITES: Array<Site, { MAX_SITES as usize }> = Array::new();
#[btf_map]
static SITE_HITS: PerCpuArray<u64, { MAX_SITES as usize }> = PerCpuArray::new();

/// A probe fired where a call begins.
#[uprobe(sleepable)]
pub(crate) fn call_entry(ctx: ProbeContext) -> u32 {
    handle(&ctx, SiteRole::Entry, entry::enter);
    0
}

/// A probe fired where a call ends.
#[uprobe(sleepable)]
pub(crate) fn call_exit(ctx: ProbeContext) -> u32 {
    handle(&ctx, SiteRole::Exit, exit::leave);
    0
}

/// What the turn of a loop works on.
struct Turn<'a> {
    spec: &'a Spec,
    scratch: &'a mut Scratch,
}

/// Passes the gates of who and where, and runs `body` on a scratch slot.
#[inline(always)]
fn handle(ctx: &ProbeContext, role: SiteRole, body: impl FnOnce(&Spec, &mut Scratch)) {
    let Some(scratch) = admit() else {
        return;
    };
    if let Some(spec) = arrive(ctx, role, scratch) {
        body(spec, scratch);
    }
    scratch.release();
}

/// Passes the gate of who, and claims a scratch slot for the hit.
#[inline(never)]
fn admit() -> Option<&'static mut Scratch> {
    let control = CONTROL.get(0)?;
    let pid_tgid = bpf_get_current_pid_tgid();
    let mut grant = Grant::default();
    if !target::find(control, (pid_tgid >> 32) as u32, &mut grant) {
        return None;
    }
    let now = kernel::boot_time();
    if now >= grant.deadline {
        loss::count(LossReason::Expired, now);
        return None;
    }
    let cpu = kernel::cpu();
    let Some(scratch) = Scratch::claim(cpu) else {
        loss::count(LossReason::NoScratch, now);
        return None;
    };
    scratch.now.set(now);
    scratch.pid_tgid.set(pid_tgid);
    scratch.cpu.set(cpu);
    scratch.rings.set(control.rings);
    scratch.level.set(grant.level as u8);
    Some(scratch)
}

/// Passes the gate of where: the spec of the site, if the site is on.
#[inline(always)]
fn arrive(ctx: &ProbeContext, role: SiteRole, scratch: &mut Scratch) -> Option<&'static Spec> {
    let index = cookie(ctx);
    count_hit(index);
    let site = SITES.get(index)?;
    let is_alone = site.role == SiteRole::EntryAlone as u8;
    if site.role != role as u8 && !(is_alone && role == SiteRole::Entry) {
        return None;
    }
    scratch.is_alone.set(u8::from(is_alone));
    registers::copy(ctx, &mut scratch.registers);
    scratch
        .frame
        .set(registers::frame_at(ctx, site.frame_offset));
    scratch.site.set(index as u16);
    scratch.spec.set(site.spec);
    scratch.result.set(site.result);
    SPECS.get(u32::from(site.spec))
}

/// The index of the site that was hit.
#[inline(always)]
fn cookie(ctx: &ProbeContext) -> u32 {
    // SAFETY: the context is the one that the kernel passed.
    unsafe { bpf_get_attach_cookie(ctx.as_ptr()) as u32 }
}

/// Counts a hit of a site, for what it costs.
#[inline(always)]
fn count_hit(site: u32) {
    if let Some(hits) = SITE_HITS.get_ptr_mut(site) {
        // SAFETY: the lookup returned this CPU's counter.
        atomic::add(unsafe { &mut *hits }, 1);
    }
}
