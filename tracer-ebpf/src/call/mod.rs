//! Follows calls of user-space functions: one program at their entries, one at their exits, both
//! driven by the tables of sites and specs.
//!
//! The gates stand in the order of their cost: who (target, deadline), where (site, spec), whether
//! (predicates, sampling, token bucket), how much (level, per operation).

mod entry;
mod exit;
mod gates;
mod memory;
mod operations;
mod record;
mod registers;
mod stash;

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
    target::{self, CONTROL},
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

/// Passes the gates of who and where, claims a scratch slot for `body`, and releases it.
#[inline(always)]
fn handle(ctx: &ProbeContext, role: SiteRole, body: impl FnOnce(&Spec, &mut Scratch)) {
    let _ = try_handle(ctx, role, body);
}

#[inline(always)]
fn try_handle(
    ctx: &ProbeContext,
    role: SiteRole,
    body: impl FnOnce(&Spec, &mut Scratch),
) -> Option<()> {
    let control = CONTROL.get(0)?;
    let pid_tgid = bpf_get_current_pid_tgid();
    let grant = target::admit(control, (pid_tgid >> 32) as u32)?;
    // SAFETY: the context is the one that the kernel passed.
    let site_index = unsafe { bpf_get_attach_cookie(ctx.as_ptr()) } as u32;
    if let Some(hits) = SITE_HITS.get_ptr_mut(site_index) {
        // SAFETY: the lookup returned this CPU's counter.
        atomic::add(unsafe { &mut *hits }, 1);
    }
    let site = SITES.get(site_index)?;
    if site.role != role as u8 {
        return None;
    }
    let spec_index = site.spec;
    let spec = SPECS.get(u32::from(spec_index))?;
    let cpu = kernel::cpu();
    let Some(scratch) = Scratch::claim(cpu) else {
        loss::count(LossReason::NoScratch, grant.now);
        return None;
    };
    registers::copy(ctx, &mut scratch.registers);
    // Under frame 0 lies the head of a thread's open calls: no call may take that name.
    let frame = registers::frame(&scratch.registers, site.frame_offset).max(1);
    scratch.now.set(grant.now);
    scratch.pid_tgid.set(pid_tgid);
    scratch.frame.set(frame);
    scratch.cpu.set(cpu);
    scratch.rings.set(control.rings);
    scratch.spec.set(spec_index);
    scratch.site.set(site_index as u16);
    scratch.level.set(grant.level);
    scratch.result.set(site.result);
    body(spec, scratch);
    scratch.release();
    Some(())
}
