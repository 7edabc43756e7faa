//! Reading the rings: on a timer while records come, asleep in `epoll` while none do.
//!
//! Producers do not wake the reader (a wake-up costs them 13 µs), so it looks by itself every 1 to
//! 10 ms. After 100 ms without a record it sets `asleep` in every ring's state, fences, and blocks
//! only if no ring then holds anything. A producer exchanges the flag after its record is
//! committed: either it sees the flag and wakes the reader, or its record was committed before the
//! flag was set and the reader's comparison sees it. So no record waits for the next one.

mod buffer;

use std::{
    io,
    mem::offset_of,
    os::fd::BorrowedFd,
    sync::atomic::{Ordering, fence},
    time::{Duration, Instant},
};

use tracer_abi::RingState;

use crate::{
    observation::RecordBatch,
    sys::{epoll::Epoll, memory::SharedMemory},
};

pub(crate) use buffer::RingBuffer;

/// Without a record for so long the reader goes to sleep.
const AWAKE: Duration = Duration::from_millis(100);
const SHORTEST_INTERVAL: Duration = Duration::from_millis(1);
const LONGEST_INTERVAL: Duration = Duration::from_millis(10);

/// Bytes of a [`RingState`] and the places of what the reader writes.
const STATE_SIZE: usize = size_of::<RingState>();
const ASLEEP: usize = offset_of!(RingState, asleep);
const WAKE_BYTES: usize = offset_of!(RingState, wake_bytes);

/// A ring and the state that its producers share with the reader.
struct Ring {
    number: u16,
    buffer: RingBuffer,
    /// Index of the state and the mapping it lies in.
    state: (usize, usize),
}

/// All rings of a run.
pub(crate) struct Rings {
    rings: Vec<Ring>,
    states: Vec<SharedMemory>,
    epoll: Epoll,
    interval: Duration,
    newest: Instant,
    /// Without a record for so long the reader goes to sleep.
    awake: Duration,
}

impl Rings {
    /// No ring yet.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            rings: Vec::new(),
            states: Vec::new(),
            epoll: Epoll::new()?,
            interval: SHORTEST_INTERVAL,
            newest: Instant::now(),
            awake: AWAKE,
        })
    }

    /// Adds rings numbered from 0, or the one ring `number`, whose states are the entries of
    /// `states`, an array map made with `BPF_F_MMAPABLE`.
    pub(crate) fn add(
        &mut self,
        numbers: impl Iterator<Item = u16>,
        buffers: Vec<RingBuffer>,
        states: BorrowedFd<'_>,
    ) -> io::Result<()> {
        let length = (buffers.len() * STATE_SIZE).next_multiple_of(crate::sys::memory::page_size());
        self.states
            .push(SharedMemory::map(states, 0, length, true)?);
        let mapping = self.states.len() - 1;
        for (index, (number, buffer)) in numbers.zip(buffers).enumerate() {
            self.epoll.add(buffer.fd(), u64::from(number))?;
            self.rings.push(Ring {
                number,
                buffer,
                state: (mapping, index),
            });
        }
        Ok(())
    }

    /// Lets `fd` end a wait too.
    pub(crate) fn watch(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        self.epoll.add(fd, u64::MAX)
    }

    /// Takes what every ring holds now, the critical ring first.
    pub(crate) fn drain(&mut self) -> Vec<RecordBatch> {
        let mut batches = Vec::new();
        let mut busiest = 0;
        for ring in self.rings.iter_mut().rev() {
            let mut batch = RecordBatch::new(ring.number);
            let bytes = ring.buffer.drain(|record| batch.push(record));
            busiest = busiest.max(bytes * 100 / ring.buffer.capacity());
            if !batch.is_empty() {
                batches.push(batch);
            }
        }
        if batches.is_empty() {
            self.interval = (self.interval * 2).min(LONGEST_INTERVAL);
            return batches;
        }
        self.newest = Instant::now();
        // A ring that fills by more than a tenth between two looks is looked at as often as
        // possible, so that a burst of ten times the rate still finds room.
        self.interval = match busiest {
            0..=2 => (self.interval * 2).min(LONGEST_INTERVAL),
            3..=9 => self.interval,
            _ => SHORTEST_INTERVAL,
        };
        batches
    }

    /// Waits until there may be something to drain, a watched descriptor is readable, or `timeout`
    /// has passed.
    pub(crate) fn wait(&mut self, timeout: Duration) -> io::Result<()> {
        self.arm();
        if self.newest.elapsed() < self.awake {
            return self.epoll.wait(timeout.min(self.interval));
        }
        self.set_asleep(1);
        // Pairs with the exchange in the producer, which is a full barrier: of the flag's store
        // here and the record's commit there, one side sees the other's.
        fence(Ordering::SeqCst);
        let slept = if self.rings.iter().all(|ring| ring.buffer.is_empty()) {
            self.epoll.wait(timeout)
        } else {
            Ok(())
        };
        self.set_asleep(0);
        self.interval = SHORTEST_INTERVAL;
        slept
    }

    /// Goes to sleep after another time without a record than usual.
    pub(crate) fn stay_awake_for(&mut self, awake: Duration) {
        self.awake = awake;
    }

    /// Lets the producer that fills a quarter of a ring end the wait: it disarms when it does.
    fn arm(&self) {
        for Ring {
            state: (mapping, index),
            buffer,
            ..
        } in &self.rings
        {
            let wake_bytes = u32::try_from(buffer.capacity() / 4).unwrap_or(RingState::DISARMED);
            self.states[*mapping]
                .half_word(index * STATE_SIZE + WAKE_BYTES)
                .store(wake_bytes, Ordering::Relaxed);
        }
    }

    fn set_asleep(&self, value: u32) {
        for Ring {
            state: (mapping, index),
            ..
        } in &self.rings
        {
            self.states[*mapping]
                .half_word(index * STATE_SIZE + ASLEEP)
                .store(value, Ordering::SeqCst);
        }
    }
}
