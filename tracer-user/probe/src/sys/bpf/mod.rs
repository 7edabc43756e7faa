//! `bpf(2)`: what aya 0.14 cannot do, which is to load programs for `uprobe_multi`, to link them,
//! and to read and write maps of types that another crate owns.
//!
//! Layouts and numbers are those of `union bpf_attr` in `include/uapi/linux/bpf.h`.

mod link;
mod map;
mod program;

use std::{
    ffi::CStr,
    io,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
};

pub(crate) use self::{
    link::{UprobeLink, attach_to_target, link_perf_event, link_uprobes, open_raw_tracepoint},
    map::{
        MAP_ARRAY, MAP_RING, create_map, delete, look_up, look_up_batch, max_entries, next_key,
        take, update, value_size,
    },
    program::{
        ATTACH_FENTRY, ATTACH_FEXIT, ATTACH_LSM, ATTACH_UPROBE_MULTI, ATTACH_UPROBE_SESSION,
        Instruction, PROGRAM_KPROBE, PROGRAM_LSM, PROGRAM_RAW_TRACEPOINT, PROGRAM_TRACING, Program,
        ProgramTypes, SLEEPABLE, counted, load_program, load_types, shorten_log,
        verifier_statistics,
    },
};

const OBJ_PIN: libc::c_int = 6;
const OBJ_GET: libc::c_int = 7;
const OBJ_GET_INFO_BY_FD: libc::c_int = 15;

#[repr(C)]
struct Pin {
    path: u64,
    fd: u32,
    flags: u32,
}

/// Keeps a map or a link alive by a name in the BPF file system.
pub(crate) fn pin(object: BorrowedFd<'_>, path: &CStr) -> io::Result<()> {
    let attributes = Pin {
        path: path.as_ptr() as u64,
        fd: object.as_raw_fd().cast_unsigned(),
        flags: 0,
    };
    // SAFETY: the attributes are those of BPF_OBJ_PIN; the path lives through the call.
    unsafe { bpf(OBJ_PIN, &attributes) }.map(drop)
}

/// Opens what is pinned at a name.
pub(crate) fn pinned(path: &CStr) -> io::Result<OwnedFd> {
    let attributes = Pin {
        path: path.as_ptr() as u64,
        fd: 0,
        flags: 0,
    };
    // SAFETY: the attributes are those of BPF_OBJ_GET; the path lives through the call.
    unsafe { bpf_fd(OBJ_GET, &attributes) }
}

/// # Safety
/// As for [`bpf`]; and the command must return a new descriptor.
unsafe fn bpf_fd<T>(command: libc::c_int, attributes: &T) -> io::Result<OwnedFd> {
    // SAFETY: as the caller vouches.
    let fd = unsafe { bpf(command, attributes) }?;
    // SAFETY: the command returned a descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// # Safety
/// `attributes` must be a prefix of the command's part of `union bpf_attr`, without uninitialised
/// padding, whose pointers are valid for what the command does with them.
unsafe fn bpf<T>(command: libc::c_int, attributes: &T) -> io::Result<i32> {
    // SAFETY: `attributes` is readable for its own size; the caller vouches for what it points to.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            std::ptr::from_ref(attributes),
            size_of::<T>(),
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    i32::try_from(result).map_err(io::Error::other)
}
