//! `poll(2)`, of files of `/proc` that say so when they would read otherwise by now.

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd},
};

/// Whether what `/proc/PID/mountinfo` says has changed since it was opened, or since this was asked last
/// (`mounts_poll` in fs/proc_namespace.c). Waits for nothing.
pub(crate) fn has_changed(file: BorrowedFd<'_>) -> io::Result<bool> {
    let mut asked = libc::pollfd {
        fd: file.as_raw_fd(),
        events: libc::POLLPRI,
        revents: 0,
    };
    // SAFETY: one entry, which lives through the call.
    let count = unsafe { libc::poll(&raw mut asked, 1, 0) };
    if count < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(asked.revents & (libc::POLLPRI | libc::POLLERR) != 0)
}
