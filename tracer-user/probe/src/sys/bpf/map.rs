//! Maps: making them, asking what they are, and their entries.

use std::{
    cell::Cell,
    io,
    os::fd::{AsRawFd, BorrowedFd, OwnedFd},
    ptr,
};

use super::{OBJ_GET_INFO_BY_FD, bpf, bpf_fd};

const MAP_CREATE: libc::c_int = 0;
const MAP_LOOKUP_ELEM: libc::c_int = 1;
const MAP_UPDATE_ELEM: libc::c_int = 2;
const MAP_DELETE_ELEM: libc::c_int = 3;
const MAP_GET_NEXT_KEY: libc::c_int = 4;
const MAP_LOOKUP_AND_DELETE_ELEM: libc::c_int = 21;
const MAP_LOOKUP_BATCH: libc::c_int = 24;

/// `BPF_MAP_TYPE_ARRAY`.
pub(crate) const MAP_ARRAY: u32 = 2;
/// `BPF_MAP_TYPE_RINGBUF`.
pub(crate) const MAP_RING: u32 = 27;

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

#[repr(C)]
struct Element {
    map_fd: u32,
    padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}

impl Element {
    /// A key and a value of a map, by their addresses.
    fn of(map: BorrowedFd<'_>, key: *const u8, value: *const u8) -> Self {
        Self {
            map_fd: map.as_raw_fd().cast_unsigned(),
            padding: 0,
            key: key as u64,
            value: value as u64,
            flags: 0,
        }
    }
}

/// Reads the value of `key` into `value`, which must have the map's value size: for a per-CPU map
/// that of every possible CPU, each rounded up to 8.
///
/// # Safety
/// `key` and `value` must be as long as the map's keys and values.
pub(crate) unsafe fn look_up(map: BorrowedFd<'_>, key: &[u8], value: &mut [u8]) -> io::Result<()> {
    let attributes = Element::of(map, key.as_ptr(), value.as_mut_ptr());
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
    let attributes = Element::of(map, key.as_ptr(), value.as_mut_ptr());
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
            .map_or(0, |position| ptr::from_ref(position) as u64),
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
    let attributes = Element::of(map, key.as_ptr(), value.as_ptr());
    // SAFETY: the caller vouches for the lengths; both buffers outlive the call.
    unsafe { bpf(MAP_UPDATE_ELEM, &attributes) }.map(drop)
}

/// Removes `key`; that it is not there is no error.
///
/// # Safety
/// `key` must be as long as the map's keys.
pub(crate) unsafe fn delete(map: BorrowedFd<'_>, key: &[u8]) -> io::Result<()> {
    let attributes = Element::of(map, key.as_ptr(), ptr::null());
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
    let key = key.map_or(ptr::null(), <[u8]>::as_ptr);
    let attributes = Element::of(map, key, next.as_mut_ptr());
    // SAFETY: the caller vouches for the lengths; both buffers outlive the call. `next_key` stands
    // in the place of `value`.
    match unsafe { bpf(MAP_GET_NEXT_KEY, &attributes) } {
        Ok(_) => Ok(Some(())),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
        Err(error) => Err(error),
    }
}
