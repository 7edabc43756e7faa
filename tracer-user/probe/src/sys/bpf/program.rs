//! Programs and their types: loading them, and what the kernel says of them.

use std::{
    ffi::CStr,
    io,
    os::fd::{AsRawFd, BorrowedFd, OwnedFd},
};

use super::{OBJ_GET_INFO_BY_FD, bpf, bpf_fd};

const PROG_LOAD: libc::c_int = 5;
const BTF_LOAD: libc::c_int = 18;

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
/// `BPF_TRACE_FEXIT`.
pub(crate) const ATTACH_FEXIT: u32 = 25;
/// `BPF_LSM_MAC`.
pub(crate) const ATTACH_LSM: u32 = 27;
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

/// What the kernel counts of a program. Runs and time stand still unless `kernel.bpf_stats_enabled`
/// is set.
pub(crate) struct Counted {
    pub(crate) nanoseconds: u64,
    pub(crate) runs: u64,
    /// How often it was left out because it ran on that CPU already.
    pub(crate) misses: u64,
}

/// `run_time_ns`, `run_cnt` and `recursion_misses` of `struct bpf_prog_info`.
///
/// # Minimum kernel version
/// 5.12.
pub(crate) fn counted(program: BorrowedFd<'_>) -> io::Result<Counted> {
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
    let [.., nanoseconds, runs, misses] = info;
    Ok(Counted {
        nanoseconds,
        runs,
        misses,
    })
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
