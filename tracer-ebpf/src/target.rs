//! The first gate: whether the running process is watched, and up to which level.

use aya_ebpf::{
    btf_maps::{Array, HashMap},
    helpers::bpf_get_current_ancestor_cgroup_id,
    macros::btf_map,
};
use tracer_abi::{Control, ExeKey, LossReason, Target, TargetFlags, TargetMode};

use crate::{
    kernel::{F_TASK_BTF, Typed, boot_time, has, started_in},
    loss,
};

#[btf_map]
pub(crate) static CONTROL: Array<Control, 1> = Array::new();
#[btf_map]
pub(crate) static TARGETS: HashMap<u32, Target, 8192> = HashMap::new();
#[btf_map]
pub(crate) static EXES: HashMap<ExeKey, Target, 256> = HashMap::new();
#[btf_map]
static CGROUPS: HashMap<u64, Target, 256> = HashMap::new();

/// Depth down to which a cgroup's ancestors are looked up; systemd and Kubernetes nest to about 8.
const MAX_CGROUP_DEPTH: i32 = 16;

/// What a watched process is granted now.
pub(crate) struct Grant {
    /// Boot time of the hit, in nanoseconds.
    pub(crate) now: u64,
    /// Capture level.
    pub(crate) level: u8,
}

/// Whether the running process is watched at all, whatever its deadline.
pub(crate) fn is_watched(control: &Control, tgid: u32) -> bool {
    find(control, tgid).is_some()
}

/// Passes the gate: target, then deadline.
#[inline(always)]
pub(crate) fn admit(control: &Control, tgid: u32) -> Option<Grant> {
    let target = find(control, tgid)?;
    let now = boot_time();
    if now >= target.deadline {
        loss::count(LossReason::Expired, now);
        return None;
    }
    Some(Grant {
        now,
        level: target.level,
    })
}

/// The part of a [`Target`] that decides.
#[derive(Clone, Copy)]
struct Found {
    deadline: u64,
    level: u8,
}

#[inline(always)]
fn find(control: &Control, tgid: u32) -> Option<Found> {
    let mode = control.mode;
    if mode == TargetMode::Nobody as u32 {
        return None;
    }
    if let Some(target) = TARGETS.get_ptr(tgid) {
        // SAFETY: the lookup returned a value of this map. User space may replace it meanwhile and
        // the element may then serve another process: `start_ticks`, read last, tells.
        let (deadline, level, flags, start_ticks) = unsafe {
            (
                (&raw const (*target).deadline).read_volatile(),
                (&raw const (*target).level).read_volatile(),
                (&raw const (*target).flags).read_volatile(),
                (&raw const (*target).start_ticks).read_volatile(),
            )
        };
        if is_same_process(start_ticks) {
            if flags & TargetFlags::EXCLUDE != 0 {
                return None;
            }
            return Some(Found { deadline, level });
        }
    }
    if mode == TargetMode::Everyone as u32 {
        return Some(Found {
            deadline: control.everyone.deadline,
            level: control.everyone.level,
        });
    }
    if mode == TargetMode::Cgroup as u32 {
        return in_listed_cgroup();
    }
    None
}

/// Whether the running process started when the listed one did.
#[inline(always)]
fn is_same_process(start_ticks: u64) -> bool {
    if start_ticks == 0 || !has(&F_TASK_BTF) {
        return true;
    }
    started_in(Typed::current().process_started(), start_ticks)
}

/// The grant of the innermost listed cgroup that holds the running process.
#[inline(always)]
fn in_listed_cgroup() -> Option<Found> {
    let mut found = None;
    for depth in 0..MAX_CGROUP_DEPTH {
        // SAFETY: the helper takes a number and returns 0 below the process's own cgroup.
        let id = unsafe { bpf_get_current_ancestor_cgroup_id(depth) };
        if id == 0 {
            break;
        }
        // SAFETY: only user space writes this map; a grant that it replaces meanwhile is read as
        // either the old or the new one of the same field width.
        if let Some(target) = unsafe { CGROUPS.get(id) } {
            found = if target.flags & TargetFlags::EXCLUDE != 0 {
                None
            } else {
                Some(Found {
                    deadline: target.deadline,
                    level: target.level,
                })
            };
        }
    }
    found
}
