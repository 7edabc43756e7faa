//! Reads of the process's memory.
//!
//! The read that cannot sleep comes first: it is the cheaper one, and it fails on a page that was
//! never touched (on every kernel), which then the sleeping read brings in. Addresses are the
//! process's word: a kernel or non-canonical one simply faults.

use core::ffi::c_void;

use aya_ebpf::helpers::generated::{
    bpf_copy_from_user, bpf_probe_read_user, bpf_probe_read_user_str,
};

use crate::kernel::{F_COPY_FROM_USER, has};

const PAGE: u64 = 4096;

/// Reads `length` bytes to `to`; false if the memory cannot be read.
///
/// # Safety
/// `to` has room for `length` bytes, in a way that the verifier can follow.
#[inline(always)]
pub(crate) unsafe fn read(to: *mut u8, length: u32, address: u64) -> bool {
    let from = address as *const c_void;
    // SAFETY: the caller vouches for `to`; the helpers check `from`.
    unsafe {
        bpf_probe_read_user(to.cast(), length, from) == 0
            || (has(&F_COPY_FROM_USER) && bpf_copy_from_user(to.cast(), length, from) == 0)
    }
}

/// Reads a C string of at most `size` bytes, its NUL included, to `to`; the length with NUL. What is
/// longer is cut and ended by a NUL.
///
/// # Safety
/// `to` has room for `size` bytes, in a way that the verifier can follow.
#[inline(always)]
pub(crate) unsafe fn read_string(to: *mut u8, size: u32, address: u64) -> Option<u64> {
    // SAFETY: the caller vouches for `to`; the helper checks the address.
    let read = || unsafe { bpf_probe_read_user_str(to.cast(), size, address as *const c_void) };
    let mut length = read();
    if length < 0 && has(&F_COPY_FROM_USER) {
        // A sleeping read of one byte brings its page in. A string lies in two pages at most: it is
        // shorter than one.
        // SAFETY: `to` has room for a byte.
        unsafe { bpf_copy_from_user(to.cast(), 1, address as *const c_void) };
        length = read();
        if length < 0 {
            let next = (address | (PAGE - 1)).wrapping_add(1);
            // SAFETY: as above.
            unsafe { bpf_copy_from_user(to.cast(), 1, next as *const c_void) };
            length = read();
        }
    }
    u64::try_from(length).ok()
}
