//! The calls that a thread has open: what an entry leaves for the exit.
//!
//! They lie in the thread's own storage (`BPF_MAP_TYPE_TASK_STORAGE`), which the kernel frees with the
//! thread. Only the thread's own programs touch it, and while one of them is pre-empted or sleeps the
//! thread does not run: nothing here needs an atomic.
//!
//! A call is found by function and frame address. The places are used in turn, so that a new call
//! displaces the oldest: what never returns (an abandoned fiber) costs its place for a while and
//! nothing else. Calls nest almost always, so the newest is looked at first, and only where that is
//! not the one in question all are searched.

use core::ptr;

use aya_ebpf::{
    bindings::{BPF_F_NO_PREALLOC, BPF_LOCAL_STORAGE_GET_F_CREATE, bpf_map_type},
    helpers::{bpf_get_current_task_btf, generated::bpf_task_storage_get},
    macros::btf_map,
};
use tracer_abi::{LossReason, MAX_OPEN_CALLS};

use crate::{
    kernel::{F_TASK_BTF, has},
    loss,
    scratch::{Held, OpenCall},
};

/// How far below a frame an abandoned inner call is looked for, in bytes.
///
/// A call that enters at frame `f` proves that calls of its stack with a frame below `f` are over. But
/// the thread may have several stacks (fibers, `sigaltstack`), one below the other in memory, and a
/// frame on another stack may be alive. Within this distance it is taken for the same stack: fiber
/// stacks are rarely smaller, and a call reached again after an exception is rarely deeper. What lies
/// farther away is left alone; it pairs if it does return, and is forgotten if not.
const SAME_STACK: u64 = 64 * 1024;

/// Selects a place from a number that only grows.
const PLACE: u64 = MAX_OPEN_CALLS as u64 - 1;
const _: () = assert!(MAX_OPEN_CALLS.is_power_of_two());

/// No place: larger than any.
const NOWHERE: u64 = MAX_OPEN_CALLS as u64;

/// A BTF map definition, as `aya_ebpf::btf_maps` makes them for other types of map.
#[repr(C)]
struct TaskStorage<T> {
    r#type: *const [i32; bpf_map_type::BPF_MAP_TYPE_TASK_STORAGE as usize],
    key: *const i32,
    value: *const T,
    max_entries: *const [i32; 0],
    map_flags: *const [i32; BPF_F_NO_PREALLOC as usize],
}

// SAFETY: the pointers only carry types for the loader; nobody follows them.
unsafe impl<T> Sync for TaskStorage<T> {}

#[btf_map]
static THREADS: TaskStorage<Thread> = TaskStorage {
    r#type: ptr::null(),
    key: ptr::null(),
    value: ptr::null(),
    max_entries: ptr::null(),
    map_flags: ptr::null(),
};

/// The open calls of one thread. The kernel makes it with all bytes zero.
#[repr(C)]
pub(crate) struct Thread {
    /// Calls opened and not closed since, newest last; the next one's place is `next & PLACE`.
    next: Held<u64>,
    /// Boot time from which nothing is captured, as of the newest call.
    pub(crate) deadline: Held<u64>,
    /// [`Control::generation`](tracer_abi::Control) of the grant that `deadline` is of; 0 if it must
    /// be looked up each time.
    pub(crate) granted: Held<u64>,
    /// Frame address (CFA) of each open call; 0 is a free place.
    frames: [Held<u64>; MAX_OPEN_CALLS],
    /// [`Spec::function`](tracer_abi::Spec) of each.
    functions: [Held<u32>; MAX_OPEN_CALLS],
    calls: [OpenCall; MAX_OPEN_CALLS],
}

impl Thread {
    /// The running thread's open calls, if it ever had one.
    #[inline(always)]
    pub(crate) fn current() -> Option<&'static mut Self> {
        Self::of_current(0)
    }

    /// The running thread's open calls; `None`, and counted, if the kernel has no memory for them.
    #[inline(always)]
    pub(crate) fn current_or_new(now: u64) -> Option<&'static mut Self> {
        let found = Self::of_current(u64::from(BPF_LOCAL_STORAGE_GET_F_CREATE));
        if found.is_none() {
            loss::count(LossReason::StashFull, now);
        }
        found
    }

    #[inline(always)]
    fn of_current(flags: u64) -> Option<&'static mut Self> {
        if !has(&F_TASK_BTF) {
            return None;
        }
        // SAFETY: the map is a task storage, the task is the running one, and no initial value is
        // given. What comes back is this thread's alone, and lives as long as it.
        unsafe {
            let map = (&raw const THREADS).cast_mut().cast();
            let task = bpf_get_current_task_btf();
            bpf_task_storage_get(map, task.cast(), ptr::null_mut(), flags)
                .cast::<Self>()
                .as_mut()
        }
    }

    /// Whether the deadline is the one of the grants in force.
    #[inline(always)]
    pub(crate) fn has_grant_of(&self, generation: u64) -> bool {
        let granted = self.granted.get();
        granted != 0 && granted == generation
    }

    /// Whether a call that enters at `frame` may find calls that were left: not where the newest open
    /// call lies just outside of it, as calls that nest do.
    #[inline(always)]
    pub(crate) fn may_have_left(&self, frame: u64) -> bool {
        let next = self.next.get();
        if next == 0 {
            return false;
        }
        let newest = self.frames[place(next - 1)].get();
        newest <= frame || newest - frame > SAME_STACK
    }

    /// Remembers a call; what belongs to it goes to the returned place.
    #[inline(always)]
    pub(crate) fn open(&mut self, function: u32, frame: u64, now: u64) -> &mut OpenCall {
        let next = self.next.get();
        self.next.set(next.wrapping_add(1));
        if self.frames[place(next)].get() != 0 {
            loss::count(LossReason::StashFull, now);
        }
        self.frames[place(next)].set(frame);
        self.functions[place(next)].set(function);
        &mut self.calls[place(next)]
    }

    /// Whether the newest open call is the one of `function` at `frame`.
    #[inline(always)]
    pub(crate) fn newest_is(&self, function: u32, frame: u64) -> bool {
        let newest = self.next.get().wrapping_sub(1);
        self.frames[place(newest)].get() == frame && self.functions[place(newest)].get() == function
    }

    /// Ends the newest open call, which stays readable until another one is opened.
    #[inline(always)]
    pub(crate) fn close_newest(&mut self) -> &OpenCall {
        let newest = self.next.get().wrapping_sub(1);
        self.frames[place(newest)].set(0);
        self.next.set(newest);
        &self.calls[place(newest)]
    }

    /// Ends the call of `function` at `frame`, as [`Thread::close_newest`] does; `None` if its entry
    /// was not seen.
    #[inline(always)]
    pub(crate) fn close(&mut self, function: u32, frame: u64) -> Option<&OpenCall> {
        let found = self.find(function, frame);
        self.take(found)
    }

    /// Ends the newest open call of `function` that lies below `limit` on the same stack, as
    /// [`Thread::close_newest`] does.
    #[inline(always)]
    pub(crate) fn close_abandoned(&mut self, function: u32, limit: u64) -> Option<&OpenCall> {
        let found = self.find_abandoned(function, limit);
        self.take(found)
    }

    /// Forgets the calls that [`Thread::close_abandoned`] would end.
    #[inline(never)]
    pub(crate) fn forget_abandoned(&mut self, function: u32, limit: u64) {
        for at in 0..MAX_OPEN_CALLS {
            if self.functions[at].get() == function && is_abandoned(self.frames[at].get(), limit) {
                self.frames[at].set(0);
            }
        }
        self.give_back_places();
    }

    /// The place of an open call, or [`NOWHERE`].
    #[inline(never)]
    fn find(&self, function: u32, frame: u64) -> u64 {
        self.newest_where(|this, at| {
            this.frames[at].get() == frame && this.functions[at].get() == function
        })
    }

    /// The place of the newest abandoned call, or [`NOWHERE`].
    #[inline(never)]
    fn find_abandoned(&self, function: u32, limit: u64) -> u64 {
        self.newest_where(|this, at| {
            this.functions[at].get() == function && is_abandoned(this.frames[at].get(), limit)
        })
    }

    #[inline(always)]
    fn newest_where(&self, matches: impl Fn(&Self, usize) -> bool) -> u64 {
        let next = self.next.get();
        for back in 1..=MAX_OPEN_CALLS as u64 {
            let at = place(next.wrapping_sub(back));
            if matches(self, at) {
                return at as u64;
            }
        }
        NOWHERE
    }

    #[inline(always)]
    fn take(&mut self, found: u64) -> Option<&OpenCall> {
        if found == NOWHERE {
            return None;
        }
        self.frames[place(found)].set(0);
        self.give_back_places();
        Some(&self.calls[place(found)])
    }

    /// Goes back behind the newest open call, over the places that became free out of turn.
    #[inline(never)]
    fn give_back_places(&mut self) {
        for _ in 0..MAX_OPEN_CALLS {
            let next = self.next.get();
            if next == 0 || self.frames[place(next - 1)].get() != 0 {
                return;
            }
            self.next.set(next - 1);
        }
        self.next.set(0);
    }
}

#[inline(always)]
fn place(turn: u64) -> usize {
    (turn & PLACE) as usize
}

/// Whether an open call at `frame` cannot return any more, with the stack at `limit`.
#[inline(always)]
fn is_abandoned(frame: u64, limit: u64) -> bool {
    frame != 0 && frame < limit && limit - frame <= SAME_STACK
}
