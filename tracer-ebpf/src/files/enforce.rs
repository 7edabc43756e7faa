//! Whether an open or a mapping is let through, where a policy is enforced.
//!
//! User space says of an inode that it was verified, together with how many writes had been seen of it
//! before it was hashed. One more write, and that no longer counts: there is no moment in between.

use aya_ebpf::{Global, bindings::BPF_F_NO_PREALLOC, btf_maps::HashMap, macros::btf_map};
use tracer_abi::{
    USER_HZ,
    file::{FileKey, MAX_EXEMPT, MAX_WATCHED},
};

use crate::{actor, atomic};

/// 1 where a policy is enforced. With 0 the verifier removes all that refuses anything: a tracer that
/// observes has no program that could deny.
#[unsafe(no_mangle)]
static ENFORCES: Global<u32> = Global::new(0);

/// Verified inodes, each with the writes that had been seen of it.
#[btf_map]
static VOUCHED: HashMap<FileKey, u64, { MAX_WATCHED as usize }, { BPF_F_NO_PREALLOC as usize }> =
    HashMap::new();
/// Writes that were seen of an inode; none is 0.
#[btf_map]
static WRITES: HashMap<FileKey, u64, { MAX_WATCHED as usize }, { BPF_F_NO_PREALLOC as usize }> =
    HashMap::new();
/// Processes that are let through, each with its start in ticks: a number that was given to another
/// process is no way in.
#[btf_map]
static EXEMPT: HashMap<u32, u64, { MAX_EXEMPT as usize }> = HashMap::new();

/// `EPERM` of include/uapi/asm-generic/errno-base.h.
pub(crate) const REFUSED: i32 = -1;

/// Whether a policy is enforced.
#[inline(always)]
pub(crate) fn is_on() -> bool {
    ENFORCES.load() != 0
}

/// Notes that the bytes of an inode may be others from now on.
#[inline(always)]
pub(crate) fn written(key: &FileKey) {
    if !is_on() {
        return;
    }
    match WRITES.get_ptr_mut(key) {
        // SAFETY: the lookup returned map memory; it is added to atomically.
        Some(writes) => atomic::add(unsafe { &mut *writes }, 1),
        None => {
            if WRITES.insert(key, 1, 0).is_err() {
                // Nothing can be counted of it: then nothing vouches for it either.
                let _ = VOUCHED.remove(key);
            }
        }
    }
}

/// Whether the running process may open or map a watched inode: to read it if it is verified, and to
/// write to it never.
#[inline(always)]
pub(crate) fn permits(key: &FileKey, to_write: bool) -> bool {
    if !is_on() {
        return true;
    }
    if !to_write && let Some(vouched) = VOUCHED.get_ptr(key) {
        // SAFETY: both lookups returned map memory, which is read once.
        let (vouched, seen) = unsafe { (*vouched, WRITES.get_ptr(key).map_or(0, |seen| *seen)) };
        if vouched == seen {
            return true;
        }
    }
    EXEMPT
        .get_ptr(actor::pid())
        // SAFETY: the lookup returned map memory.
        .is_some_and(|ticks| unsafe { *ticks } == actor::started() / (1_000_000_000 / USER_HZ))
}
