//! `bpf(2)`: what aya 0.14 cannot do, which is to load programs for `uprobe_multi`, to link them,
//! and to read and write maps of types that another crate owns.
//!
//! Layouts and numbers are those of `union bpf_attr` in `include/uapi/linux/bpf.h`.

use std::{
    cell::Cell,
    ffi::{CStr, CString},
    io,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
};

const MAP_CREATE: libc::c_int = 0;
const MAP_LOOKUP_ELEM: libc::c_int = 1;
const MAP_UPDATE_ELEM: libc::c_int = 2;
const MAP_DELETE_ELEM: libc::c_int = 3;
const MAP_GET_NEXT_KEY: libc::c_int = 4;
const PROG_LOAD: libc::c_int = 5;
const OBJ_PIN: libc::c_int = 6;
const OBJ_GET: libc::c_int = 7;
const BTF_LOAD: libc::c_int = 18;
const MAP_LOOKUP_AND_DELETE_ELEM: libc::c_int = 21;
const MAP_LOOKUP_BATCH: libc::c_int = 24;
const OBJ_GET_INFO_BY_FD: libc::c_int = 15;
const RAW_TRACEPOINT_OPEN: libc::c_int = 17;
const LINK_CREATE: libc::c_int = 28;

/// `BPF_MAP_TYPE_ARRAY`.
pub(crate) const MAP_ARRAY: u32 = 2;
/// `BPF_MAP_TYPE_RINGBUF`.
pub(crate) const MAP_RING: u32 = 27;
/// `BPF_PROG_TYPE_KPROBE`, which uprobes are too.
pub(crate) const PROGRAM_KPROBE: u32 = 2;
/// `BPF_PROG_TYPE_RAW_TRACEPOINT`.
pub(crate) const PROGRAM_RAW_TRACEPOINT: u32 = 17;
/// `BPF_PROG_TYPE_TRACING`.
pub(crate) const PROGRAM_TRACING: u32 = 26;
/// `BPF_PROG_TYPE_LSM`.
pub(crate) const PROGRAM_LSM: u32 = 29;
/// `BPF_TRACE_FENTRY`.
pub(crate) const ATTACH_FENTRY: u32 = 24;
/// `BPF_LSM_MAC`.
pub(crate) const ATTACH_LSM: u32 = 27;
/// `BPF_PERF_EVENT`.
const ATTACH_PERF_EVENT: u32 = 41;
/// `BPF_TRACE_UPROBE_MULTI`.
pub(crate) const ATTACH_UPROBE_MULTI: u32 = 48;
/// `BPF_TRACE_UPROBE_SESSION`.
pub(crate) const ATTACH_UPROBE_SESSION: u32 = 57;
/// `BPF_F_SLEEPABLE`.
pub(crate) const SLEEPABLE: u32 = 1 << 4;

/// One eBPF instruction as the kernel reads it.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct Instruction {
    pub(crate) code: u8,
    /// Destination in the low half, source in the high.
    pub(crate) registers: u8,
    pub(crate) offset: i16,
    pub(crate) immediate: i32,
}

/// What to load.
pub(crate) struct Program<'a> {
    pub(crate) name: &'a str,
    pub(crate) kind: u32,
    pub(crate) attach: u32,
    pub(crate) flags: u32,
    /// The kernel function that the program belongs to, by its number in the kernel's BTF; 0 where
    /// that is decided when it is attached.
    pub(crate) target: u32,
    pub(crate) license: &'a CStr,
    pub(crate) instructions: &'a [Instruction],
    /// Types of the program's own functions, which it needs if it hands one to a helper.
    pub(crate) types: Option<ProgramTypes<'a>>,
}

/// Type information of a program.
#[derive(Clone, Copy)]
pub(crate) struct ProgramTypes<'a> {
    pub(crate) btf: BorrowedFd<'a>,
    /// `struct bpf_func_info` for each function, and the size of one.
    pub(crate) functions: &'a [u8],
    pub(crate) function_size: usize,
}

/// Where to attach.
pub(crate) struct UprobeLink<'a> {
    /// Path that names the file, such as `/proc/self/fd/N`.
    pub(crate) path: &'a CStr,
    pub(crate) offsets: &'a [u64],
    pub(crate) cookies: &'a [u64],
    /// Only this process; 0 for all.
    pub(crate) pid: u32,
}

/// Creates a map without key or value types.
pub(crate) fn create_map(kind: u32, key: u32, value: u32, entries: u32) -> io::Result<OwnedFd> {
    #[repr(C)]
    struct Attributes {
        kind: u32,
        key_size: u32,
        value_size: u32,
        max_entries: u32,
        map_flags: u32,
    }
    let attributes = Attributes {
        kind,
        key_size: key,
        value_size: value,
        max_entries: entries,
        map_flags: 0,
    };
    // SAFETY: the attributes are those of BPF_MAP_CREATE; the kernel takes what is left out as 0.
    unsafe { bpf_fd(MAP_CREATE, &attributes) }
}

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

/// How many entries a map has; for a ring, its bytes.
pub(crate) fn max_entries(map: BorrowedFd<'_>) -> io::Result<usize> {
    Ok(map_info(map)?.max_entries as usize)
}

/// Bytes of one value of a map.
pub(crate) fn value_size(map: BorrowedFd<'_>) -> io::Result<usize> {
    Ok(map_info(map)?.value_size as usize)
}

/// The beginning of `struct bpf_map_info`.
#[derive(Default)]
#[repr(C)]
struct MapInfo {
    kind: u32,
    id: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    flags: u32,
}

fn map_info(map: BorrowedFd<'_>) -> io::Result<MapInfo> {
    #[repr(C)]
    struct Attributes {
        fd: u32,
        length: u32,
        info: u64,
    }
    let mut info = MapInfo::default();
    let attributes = Attributes {
        fd: map.as_raw_fd().cast_unsigned(),
        length: size_of::<MapInfo>() as u32,
        info: (&raw mut info) as u64,
    };
    // SAFETY: the attributes are those of BPF_OBJ_GET_INFO_BY_FD; the kernel writes at most
    // `length` bytes to `info`, which lives through the call.
    unsafe { bpf(OBJ_GET_INFO_BY_FD, &attributes) }?;
    Ok(info)
}

/// How often a program was left out because it ran on that CPU already: `recursion_misses` of
/// `struct bpf_prog_info`.
///
/// # Minimum kernel version
/// 5.12.
pub(crate) fn misses(program: BorrowedFd<'_>) -> io::Result<u64> {
    #[repr(C)]
    struct Attributes {
        fd: u32,
        length: u32,
        info: u64,
    }
    /// Bytes up to and with `recursion_misses`.
    const LENGTH: usize = 216;
    let mut info = [0_u64; LENGTH / 8];
    let attributes = Attributes {
        fd: program.as_raw_fd().cast_unsigned(),
        length: LENGTH as u32,
        info: info.as_mut_ptr() as u64,
    };
    // SAFETY: the attributes are those of BPF_OBJ_GET_INFO_BY_FD; the kernel writes at most
    // `length` bytes to `info`, which lives through the call and asks for nothing by its zeroes.
    unsafe { bpf(OBJ_GET_INFO_BY_FD, &attributes) }?;
    Ok(info[LENGTH / 8 - 1])
}

#[repr(C)]
struct Element {
    map_fd: u32,
    padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// Reads the value of `key` into `value`, which must have the map's value size: for a per-CPU map
/// that of every possible CPU, each rounded up to 8.
///
/// # Safety
/// `key` and `value` must be as long as the map's keys and values.
pub(crate) unsafe fn look_up(map: BorrowedFd<'_>, key: &[u8], value: &mut [u8]) -> io::Result<()> {
    let attributes = Element {
        map_fd: map.as_raw_fd().cast_unsigned(),
        padding: 0,
        key: key.as_ptr() as u64,
        value: value.as_mut_ptr() as u64,
        flags: 0,
    };
    // SAFETY: the caller vouches for the lengths; both buffers outlive the call.
    unsafe { bpf(MAP_LOOKUP_ELEM, &attributes) }.map(drop)
}

/// As [`look_up`], and removes the key in the same moment.
///
/// # Minimum kernel version
/// 5.14, for hash maps.
///
/// # Safety
/// As for [`look_up`].
pub(crate) unsafe fn take(map: BorrowedFd<'_>, key: &[u8], value: &mut [u8]) -> io::Result<()> {
    let attributes = Element {
        map_fd: map.as_raw_fd().cast_unsigned(),
        padding: 0,
        key: key.as_ptr() as u64,
        value: value.as_mut_ptr() as u64,
        flags: 0,
    };
    // SAFETY: the caller vouches for the lengths; both buffers outlive the call.
    unsafe { bpf(MAP_LOOKUP_AND_DELETE_ELEM, &attributes) }.map(drop)
}

/// Reads as many entries of a hash map as fit `keys` and `values`, from `position` on, `None` for the
/// beginning. Returns how many there were; `position` is `None` again when those were the last.
///
/// # Errors
/// `ENOSPC` if there is no room for the entries of one bucket.
///
/// # Minimum kernel version
/// 5.6.
///
/// # Safety
/// Both must have room for `room` entries of the map.
pub(crate) unsafe fn look_up_batch(
    map: BorrowedFd<'_>,
    position: &mut Option<u64>,
    keys: &mut [u8],
    values: &mut [u8],
    room: u32,
) -> io::Result<usize> {
    #[repr(C)]
    struct Batch {
        in_batch: u64,
        out_batch: u64,
        keys: u64,
        values: u64,
        count: Cell<u32>,
        map_fd: u32,
        elem_flags: u64,
        flags: u64,
    }
    let mut next = 0_u64;
    let attributes = Batch {
        in_batch: position
            .as_ref()
            .map_or(0, |position| std::ptr::from_ref(position) as u64),
        out_batch: (&raw mut next) as u64,
        keys: keys.as_mut_ptr() as u64,
        values: values.as_mut_ptr() as u64,
        count: Cell::new(room),
        map_fd: map.as_raw_fd().cast_unsigned(),
        elem_flags: 0,
        flags: 0,
    };
    // SAFETY: the caller vouches for the room; the kernel writes 4 bytes to `next`, and the count
    // into its cell; both live through the call.
    let answer = unsafe { bpf(MAP_LOOKUP_BATCH, &attributes) };
    match answer {
        Ok(_) => *position = Some(next),
        // The end, with what was left before it.
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => *position = None,
        Err(error) => return Err(error),
    }
    Ok(attributes.count.get() as usize)
}

/// Writes the value of `key`.
///
/// # Safety
/// As for [`look_up`].
pub(crate) unsafe fn update(map: BorrowedFd<'_>, key: &[u8], value: &[u8]) -> io::Result<()> {
    let attributes = Element {
        map_fd: map.as_raw_fd().cast_unsigned(),
        padding: 0,
        key: key.as_ptr() as u64,
        value: value.as_ptr() as u64,
        flags: 0,
    };
    // SAFETY: the caller vouches for the lengths; both buffers outlive the call.
    unsafe { bpf(MAP_UPDATE_ELEM, &attributes) }.map(drop)
}

/// Removes `key`; that it is not there is no error.
///
/// # Safety
/// `key` must be as long as the map's keys.
pub(crate) unsafe fn delete(map: BorrowedFd<'_>, key: &[u8]) -> io::Result<()> {
    let attributes = Element {
        map_fd: map.as_raw_fd().cast_unsigned(),
        padding: 0,
        key: key.as_ptr() as u64,
        value: 0,
        flags: 0,
    };
    // SAFETY: the caller vouches for the key's length; it outlives the call.
    match unsafe { bpf(MAP_DELETE_ELEM, &attributes) } {
        Err(error) if error.raw_os_error() != Some(libc::ENOENT) => Err(error),
        _ => Ok(()),
    }
}

/// The key behind `key`, or the first one; `None` behind the last. A key that was removed meanwhile
/// starts anew: callers bound how often they ask.
///
/// # Safety
/// `key` and `next` must be as long as the map's keys.
pub(crate) unsafe fn next_key(
    map: BorrowedFd<'_>,
    key: Option<&[u8]>,
    next: &mut [u8],
) -> io::Result<Option<()>> {
    let attributes = Element {
        map_fd: map.as_raw_fd().cast_unsigned(),
        padding: 0,
        key: key.map_or(0, |key| key.as_ptr() as u64),
        value: next.as_mut_ptr() as u64,
        flags: 0,
    };
    // SAFETY: the caller vouches for the lengths; both buffers outlive the call. `next_key` stands
    // in the place of `value`.
    match unsafe { bpf(MAP_GET_NEXT_KEY, &attributes) } {
        Ok(_) => Ok(Some(())),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Loads type information.
pub(crate) fn load_types(btf: &[u8]) -> io::Result<OwnedFd> {
    #[repr(C)]
    struct Attributes {
        btf: u64,
        log_buffer: u64,
        size: u32,
        log_size: u32,
        log_level: u32,
        padding: u32,
    }
    let attributes = Attributes {
        btf: btf.as_ptr() as u64,
        log_buffer: 0,
        size: u32::try_from(btf.len()).map_err(io::Error::other)?,
        log_size: 0,
        log_level: 0,
        padding: 0,
    };
    // SAFETY: the attributes are those of BPF_BTF_LOAD; the bytes outlive the call.
    unsafe { bpf_fd(BTF_LOAD, &attributes) }
}

/// Loads a program. On refusal the error comes with the end of the verifier's log, if there is
/// one: the whole can be many megabytes.
pub(crate) fn load_program(program: &Program<'_>) -> Result<OwnedFd, (io::Error, String)> {
    let mut log = Vec::new();
    let refused = match load_program_with_log(program, LOG_NOTHING, &mut log) {
        Ok(fd) => return Ok(fd),
        Err(error) => error,
    };
    if matches!(refused.raw_os_error(), Some(libc::EPERM)) {
        return Err((refused, String::new()));
    }
    log.resize(LOG_BYTES, 0);
    match load_program_with_log(program, LOG_STEPS, &mut log) {
        Ok(fd) => Ok(fd),
        Err(error) => Err((error, end_of_log(&log))),
    }
}

/// Loads a program and drops it again; returns what the verifier says it took.
///
/// # Minimum kernel version
/// 5.2.
pub(crate) fn verifier_statistics(program: &Program<'_>) -> Result<String, (io::Error, String)> {
    let mut log = vec![0; STATISTICS_BYTES];
    match load_program_with_log(program, LOG_STATISTICS, &mut log) {
        Ok(_) => Ok(end_of_log(&log)),
        Err(error) => Err((error, end_of_log(&log))),
    }
}

/// Values of `log_level`: `BPF_LOG_LEVEL1` and `BPF_LOG_STATS` of `include/linux/bpf_verifier.h`.
const LOG_NOTHING: u32 = 0;
const LOG_STEPS: u32 = 1;
const LOG_STATISTICS: u32 = 4;

/// The statistics are a few lines.
const STATISTICS_BYTES: usize = 64 << 10;

/// Enough for the log of every program that we have; a longer one makes the kernel return ENOSPC,
/// and its beginning is still there.
const LOG_BYTES: usize = 4 << 20;

/// Bytes of the verifier's log that an error carries.
const LOG_SHOWN: usize = 2000;

fn end_of_log(log: &[u8]) -> String {
    let length = log.iter().position(|&byte| byte == 0).unwrap_or(log.len());
    shorten_log(&String::from_utf8_lossy(&log[..length]))
}

/// The last lines of a verifier log, where the reason stands.
pub(crate) fn shorten_log(log: &str) -> String {
    let log = log.trim_end();
    let from = log.len().saturating_sub(LOG_SHOWN);
    let from = log.ceil_char_boundary(from);
    if from == 0 {
        log.to_owned()
    } else {
        format!("[…] {}", &log[from..])
    }
}

fn load_program_with_log(
    program: &Program<'_>,
    log_level: u32,
    log: &mut [u8],
) -> io::Result<OwnedFd> {
    #[repr(C)]
    struct Attributes {
        kind: u32,
        instruction_count: u32,
        instructions: u64,
        license: u64,
        log_level: u32,
        log_size: u32,
        log_buffer: u64,
        kernel_version: u32,
        flags: u32,
        name: [u8; 16],
        interface: u32,
        expected_attach_type: u32,
        btf: u32,
        function_size: u32,
        functions: u64,
        function_count: u32,
        line_size: u32,
        lines: u64,
        line_count: u32,
        attach_btf_id: u32,
    }
    let Program {
        name,
        kind,
        attach,
        flags,
        target,
        license,
        instructions,
        types,
    } = program;
    let (btf, functions, function_size) = types.map_or((0, [].as_slice(), 0), |types| {
        (
            types.btf.as_raw_fd().cast_unsigned(),
            types.functions,
            types.function_size,
        )
    });
    let mut short_name = [0; 16];
    for (to, from) in short_name.iter_mut().take(15).zip(name.bytes()) {
        *to = from;
    }
    let attributes = Attributes {
        kind: *kind,
        instruction_count: u32::try_from(instructions.len()).map_err(io::Error::other)?,
        instructions: instructions.as_ptr() as u64,
        license: license.as_ptr() as u64,
        log_level,
        log_size: u32::try_from(log.len()).map_err(io::Error::other)?,
        log_buffer: if log.is_empty() {
            0
        } else {
            log.as_mut_ptr() as u64
        },
        kernel_version: 0,
        flags: *flags,
        name: short_name,
        interface: 0,
        expected_attach_type: *attach,
        btf,
        function_size: u32::try_from(function_size).map_err(io::Error::other)?,
        functions: if functions.is_empty() {
            0
        } else {
            functions.as_ptr() as u64
        },
        function_count: functions.len().checked_div(function_size).unwrap_or(0) as u32,
        line_size: 0,
        lines: 0,
        line_count: 0,
        attach_btf_id: *target,
    };
    // SAFETY: the attributes are those of BPF_PROG_LOAD; instructions, licence and log outlive
    // the call and have the lengths given.
    unsafe { bpf_fd(PROG_LOAD, &attributes) }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_verifier_log_is_cut_to_its_end() {
        let log = format!("{}the reason\n", "é".repeat(5000));
        let short = shorten_log(&log);
        assert!(short.ends_with("the reason"));
        assert!(short.len() < LOG_SHOWN + 20);
        assert_eq!(shorten_log("all of it\n"), "all of it");
    }
}
