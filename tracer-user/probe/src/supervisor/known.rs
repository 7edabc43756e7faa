//! Which files were looked at before, and what they turned out to be.

use std::collections::{HashMap, HashSet};

use crate::{
    observation::LibraryId,
    process::{FileId, InodeKey, MappedFile, ProcessId},
    time::BootNanos,
};

/// Files that are no runtime's are remembered up to this many; then all are forgotten.
const MOST_PASSED_OVER: usize = 1 << 16;

/// What is known about files and processes.
#[derive(Default)]
pub(super) struct Known {
    /// Libraries by inode. They are held open, so their inode numbers stay theirs.
    libraries: HashMap<InodeKey, (LibraryId, bool)>,
    /// Libraries by what `maps` and the kernel's events call their files.
    mapped_as: HashMap<FileId, LibraryId>,
    /// Files that are nothing to us, with what tells whether the number still means that file.
    passed_over: HashSet<InodeKey>,
    /// Runtimes that were told of, and since when the process is known to map the library.
    runtimes: HashMap<ProcessId, HashMap<LibraryId, BootNanos>>,
}

/// What a file turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Library(LibraryId),
    Nothing,
    Unknown,
}

impl Known {
    /// The library that the kernel calls so.
    pub(super) fn mapped_as(&self, file: FileId) -> Option<LibraryId> {
        self.mapped_as.get(&file).copied()
    }

    /// What an open file is.
    pub(super) fn verdict(&self, file: &MappedFile) -> Verdict {
        let [inode, stamp] = file.keys();
        if let Some(&(id, _)) = self.libraries.get(&inode) {
            return Verdict::Library(id);
        }
        // The same inode through another overlay mount; without any overlay, two files with equal
        // numbers on two file systems are two files.
        if let Some(&(id, on_overlay)) = self.libraries.get(&stamp)
            && (on_overlay || file.is_on_overlay())
        {
            return Verdict::Library(id);
        }
        if self.passed_over.contains(&stamp) {
            Verdict::Nothing
        } else {
            Verdict::Unknown
        }
    }

    /// Remembers a library.
    pub(super) fn add_library(&mut self, file: &MappedFile, id: LibraryId) {
        for key in file.keys() {
            self.libraries.insert(key, (id, file.is_on_overlay()));
        }
    }

    /// Remembers what the kernel calls a library's file.
    pub(super) fn add_name(&mut self, file: FileId, id: LibraryId) {
        self.mapped_as.insert(file, id);
    }

    /// Remembers that a file is nothing to us, as long as its size and times stay.
    pub(super) fn pass_over(&mut self, file: &MappedFile) {
        if self.passed_over.len() >= MOST_PASSED_OVER {
            self.passed_over.clear();
        }
        let [_, stamp] = file.keys();
        self.passed_over.insert(stamp);
    }

    /// Whether this process and library were not told of before. The process mapped the library at
    /// `looked`.
    pub(super) fn is_new(
        &mut self,
        process: ProcessId,
        library: LibraryId,
        looked: BootNanos,
    ) -> bool {
        let libraries = self.runtimes.entry(process).or_default();
        libraries.insert(library, looked).is_none()
    }

    /// Forgets what processes with this pid mapped before `time`; what that was.
    ///
    /// Mappings are announced on another way than lifecycle, and may be noticed before the `exec`
    /// that preceded them.
    pub(super) fn forget(&mut self, pid: u32, time: BootNanos) -> Vec<(ProcessId, LibraryId)> {
        let mut gone = Vec::new();
        self.runtimes.retain(|&process, libraries| {
            if process.pid == pid {
                libraries.retain(|&library, looked| {
                    let stays = *looked >= time;
                    if !stays {
                        gone.push((process, library));
                    }
                    stays
                });
            }
            !libraries.is_empty()
        });
        gone
    }

    /// Forgets a library that nobody maps.
    pub(super) fn remove_library(&mut self, gone: LibraryId) {
        self.libraries.retain(|_, (id, _)| *id != gone);
        self.mapped_as.retain(|_, id| *id != gone);
    }

    /// How many libraries of processes with this pid were told of.
    pub(super) fn libraries_of(&self, pid: u32) -> usize {
        self.runtimes
            .iter()
            .filter(|(process, _)| process.pid == pid)
            .map(|(_, libraries)| libraries.len())
            .sum()
    }

    /// Every process and library that was told of.
    pub(super) fn runtimes(&self) -> impl Iterator<Item = (ProcessId, LibraryId)> {
        self.runtimes.iter().flat_map(|(&process, libraries)| {
            libraries.keys().map(move |&library| (process, library))
        })
    }
}
