//! The other side of `fanotify(7)`: who opens a marked inode waits for an answer.
//!
//! Format: `include/uapi/linux/fanotify.h`.

use std::{
    ffi::CStr,
    fs::File,
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
};

use super::fanotify;

/// Bytes of `struct fanotify_event_metadata`.
const METADATA: usize = 24;
/// Notices that are taken at once: each comes with an open descriptor.
const AT_ONCE: usize = 32;

/// A group of marks whose opens wait. When its last descriptor is closed, whoever waits goes on, and
/// nobody waits any more.
#[derive(Debug)]
pub(crate) struct Permission {
    fd: OwnedFd,
}

/// Somebody who waits.
#[derive(Debug)]
pub(crate) struct Question {
    /// The process that opens; 0 if it has no number here.
    pub(crate) pid: u32,
    /// The file, opened by the kernel for reading, so that looking at it asks nobody.
    pub(crate) file: File,
}

/// What the queue held.
#[derive(Debug, Default)]
pub(crate) struct Questions {
    pub(crate) asked: Vec<Question>,
    /// Why the kernel has refused one of them: it could not open the file for us. It does not say who
    /// asked for which file.
    pub(crate) refused: Option<io::Error>,
}

impl Permission {
    /// A new group without marks.
    ///
    /// # Errors
    /// `EPERM` without `CAP_SYS_ADMIN`, `EINVAL` from a kernel built without permission events.
    pub(crate) fn open() -> io::Result<Self> {
        let flags = libc::FAN_CLASS_CONTENT
            | libc::FAN_CLOEXEC
            | libc::FAN_NONBLOCK
            | libc::FAN_UNLIMITED_QUEUE
            | libc::FAN_UNLIMITED_MARKS;
        let of_file = libc::O_RDONLY | libc::O_LARGEFILE | libc::O_CLOEXEC | libc::O_NOATIME;
        Ok(Self {
            fd: fanotify::group(flags, of_file)?,
        })
    }

    /// What becomes readable when somebody waits.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Lets everybody wait who opens `name` in `folder`, or the folder's files if it is `.`; the open
    /// file itself if it is empty.
    pub(crate) fn mark(&self, folder: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
        let mut mask = libc::FAN_OPEN_PERM;
        if name == c"." {
            mask |= libc::FAN_EVENT_ON_CHILD;
        }
        fanotify::mark(self.fd.as_fd(), folder, name, mask)
    }

    /// Who waits, at most a handful; nobody if the queue is empty.
    pub(crate) fn read(&self) -> io::Result<Questions> {
        let mut buffer = [0_u8; METADATA * AT_ONCE];
        // SAFETY: the buffer has the length given and lives through the call.
        let length = unsafe {
            libc::read(
                self.fd.as_raw_fd(),
                buffer.as_mut_ptr().cast(),
                buffer.len(),
            )
        };
        if length < 0 {
            let error = io::Error::last_os_error();
            return match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(Questions::default()),
                // fanotify(7): what is wrong with the queue or the buffer.
                _ if matches!(
                    error.raw_os_error(),
                    Some(libc::EBADF | libc::EFAULT | libc::EINVAL)
                ) =>
                {
                    Err(error)
                }
                // The file of one notice could not be opened for us: the kernel has refused its opener.
                _ => Ok(Questions {
                    refused: Some(error),
                    ..Questions::default()
                }),
            };
        }
        let asked = parse(&buffer[..length.unsigned_abs()]).into_iter();
        let asked = asked.filter_map(|(fd, pid)| {
            // SAFETY: the kernel opened this descriptor for the reader of the notice.
            let file = (fd >= 0).then(|| File::from(unsafe { OwnedFd::from_raw_fd(fd) }))?;
            Some(Question { pid, file })
        });
        Ok(Questions {
            asked: asked.collect(),
            refused: None,
        })
    }

    /// Lets the one who waits for this file go on, or refuses it with `EPERM`. It is known by the
    /// number of its descriptor, which has to be open still.
    pub(crate) fn answer(&self, file: &File, allow: bool) -> io::Result<()> {
        #[repr(C)]
        struct Response {
            fd: i32,
            response: u32,
        }
        let response = Response {
            fd: file.as_raw_fd(),
            response: if allow {
                libc::FAN_ALLOW
            } else {
                libc::FAN_DENY
            },
        };
        // SAFETY: the response is plain memory of the length given.
        let written = unsafe {
            libc::write(
                self.fd.as_raw_fd(),
                (&raw const response).cast(),
                size_of::<Response>(),
            )
        };
        if written < 0 {
            Err(io::Error::last_os_error())
        } else {
            Ok(())
        }
    }
}

/// Descriptors and processes of the notices, one behind the other.
fn parse(mut bytes: &[u8]) -> Vec<(i32, u32)> {
    let mut found = Vec::new();
    while let Some(&metadata) = bytes.first_chunk::<METADATA>() {
        let word = |at: usize| {
            let mut word = [0; 4];
            word.copy_from_slice(&metadata[at..at + 4]);
            word
        };
        let length = u32::from_ne_bytes(word(0)) as usize;
        if length < METADATA {
            break;
        }
        found.push((i32::from_ne_bytes(word(16)), u32::from_ne_bytes(word(20))));
        let Some(rest) = bytes.get(length..) else {
            break;
        };
        bytes = rest;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notices_are_read_one_behind_the_other_and_damage_ends_that() {
        let one = |fd: i32, pid: u32| {
            let mut bytes = (METADATA as u32).to_ne_bytes().to_vec();
            bytes.extend([3, 0]);
            bytes.extend((METADATA as u16).to_ne_bytes());
            bytes.extend(libc::FAN_OPEN_PERM.to_ne_bytes());
            bytes.extend(fd.to_ne_bytes());
            bytes.extend(pid.to_ne_bytes());
            bytes
        };
        let both = [one(7, 42), one(8, 43)].concat();
        assert_eq!(parse(&both), [(7, 42), (8, 43)]);
        assert_eq!(parse(&both[..METADATA + 5]), [(7, 42)]);
        let mut wrong = both;
        wrong[..4].fill(0);
        assert!(parse(&wrong).is_empty());
    }
}
