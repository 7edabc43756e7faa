//! Folders that lie below no watched one, so that the way up from them is gone once.
//!
//! An answer holds until any name anywhere is moved, or another folder is watched. Moves are counted where
//! the kernel makes them: a folder gets above a file by `__d_move` of fs/dcache.c and in no other way, and
//! `rename_lock` lets one be made at a time. A number that belongs to another folder by now is told by its
//! generation and, where a file system gives none, by the folder that it lies in and the name that it has
//! there.

use core::cell::UnsafeCell;

use aya_ebpf::{
    macros::{fentry, fexit, kprobe, kretprobe},
    programs::{FEntryContext, FExitContext, ProbeContext, RetProbeContext},
};
use tracer_abi::file::{FoldersState, MAX_CLEARED, mixed};

use crate::{
    atomic,
    kernel::{
        O_DENTRY_INODE, O_DENTRY_NAME, O_DENTRY_SUPER_BLOCK, O_INODE_GENERATION, O_INODE_NUMBER,
        O_QSTR_HASH, Object,
    },
};

/// Words that the programs share among themselves and with nobody else. No map of their own: the address
/// of such a word is part of the instruction that loads it.
#[repr(transparent)]
struct Shared<const N: usize>(UnsafeCell<[u64; N]>);

// SAFETY: words are loaded and stored whole.
unsafe impl<const N: usize> Sync for Shared<N> {}

impl<const N: usize> Shared<N> {
    const fn new() -> Self {
        Self(UnsafeCell::new([0; N]))
    }

    /// A word; the place is counted from the start again behind the end.
    #[inline(always)]
    fn at(&self, place: usize) -> *mut u64 {
        self.0.get().cast::<u64>().wrapping_add(place % N)
    }

    #[inline(always)]
    fn load(&self, place: usize) -> u64 {
        // SAFETY: the word lies in the array and is aligned.
        unsafe { self.at(place).read_volatile() }
    }
}

/// How many moves have begun, and how many of them have ended.
static BEGUN: Shared<1> = Shared::new();
static ENDED: Shared<1> = Shared::new();
/// Tags of folders, each where its own bits say; one word, so that no CPU ever reads half of one.
static CLEARED: Shared<{ MAX_CLEARED as usize }> = Shared::new();

#[fentry(function = "__d_move")]
pub(crate) fn fentry_move_begins(_: FEntryContext) -> i32 {
    move_begins()
}

#[fexit(function = "__d_move")]
pub(crate) fn fexit_move_ends(_: FExitContext) -> i32 {
    move_ends()
}

#[kprobe]
pub(crate) fn kprobe_move_begins(_: ProbeContext) -> i32 {
    move_begins()
}

#[kretprobe]
pub(crate) fn kprobe_move_ends(_: RetProbeContext) -> i32 {
    move_ends()
}

/// By an instruction that nothing is reordered with, here and below.
#[inline(always)]
fn move_begins() -> i32 {
    // SAFETY: the word lives as long as the program.
    atomic::fetch_add(unsafe { &mut *BEGUN.at(0) }, 1);
    0
}

/// Takes over what has begun instead of counting: a move that had begun before anybody counted is made up
/// for by the next.
#[inline(always)]
fn move_ends() -> i32 {
    // SAFETY: as above.
    atomic::exchange(unsafe { &mut *ENDED.at(0) }, BEGUN.load(0));
    0
}

/// A folder at a moment, and where it would be remembered.
#[derive(Clone, Copy)]
pub(crate) struct Cleared {
    slot: usize,
    tag: u64,
    begun: u64,
    is_certain: bool,
}

impl Cleared {
    /// The folder behind `dentry`, in which a file of `system`, on `device`, is opened, while the watched
    /// folders are in `state`. Without a branch: the verifier would go the whole way up for each.
    #[inline(always)]
    pub(crate) fn of<O: Object>(dentry: O, system: O, device: u32, state: FoldersState) -> Self {
        let begun = BEGUN.load(0);
        let is_still = ENDED.load(0) == begun;
        let folder = dentry.follow(&O_DENTRY_INODE);
        let generation: u32 = folder.read(&O_INODE_GENERATION);
        // Salted with the address of the dentry above (`full_name_hash` of fs/namei.c).
        let name: u32 = dentry.field(&O_DENTRY_NAME).read(&O_QSTR_HASH);
        // None, but for an overlay's name of a file that lies on another file system.
        let distance = dentry.follow(&O_DENTRY_SUPER_BLOCK).distance(system);
        let mut hash = mixed(0, folder.read(&O_INODE_NUMBER));
        hash = mixed(hash, u64::from(generation) << 32 | u64::from(name));
        let slot = hash as usize;
        hash = mixed(hash, distance.rotate_left(32) ^ u64::from(device));
        Self {
            slot,
            tag: mixed(hash, u64::from(state.version) << 32 | begun & 0xffff_ffff),
            begun,
            is_certain: is_still & (state.moves_are_counted != 0),
        }
    }

    /// Whether it is known to lie below no watched folder.
    #[inline(always)]
    pub(crate) fn is_known(self) -> bool {
        CLEARED.load(self.slot) == self.tag && self.is_certain
    }

    /// Whether what is found out from here on may be remembered: what was moved before is seen, and what
    /// is moved now changes the tag.
    #[inline(always)]
    pub(crate) fn is_certain(self) -> bool {
        // SAFETY: the word lives as long as the program.
        self.is_certain && atomic::fetch_add(unsafe { &mut *BEGUN.at(0) }, 0) == self.begun
    }

    /// Remembers that it does.
    #[inline(always)]
    pub(crate) fn remember(self) {
        // SAFETY: the word lies in the array and is aligned.
        unsafe { CLEARED.at(self.slot).write_volatile(self.tag) };
    }
}
