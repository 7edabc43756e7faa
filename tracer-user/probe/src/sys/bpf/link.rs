//! Links: what attaches a loaded program, until its descriptor is closed.

use std::{
    ffi::{CStr, CString},
    io,
    os::fd::{AsRawFd, BorrowedFd, OwnedFd},
};

use super::{bpf_fd, program::ATTACH_UPROBE_MULTI};

const RAW_TRACEPOINT_OPEN: libc::c_int = 17;
const LINK_CREATE: libc::c_int = 28;

/// `BPF_PERF_EVENT`.
const ATTACH_PERF_EVENT: u32 = 41;

/// Where to attach.
pub(crate) struct UprobeLink<'a> {
    /// Path that names the file, such as `/proc/self/fd/N`.
    pub(crate) path: &'a CStr,
    pub(crate) offsets: &'a [u64],
    pub(crate) cookies: &'a [u64],
    /// Only this process; 0 for all.
    pub(crate) pid: u32,
}

/// Attaches a program to many instructions of one file.
///
/// # Minimum kernel version
/// 6.6.
pub(crate) fn link_uprobes(program: BorrowedFd<'_>, link: &UprobeLink<'_>) -> io::Result<OwnedFd> {
    #[repr(C)]
    struct Attributes {
        program: u32,
        target: u32,
        attach_type: u32,
        flags: u32,
        path: u64,
        offsets: u64,
        reference_counters: u64,
        cookies: u64,
        count: u32,
        uprobe_flags: u32,
        pid: u32,
        padding: u32,
    }
    let UprobeLink {
        path,
        offsets,
        cookies,
        pid,
    } = link;
    assert_eq!(offsets.len(), cookies.len(), "every offset has its cookie");
    let attributes = Attributes {
        program: program.as_raw_fd().cast_unsigned(),
        target: 0,
        attach_type: ATTACH_UPROBE_MULTI,
        flags: 0,
        path: path.as_ptr() as u64,
        offsets: offsets.as_ptr() as u64,
        reference_counters: 0,
        cookies: cookies.as_ptr() as u64,
        count: u32::try_from(offsets.len()).map_err(io::Error::other)?,
        uprobe_flags: 0,
        pid: *pid,
        padding: 0,
    };
    // SAFETY: the attributes are those of BPF_LINK_CREATE for uprobe_multi; path and arrays outlive
    // the call, and both arrays have `count` entries.
    unsafe { bpf_fd(LINK_CREATE, &attributes) }
}

/// Attaches a program to a perf event; closing the descriptor detaches it.
///
/// # Minimum kernel version
/// 5.15, for the cookie.
pub(crate) fn link_perf_event(
    program: BorrowedFd<'_>,
    event: BorrowedFd<'_>,
    cookie: u64,
) -> io::Result<OwnedFd> {
    #[repr(C)]
    struct Attributes {
        program: u32,
        event: u32,
        attach_type: u32,
        flags: u32,
        cookie: u64,
    }
    let attributes = Attributes {
        program: program.as_raw_fd().cast_unsigned(),
        event: event.as_raw_fd().cast_unsigned(),
        attach_type: ATTACH_PERF_EVENT,
        flags: 0,
        cookie,
    };
    // SAFETY: the attributes are those of BPF_LINK_CREATE for a perf event.
    unsafe { bpf_fd(LINK_CREATE, &attributes) }
}

/// Attaches a program to the kernel function or LSM hook that it was loaded for; closing the
/// descriptor detaches it.
pub(crate) fn attach_to_target(program: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    raw_tracepoint(program, None)
}

/// Attaches a raw tracepoint program; closing the descriptor detaches it.
pub(crate) fn open_raw_tracepoint(program: BorrowedFd<'_>, name: &str) -> io::Result<OwnedFd> {
    let name = CString::new(name).map_err(io::Error::other)?;
    raw_tracepoint(program, Some(&name))
}

fn raw_tracepoint(program: BorrowedFd<'_>, name: Option<&CStr>) -> io::Result<OwnedFd> {
    #[repr(C)]
    struct Attributes {
        name: u64,
        program: u32,
        padding: u32,
    }
    let attributes = Attributes {
        name: name.map_or(0, |name| name.as_ptr() as u64),
        program: program.as_raw_fd().cast_unsigned(),
        padding: 0,
    };
    // SAFETY: the attributes are those of BPF_RAW_TRACEPOINT_OPEN; the name outlives the call.
    unsafe { bpf_fd(RAW_TRACEPOINT_OPEN, &attributes) }
}
