//! `fanotify(7)`: what happens to marked inodes, told with file handles, so that nothing is opened.
//!
//! Format: `include/uapi/linux/fanotify.h`.

use std::{
    ffi::{CStr, CString},
    io, mem,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
};

/// `MAX_HANDLE_SZ` of include/linux/exportfs.h.
const MAX_HANDLE: usize = 128;
/// Bytes of `struct fanotify_event_metadata`.
const METADATA: usize = 24;
/// Bytes of one read: a few hundred notices.
const BUFFER: usize = 64 << 10;

/// A group of marks and the queue of what happened to them.
pub(crate) struct Fanotify {
    fd: OwnedFd,
    buffer: Vec<u8>,
}

/// A file as its file system knows it: the file system's id, then type and bytes of the handle.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Handle(Vec<u8>);

/// A name in a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) folder: Handle,
    pub(crate) name: Vec<u8>,
}

/// Something that happened, or several equal things.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Notice {
    /// What, as `FAN_…` bits.
    pub(crate) mask: u64,
    /// The process that did it; 0 if that is not known.
    pub(crate) pid: u32,
    /// The file that it happened to.
    pub(crate) object: Option<Handle>,
    /// The folder that it was reached through, with the file's name in it.
    pub(crate) entry: Option<Entry>,
    /// Of a rename: where it was.
    pub(crate) old: Option<Entry>,
    /// Of a rename: where it is, if that folder is marked.
    pub(crate) new: Option<Entry>,
}

impl Fanotify {
    /// A new group without marks. What does not fit the queue of `fs.fanotify.max_queued_events` is
    /// told as an overflow.
    ///
    /// # Errors
    /// `EPERM` without `CAP_SYS_ADMIN`, `ENOSYS` from a kernel built without it.
    ///
    /// # Minimum kernel version
    /// 5.17, for the handle of what a folder's notice is about.
    pub(crate) fn open() -> io::Result<Self> {
        let flags = libc::FAN_CLASS_NOTIF
            | libc::FAN_CLOEXEC
            | libc::FAN_NONBLOCK
            | libc::FAN_UNLIMITED_MARKS
            | libc::FAN_REPORT_DFID_NAME_TARGET;
        Ok(Self {
            fd: group(flags, libc::O_RDONLY)?,
            buffer: vec![0; BUFFER],
        })
    }

    /// What becomes readable when something happened.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Listens to the inode of `name` in `folder`, which is not followed if it is a link; of the
    /// folder itself if `name` is `.`, of the open file if it is empty.
    pub(crate) fn mark(&self, folder: BorrowedFd<'_>, name: &CStr, mask: u64) -> io::Result<()> {
        mark(self.fd.as_fd(), folder, name, mask)
    }

    /// Takes what is in the queue, at most one buffer full; nothing if it is empty.
    pub(crate) fn read(&mut self) -> io::Result<Vec<Notice>> {
        // SAFETY: the buffer has the length given and lives through the call.
        let length = unsafe {
            libc::read(
                self.fd.as_raw_fd(),
                self.buffer.as_mut_ptr().cast(),
                self.buffer.len(),
            )
        };
        if length < 0 {
            let error = io::Error::last_os_error();
            return match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(Vec::new()),
                _ => Err(error),
            };
        }
        Ok(parse(&self.buffer[..length.unsigned_abs()]))
    }
}

/// A new group, which gets files opened in a way, if it gets files.
pub(super) fn group(flags: libc::c_uint, of_files: libc::c_int) -> io::Result<OwnedFd> {
    // SAFETY: the call takes numbers and makes a new descriptor.
    let fd = unsafe { libc::fanotify_init(flags, of_files.cast_unsigned()) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call returned a descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Marks the inode of `name` in `folder`, which is not followed if it is a link; the open file itself if
/// the name is empty.
pub(super) fn mark(
    group: BorrowedFd<'_>,
    folder: BorrowedFd<'_>,
    name: &CStr,
    mask: u64,
) -> io::Result<()> {
    let path = if name.is_empty() {
        std::ptr::null()
    } else {
        name.as_ptr()
    };
    let flags = libc::FAN_MARK_ADD | libc::FAN_MARK_DONT_FOLLOW;
    let (group, folder) = (group.as_raw_fd(), folder.as_raw_fd());
    // SAFETY: the descriptors are open, and the name lives through the call.
    let answer = unsafe { libc::fanotify_mark(group, flags, mask, folder, path) };
    if answer < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// The handle of `name` in `folder`, as notices carry it; of the open file if it is empty. A link is
/// not followed.
///
/// # Errors
/// `EOPNOTSUPP` from a file system that has none.
pub(crate) fn handle_at(folder: BorrowedFd<'_>, name: &CStr) -> io::Result<Handle> {
    #[repr(C)]
    struct Room {
        bytes: u32,
        kind: i32,
        handle: [u8; MAX_HANDLE],
    }
    // SAFETY: statfs is plain old data, for which all zeroes is a value.
    let mut system: libc::statfs = unsafe { mem::zeroed() };
    // SAFETY: the descriptor is open, and `system` lives through the call.
    if unsafe { libc::fstatfs(folder.as_raw_fd(), &raw mut system) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: `fsid_t` is two integers, as the 8 bytes of `__kernel_fsid_t` are.
    let system: [u8; 8] = unsafe { mem::transmute_copy(&system.f_fsid) };
    let mut room = Room {
        bytes: MAX_HANDLE as u32,
        kind: 0,
        handle: [0; MAX_HANDLE],
    };
    let mut mount = 0;
    // SAFETY: `room` begins like `struct file_handle` and has room for as many bytes as it says; it
    // and the name live through the call.
    let answer = unsafe {
        libc::name_to_handle_at(
            folder.as_raw_fd(),
            name.as_ptr(),
            (&raw mut room).cast(),
            &raw mut mount,
            if name.is_empty() {
                libc::AT_EMPTY_PATH
            } else {
                0
            },
        )
    };
    if answer < 0 {
        return Err(io::Error::last_os_error());
    }
    let bytes = room.handle.get(..room.bytes as usize).unwrap_or_default();
    Ok(Handle::new(&system, &room.kind.to_ne_bytes(), bytes))
}

/// A path for a system call.
pub(crate) fn path(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(io::Error::other)
}

impl Handle {
    fn new(system: &[u8], kind: &[u8], bytes: &[u8]) -> Self {
        Self([system, kind, bytes].concat())
    }
}

/// Reads notices one behind the other; what is not as expected ends the reading.
fn parse(mut bytes: &[u8]) -> Vec<Notice> {
    let mut notices = Vec::new();
    while let Some((notice, rest)) = parse_one(bytes) {
        notices.push(notice);
        bytes = rest;
    }
    notices
}

fn parse_one(bytes: &[u8]) -> Option<(Notice, &[u8])> {
    let length = u32_at(bytes, 0)? as usize;
    let metadata = usize::from(u16::from_ne_bytes(*bytes.get(6..)?.first_chunk()?));
    let whole = bytes.get(..length).filter(|_| length >= METADATA)?;
    let mut notice = Notice {
        mask: u64::from_ne_bytes(*whole.get(8..)?.first_chunk()?),
        pid: u32_at(whole, 20)?,
        ..Notice::default()
    };
    let mut records = whole.get(metadata..)?;
    while let Some(&kind) = records.first() {
        let length = usize::from(u16::from_ne_bytes(*records.get(2..)?.first_chunk()?));
        let record = records.get(4..length)?;
        match kind {
            libc::FAN_EVENT_INFO_TYPE_FID => notice.object = parse_handle(record).map(|it| it.0),
            libc::FAN_EVENT_INFO_TYPE_DFID_NAME => notice.entry = parse_entry(record),
            libc::FAN_EVENT_INFO_TYPE_OLD_DFID_NAME => notice.old = parse_entry(record),
            libc::FAN_EVENT_INFO_TYPE_NEW_DFID_NAME => notice.new = parse_entry(record),
            _ => {}
        }
        records = records.get(length..)?;
    }
    Some((notice, &bytes[length..]))
}

fn parse_handle(record: &[u8]) -> Option<(Handle, &[u8])> {
    let (system, rest) = record.split_at_checked(8)?;
    let length = u32_at(rest, 0)? as usize;
    let kind = rest.get(4..8)?;
    let bytes = rest.get(8..8 + length.min(MAX_HANDLE))?;
    Some((Handle::new(system, kind, bytes), &rest[8 + bytes.len()..]))
}

fn parse_entry(record: &[u8]) -> Option<Entry> {
    let (folder, rest) = parse_handle(record)?;
    let name = rest.split(|&byte| byte == 0).next()?.to_vec();
    Some(Entry { folder, name })
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notice(mask: u64, records: &[u8]) -> Vec<u8> {
        let length = (METADATA + records.len()) as u32;
        let mut bytes = length.to_ne_bytes().to_vec();
        bytes.extend([3, 0]);
        bytes.extend((METADATA as u16).to_ne_bytes());
        bytes.extend(mask.to_ne_bytes());
        bytes.extend((-1_i32).to_ne_bytes());
        bytes.extend(42_u32.to_ne_bytes());
        bytes.extend(records);
        bytes
    }

    fn record(kind: u8, name: &[u8]) -> Vec<u8> {
        let mut body = vec![7; 8];
        body.extend(4_u32.to_ne_bytes());
        body.extend(1_u32.to_ne_bytes());
        body.extend([1, 2, 3, 4]);
        body.extend(name);
        let mut bytes = vec![kind, 0];
        bytes.extend((4 + body.len() as u16).to_ne_bytes());
        bytes.extend(body);
        bytes
    }

    #[test]
    fn notices_are_read_one_behind_the_other() {
        let mut bytes = notice(
            libc::FAN_CREATE,
            &[
                record(libc::FAN_EVENT_INFO_TYPE_DFID_NAME, b"a b\0\0"),
                record(libc::FAN_EVENT_INFO_TYPE_FID, b""),
            ]
            .concat(),
        );
        bytes.extend(notice(libc::FAN_Q_OVERFLOW, &[]));
        let notices = parse(&bytes);
        assert_eq!(notices.len(), 2);
        assert_eq!((notices[0].mask, notices[0].pid), (libc::FAN_CREATE, 42));
        let entry = notices[0].entry.as_ref().expect("it has a name");
        assert_eq!(entry.name, b"a b");
        assert_eq!(Some(&entry.folder), notices[0].object.as_ref());
        assert_eq!(notices[1].mask, libc::FAN_Q_OVERFLOW);
    }

    #[test]
    fn damaged_notices_end_the_reading() {
        let whole = notice(1, &record(libc::FAN_EVENT_INFO_TYPE_DFID_NAME, b"name\0"));
        for length in 0..whole.len() {
            assert!(parse(&whole[..length]).is_empty(), "{length}");
        }
        let mut wrong = whole.clone();
        wrong[METADATA + 2] = 0xff;
        assert!(parse(&wrong).is_empty());
        wrong[METADATA + 2] = 0;
        assert!(parse(&wrong).is_empty());
    }
}
