//! Letting go of libraries that nobody maps any more. Each that is held costs entries of the site table,
//! and a deleted one its room on the disk; one that comes back within a moment, as when a service is
//! restarted, should find its probes in place.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use super::Supervisor;
use crate::observation::LibraryId;

/// How long a deleted library is kept after its last process.
const KEEP_DELETED: Duration = Duration::from_secs(60);
/// Libraries without a process that are kept, but for those that profiles expect where they lie.
const MOST_IDLE: usize = 16;

/// A library that no process is known to map.
#[derive(Clone, Copy)]
struct Idle {
    id: LibraryId,
    since: Instant,
    is_deleted: bool,
    /// A profile expects it where it lies: it is kept as long as it lies there.
    is_early: bool,
}

impl Supervisor {
    /// Lets go of deleted libraries, and of the longest idle ones if there are many.
    pub(super) fn release_idle(&mut self) {
        let now = Instant::now();
        let mapped: HashSet<LibraryId> =
            self.known.runtimes().map(|(_, library)| library).collect();
        let mut idle = Vec::new();
        for (&id, library) in &mut self.libraries {
            if mapped.contains(&id) {
                library.idle_since = None;
                continue;
            }
            idle.push(Idle {
                id,
                since: *library.idle_since.get_or_insert(now),
                is_deleted: library.is_deleted(),
                is_early: self.early.contains(&id),
            });
        }
        for id in not_kept(idle, now) {
            self.release(id);
        }
    }

    fn release(&mut self, id: LibraryId) {
        if let Some(library) = self.libraries.remove(&id) {
            self.early.remove(&id);
            self.known.remove_library(id);
            let closing = library.close(&self.kernel.tables, &self.sites);
            self.closing.push(closing);
        }
    }
}

/// Those of the idle libraries that are let go of.
fn not_kept(mut idle: Vec<Idle>, now: Instant) -> Vec<LibraryId> {
    idle.sort_unstable_by_key(|one| one.since);
    let (deleted, there): (Vec<Idle>, Vec<Idle>) = idle.into_iter().partition(|one| one.is_deleted);
    let deleted = deleted
        .into_iter()
        .filter(|one| now.duration_since(one.since) >= KEEP_DELETED);
    let there: Vec<Idle> = there.into_iter().filter(|one| !one.is_early).collect();
    let too_many = there.len().saturating_sub(MOST_IDLE);
    deleted
        .chain(there.into_iter().take(too_many))
        .map(|one| one.id)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deleted_go_after_a_while_and_the_longest_idle_when_there_are_many() {
        let begin = Instant::now();
        let idle = |id: u32, seconds: u64| Idle {
            id: LibraryId(id),
            since: begin + Duration::from_secs(seconds),
            is_deleted: false,
            is_early: false,
        };
        let now = begin + Duration::from_secs(100);
        let mut all: Vec<Idle> = (0..16).map(|id| idle(id, 100 - u64::from(id))).collect();
        assert_eq!(not_kept(all.clone(), now), []);
        all.push(Idle {
            is_early: true,
            ..idle(16, 0)
        });
        all.push(Idle {
            is_deleted: true,
            ..idle(17, 41)
        });
        assert_eq!(not_kept(all.clone(), now), []);
        all.push(idle(18, 99));
        all.push(Idle {
            is_deleted: true,
            is_early: true,
            ..idle(19, 40)
        });
        assert_eq!(not_kept(all, now), [LibraryId(19), LibraryId(15)]);
    }
}
