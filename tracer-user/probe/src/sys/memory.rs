//! Memory that is shared with the kernel.

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd},
    ptr::NonNull,
    sync::atomic::{AtomicU32, AtomicU64},
};

/// A shared mapping of a descriptor, unmapped when dropped.
pub(crate) struct SharedMemory {
    start: NonNull<u8>,
    length: usize,
}

// SAFETY: the mapping belongs to this value alone, and what the kernel changes in it is read
// through atomics, or after an atomic has said that it no longer changes.
unsafe impl Send for SharedMemory {}

impl SharedMemory {
    /// Maps `length` bytes of `fd` from `offset` on.
    pub(crate) fn map(
        fd: BorrowedFd<'_>,
        offset: usize,
        length: usize,
        writable: bool,
    ) -> io::Result<Self> {
        let protection = if writable {
            libc::PROT_READ | libc::PROT_WRITE
        } else {
            libc::PROT_READ
        };
        let offset = libc::off_t::try_from(offset).map_err(io::Error::other)?;
        // SAFETY: a new mapping at an address that the kernel chooses touches no memory in use.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                length,
                protection,
                libc::MAP_SHARED,
                fd.as_raw_fd(),
                offset,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or_else(|| io::Error::other("mapped at 0"))?;
        Ok(Self { start, length })
    }

    /// Bytes of the mapping.
    pub(crate) fn len(&self) -> usize {
        self.length
    }

    /// The 64-bit word at `offset`. Storing needs a writable mapping.
    pub(crate) fn word(&self, offset: usize) -> &AtomicU64 {
        assert!(offset.is_multiple_of(8) && offset + 8 <= self.length);
        // SAFETY: the word lies in the mapping and is aligned, as asserted; mappings begin at a
        // page. Both sides access it atomically.
        unsafe { AtomicU64::from_ptr(self.start.as_ptr().add(offset).cast()) }
    }

    /// The 32-bit word at `offset`. Storing needs a writable mapping.
    pub(crate) fn half_word(&self, offset: usize) -> &AtomicU32 {
        assert!(offset.is_multiple_of(4) && offset + 4 <= self.length);
        // SAFETY: as for `word`.
        unsafe { AtomicU32::from_ptr(self.start.as_ptr().add(offset).cast()) }
    }

    /// Bytes that the other side has finished and will not change.
    ///
    /// # Safety
    /// An acquiring load must have shown that the producer is done with these bytes, and they must
    /// not be released to it while the slice lives.
    pub(crate) unsafe fn finished_bytes(&self, offset: usize, length: usize) -> &[u8] {
        let end = offset
            .checked_add(length)
            .expect("callers stay below the mapping's length");
        assert!(end <= self.length, "callers stay inside the mapping");
        // SAFETY: inside the mapping, as asserted; unchanging, as the caller vouches.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr().add(offset), length) }
    }
}

impl Drop for SharedMemory {
    fn drop(&mut self) {
        // SAFETY: this value made the mapping, and no reference outlives it.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.length) };
    }
}

/// Bytes of a page.
pub(crate) fn page_size() -> usize {
    // SAFETY: sysconf reads no memory of ours.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(size).expect("every Linux tells its page size")
}
