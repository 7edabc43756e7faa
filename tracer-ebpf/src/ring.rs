//! The way out: per-CPU rings for events, one small ring for what a flood must not displace.
//!
//! Records are committed without a wake-up; the reader polls. It is woken in two cases only: it said
//! that it sleeps, or the unread bytes crossed its threshold.
//!
//! Why a sleeping reader is never missed. The reader sets `asleep`, fences, and sleeps only if the
//! ring's producer and consumer positions are equal. A producer's commit ends in an `xchg` of the
//! record's header, a full barrier (`bpf_ringbuf_commit`, kernel/bpf/ringbuf.c), and only then is
//! `asleep` read: one of the two sees the other. The 8 bytes whose discarding wakes the reader are
//! reserved *before* the flag is taken: were it taken first, a producer pre-empted in between could
//! leave others to fill the ring, and the reservation, and with it the only wake-up, would fail.

use core::{ffi::c_void, ptr};

use aya_ebpf::{
    bindings::{BPF_RB_AVAIL_DATA, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP},
    btf_maps::{Array, ArrayOfMaps, RingBuf},
    helpers::{bpf_ringbuf_discard, bpf_ringbuf_output, bpf_ringbuf_query, bpf_ringbuf_reserve},
    macros::btf_map,
};
use tracer_abi::{LossReason, MAX_RINGS, RecordHeader, RingState};

use crate::{atomic, loss};

/// `BPF_F_MMAPABLE`: the reader sets its flags through a mapping, so that its fence orders them.
const MAPPABLE: usize = 1 << 10;

/// Smallest inner ring; user space puts in rings of the size it wants.
type EventRing = RingBuf<u8, 4096>;

#[btf_map]
static RINGS: ArrayOfMaps<EventRing, { MAX_RINGS as usize }> = ArrayOfMaps::new();
#[btf_map]
static RING_STATES: Array<RingState, { MAX_RINGS as usize }, MAPPABLE> = Array::new();
#[btf_map]
static CRITICAL: RingBuf<u8, { 256 * 1024 }> = RingBuf::new();
#[btf_map]
static CRITICAL_STATE: Array<RingState, 1, MAPPABLE> = Array::new();

/// A ring with its state.
pub(crate) struct Ring {
    map: *mut c_void,
    state: &'static mut RingState,
    full: LossReason,
}

impl Ring {
    /// The event ring of a CPU, where `rings` are in use.
    #[inline(always)]
    pub(crate) fn of_cpu(cpu: u32, rings: u32) -> Option<Self> {
        let index = if cpu < rings {
            cpu
        } else {
            cpu.checked_rem(rings)?
        };
        let map = RINGS.get(index)?;
        let state = RING_STATES.get_ptr_mut(index)?;
        Some(Self {
            map: ptr::from_ref(map).cast_mut().cast(),
            // SAFETY: the lookup returned map memory, which lives as long as the program runs; all
            // that producers write in it they write atomically.
            state: unsafe { &mut *state },
            full: LossReason::RingFull,
        })
    }

    /// The critical ring.
    #[inline(always)]
    pub(crate) fn critical() -> Option<Self> {
        let state = CRITICAL_STATE.get_ptr_mut(0)?;
        Some(Self {
            map: (&raw const CRITICAL).cast_mut().cast(),
            // SAFETY: as in `of_cpu`.
            state: unsafe { &mut *state },
            full: LossReason::CriticalRingFull,
        })
    }

    /// Numbers the record that begins with `header` and is `length` bytes long, and commits it.
    ///
    /// # Safety
    /// `length` bytes from `header` on are initialised and the caller's own.
    #[inline(always)]
    pub(crate) unsafe fn emit(&mut self, header: *mut RecordHeader, length: usize) {
        // SAFETY: the caller owns the record.
        let now = unsafe {
            (*header).sequence = atomic::fetch_add(&mut self.state.sequence, 1);
            (*header).time
        };
        // SAFETY: `map` is a ring buffer, and the record is initialised up to `length`.
        let refused = unsafe {
            bpf_ringbuf_output(
                self.map,
                header.cast(),
                length as u64,
                u64::from(BPF_RB_NO_WAKEUP),
            )
        };
        if refused != 0 {
            loss::count(self.full, now);
            return;
        }
        self.wake_if_needed();
    }

    #[inline(always)]
    fn wake_if_needed(&mut self) {
        // SAFETY: plain reads of our own map's memory; volatile because the reader writes it.
        let (asleep, threshold) = unsafe {
            (
                (&raw const self.state.asleep).read_volatile(),
                (&raw const self.state.wake_bytes).read_volatile(),
            )
        };
        // SAFETY: `map` is a ring buffer.
        let unread = unsafe { bpf_ringbuf_query(self.map, u64::from(BPF_RB_AVAIL_DATA)) };
        if asleep != 0 || unread >= u64::from(threshold) {
            self.wake(unread >= u64::from(threshold));
        }
    }

    /// Wakes the reader, unless another producer took that upon itself.
    #[inline(never)]
    fn wake(&mut self, crossed: bool) {
        // SAFETY: `map` is a ring buffer; the size is constant.
        let entry = unsafe { bpf_ringbuf_reserve(self.map, 8, 0) };
        if entry.is_null() {
            return;
        }
        let mut mine = atomic::exchange_u32(&mut self.state.asleep, 0) != 0;
        if crossed {
            let threshold = atomic::exchange_u32(&mut self.state.wake_bytes, RingState::DISARMED);
            mine |= threshold != RingState::DISARMED;
        }
        let flags = if mine {
            BPF_RB_FORCE_WAKEUP
        } else {
            BPF_RB_NO_WAKEUP
        };
        // SAFETY: `entry` was reserved above and is used no more.
        unsafe { bpf_ringbuf_discard(entry, u64::from(flags)) }
    }
}
