//! Where fields of kernel structs lie, and how they are read.
//!
//! No offset is written down here: the globals are those of [`tracer_abi::file::FILE_FIELDS`],
//! resolved by name from the kernel's BTF. One body serves programs that get typed arguments and
//! programs that get registers: it is generic over how a field is read.

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
    O_DENTRY_SUPER_BLOCK
    O_QSTR_NAME
    O_QSTR_HASH
    O_INODE_NUMBER
    O_INODE_MODE
    O_INODE_GENERATION
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
pub(crate) trait Object: Copy + PartialEq {
    /// The object at an address.
    fn at(address: *const c_void) -> Self;

    /// Where it is.
    fn address(self) -> *const c_void;

    /// Reads a field that is a number; 0 where the address is wrong.
    fn read<T: Copy + Default>(self, offset: &Global<u32>) -> T;

    /// The object that a field points to.
    fn follow(self, offset: &Global<u32>) -> Self;

    /// The field itself, where it is a struct.
    #[inline(always)]
    fn field(self, offset: &Global<u32>) -> Self {
        Self::at(self.address().wrapping_byte_add(offset.load() as usize))
    }

    /// How far it lies behind another object. The verifier lets nothing else be computed from two addresses.
    #[inline(always)]
    fn distance(self, other: Self) -> u64 {
        (self.address() as u64).wrapping_sub(other.address() as u64)
    }

    /// Whether there is none.
    #[inline(always)]
    fn is_none(self) -> bool {
        self.address().is_null()
    }
}

/// An object that the verifier knows by its BTF type, as the arguments of LSM and fentry programs and
/// what these point to: a field is loaded, and the kernel handles a fault in that.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Typed(*const c_void);

impl Object for Typed {
    #[inline(always)]
    fn at(address: *const c_void) -> Self {
        Self(address)
    }

    #[inline(always)]
    fn address(self) -> *const c_void {
        self.0
    }

    #[inline(always)]
    fn read<T: Copy + Default>(self, offset: &Global<u32>) -> T {
        // SAFETY: the verifier checks type, offset and size of the load against BTF, and where the
        // address is wrong the load yields 0.
        unsafe { self.field(offset).0.cast::<T>().read_volatile() }
    }

    #[inline(always)]
    fn follow(self, offset: &Global<u32>) -> Self {
        // SAFETY: as for `read`; what is loaded stays a pointer for the verifier.
        Self(unsafe { self.field(offset).0.cast::<*const c_void>().read_volatile() })
    }
}

/// An object of which a program has the bare address: a field is copied, which fails instead of
/// faulting.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Untyped(pub(crate) *const c_void);

impl Untyped {
    /// No object: what is read of it is zero.
    pub(crate) const NONE: Self = Self(core::ptr::null());

    /// The running thread's `task_struct`.
    #[inline(always)]
    pub(crate) fn current() -> Self {
        // SAFETY: the helper takes no argument.
        Self(unsafe { bpf_get_current_task() } as *const c_void)
    }
}

impl Object for Untyped {
    #[inline(always)]
    fn at(address: *const c_void) -> Self {
        Self(address)
    }

    #[inline(always)]
    fn address(self) -> *const c_void {
        self.0
    }

    #[inline(always)]
    fn read<T: Copy + Default>(self, offset: &Global<u32>) -> T {
        // SAFETY: the helper checks the address and fails instead of faulting.
        unsafe { bpf_probe_read_kernel(self.field(offset).0.cast::<T>()) }.unwrap_or_default()
    }

    #[inline(always)]
    fn follow(self, offset: &Global<u32>) -> Self {
        Self(self.read::<u64>(offset) as *const c_void)
    }
}
