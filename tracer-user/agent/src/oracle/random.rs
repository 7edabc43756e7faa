//! Numbers that a seed leads to (SplitMix64, <https://prng.di.unimi.it/splitmix64.c>).

use std::{cell::Cell, rc::Rc};

/// Shared by all parts of a world.
#[derive(Clone)]
pub(super) struct Random(Rc<Cell<u64>>);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(Rc::new(Cell::new(seed)))
    }

    pub(super) fn number(&self) -> u64 {
        let state = self.0.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.0.set(state);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`; 0 if there is none.
    pub(super) fn below(&self, limit: usize) -> usize {
        let limit = u64::try_from(limit.max(1)).unwrap();
        usize::try_from(self.number() % limit).unwrap()
    }

    /// True in so many of a thousand cases.
    pub(super) fn chance(&self, of_1000: u64) -> bool {
        self.number() % 1000 < of_1000
    }
}
