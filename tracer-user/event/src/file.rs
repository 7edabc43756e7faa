//! Family `file`: who did what to a watched file, by whatever way.

use serde::{Deserialize, Serialize};
use tracer_redact::Field;

use crate::{
    identity::{Inode, Label, Pid},
    known::Known,
    time::BootNanos,
};

/// Somebody did something to a watched file. Where the same process does the same several times
/// within a moment, it is one event with a count.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
pub struct FileAccess<C> {
    /// What was done.
    pub act: FileAct,
    /// How often since `since`.
    pub count: u64,
    /// When the first of them was, or the last one that was told before.
    pub since: BootNanos,
    /// The file, whatever name it was reached by.
    pub inode: Inode,
    /// Its path on the host, as far as that is known.
    pub path: Known<C>,
    /// The same place as the process sees it that did it: among its own mounts, below its own root. One of
    /// them if there are several; left out if the process had ended, sees it nowhere, or that is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path_inside: Option<C>,
    /// Of a rename: the path before. Of a new link: its path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub other_path: Option<C>,
    /// The first byte that was read or touched so far, rounded down to a page.
    pub first_byte: Known<u64>,
    /// The byte behind the last one, rounded up to a page.
    pub end_byte: Known<u64>,
    /// Path of the executable of the process that did it.
    pub executable: Known<C>,
    /// That executable.
    pub executable_inode: Known<Inode>,
    /// The process's real user in the initial user namespace.
    pub uid: Known<u32>,
    /// The process's parent.
    pub parent: Known<Pid>,
    /// Of a refusal: why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Label>,
    /// What saw it: `lsm`, `fentry`, `kprobe`, `tracepoint`, `fanotify`, or `scan` for what was found
    /// when the watch began.
    pub seen_by: Label,
}

impl<C> FileAccess<C> {
    pub(crate) fn map<D>(self, change: &mut impl FnMut(Field<'_>, C) -> D) -> FileAccess<D> {
        let Self {
            act,
            count,
            since,
            inode,
            path,
            path_inside,
            other_path,
            first_byte,
            end_byte,
            executable,
            executable_inode,
            uid,
            parent,
            reason,
            seen_by,
        } = self;
        FileAccess {
            act,
            count,
            since,
            inode,
            path: path.map(|content| change(Field::Path, content)),
            path_inside: path_inside.map(|content| change(Field::Path, content)),
            other_path: other_path.map(|content| change(Field::Path, content)),
            first_byte,
            end_byte,
            executable: executable.map(|content| change(Field::Executable, content)),
            executable_inode,
            uid,
            parent,
            reason,
            seen_by,
        }
    }
}

/// What can be done to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum FileAct {
    /// Opened for reading.
    Opened,
    /// Opened for writing.
    OpenedForWriting,
    /// Opened, in a tier that cannot tell for what.
    OpenedSomehow,
    /// Mapped; the file cannot be changed through it.
    Mapped,
    /// Mapped shared from a descriptor that may write.
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
    /// Made.
    Created,
    /// Has one more name.
    Linked,
    /// Has another name.
    Renamed,
    /// Has one name less.
    Unlinked,
    /// No name, descriptor or mapping is left.
    Deleted,
    /// Was not let in: the policy that is enforced refused to open, map or cut it.
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

/// What is watched from now on, and what cannot be seen of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
pub struct FilesWatched<C> {
    /// The tier in force: `lsm`, `fentry`, `kprobe` or `tracepoint`.
    pub tier: Label,
    /// Better tiers that do not work here, each with the reason.
    pub passed_over: Vec<PassedOver<C>>,
    /// What was asked for.
    pub roots: Vec<C>,
    /// Where a policy is enforced: `deny` or `wait`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate: Option<Label>,
    /// Files.
    pub files: u64,
    /// Folders.
    pub folders: u64,
    /// What cannot be seen here.
    pub blind_spots: Vec<Label>,
}

/// A tier that does not work here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
pub struct PassedOver<C> {
    /// Which one.
    pub tier: Label,
    /// Why.
    pub reason: C,
}

impl<C> FilesWatched<C> {
    pub(crate) fn map<D>(self, change: &mut impl FnMut(Field<'_>, C) -> D) -> FilesWatched<D> {
        let Self {
            tier,
            passed_over,
            roots,
            gate,
            files,
            folders,
            blind_spots,
        } = self;
        let mut changed = Vec::new();
        for PassedOver { tier, reason } in passed_over {
            changed.push(PassedOver {
                tier,
                reason: change(Field::Diagnostic, reason),
            });
        }
        FilesWatched {
            tier,
            passed_over: changed,
            roots: roots
                .into_iter()
                .map(|root| change(Field::Path, root))
                .collect(),
            gate,
            files,
            folders,
            blind_spots,
        }
    }
}
