use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// What was found and what could not be searched, counted; never a value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// What was replaced, by kind.
    pub replaced: BTreeMap<String, u64>,
    /// Values that were withheld because the search failed or met a limit.
    pub failed: u64,
}

/// A tally that is counted through a shared reference.
#[derive(Debug, Default)]
pub(crate) struct SharedTally(Mutex<Tally>);

impl SharedTally {
    pub(crate) fn replaced(&self, kind: &str) {
        let mut tally = self.lock();
        match tally.replaced.get_mut(kind) {
            Some(count) => *count += 1,
            None => drop(tally.replaced.insert(kind.to_owned(), 1)),
        }
    }

    pub(crate) fn failed(&self) {
        self.lock().failed += 1;
    }

    pub(crate) fn snapshot(&self) -> Tally {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Tally> {
        // Counting cannot leave it half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
