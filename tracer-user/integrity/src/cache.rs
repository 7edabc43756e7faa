//! Verdicts that still hold. A digest stays true only while every writer is seen: a store through a
//! shared mapping changes the bytes and neither time nor size. So an entry lives only while somebody
//! watches for writers, and any writer, broken lease or lost event ends it.

use std::collections::HashMap;

use tracer_probe::process::FileId;

use crate::{
    guarantee::{Assurance, Guarantee, Reason},
    hash::Hashed,
};

/// Verdicts by inode, kept only while the watch on writers is whole.
#[derive(Debug, Default)]
pub struct VerdictCache {
    entries: HashMap<FileId, Hashed>,
    /// Files that are being hashed, and what happened to them since.
    begun: HashMap<FileId, Meanwhile>,
    watching: bool,
}

/// Entries at most; beyond, the whole cache begins anew.
const MAX_ENTRIES: usize = 100_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meanwhile {
    Quiet,
    Written,
    EventsLost,
}

impl VerdictCache {
    /// Says that from now on every writer will be reported.
    pub fn watch_begins(&mut self) {
        self.watching = true;
    }

    /// Says that writers are no longer reported.
    pub fn watch_ends(&mut self) {
        self.watching = false;
        self.events_lost();
    }

    /// A file was opened or mapped for writing, truncated, or otherwise changed.
    pub fn written(&mut self, file: FileId) {
        self.entries.remove(&file);
        if let Some(meanwhile) = self.begun.get_mut(&file) {
            *meanwhile = Meanwhile::Written;
        }
    }

    /// Events about files were lost: any of them may have been written.
    pub fn events_lost(&mut self) {
        self.entries.clear();
        for meanwhile in self.begun.values_mut() {
            if *meanwhile == Meanwhile::Quiet {
                *meanwhile = Meanwhile::EventsLost;
            }
        }
    }

    /// A file will be hashed now.
    pub fn begins(&mut self, file: FileId) {
        self.begun.insert(file, Meanwhile::Quiet);
    }

    /// A file was hashed: returns the result, downgraded if a writer was seen or could have been
    /// missed, and keeps it while it holds.
    pub fn ends(&mut self, mut hashed: Hashed) -> Hashed {
        let file = hashed.file;
        let unstable = |reason| Assurance {
            guarantee: Guarantee::Unstable,
            reason,
        };
        match self.begun.remove(&file) {
            Some(Meanwhile::Written) => hashed.assurance = unstable(Reason::WriterSeen),
            Some(Meanwhile::EventsLost) if self.watching => {
                hashed.assurance = unstable(Reason::EventsLost);
            }
            Some(Meanwhile::Quiet | Meanwhile::EventsLost) | None => {}
        }
        if self.watching && hashed.assurance.guarantee >= Guarantee::Leased {
            if self.entries.len() >= MAX_ENTRIES {
                self.entries.clear();
            }
            self.entries.insert(file, hashed.clone());
        }
        hashed
    }

    /// What is known of a file, if it still holds.
    #[must_use]
    pub fn verdict(&self, file: FileId) -> Option<&Hashed> {
        self.entries.get(&file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: FileId = FileId {
        device: 1,
        inode: 2,
    };

    fn hashed(guarantee: Guarantee) -> Hashed {
        Hashed {
            file: FILE,
            size: 0,
            pieces: Vec::new(),
            assurance: Assurance {
                guarantee,
                reason: Reason::Lease,
            },
            same_on_disk: None,
        }
    }

    fn watching() -> VerdictCache {
        let mut cache = VerdictCache::default();
        cache.watch_begins();
        cache.begins(FILE);
        cache
    }

    #[test]
    fn a_verdict_holds_until_its_file_is_written_or_events_are_lost() {
        let mut cache = watching();
        cache.ends(hashed(Guarantee::Leased));
        assert!(cache.verdict(FILE).is_some());
        cache.written(FileId { inode: 3, ..FILE });
        assert!(cache.verdict(FILE).is_some());
        cache.written(FILE);
        assert!(cache.verdict(FILE).is_none());
        for lose in [VerdictCache::events_lost, VerdictCache::watch_ends] {
            let mut cache = watching();
            cache.ends(hashed(Guarantee::Verity));
            lose(&mut cache);
            assert!(cache.verdict(FILE).is_none());
        }
    }

    #[test]
    fn a_writer_or_a_loss_while_it_is_hashed_makes_it_unstable() {
        let mut cache = watching();
        cache.written(FILE);
        let verdict = cache.ends(hashed(Guarantee::Leased)).assurance;
        assert_eq!(verdict.reason, Reason::WriterSeen);
        assert!(cache.verdict(FILE).is_none());

        let mut cache = watching();
        cache.events_lost();
        let verdict = cache.ends(hashed(Guarantee::Leased)).assurance;
        assert_eq!(verdict.guarantee, Guarantee::Unstable);
        assert!(cache.verdict(FILE).is_none());
    }

    #[test]
    fn without_a_watch_or_a_lease_nothing_is_kept() {
        let mut cache = VerdictCache::default();
        cache.begins(FILE);
        assert_eq!(
            cache.ends(hashed(Guarantee::Leased)).assurance.guarantee,
            Guarantee::Leased
        );
        assert!(cache.verdict(FILE).is_none());
        let mut cache = watching();
        cache.ends(hashed(Guarantee::Unchanged));
        assert!(cache.verdict(FILE).is_none());
    }
}
