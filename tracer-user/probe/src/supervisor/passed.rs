//! Files that were looked at a moment ago and are nothing to us: most processes of a host map nothing
//! else, and each of them would cost a dozen system calls.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use crate::process::FileId;

/// Files that are remembered; then all are forgotten.
const MOST: usize = 1 << 14;

/// Such files, by what the kernel calls them. Only those of which
/// [`MappedFile::has_its_own_number`](crate::process::MappedFile::has_its_own_number) is true.
#[derive(Default)]
pub(super) struct Passed(HashMap<FileId, Look>);

struct Look {
    when: Instant,
    /// The inode's generation, if the kernel told of a mapping that was looked at then.
    generation: Option<u64>,
}

impl Passed {
    /// Remembers a file that is nothing to us.
    pub(super) fn add(&mut self, file: FileId) {
        if self.0.len() >= MOST {
            self.0.clear();
        }
        let look = Look {
            when: Instant::now(),
            generation: None,
        };
        self.0.insert(file, look);
    }

    /// Notes the generation of the inode that was looked at after `begin`. Where two inodes had the number
    /// since, it is not known which was looked at, and both are looked at again.
    pub(super) fn was_of(&mut self, file: FileId, generation: u64, begin: Instant) {
        let Some(look) = self.0.get_mut(&file).filter(|look| look.when >= begin) else {
            return;
        };
        if look.generation.is_some_and(|known| known != generation) {
            self.0.remove(&file);
        } else {
            look.generation = Some(generation);
        }
    }

    /// Whether a file was looked at after `begin`.
    pub(super) fn since(&self, file: FileId, begin: Instant) -> bool {
        self.0.get(&file).is_some_and(|look| look.when >= begin)
    }

    /// Whether this inode, and not another with its number, was looked at within `time`.
    pub(super) fn within(&self, time: Duration, file: FileId, generation: u64) -> bool {
        self.0
            .get(&file)
            .is_some_and(|look| look.generation == Some(generation) && look.when.elapsed() < time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: FileId = FileId {
        device: 8 << 20,
        inode: 7,
    };
    const LONG: Duration = Duration::from_secs(3600);

    #[test]
    fn another_inode_with_the_number_is_looked_at() {
        let begin = Instant::now();
        let mut passed = Passed::default();
        passed.add(FILE);
        assert!(passed.since(FILE, begin));
        assert!(!passed.within(LONG, FILE, 1), "its generation is not known");
        passed.was_of(FILE, 1, begin);
        assert!(passed.within(LONG, FILE, 1));
        assert!(!passed.within(LONG, FILE, 2));
        assert!(!passed.within(Duration::ZERO, FILE, 1));
    }

    #[test]
    fn of_two_inodes_with_one_number_neither_is_passed_over() {
        let begin = Instant::now();
        let mut passed = Passed::default();
        passed.add(FILE);
        passed.was_of(FILE, 1, begin);
        passed.was_of(FILE, 2, begin);
        assert!(!passed.within(LONG, FILE, 1) && !passed.within(LONG, FILE, 2));
    }

    #[test]
    fn a_generation_belongs_to_the_look_that_followed_it() {
        let mut passed = Passed::default();
        passed.add(FILE);
        let later = Instant::now() + LONG;
        passed.was_of(FILE, 1, later);
        assert!(!passed.within(LONG, FILE, 1));
        assert!(!passed.since(FILE, later));
    }
}
