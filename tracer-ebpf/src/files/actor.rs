//! Who it was: the running thread's process, with what names it for good.
//!
//! Work that a process hands to the kernel runs on threads of that same process (`create_io_thread`
//! in kernel/fork.c, 5.12): io_uring's workers and its polling thread are told as the submitter.

use aya_ebpf::{
    btf_maps::LruHashMap,
    helpers::{bpf_get_current_cgroup_id, bpf_get_current_pid_tgid, bpf_get_current_uid_gid},
    macros::{btf_map, raw_tracepoint},
    programs::RawTracePointContext,
};
use tracer_abi::file::{FileActor, MAX_EXITED};

use crate::kernel::{
    O_FILE_INODE, O_INODE_NUMBER, O_INODE_SUPER_BLOCK, O_MM_EXE_FILE, O_SIGNAL_LIVE,
    O_SUPER_BLOCK_DEVICE, O_TASK_GROUP_LEADER, O_TASK_MM, O_TASK_REAL_PARENT, O_TASK_SIGNAL,
    O_TASK_START_BOOTTIME, O_TASK_TGID, Object as _, Untyped,
};

/// Processes that ended: fanotify names a process by its pid alone, which nobody answers to any more
/// when its event is read.
#[btf_map]
static EXITED: LruHashMap<u32, FileActor, { MAX_EXITED as usize }> = LruHashMap::new();

/// The running process.
#[inline(always)]
pub(crate) fn pid() -> u32 {
    (bpf_get_current_pid_tgid() >> 32) as u32
}

/// When the running process started, in nanoseconds since boot.
#[inline(always)]
pub(crate) fn started() -> u64 {
    Untyped::current()
        .follow(&O_TASK_GROUP_LEADER)
        .read(&O_TASK_START_BOOTTIME)
}

/// The running process.
#[inline(always)]
pub(crate) fn current(started: u64) -> FileActor {
    let task = Untyped::current();
    let exe = task
        .follow(&O_TASK_MM)
        .follow(&O_MM_EXE_FILE)
        .follow(&O_FILE_INODE);
    let exe_device = exe.follow(&O_INODE_SUPER_BLOCK).read(&O_SUPER_BLOCK_DEVICE);
    FileActor {
        started,
        // SAFETY: the helper takes no argument.
        cgroup: unsafe { bpf_get_current_cgroup_id() },
        exe_inode: exe.read(&O_INODE_NUMBER),
        exe_device,
        uid: bpf_get_current_uid_gid() as u32,
        parent: task.follow(&O_TASK_REAL_PARENT).read(&O_TASK_TGID),
        tid: bpf_get_current_pid_tgid() as u32,
    }
}

/// Whether all threads of the running process are ending (`do_exit` in kernel/exit.c).
#[inline(always)]
fn is_process_ending() -> bool {
    let live: u32 = Untyped::current()
        .follow(&O_TASK_SIGNAL)
        .read(&O_SIGNAL_LIVE);
    live == 0
}

/// `sched_process_exit`: the last thread of a process is ending. Newer kernels call it while the
/// process still has its memory (`do_exit` in kernel/exit.c); in older ones that is gone, and
/// [`file_exit_mmap`] has told its executable before.
#[raw_tracepoint(tracepoint = "sched_process_exit")]
pub(crate) fn file_process_exit(_: RawTracePointContext) -> i32 {
    if !is_process_ending() {
        return 0;
    }
    let mut actor = current(started());
    if actor.exe_inode == 0
        && let Some(before) = EXITED.get_ptr(pid())
    {
        // SAFETY: the lookup returned map memory.
        let before = unsafe { *before };
        if before.started == actor.started {
            actor.exe_inode = before.exe_inode;
            actor.exe_device = before.exe_device;
        }
    }
    let _ = EXITED.insert(pid(), actor, 0);
    0
}

/// `exit_mmap(mm)`: memory is let go of, at the end of a process. Where it executes another program, or
/// somebody who looked at it lets go last, the running process is none that ends.
///
/// # Minimum kernel version
/// 6.1.
#[raw_tracepoint(tracepoint = "exit_mmap")]
pub(crate) fn file_exit_mmap(ctx: RawTracePointContext) -> i32 {
    if !is_process_ending() {
        return 0;
    }
    let mm: u64 = ctx.arg(0);
    let exe = Untyped(mm as *const _)
        .follow(&O_MM_EXE_FILE)
        .follow(&O_FILE_INODE);
    let actor = FileActor {
        exe_inode: exe.read(&O_INODE_NUMBER),
        exe_device: exe.follow(&O_INODE_SUPER_BLOCK).read(&O_SUPER_BLOCK_DEVICE),
        ..current(started())
    };
    let _ = EXITED.insert(pid(), actor, 0);
    0
}
