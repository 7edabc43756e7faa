//! The four ways to see what happens to files, and what each cannot see.

use std::fmt;

/// A way to see what happens to files; the first one is the best.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tier {
    /// BPF LSM: the kernel asks the programs.
    Lsm,
    /// fentry on the functions that ask the security modules.
    Fentry,
    /// kprobes on the same functions.
    Kprobe,
    /// Tracepoints of the page cache, where the kernel has them, and fanotify for the rest.
    Tracepoint,
}

impl Tier {
    /// All of them, the best one first.
    pub const ALL: [Self; 4] = [Self::Lsm, Self::Fentry, Self::Kprobe, Self::Tracepoint];

    /// Its name in events and on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lsm => "lsm",
            Self::Fentry => "fentry",
            Self::Kprobe => "kprobe",
            Self::Tracepoint => "tracepoint",
        }
    }

    /// Whether it sees opens, uses and mappings where the kernel decides about them.
    #[must_use]
    pub const fn has_hooks(self) -> bool {
        !matches!(self, Self::Tracepoint)
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a sensor that runs is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Coverage {
    /// The tier in force.
    pub tier: Tier,
    /// In the last tier: whether the page cache's tracepoints are there (6.12).
    pub page_cache: bool,
    /// In the last tier: whether direct I/O has its tracepoint.
    pub direct: bool,
    /// Whether fanotify runs beside it.
    pub fanotify: bool,
}

/// Something that cannot be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BlindSpot {
    /// Reads and stores through a mapping, one by one.
    ThroughMappings,
    /// Stores into pages of a shared mapping that are dirty already.
    DirtyPages,
    /// That a file is mapped, before a page of it is touched.
    UntouchedMappings,
    /// That a file is mapped, and what is read through the mapping.
    Mappings,
    /// Whether an open is for writing, until it is closed.
    OpenMode,
    /// How often: equal opens of a process are told once.
    OpenCounts,
    /// That a descriptor changes hands.
    PassedDescriptors,
    /// Some reads on file systems outside the page cache (tmpfs, hugetlbfs, DAX), and which bytes.
    ForeignReads,
    /// What happens while another access is noted on the same CPU, in a thread that was pre-empted.
    Preempted,
    /// Direct I/O.
    DirectIo,
    /// Names: create, rename, link, delete; attributes; truncation by path.
    Names,
    /// The same, on file systems that fanotify cannot mark; in the last tier opens too.
    UnmarkedSystems,
    /// What is done to a file that has no name yet.
    NamelessFiles,
    /// Who closed a file for writing, where a mapping goes with its process while somebody reads what
    /// `/proc` says of it: the mapping is then that reader's to take apart.
    LastClosers,
    /// Which of two files it was, before it is known that the first one is gone whose number the second has.
    ReusedNumbers,
    /// Descriptors that io_uring keeps without a number, opened before.
    RingDescriptors,
    /// Reads and writes below an overlay, by the layer's own inode.
    OverlayLayers,
    /// Files that are mounted below a watched folder later.
    LaterMounts,
    /// What happens in a new folder before it is marked.
    NewFolders,
    /// Writes to the disk below the file system, and to pages in memory by the kernel itself.
    BelowTheFileSystem,
    /// Changes to the weights in the process's own memory.
    PrivateMemory,
}

impl BlindSpot {
    /// What it is, for people.
    #[must_use]
    pub const fn describe(self) -> &'static str {
        match self {
            Self::ThroughMappings => {
                "each read and store through a mapping; that it is mapped is told, or found at the \
                 start"
            }
            Self::DirtyPages => {
                "stores into pages of a shared mapping that are dirty already; the mapping is told"
            }
            Self::UntouchedMappings => "that a file is mapped, before a page of it is touched",
            Self::Mappings => "that a file is mapped, and what is read through the mapping",
            Self::OpenMode => "whether a file is opened for writing, until it is closed",
            Self::OpenCounts => "how often: equal opens and reads of a process are told once",
            Self::PassedDescriptors => "that a descriptor changes hands; its use is told",
            Self::ForeignReads => {
                "on file systems outside the page cache (tmpfs, hugetlbfs, DAX): which bytes are \
                 read, touched mappings, and reads that fanotify does not tell (AIO, splices)"
            }
            Self::Preempted => {
                "where the kernel pre-empts programs: an access while another one is being noted on \
                 the same CPU; how many is told"
            }
            Self::DirectIo => "which bytes direct I/O reads and writes",
            Self::Names => {
                "names and attributes: create, rename, link, delete, chmod, truncation by path"
            }
            Self::UnmarkedSystems => {
                "names and attributes on file systems that fanotify cannot mark, such as hugetlbfs; where \
                 no program sees opens, those neither, and the file is told as a loss"
            }
            Self::NamelessFiles => "what is done to a file without a name, before it gets one",
            Self::LastClosers => {
                "whose close it was, where a process ends with a mapping for writing while another reads \
                 its /proc files: it is told of that one, or of nobody if that is tracer"
            }
            Self::ReusedNumbers => {
                "which file it was, until the tracer has heard that the one is deleted whose inode number \
                 another has got: accesses to a file outside of the watched folders, and where no program \
                 sees opens to one inside, are told of the deleted one"
            }
            Self::RingDescriptors => {
                "descriptors that io_uring keeps without a number and were opened before; their use \
                 is told"
            }
            Self::OverlayLayers => {
                "accesses to an overlay's layers under their own inode, unless the layer's folder is \
                 watched"
            }
            Self::LaterMounts => "file systems that are mounted below a watched folder later",
            Self::NewFolders => "what happens in a new folder before it is marked",
            Self::BelowTheFileSystem => {
                "writes to the disk below its file system, and to pages of the cache past it"
            }
            Self::PrivateMemory => "changes to weights in the serving process's own memory",
        }
    }

    /// Its name in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ThroughMappings => "through_mappings",
            Self::DirtyPages => "dirty_pages",
            Self::UntouchedMappings => "untouched_mappings",
            Self::Mappings => "mappings",
            Self::OpenMode => "open_mode",
            Self::OpenCounts => "open_counts",
            Self::PassedDescriptors => "passed_descriptors",
            Self::ForeignReads => "foreign_reads",
            Self::Preempted => "preempted",
            Self::DirectIo => "direct_io",
            Self::Names => "names",
            Self::UnmarkedSystems => "unmarked_systems",
            Self::NamelessFiles => "nameless_files",
            Self::LastClosers => "last_closers",
            Self::ReusedNumbers => "reused_numbers",
            Self::RingDescriptors => "ring_descriptors",
            Self::OverlayLayers => "overlay_layers",
            Self::LaterMounts => "later_mounts",
            Self::NewFolders => "new_folders",
            Self::BelowTheFileSystem => "below_the_file_system",
            Self::PrivateMemory => "private_memory",
        }
    }
}

impl Coverage {
    /// What cannot be seen.
    #[must_use]
    pub fn blind_spots(&self) -> Vec<BlindSpot> {
        let hooks = self.tier.has_hooks();
        let mut spots = Vec::new();
        let mut add = |applies: bool, spot| {
            if applies {
                spots.push(spot);
            }
        };
        add(hooks, BlindSpot::ThroughMappings);
        add(!hooks && !self.page_cache, BlindSpot::Mappings);
        add(!hooks && self.page_cache, BlindSpot::UntouchedMappings);
        add(!hooks, BlindSpot::DirtyPages);
        add(!hooks, BlindSpot::OpenMode);
        add(!hooks, BlindSpot::OpenCounts);
        add(!hooks, BlindSpot::PassedDescriptors);
        add(!hooks, BlindSpot::ForeignReads);
        // A kprobe's program cannot be pre-empted, and LSM's may run twice on a CPU.
        add(
            matches!(self.tier, Tier::Fentry | Tier::Tracepoint),
            BlindSpot::Preempted,
        );
        add(!hooks && !self.direct, BlindSpot::DirectIo);
        add(!hooks, BlindSpot::NewFolders);
        add(!self.fanotify, BlindSpot::Names);
        add(true, BlindSpot::UnmarkedSystems);
        add(!hooks, BlindSpot::NamelessFiles);
        add(true, BlindSpot::LastClosers);
        add(true, BlindSpot::ReusedNumbers);
        add(true, BlindSpot::RingDescriptors);
        add(true, BlindSpot::OverlayLayers);
        add(true, BlindSpot::LaterMounts);
        add(true, BlindSpot::BelowTheFileSystem);
        add(true, BlindSpot::PrivateMemory);
        spots
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tier_with_hooks_sees_how_a_file_is_opened() {
        let coverage = |tier| Coverage {
            tier,
            page_cache: true,
            direct: true,
            fanotify: true,
        };
        for tier in Tier::ALL {
            let spots = coverage(tier).blind_spots();
            assert_eq!(
                spots.contains(&BlindSpot::OpenMode),
                tier == Tier::Tracepoint,
                "{tier}"
            );
            assert!(!spots.contains(&BlindSpot::Names));
        }
        let without = Coverage {
            fanotify: false,
            ..coverage(Tier::Lsm)
        };
        assert!(without.blind_spots().contains(&BlindSpot::Names));
    }
}
