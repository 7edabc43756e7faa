//! Closing descriptors in a process of its own: whoever closes the last one of a link may wait for
//! ever in the kernel, where no signal reaches, and a process with such a thread does not end.

use std::{
    io,
    os::fd::{AsRawFd, OwnedFd, RawFd},
    ptr,
};

/// A child process that closes descriptors and ends.
pub(crate) struct Closer(libc::pid_t);

impl Closer {
    /// Hands `fds` over; they are closed here once the child has them.
    pub(crate) fn start(fds: Vec<OwnedFd>) -> Result<Self, (io::Error, Vec<OwnedFd>)> {
        let (released, release) = match io::pipe() {
            Ok(ends) => ends,
            Err(error) => return Err((error, fds)),
        };
        let mut kept: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).collect();
        kept.push(released.as_raw_fd());
        kept.sort_unstable();
        let before = block_signals();
        // SAFETY: the child of a process with threads may only call functions that are safe in a
        // signal handler; `close_and_end` makes system calls and nothing else.
        let child = unsafe { libc::fork() };
        if child == 0 {
            close_and_end(&kept, released.as_raw_fd());
        }
        let error = io::Error::last_os_error();
        restore_signals(&before);
        if child < 0 {
            return Err((error, fds));
        }
        // Not the last ones of their links, so this does not wait: the child keeps its own until it
        // sees the end of the pipe.
        drop(fds);
        drop(release);
        Ok(Self(child))
    }

    /// Whether the child has ended.
    pub(crate) fn has_ended(&self) -> bool {
        // SAFETY: asks about a child of this process and writes nothing.
        let ended = unsafe { libc::waitpid(self.0, ptr::null_mut(), libc::WNOHANG) };
        // An error means that there is no such child: somebody else has waited for it.
        ended != 0
    }
}

/// In the child, all signals blocked: drops what it does not need, so that nobody waits for its end
/// of a pipe, then the rest, once the parent no longer has them.
fn close_and_end(kept: &[RawFd], released: RawFd) -> ! {
    let mut from = 0;
    for &fd in kept {
        if fd > from {
            close_range(from, fd - 1);
        }
        from = fd + 1;
    }
    close_range(from, RawFd::MAX);
    // SAFETY: names this process, closes its own descriptors, and ends it without running anything
    // of the parent's.
    unsafe {
        libc::prctl(libc::PR_SET_NAME, c"tracer-detach".as_ptr());
        // The end of the pipe, or of the parent: nobody writes to it.
        libc::read(released, ptr::from_mut(&mut 0_u8).cast(), 1);
        for &fd in kept {
            libc::close(fd);
        }
        libc::_exit(0)
    }
}

fn close_range(first: RawFd, last: RawFd) {
    // SAFETY: the child's descriptors are used by nobody else. Minimum kernel version: 5.9.
    unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
}

/// Blocks every signal in this thread, and so in a child that it makes; gives back what was blocked.
fn block_signals() -> libc::sigset_t {
    // SAFETY: both sets are written before they are read; a signal mask has no invalid bit pattern.
    unsafe {
        let (mut all, mut before) = (std::mem::zeroed(), std::mem::zeroed());
        libc::sigfillset(&raw mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut before);
        before
    }
}

fn restore_signals(before: &libc::sigset_t) {
    // SAFETY: the set is one that the kernel wrote.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, before, ptr::null_mut()) };
}

#[cfg(test)]
mod tests {
    use std::{io::Read, time::Duration};

    use super::*;

    #[test]
    fn what_was_handed_over_is_closed_when_the_child_has_ended() {
        let (mut reader, writer) = io::pipe().expect("there are descriptors");
        let closer = Closer::start(vec![writer.into()]);
        let Ok(closer) = closer else {
            panic!("a process can be made");
        };
        // Nobody holds the other end any more, so this ends.
        let mut bytes = Vec::new();
        reader
            .read_to_end(&mut bytes)
            .expect("the pipe is readable");
        assert!(bytes.is_empty());
        while !closer.has_ended() {
            std::thread::sleep(Duration::from_millis(1));
        }
        assert!(closer.has_ended(), "asked again it still says so");
    }
}
