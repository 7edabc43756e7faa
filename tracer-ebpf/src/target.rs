//! The first gate: whether the running process is watched, and up to which level.

use aya_ebpf::{
    btf_maps::{Array, HashMap},
    helpers::bpf_get_current_ancestor_cgroup_id,
    macros::btf_map,
};
use tracer_abi::{Control, ExeKey, MAX_CGROUP_DEPTH, Target, TargetFlags, TargetMode};

use crate::kernel::{F_TASK_BTF, Typed, has, started_in};

#[btf_map]
pub(crate) static CONTROL: Array<Control, 1> = Array::new();
#[btf_map]
pub(crate) static TARGETS: HashMap<u32, Target, 8192> = HashMap::new();
#[btf_map]
pub(crate) static EXES: HashMap<ExeKey, Target, 256> = HashMap::new();
#[btf_map]
static CGROUPS: HashMap<u64, Target, 256> = HashMap::new();

/// What a watched process is granted.
#[derive(Clone, Copy, Default)]
pub(crate) struct Grant {
    /// Boot time from which nothing is captured.
    pub(crate) deadline: u64,
    /// Capture level.
    pub(crate) level: u64,
}

/// Whether the running process is watched at all, whatever its deadline.
pub(crate) fn is_watched(control: &Control, tgid: u32) -> bool {
    find(control, tgid, &mut Grant::default())
}

/// Finds the grant of the running process; false if it is not watched.
#[inline(always)]
pub(crate) fn find(control: &Control, tgid: u32, grant: &mut Grant) -> bool {
    let mode = control.mode;
    if mode == TargetMode::Nobody as u32 {
        return false;
    }
    if let Some(target) = TARGETS.get_ptr(tgid) {
        // SAFETY: the lookup returned a value of this map. User space may replace it meanwhile and
        // the element may then serve another process: `start_ticks`, read last, tells.
        let (flags, start_ticks) = unsafe {
            grant.deadline = (&raw const (*target).deadline).read_volatile();
            grant.level = u64::from((&raw const (*target).level).read_volatile());
            (
                (&raw const (*target).flags).read_volatile(),
                (&raw const (*target).start_ticks).read_volatile(),
            )
        };
        if is_same_process(start_ticks) {
            return flags & TargetFlags::EXCLUDE == 0;
        }
    }
    if mode == TargetMode::Everyone as u32 {
        grant.deadline = control.everyone.deadline;
        grant.level = u64::from(control.everyone.level);
        return true;
    }
    mode == TargetMode::Cgroup as u32 && is_in_listed_cgroup(grant)
}

/// Whether the running process started when the listed one did.
#[inline(always)]
fn is_same_process(start_ticks: u64) -> bool {
    if start_ticks == 0 || !has(&F_TASK_BTF) {
        return true;
    }
    started_in(Typed::current().process_started(), start_ticks)
}

/// Finds the grant of the innermost listed cgroup that holds the running process.
#[inline(never)]
fn is_in_listed_cgroup(grant: &mut Grant) -> bool {
    let mut is_listed = false;
    for depth in 0..MAX_CGROUP_DEPTH {
        // SAFETY: the helper takes a number and returns 0 below the process's own cgroup.
        let id = unsafe { bpf_get_current_ancestor_cgroup_id(depth) };
        if id == 0 {
            break;
        }
        // SAFETY: only user space writes this map; a grant that it replaces meanwhile is read as
        // either the old or the new one, field by field.
        if let Some(target) = unsafe { CGROUPS.get(id) } {
            grant.deadline = target.deadline;
            grant.level = u64::from(target.level);
            is_listed = target.flags & TargetFlags::EXCLUDE == 0;
        }
    }
    is_listed
}
