//! Folders that lie below no watched one, so that the way up from them is gone once.
//!
//! An answer holds until any name anywhere is moved, or another folder is watched. The kernel counts the
//! first: `d_move` and `d_exchange` of fs/dcache.c write `rename_lock`, and a folder gets above a file in
//! no other way. A number that belongs to another folder by now is told by its generation and, where a
//! file system gives none, by the folder that it lies in and the name that it has there.

use core::ffi::c_void;

use aya_ebpf::{
    Global, btf_maps::Array, helpers::generated::bpf_probe_read_kernel, macros::btf_map,
};
use tracer_abi::file::{MAX_CLEARED, mixed};

use crate::kernel::{
    O_DENTRY_INODE, O_DENTRY_NAME, O_INODE_GENERATION, O_INODE_NUMBER, O_QSTR_HASH, Object,
};

/// Where the sequence of `rename_lock` lies; 0 where this kernel does not tell: then nothing is
/// remembered.
#[unsafe(no_mangle)]
static RENAMES: Global<u64> = Global::new(0);

/// Tags of folders, each where its own bits say; one word, so that no CPU ever reads half of one.
#[btf_map]
static CLEARED: Array<u64, { MAX_CLEARED as usize }> = Array::new();

/// A folder at a moment, and where it would be remembered.
#[derive(Clone, Copy)]
pub(crate) struct Cleared {
    slot: u32,
    tag: u64,
    renames: u32,
}

impl Cleared {
    /// The folder behind `dentry`, while `version` of the watched folders is in force. Without a branch:
    /// the verifier would go the whole way up for each.
    #[inline(always)]
    pub(crate) fn of(dentry: impl Object, device: u32, version: u32) -> Self {
        let renames = renames();
        let inode = dentry.follow(&O_DENTRY_INODE);
        let generation: u32 = inode.read(&O_INODE_GENERATION);
        // Salted with the address of the dentry above (`full_name_hash` of fs/namei.c).
        let name: u32 = dentry.field(&O_DENTRY_NAME).read(&O_QSTR_HASH);
        let mut hash = mixed(0, inode.read(&O_INODE_NUMBER));
        hash = mixed(hash, u64::from(generation) << 32 | u64::from(device));
        let slot = hash as u32 % MAX_CLEARED;
        hash = mixed(hash, u64::from(version) << 32 | u64::from(name));
        Self {
            slot,
            tag: mixed(hash, u64::from(renames)),
            renames,
        }
    }

    /// Whether it is known to lie below no watched folder.
    #[inline(always)]
    pub(crate) fn is_known(self) -> bool {
        // SAFETY: the lookup returned map memory, of which an aligned word is read.
        CLEARED
            .get_ptr(self.slot)
            .is_some_and(|tag| unsafe { tag.read_volatile() } == self.tag)
            && self.is_certain()
    }

    /// Remembers that it does.
    #[inline(always)]
    pub(crate) fn remember(self) {
        if self.is_certain()
            && let Some(tag) = CLEARED.get_ptr_mut(self.slot)
        {
            // SAFETY: the lookup returned map memory, of which an aligned word is written.
            unsafe { tag.write_volatile(self.tag) };
        }
    }

    /// Whether nothing was being moved. A `seqcount` is odd while somebody writes
    /// (include/linux/seqlock.h).
    #[inline(always)]
    fn is_certain(self) -> bool {
        self.renames & 1 == 0
    }
}

/// How many moves the kernel has counted, twice; odd also where that cannot be read.
#[inline(always)]
fn renames() -> u32 {
    let mut sequence = 0_u32;
    // SAFETY: the helper writes as much as the variable has, checks the address that it reads and fails
    // with a negative number instead of faulting.
    let result = unsafe {
        bpf_probe_read_kernel(
            (&raw mut sequence).cast(),
            size_of::<u32>() as u32,
            RENAMES.load() as *const c_void,
        )
    };
    sequence | (result as u64 >> 63) as u32
}
