//! Perf events: the kernel's record of new executable mappings, and probed instructions where
//! there is no `uprobe_multi`.
//!
//! Format: `struct perf_event_mmap_page` and `enum perf_event_type` in
//! `include/uapi/linux/perf_event.h`.

use std::{
    ffi::CStr,
    fs, io,
    os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd},
    sync::atomic::Ordering,
};

use super::memory::{SharedMemory, page_size};
use crate::process::FileId;

const TYPE_SOFTWARE: u32 = 1;
const SOFTWARE_DUMMY: u64 = 9;
const FLAG_FD_CLOEXEC: libc::c_ulong = 1 << 3;

// Bits of the flags behind `read_format`.
const MMAP: u64 = 1 << 8;
const WATERMARK: u64 = 1 << 14;
const MMAP2: u64 = 1 << 23;

const RECORD_LOST: u32 = 2;
const RECORD_MMAP2: u32 = 10;

/// Offsets of `data_head` and `data_tail` in the control page.
const HEAD: usize = 1024;
const TAIL: usize = 1032;

/// Pages of a CPU's buffer: about 1,500 mappings between two looks.
const DATA_PAGES: usize = 64;

/// What the kernel reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SidebandEvent {
    /// A process mapped a file executable: which, and the generation of its inode.
    Mapped {
        pid: u32,
        file: FileId,
        generation: u64,
    },
    /// Events were lost.
    Lost(u64),
}

/// Events of one CPU.
pub(crate) struct Sideband {
    fd: OwnedFd,
    memory: SharedMemory,
}

impl Sideband {
    /// Begins to listen on a CPU.
    pub(crate) fn open_on(cpu: i32) -> io::Result<Self> {
        let attributes = Attributes {
            kind: TYPE_SOFTWARE,
            config: SOFTWARE_DUMMY,
            flags: MMAP | MMAP2 | WATERMARK,
            wakeup_watermark: 1,
            ..Attributes::default()
        };
        // SAFETY: the attributes point to no memory.
        let fd = unsafe { open(&attributes, -1, cpu) }?;
        let memory = SharedMemory::map(fd.as_fd(), 0, (1 + DATA_PAGES) * page_size(), true)?;
        Ok(Self { fd, memory })
    }

    /// What becomes readable when there are events.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Takes the events that are there.
    pub(crate) fn drain(&mut self, events: &mut Vec<SidebandEvent>) {
        let head = self.memory.word(HEAD).load(Ordering::Acquire);
        let mut tail = self.memory.word(TAIL).load(Ordering::Relaxed);
        let mut record = Vec::new();
        while tail < head {
            let mut header = [0; 8];
            self.copy(tail, &mut header);
            let size = usize::from(u16::from_le_bytes([header[6], header[7]]));
            if size < header.len() || size as u64 > head - tail {
                // Never seen; what follows cannot be told apart, so report it as lost.
                events.push(SidebandEvent::Lost(1));
                tail = head;
                break;
            }
            record.resize(size, 0);
            self.copy(tail, &mut record);
            events.extend(parse(&record));
            tail += size as u64;
        }
        self.memory.word(TAIL).store(tail, Ordering::Release);
    }

    fn copy(&self, at: u64, to: &mut [u8]) {
        let data = page_size();
        let length = self.memory.len() - data;
        let start = (at % length as u64) as usize;
        let first = to.len().min(length - start);
        // SAFETY: `drain` read `data_head` with acquire and has not yet moved `data_tail`, so the
        // kernel neither writes these bytes now nor will while the slices live.
        let (front, back) = unsafe {
            (
                self.memory.finished_bytes(data + start, first),
                self.memory.finished_bytes(data, to.len() - first),
            )
        };
        to[..first].copy_from_slice(front);
        to[first..].copy_from_slice(back);
    }
}

/// Makes a perf event of the instruction at `offset` in the file `path` names, for one process or
/// all. It counts nothing until a program is linked to it.
pub(crate) fn open_uprobe(path: &CStr, offset: u64, pid: Option<u32>) -> io::Result<OwnedFd> {
    let attributes = Attributes {
        kind: source_type("uprobe")?,
        config1: path.as_ptr() as u64,
        config2: offset,
        ..Attributes::default()
    };
    // An event needs a process or a CPU; with a process and no CPU it follows that one.
    let (pid, cpu) = match pid {
        Some(pid) => (pid.cast_signed(), -1),
        None => (-1, 0),
    };
    // SAFETY: `config1` points to the path, which lives through the call.
    unsafe { open(&attributes, pid, cpu) }
}

/// Makes a perf event of the entry of a kernel function, for all processes.
///
/// # Errors
/// `ENOENT` from a kernel built without kprobes.
pub(crate) fn open_kprobe(function: &CStr) -> io::Result<OwnedFd> {
    open_kernel_probe(function, 0)
}

/// Makes a perf event of the returns of a kernel function, for all processes.
///
/// # Errors
/// As [`open_kprobe`].
pub(crate) fn open_kretprobe(function: &CStr) -> io::Result<OwnedFd> {
    open_kernel_probe(function, OF_RETURNS)
}

/// Bit `retprobe` of an event source's configuration
/// (Documentation/ABI/testing/sysfs-bus-event_source-devices).
const OF_RETURNS: u64 = 1;

fn open_kernel_probe(function: &CStr, config: u64) -> io::Result<OwnedFd> {
    let attributes = Attributes {
        kind: source_type("kprobe")?,
        config,
        config1: function.as_ptr() as u64,
        ..Attributes::default()
    };
    // SAFETY: `config1` points to the function's name, which lives through the call.
    unsafe { open(&attributes, -1, 0) }
}

/// Number that the kernel gave an event source.
fn source_type(source: &str) -> io::Result<u32> {
    let path = format!("/sys/bus/event_source/devices/{source}/type");
    let text = fs::read_to_string(&path)?;
    text.trim()
        .parse()
        .map_err(|_| io::Error::other(format!("{path} holds {text:?}")))
}

/// The first 72 bytes of `struct perf_event_attr` (`PERF_ATTR_SIZE_VER1`).
#[derive(Default)]
#[repr(C)]
struct Attributes {
    kind: u32,
    size: u32,
    config: u64,
    sample_period: u64,
    sample_type: u64,
    read_format: u64,
    flags: u64,
    wakeup_watermark: u32,
    breakpoint_type: u32,
    config1: u64,
    config2: u64,
}

/// # Safety
/// What the attributes point to must live through the call.
unsafe fn open(attributes: &Attributes, pid: i32, cpu: i32) -> io::Result<OwnedFd> {
    let attributes = Attributes {
        size: size_of::<Attributes>() as u32,
        ..*attributes
    };
    // SAFETY: the attributes have the size that they state; the caller vouches for the rest.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_perf_event_open,
            &raw const attributes,
            libc::c_long::from(pid),
            libc::c_long::from(cpu),
            -1,
            FLAG_FD_CLOEXEC,
        )
    };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    let fd = i32::try_from(fd).map_err(io::Error::other)?;
    // SAFETY: the call returned a descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Reads one record, header included; other kinds are passed over.
fn parse(record: &[u8]) -> Option<SidebandEvent> {
    let word = |at: usize| Some(u32::from_le_bytes(*record.get(at..)?.first_chunk()?));
    let long = |at: usize| Some(u64::from_le_bytes(*record.get(at..)?.first_chunk()?));
    match word(0)? {
        RECORD_LOST => Some(SidebandEvent::Lost(long(16)?)),
        RECORD_MMAP2 => {
            let pid = word(8)?;
            let device = word(40)?.checked_shl(20)? | word(44)?;
            let inode = long(48)?;
            let path = record.get(72..)?;
            // Memory without a file is named `//anon` and the like, and has no inode.
            if inode == 0 || path.first() != Some(&b'/') {
                return None;
            }
            Some(SidebandEvent::Mapped {
                pid,
                file: FileId { device, inode },
                generation: long(56)?,
            })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_and_foreign_records_are_passed_over() {
        assert_eq!(parse(&[]), None);
        assert_eq!(parse(&[10, 0, 0, 0, 0, 0, 8, 0]), None);
        assert_eq!(parse(&[3; 200]), None);
    }

    #[test]
    fn a_mapping_is_read() {
        let mut record = vec![0; 72];
        record[0] = 10;
        record[8] = 7;
        record[40] = 8;
        record[44] = 1;
        record[48] = 99;
        record[56] = 5;
        record.extend_from_slice(b"/lib/x.so\0\0\0\0\0\0\0");
        assert_eq!(
            parse(&record),
            Some(SidebandEvent::Mapped {
                pid: 7,
                file: FileId {
                    device: 8 << 20 | 1,
                    inode: 99
                },
                generation: 5,
            })
        );
    }
}
