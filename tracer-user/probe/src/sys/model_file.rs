//! Calls on files whose bytes are to be vouched for: leases, fs-verity, page cache, I/O priority.

use std::{
    fs::File,
    io,
    ops::Range,
    os::fd::{AsRawFd, BorrowedFd, RawFd},
    ptr::NonNull,
};

/// `SIGURG`: sent when a lease breaks. Unlike `SIGIO` it is ignored where nobody handles it
/// (signal(7)), so that a break never ends this process; the state is polled instead.
const HARMLESS_SIGNAL: libc::c_int = libc::SIGURG;
/// `F_SETSIG` of `linux/fcntl.h` (asm-generic), which libc lacks for glibc.
const F_SETSIG: libc::c_int = 10;

/// What a file's lease is, as `F_GETLEASE` tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lease {
    /// A read lease is held: nobody has the file open for writing.
    Read,
    /// None is held, or one that is being broken.
    None,
}

/// Takes a read lease for the open file description behind `fd`, which must be open for reading
/// only. Every duplicate of the descriptor, also in another process, can release it.
///
/// # Errors
/// `EAGAIN` when the file is open for writing somewhere, `EACCES` when it is somebody else's and
/// `CAP_LEASE` is missing, `EINVAL` when the file system knows no leases.
pub fn take_read_lease(fd: BorrowedFd<'_>) -> io::Result<()> {
    fcntl(fd, F_SETSIG, HARMLESS_SIGNAL)?;
    fcntl(fd, libc::F_SETLEASE, libc::F_RDLCK).map(drop)
}

/// The lease of the open file description behind `fd`.
///
/// # Errors
/// Those of `fcntl(2)`.
pub fn lease(fd: BorrowedFd<'_>) -> io::Result<Lease> {
    Ok(match fcntl(fd, libc::F_GETLEASE, 0)? {
        libc::F_RDLCK => Lease::Read,
        _ => Lease::None,
    })
}

/// Gives the lease back; what waits for it goes on.
///
/// # Errors
/// `EAGAIN` when there is none.
pub fn release_lease(fd: BorrowedFd<'_>) -> io::Result<()> {
    fcntl(fd, libc::F_SETLEASE, libc::F_UNLCK).map(drop)
}

fn fcntl(fd: BorrowedFd<'_>, command: libc::c_int, argument: libc::c_int) -> io::Result<i32> {
    // SAFETY: these commands take a number and touch no memory of ours.
    let answer = unsafe { libc::fcntl(fd.as_raw_fd(), command, argument) };
    if answer < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(answer)
    }
}

/// The fs-verity digest of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerityDigest {
    /// Hash algorithm by its number in `linux/fsverity.h`: 1 is SHA-256, 2 SHA-512.
    pub algorithm: u16,
    /// The digest, 32 or 64 bytes.
    pub bytes: Vec<u8>,
}

/// Longest digest of any fs-verity algorithm (`FS_VERITY_MAX_DIGEST_SIZE`).
const MAX_VERITY_DIGEST: usize = 64;
/// `FS_IOC_MEASURE_VERITY`, `_IOWR('f', 134, struct fsverity_digest)` of `linux/fsverity.h`.
const MEASURE_VERITY: libc::c_ulong = 0xc004_6686;

/// `struct fsverity_digest` of `linux/fsverity.h` with room for any digest.
#[repr(C)]
struct MeasuredVerity {
    algorithm: u16,
    size: u16,
    digest: [u8; MAX_VERITY_DIGEST],
}

/// The digest that the kernel checks every page of the file against; `None` when the file or its
/// file system has no fs-verity.
///
/// # Errors
/// Any other failure of the call.
pub fn verity_digest(file: &File) -> io::Result<Option<VerityDigest>> {
    let mut measured = MeasuredVerity {
        algorithm: 0,
        size: MAX_VERITY_DIGEST as u16,
        digest: [0; MAX_VERITY_DIGEST],
    };
    // SAFETY: the kernel writes the header and at most `size` bytes of digest, which `measured` has
    // room for; it lives through the call.
    let answer = unsafe { libc::ioctl(file.as_raw_fd(), MEASURE_VERITY, &raw mut measured) };
    if answer < 0 {
        let error = io::Error::last_os_error();
        return match error.raw_os_error() {
            Some(libc::ENODATA | libc::ENOTTY | libc::EOPNOTSUPP | libc::EINVAL) => Ok(None),
            _ => Err(error),
        };
    }
    let MeasuredVerity {
        algorithm,
        size,
        digest,
    } = measured;
    let bytes = digest.get(..usize::from(size));
    Ok(bytes.map(|bytes| VerityDigest {
        algorithm,
        bytes: bytes.to_vec(),
    }))
}

/// Which pages of a file the page cache holds. The mapping behind it is never read.
#[derive(Debug)]
pub struct Residency {
    start: NonNull<libc::c_void>,
    length: usize,
    page: usize,
}

// SAFETY: the mapping belongs to this value alone and is only ever passed to mincore(2), which any
// thread may call.
unsafe impl Send for Residency {}
// SAFETY: as above; `mincore` takes `&self` and changes nothing.
unsafe impl Sync for Residency {}

impl Residency {
    /// Looks at the first `length` bytes of a file, which are at least one.
    ///
    /// # Errors
    /// If the file system cannot map files, or `length` does not fit the address space.
    pub fn of(file: &File, length: u64) -> io::Result<Self> {
        let length = usize::try_from(length).map_err(io::Error::other)?;
        let fd: RawFd = file.as_raw_fd();
        // SAFETY: a new mapping at an address that the kernel chooses touches no memory in use, and
        // this one is never accessed, so that a shrinking file cannot raise SIGBUS.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                length,
                libc::PROT_READ,
                libc::MAP_SHARED,
                fd,
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start).ok_or_else(|| io::Error::other("mapped at 0"))?;
        Ok(Self {
            start,
            length,
            page: super::memory::page_size(),
        })
    }

    /// Bytes of a page.
    #[must_use]
    pub fn page_size(&self) -> usize {
        self.page
    }

    /// Fills `pages` with one entry for each page that `range` touches: whether it is in memory.
    /// The range begins at a page and lies within the file.
    ///
    /// # Errors
    /// Those of `mincore(2)`; `EPERM` or all pages resident where the file is somebody else's.
    pub fn pages(&self, range: Range<u64>, pages: &mut Vec<bool>) -> io::Result<()> {
        let start = usize::try_from(range.start).map_err(io::Error::other)?;
        let end = usize::try_from(range.end).map_err(io::Error::other)?;
        if !start.is_multiple_of(self.page) || start > end || end > self.length {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        }
        let mut answers = vec![0_u8; (end - start).div_ceil(self.page)];
        // SAFETY: the range lies in the mapping that this value owns, as checked, and the kernel
        // writes one byte for each of its pages, which `answers` has room for.
        let result = unsafe {
            libc::mincore(
                self.start.as_ptr().byte_add(start),
                end - start,
                answers.as_mut_ptr(),
            )
        };
        if result < 0 {
            return Err(io::Error::last_os_error());
        }
        pages.clear();
        pages.extend(answers.iter().map(|answer| answer & 1 != 0));
        Ok(())
    }
}

impl Drop for Residency {
    fn drop(&mut self) {
        // SAFETY: this value made the mapping, and nothing refers to it.
        unsafe { libc::munmap(self.start.as_ptr(), self.length) };
    }
}

/// `IOPRIO_WHO_PROCESS` with process 0: the calling thread.
const THIS_THREAD: (libc::c_int, libc::c_int) = (1, 0);
/// `IOPRIO_CLASS_IDLE` in the class bits (`linux/ioprio.h`).
const IDLE: libc::c_int = 3 << 13;

/// Lets this thread's I/O wait for everybody else's, where the I/O scheduler knows priorities.
///
/// # Errors
/// Those of `ioprio_set(2)`.
pub fn idle_io_priority() -> io::Result<()> {
    let (which, who) = THIS_THREAD;
    // SAFETY: the call takes three numbers and touches no memory.
    let answer = unsafe { libc::syscall(libc::SYS_ioprio_set, which, who, IDLE) };
    if answer < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{fs::OpenOptions, io::Write, os::fd::AsFd};

    use super::*;

    #[test]
    fn a_lease_is_refused_while_somebody_writes_and_granted_after() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weights");
        std::fs::write(&path, b"x").unwrap();
        let reader = File::open(&path).unwrap();
        let writer = OpenOptions::new().append(true).open(&path).unwrap();
        let refused = take_read_lease(reader.as_fd()).unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(libc::EAGAIN));
        drop(writer);
        take_read_lease(reader.as_fd()).unwrap();
        assert_eq!(lease(reader.as_fd()).unwrap(), Lease::Read);
        let duplicate = reader.try_clone().unwrap();
        release_lease(duplicate.as_fd()).unwrap();
        assert_eq!(lease(reader.as_fd()).unwrap(), Lease::None);
    }

    #[test]
    fn a_page_that_was_written_is_in_memory_and_one_of_a_hole_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weights");
        let mut file = File::create(&path).unwrap();
        file.write_all(b"x").unwrap();
        file.set_len(1 << 20).unwrap();
        let residency = Residency::of(&File::open(&path).unwrap(), 1 << 20).unwrap();
        let mut pages = Vec::new();
        residency.pages(0..1 << 20, &mut pages).unwrap();
        assert_eq!(pages.len(), (1 << 20) / residency.page_size());
        assert_eq!((pages[0], pages[1]), (true, false));
        assert!(residency.pages(1..2, &mut pages).is_err());
    }
}
