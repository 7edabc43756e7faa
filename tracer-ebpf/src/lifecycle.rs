//! Processes: who becomes a target when it is executed or forked, and who ceases to be one.
//!
//! Records go to the critical ring, and only of processes that matter: targets, and in mode
//! [`TargetMode::Everyone`] every execution and end of a process, because each of them may have
//! emitted calls and its pid will be used again. Threads are not told: a runtime may start some for
//! each step, and a flood of them would displace what the ring is for.

use aya_ebpf::{
    bindings::BPF_ANY, helpers::bpf_get_current_pid_tgid, macros::raw_tracepoint,
    programs::RawTracePointContext,
};
use aya_log_ebpf::debug;
use tracer_abi::{
    ExeKey, Exec, Exit, Fork, MAX_SETS, RecordHeader, RecordKind, SetKey, Target, TargetFlags,
};

use crate::{
    call::SETS,
    kernel::{
        F_TASK_BTF, O_FILE_INODE, O_INODE_NUMBER, O_INODE_SUPER_BLOCK, O_MM_EXE_FILE,
        O_SIGNAL_LIVE, O_SUPER_BLOCK_DEVICE, O_TASK_EXIT_CODE, O_TASK_MM, O_TASK_PID,
        O_TASK_REAL_PARENT, O_TASK_SIGNAL, O_TASK_START_BOOTTIME, O_TASK_TGID, Typed, Untyped,
        boot_time, cpu, has, ticks,
    },
    ring::Ring,
    target::{self, CONTROL, EXES, TARGETS},
};

/// `sched_process_exec`: the process has its new program.
#[raw_tracepoint(tracepoint = "sched_process_exec")]
pub(crate) fn process_exec(ctx: RawTracePointContext) -> i32 {
    if !has(&F_TASK_BTF) {
        return 0;
    }
    let task = Typed::current();
    let started = task.process_started();
    let inode = task
        .follow(&O_TASK_MM)
        .follow(&O_MM_EXE_FILE)
        .follow(&O_FILE_INODE);
    let exe = ExeKey {
        inode: inode.read(&O_INODE_NUMBER),
        device: inode
            .follow(&O_INODE_SUPER_BLOCK)
            .read(&O_SUPER_BLOCK_DEVICE),
        reserved: 0,
    };
    let pid = current_pid();
    // What the old program's memory told about its vocabulary no longer holds.
    forget_sets(pid);
    adopt(pid, started, exe);
    if is_told(pid) {
        debug!(&ctx, "process {} executed inode {}", pid, exe.inode);
        emit(
            RecordKind::Exec,
            Exec {
                started,
                exe_inode: exe.inode,
                exe_device: exe.device,
                parent: task.follow(&O_TASK_REAL_PARENT).read(&O_TASK_TGID),
            },
        );
    }
    0
}

/// `sched_process_fork`: the running task has a child, which has not run yet.
#[raw_tracepoint(tracepoint = "sched_process_fork")]
pub(crate) fn process_fork(ctx: RawTracePointContext) -> i32 {
    if !has(&F_TASK_BTF) {
        return 0;
    }
    let parent = current_pid();
    // SAFETY: a target is replaced by user space only as a whole; a grant that changes while it is
    // copied here goes to the child in either form.
    let Some(target) = (unsafe { TARGETS.get(parent) }) else {
        return 0;
    };
    let task = Untyped(ctx.arg(1));
    let child: u32 = task.read(&O_TASK_PID);
    if child == 0 || child != task.read::<u32>(&O_TASK_TGID) {
        return 0;
    }
    let started: u64 = task.read(&O_TASK_START_BOOTTIME);
    let mut inherits = target.flags & TargetFlags::INHERIT != 0;
    if inherits {
        let inherited = Target {
            start_ticks: ticks(started),
            ..*target
        };
        inherits = TARGETS.insert(child, inherited, u64::from(BPF_ANY)).is_ok();
    }
    debug!(&ctx, "process {} forked {}", parent, child);
    emit(
        RecordKind::Fork,
        Fork {
            started,
            child,
            target: u32::from(inherits),
        },
    );
    0
}

/// `sched_process_exit`: a thread is ending.
#[raw_tracepoint(tracepoint = "sched_process_exit")]
pub(crate) fn process_exit(ctx: RawTracePointContext) -> i32 {
    if !has(&F_TASK_BTF) {
        return 0;
    }
    let task = Typed::current();
    // The count of live threads is already down by this one: `do_exit` in kernel/exit.c.
    if task.follow(&O_TASK_SIGNAL).read::<u32>(&O_SIGNAL_LIVE) != 0 {
        return 0;
    }
    let pid = current_pid();
    if is_told(pid) {
        let status: u32 = task.read(&O_TASK_EXIT_CODE);
        debug!(&ctx, "process {} ended with status {}", pid, status);
        emit(
            RecordKind::Exit,
            Exit {
                started: task.process_started(),
                status,
                whole_process: 1,
            },
        );
    }
    let _ = TARGETS.remove(pid);
    forget_sets(pid);
    0
}

#[inline(always)]
fn current_pid() -> u32 {
    (bpf_get_current_pid_tgid() >> 32) as u32
}

/// Whether user space wants to know of the running process.
#[inline(always)]
fn is_told(pid: u32) -> bool {
    CONTROL
        .get(0)
        .is_some_and(|control| target::is_watched(control, pid))
}

/// Makes the process a target if its executable is listed; an exclusion stays.
#[inline(always)]
fn adopt(pid: u32, started: u64, exe: ExeKey) {
    // SAFETY: only user space writes this map.
    let Some(grant) = (unsafe { EXES.get(exe) }) else {
        return;
    };
    // SAFETY: as in `process_fork`.
    if unsafe { TARGETS.get(pid) }.is_some_and(|target| target.flags & TargetFlags::EXCLUDE != 0) {
        return;
    }
    let target = Target {
        start_ticks: ticks(started),
        ..*grant
    };
    let _ = TARGETS.insert(pid, target, u64::from(BPF_ANY));
}

/// Removes the marks that say which sets the process has; their members are user space's to remove.
#[inline(always)]
fn forget_sets(pid: u32) {
    for set in 0..MAX_SETS {
        let _ = SETS.remove(SetKey {
            pid,
            set,
            value: SetKey::EXISTS,
        });
    }
}

/// Emits a record of the running process.
#[inline(always)]
fn emit<T>(kind: RecordKind, body: T) {
    /// A header with what follows it.
    #[repr(C)]
    struct Framed<T> {
        header: [u64; 7],
        body: T,
    }

    let pid_tgid = bpf_get_current_pid_tgid();
    let header = RecordHeader {
        kind: kind as u8,
        cpu: cpu() as u16,
        pid: (pid_tgid >> 32) as u32,
        tid: pid_tgid as u32,
        time: boot_time(),
        ..RecordHeader::default()
    };
    let mut record = Framed {
        header: header.to_words(),
        body,
    };
    if let Some(mut ring) = Ring::critical() {
        // SAFETY: the record is initialised, without padding, and on our own stack.
        unsafe { ring.emit((&raw mut record).cast(), size_of::<Framed<T>>()) }
    }
}
