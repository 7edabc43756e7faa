//! One `BPF_MAP_TYPE_RINGBUF`, read in place.
//!
//! Layout: <https://github.com/torvalds/linux/blob/v6.1/kernel/bpf/ringbuf.c#L20-L60>. Page 0 holds
//! the consumer's position, page 1 the producer's, then the data follows twice in a row, so that a
//! record never wraps.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::atomic::Ordering,
};

use crate::sys::{
    bpf,
    memory::{SharedMemory, page_size},
};

/// Set in a record's length while its producer still writes.
const BUSY: u32 = 1 << 31;
/// Set in a record's length if its producer took it back.
const DISCARDED: u32 = 1 << 30;
/// Bytes before each record.
const HEADER: u64 = 8;

/// A ring and this process's view of it.
pub(crate) struct RingBuffer {
    fd: OwnedFd,
    consumer: SharedMemory,
    producer: SharedMemory,
    data: usize,
    capacity: usize,
}

impl RingBuffer {
    /// Makes a ring of at least `bytes`: a power of two and whole pages.
    pub(crate) fn create(bytes: usize) -> io::Result<Self> {
        let capacity = bytes.next_multiple_of(page_size()).next_power_of_two();
        let entries = u32::try_from(capacity).map_err(io::Error::other)?;
        Self::open(bpf::create_map(bpf::MAP_RING, 0, 0, entries)?, capacity)
    }

    /// Reads the existing ring `fd` of `capacity` bytes.
    pub(crate) fn open(fd: OwnedFd, capacity: usize) -> io::Result<Self> {
        let page = page_size();
        let consumer = SharedMemory::map(fd.as_fd(), 0, page, true)?;
        let producer = SharedMemory::map(fd.as_fd(), page, page + 2 * capacity, false)?;
        Ok(Self {
            fd,
            consumer,
            producer,
            data: page,
            capacity,
        })
    }

    /// The map.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Bytes that the ring holds, record headers included.
    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    /// Whether producer and consumer stand at the same place.
    pub(crate) fn is_empty(&self) -> bool {
        let produced = self.producer.word(0).load(Ordering::SeqCst);
        self.consumer.word(0).load(Ordering::SeqCst) == produced
    }

    /// Hands over every finished record, oldest first, and gives their room back. Returns how many
    /// bytes of the ring that was.
    pub(crate) fn drain(&mut self, mut each: impl FnMut(&[u8])) -> usize {
        let begin = self.consumer.word(0).load(Ordering::Relaxed);
        let end = self.producer.word(0).load(Ordering::Acquire);
        // Room is given back in parts, so that producers need not wait for the whole.
        let part = (self.capacity / 8) as u64;
        let (mut at, mut released) = (begin, begin);
        while at < end {
            let offset = self.data + (at as usize & (self.capacity - 1));
            let header = self.producer.half_word(offset).load(Ordering::Acquire);
            if header & BUSY != 0 {
                break;
            }
            let length = (header & !DISCARDED) as usize;
            if header & DISCARDED == 0 {
                // SAFETY: the acquiring load found the producer done with the record, and the room
                // is released only below, after `each` has returned.
                each(unsafe {
                    self.producer
                        .finished_bytes(offset + HEADER as usize, length)
                });
            }
            at += HEADER + (length as u64).next_multiple_of(8);
            if at - released >= part {
                self.consumer.word(0).store(at, Ordering::Release);
                released = at;
            }
        }
        self.consumer.word(0).store(at, Ordering::Release);
        (at - begin) as usize
    }
}
