//! Maps of the kernel half as typed tables.

use std::{
    io,
    marker::PhantomData,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use tracer_abi::{
    Control, ExeKey, Histogram, LossCell, SetKey, Site, Spec, Target,
    file::{AccessKey, FileAccess, FileActor, FileKey, FoldersState},
};

use crate::sys::{bpf, cpus};

/// A type whose memory may be handed to the kernel and read back from it.
///
/// # Safety
/// The type is `repr(C)` or a primitive, has no padding bytes, and every bit pattern is a value.
pub(crate) unsafe trait Plain: Copy {}

macro_rules! plain {
    ($($type:ty),*) => {
        $(
            // SAFETY: `tracer_abi` defines the type as `repr(C)` of integers and asserts that its
            // size is the sum of its fields', so there is no padding; u32, u64 and u8 are primitive.
            unsafe impl Plain for $type {}
        )*
    };
}
plain!(
    u8, u32, u64, Control, ExeKey, Histogram, LossCell, SetKey, Site, Spec
);
plain!(
    Target,
    AccessKey,
    FileAccess,
    FileActor,
    FileKey,
    FoldersState
);

/// A map with keys of type `K` and values of type `V`; for a per-CPU map, one `V` for each CPU.
pub(crate) struct Table<K, V> {
    fd: OwnedFd,
    types: PhantomData<(K, V)>,
}

impl<K: Plain, V: Plain> Table<K, V> {
    /// Takes over a map.
    ///
    /// # Safety
    /// Its keys must be as long as `K` and its values as long as `V`.
    pub(crate) unsafe fn new(fd: OwnedFd) -> Self {
        Self {
            fd,
            types: PhantomData,
        }
    }

    /// The map.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Writes the value of a key.
    pub(crate) fn put(&self, key: K, value: &V) -> io::Result<()> {
        // SAFETY: the lengths are the map's, as the constructor's caller vouched.
        unsafe { bpf::update(self.fd.as_fd(), bytes(&key), bytes(value)) }
    }

    /// Removes a key, whether it is there or not.
    pub(crate) fn remove(&self, key: K) -> io::Result<()> {
        // SAFETY: as for `put`.
        unsafe { bpf::delete(self.fd.as_fd(), bytes(&key)) }
    }

    /// Reads the value of a key, if it is there.
    pub(crate) fn get(&self, key: K) -> io::Result<Option<V>> {
        let mut buffer = vec![0_u8; size_of::<V>()];
        // SAFETY: as for `put`.
        match unsafe { bpf::look_up(self.fd.as_fd(), bytes(&key), &mut buffer) } {
            // SAFETY: the buffer is as long as `V`, and every bit pattern is a `V`.
            Ok(()) => Ok(Some(unsafe {
                buffer.as_ptr().cast::<V>().read_unaligned()
            })),
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Removes a key and returns its last value, if it was there.
    pub(crate) fn take(&self, key: K) -> io::Result<Option<V>> {
        let mut buffer = vec![0_u8; size_of::<V>()];
        // SAFETY: as for `put`.
        match unsafe { bpf::take(self.fd.as_fd(), bytes(&key), &mut buffer) } {
            // SAFETY: the buffer is as long as `V`, and every bit pattern is a `V`.
            Ok(()) => Ok(Some(unsafe {
                buffer.as_ptr().cast::<V>().read_unaligned()
            })),
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Everything that is there, at most `limit` entries, of a hash map; one that comes or goes
    /// meanwhile may be missed.
    pub(crate) fn entries(&self, limit: usize) -> io::Result<Vec<(K, V)>> {
        const ROOM: usize = 1024;
        let mut keys = vec![0_u8; ROOM * size_of::<K>()];
        let mut values = vec![0_u8; ROOM * size_of::<V>()];
        let mut entries = Vec::new();
        let mut position = None;
        while entries.len() < limit {
            // SAFETY: both have room for so many entries, as the constructor's caller vouched.
            let count = unsafe {
                bpf::look_up_batch(
                    self.fd.as_fd(),
                    &mut position,
                    &mut keys,
                    &mut values,
                    ROOM as u32,
                )
            }?;
            let pairs = keys
                .chunks_exact(size_of::<K>())
                .zip(values.chunks_exact(size_of::<V>()));
            entries.extend(pairs.take(count).map(|(key, value)| {
                // SAFETY: the chunks are as long as `K` and `V`, and every bit pattern is one.
                unsafe {
                    (
                        key.as_ptr().cast::<K>().read_unaligned(),
                        value.as_ptr().cast::<V>().read_unaligned(),
                    )
                }
            }));
            if position.is_none() {
                break;
            }
        }
        Ok(entries)
    }

    /// The keys that are there, at most `limit`; one that comes or goes meanwhile may be missed.
    pub(crate) fn keys(&self, limit: usize) -> io::Result<Vec<K>> {
        let mut keys: Vec<K> = Vec::new();
        let mut next = vec![0_u8; size_of::<K>()];
        for _ in 0..limit {
            let after = keys.last().map(bytes);
            // SAFETY: as for `put`; both are as long as `K`.
            if unsafe { bpf::next_key(self.fd.as_fd(), after, &mut next) }?.is_none() {
                break;
            }
            // SAFETY: the buffer is as long as `K`, and every bit pattern is a `K`.
            keys.push(unsafe { next.as_ptr().cast::<K>().read_unaligned() });
        }
        Ok(keys)
    }

    /// Reads the values of a key of a per-CPU map, by CPU.
    pub(crate) fn per_cpu(&self, key: K) -> io::Result<Vec<V>> {
        let cpus = cpus::possible()?;
        let stride = size_of::<V>().next_multiple_of(8);
        let mut buffer = vec![0_u8; stride * cpus];
        // SAFETY: as for `put`; a per-CPU value is that of every possible CPU, each rounded up
        // to 8.
        unsafe { bpf::look_up(self.fd.as_fd(), bytes(&key), &mut buffer) }?;
        let values = buffer.chunks_exact(stride).map(|value| {
            // SAFETY: the chunk is at least as long as `V`, and every bit pattern is a `V`.
            unsafe { value.as_ptr().cast::<V>().read_unaligned() }
        });
        Ok(values.collect())
    }
}

fn bytes<T: Plain>(value: &T) -> &[u8] {
    // SAFETY: a `Plain` value is initialised memory without padding.
    unsafe { std::slice::from_raw_parts(std::ptr::from_ref(value).cast(), size_of::<T>()) }
}
