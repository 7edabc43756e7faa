//! What a sensor tells.

use std::{ops::Range, path::PathBuf};

use super::tier::Tier;
use crate::{process::FileId, time::BootNanos};

/// One thing that a sensor tells.
#[derive(Clone, Debug)]
pub enum FileEvent {
    /// Somebody did something to a watched file.
    Access(Box<FileAccess>),
    /// Something was not seen, or not told in full.
    Lost(FileLost),
}

impl FileEvent {
    /// When.
    #[must_use]
    pub fn time(&self) -> BootNanos {
        match self {
            Self::Access(access) => access.time,
            Self::Lost(lost) => lost.until,
        }
    }
}

/// What somebody did to a watched file.
#[derive(Clone, Debug)]
pub struct FileAccess {
    /// When; of several, the newest.
    pub time: BootNanos,
    /// The first of them.
    pub since: BootNanos,
    /// Who; none if nobody can tell any more.
    pub actor: Option<Actor>,
    /// The file.
    pub file: FileId,
    /// Where it is, as far as that is known.
    pub path: Option<PathBuf>,
    /// The same place as the process's main thread sees it, among its mounts and below its root; one of
    /// them if there are several. None if the process has ended, sees it nowhere, or that is not known.
    pub inside: Option<PathBuf>,
    /// Of a rename: where it was. Of a new link: its path.
    pub other: Option<PathBuf>,
    /// What.
    pub act: Act,
    /// How often.
    pub count: u64,
    /// Bytes that were read or touched, rounded to pages, where the tier tells.
    pub extent: Option<Range<u64>>,
    /// Of a refusal: why, where that is known.
    pub reason: Option<&'static str>,
    /// What saw it.
    pub seen_by: SeenBy,
}

impl FileAccess {
    /// Something that was done once, by nobody who is known.
    pub(super) fn once(
        time: BootNanos,
        file: FileId,
        path: Option<PathBuf>,
        act: Act,
        seen_by: SeenBy,
    ) -> Self {
        Self {
            time,
            since: time,
            actor: None,
            file,
            path,
            inside: None,
            other: None,
            act,
            count: 1,
            extent: None,
            reason: None,
            seen_by,
        }
    }
}

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Act {
    /// Opened, in tiers that tell how: for reading.
    Opened,
    /// Opened for writing.
    OpenedForWriting,
    /// Opened; for what is not known.
    OpenedSomehow,
    /// Mapped; its bytes cannot be changed through the mapping.
    Mapped,
    /// Mapped shared, from a descriptor that may write.
    MappedForWriting,
    /// Its descriptor came from another process.
    Received,
    /// Read through a descriptor.
    Read,
    /// Its bytes were changed.
    Written,
    /// Pages of a mapping were touched.
    Touched,
    /// Made shorter.
    Truncated,
    /// A descriptor that could write was closed.
    ClosedForWriting,
    /// Owner, mode, times or extended attributes were changed.
    AttributesChanged,
    /// Made in a watched folder.
    Created,
    /// Has one more name.
    Linked,
    /// Has another name.
    Renamed,
    /// Has one name less.
    Unlinked,
    /// Gone: no name, descriptor or mapping is left.
    Deleted,
    /// Was not let in: opening or mapping it was refused by the policy that is enforced.
    Refused,
    /// Was open when the watch began.
    FoundOpen,
    /// Was open for writing when the watch began.
    FoundOpenForWriting,
    /// Was mapped when the watch began.
    FoundMapped,
    /// Was mapped for writing when the watch began.
    FoundMappedForWriting,
}

impl Act {
    /// Whether the file's bytes may be others from then on.
    #[must_use]
    pub const fn may_change_bytes(self) -> bool {
        match self {
            Self::OpenedForWriting
            | Self::MappedForWriting
            | Self::Written
            | Self::Truncated
            | Self::ClosedForWriting
            | Self::FoundOpenForWriting
            | Self::FoundMappedForWriting
            | Self::Created => true,
            Self::Opened
            | Self::OpenedSomehow
            | Self::Mapped
            | Self::Received
            | Self::Read
            | Self::Touched
            | Self::AttributesChanged
            | Self::Linked
            | Self::Renamed
            | Self::Unlinked
            | Self::Deleted
            | Self::Refused
            | Self::FoundOpen
            | Self::FoundMapped => false,
        }
    }
}

/// What saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SeenBy {
    /// Programs of the tier in force.
    Programs(Tier),
    /// fanotify, which runs beside every tier.
    Fanotify,
    /// A look at every process when the watch began.
    Scan,
}

/// Who did it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Actor {
    /// Process in the initial pid namespace.
    pub pid: u32,
    /// The thread, where that is known.
    pub tid: Option<u32>,
    /// When the process started, in ticks since boot.
    pub start_ticks: Option<u64>,
    /// Path of its executable.
    pub exe: Option<PathBuf>,
    /// Its executable.
    pub exe_file: Option<FileId>,
    /// Its real user id in the initial user namespace.
    pub uid: Option<u32>,
    /// Its cgroup (v2).
    pub cgroup: Option<u64>,
    /// Path of that cgroup.
    pub cgroup_path: Option<String>,
    /// Its parent process.
    pub parent: Option<u32>,
}

/// Something that was not seen.
#[derive(Clone, Copy, Debug)]
pub struct FileLost {
    /// What.
    pub what: Lost,
    /// How often.
    pub count: u64,
    /// Not before.
    pub since: BootNanos,
    /// Not after.
    pub until: BootNanos,
}

/// Why something was not seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lost {
    /// The kernel left a program out, because it was running on that CPU in a thread that was
    /// pre-empted.
    Missed,
    /// The table of accesses had no room.
    Accesses,
    /// The queue of notices overflowed.
    Notices,
    /// The ring was full: names are missing, counts are not.
    Names,
    /// A file lay deeper than 64 folders.
    Depth,
    /// More files than can be watched.
    Files,
}
