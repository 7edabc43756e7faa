//! What the loader knows about the running kernel, and typed reads of its structs.
//!
//! No offset is written down here: the globals are those of [`tracer_abi::KERNEL_FIELDS`] and
//! [`tracer_abi::FEATURE_FLAGS`], resolved by name from the kernel's BTF.

use core::ffi::c_void;

use aya_ebpf::{
    Global,
    helpers::{
        bpf_get_current_task_btf, bpf_get_smp_processor_id, bpf_ktime_get_boot_ns,
        bpf_probe_read_kernel,
    },
};
use tracer_abi::USER_HZ;

macro_rules! globals {
    ($($name:ident)*) => {
        $(
            #[unsafe(no_mangle)]
            pub(crate) static $name: Global<u32> = Global::new(0);
        )*
    };
}

globals! {
    O_TASK_PID
    O_TASK_TGID
    O_TASK_GROUP_LEADER
    O_TASK_REAL_PARENT
    O_TASK_START_BOOTTIME
    O_TASK_EXIT_CODE
    O_TASK_SIGNAL
    O_TASK_MM
    O_SIGNAL_LIVE
    O_MM_EXE_FILE
    O_FILE_INODE
    O_INODE_NUMBER
    O_INODE_SUPER_BLOCK
    O_SUPER_BLOCK_DEVICE
    F_COPY_FROM_USER
    F_TASK_BTF
    F_LOOP
}

/// Nanoseconds of one tick of [`USER_HZ`].
const TICK: u64 = 1_000_000_000 / USER_HZ;

/// Whether the loader set a feature flag. The verifier prunes what a 0 rules out.
#[inline(always)]
pub(crate) fn has(flag: &Global<u32>) -> bool {
    flag.load() != 0
}

/// The CPU that runs the program; it stays the same until the program's end.
#[inline(always)]
pub(crate) fn cpu() -> u32 {
    // SAFETY: the helper takes no argument.
    unsafe { bpf_get_smp_processor_id() }
}

/// Boot time in nanoseconds.
#[inline(always)]
pub(crate) fn boot_time() -> u64 {
    // SAFETY: the helper takes no argument.
    unsafe { bpf_ktime_get_boot_ns() }
}

/// A kernel object that the verifier knows by its BTF type: a wrong read yields zero, never a crash.
#[derive(Clone, Copy)]
pub(crate) struct Typed(*const c_void);

impl Typed {
    /// The running thread's `task_struct`; call only behind [`F_TASK_BTF`].
    #[inline(always)]
    pub(crate) fn current() -> Self {
        // SAFETY: the helper takes no argument and returns the current task.
        Self(unsafe { bpf_get_current_task_btf() }.cast())
    }

    /// Reads a field that is a number.
    #[inline(always)]
    pub(crate) fn read<T: Copy>(self, offset: &Global<u32>) -> T {
        // SAFETY: the verifier checks type, offset and size of the load against BTF, and the kernel
        // handles a fault in it.
        unsafe {
            self.0
                .byte_add(offset.load() as usize)
                .cast::<T>()
                .read_volatile()
        }
    }

    /// Reads a field that is a pointer to another object.
    #[inline(always)]
    pub(crate) fn follow(self, offset: &Global<u32>) -> Self {
        Self(self.read(offset))
    }

    /// When the process of this task started, in nanoseconds since boot.
    #[inline(always)]
    pub(crate) fn process_started(self) -> u64 {
        self.follow(&O_TASK_GROUP_LEADER)
            .read(&O_TASK_START_BOOTTIME)
    }
}

/// A kernel object given to a raw tracepoint as a bare address: read by copying.
#[derive(Clone, Copy)]
pub(crate) struct Untyped(pub(crate) *const c_void);

impl Untyped {
    /// Reads a field that is a number; 0 where the address is wrong.
    #[inline(always)]
    pub(crate) fn read<T: Copy + Default>(self, offset: &Global<u32>) -> T {
        let address = self.0.wrapping_byte_add(offset.load() as usize).cast::<T>();
        // SAFETY: the helper checks the address and fails instead of faulting.
        unsafe { bpf_probe_read_kernel(address) }.unwrap_or_default()
    }
}

/// Boot time in the ticks of `/proc/PID/stat`.
#[inline(always)]
pub(crate) fn ticks(started: u64) -> u64 {
    started / TICK
}

/// Whether a process that started at `started` (ns) shows `ticks` in `/proc/PID/stat`; a
/// multiplication where [`ticks`] would divide on the hot path.
#[inline(always)]
pub(crate) fn started_in(started: u64, ticks: u64) -> bool {
    started.wrapping_sub(ticks.wrapping_mul(TICK)) < TICK
}
