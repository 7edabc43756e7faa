//! Where fields of kernel structs lie, and how they are read.
//!
//! No offset is written down here: the globals are those of [`tracer_abi::file::FILE_FIELDS`],
//! resolved by name from the kernel's BTF. Everything is read by copying, which fails instead of
//! faulting: one body then serves programs that get typed arguments and programs that get registers.

use core::ffi::c_void;

use aya_ebpf::{
    Global,
    helpers::{bpf_get_current_task, bpf_ktime_get_boot_ns, bpf_probe_read_kernel},
};

macro_rules! globals {
    ($($name:ident)*) => {
        $(
            #[unsafe(no_mangle)]
            pub(crate) static $name: Global<u32> = Global::new(0);
        )*
    };
}

globals! {
    O_TASK_GROUP_LEADER
    O_TASK_REAL_PARENT
    O_TASK_TGID
    O_TASK_START_BOOTTIME
    O_TASK_MM
    O_TASK_SIGNAL
    O_SIGNAL_LIVE
    O_MM_EXE_FILE
    O_FILE_INODE
    O_FILE_MODE
    O_FILE_PATH
    O_PATH_DENTRY
    O_DENTRY_PARENT
    O_DENTRY_INODE
    O_DENTRY_NAME
    O_QSTR_NAME
    O_INODE_NUMBER
    O_INODE_MODE
    O_INODE_SUPER_BLOCK
    O_SUPER_BLOCK_DEVICE
    O_MAPPING_HOST
    O_KIOCB_FILE
    O_ITER_SOURCE
    O_ITER_COUNT
}

/// Boot time in nanoseconds.
#[inline(always)]
pub(crate) fn boot_time() -> u64 {
    // SAFETY: the helper takes no argument.
    unsafe { bpf_ktime_get_boot_ns() }
}

/// A kernel object by its address.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Object(pub(crate) *const c_void);

impl Object {
    /// No object: what is read of it is zero.
    pub(crate) const NONE: Self = Self(core::ptr::null());

    /// The running thread's `task_struct`.
    #[inline(always)]
    pub(crate) fn current() -> Self {
        // SAFETY: the helper takes no argument.
        Self(unsafe { bpf_get_current_task() } as *const c_void)
    }

    /// Whether there is none.
    #[inline(always)]
    pub(crate) fn is_none(self) -> bool {
        self.0.is_null()
    }

    /// Reads a field that is a number; 0 where the address is wrong.
    #[inline(always)]
    pub(crate) fn read<T: Copy + Default>(self, offset: &Global<u32>) -> T {
        // SAFETY: the helper checks the address and fails instead of faulting.
        unsafe { bpf_probe_read_kernel(self.field(offset).0.cast::<T>()) }.unwrap_or_default()
    }

    /// The object that a field points to.
    #[inline(always)]
    pub(crate) fn follow(self, offset: &Global<u32>) -> Self {
        Self(self.read::<u64>(offset) as *const c_void)
    }

    /// The field itself, where it is a struct.
    #[inline(always)]
    pub(crate) fn field(self, offset: &Global<u32>) -> Self {
        Self(self.0.wrapping_byte_add(offset.load() as usize))
    }
}
