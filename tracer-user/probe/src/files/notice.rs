//! What fanotify tells, beside the programs: names and attributes everywhere, and in the last tier
//! also opens, and reads and writes that no tracepoint saw.

use std::{io, path::PathBuf};

use tracer_abi::file::FileAct;

use super::{
    Act, FileAccess, FileEvent, FileLost, FileSensor, Lost, SeenBy, tier::Tier, watch::Means,
};
use crate::{process::FileId, sys::fanotify::Notice, time::BootNanos};

/// Buffers of notices that are taken before everything else has its turn again.
const MOST_READS: usize = 64;

/// What folders and files are marked with.
pub(super) fn masks(tier: Tier) -> (u64, u64) {
    let of_files =
        libc::FAN_MODIFY | libc::FAN_ATTRIB | libc::FAN_CLOSE_WRITE | libc::FAN_DELETE_SELF;
    let uses = match tier {
        Tier::Lsm | Tier::Fentry | Tier::Kprobe => 0,
        Tier::Tracepoint => libc::FAN_OPEN | libc::FAN_ACCESS,
    };
    let of_folders = libc::FAN_CREATE
        | libc::FAN_DELETE
        | libc::FAN_RENAME
        | libc::FAN_MOVED_TO
        | libc::FAN_ONDIR
        | libc::FAN_EVENT_ON_CHILD;
    // A new file is told through its folder until it has a mark of its own.
    (of_folders | of_files | uses, of_files | uses)
}

/// What happened to names is told before what happened to the file.
const ORDER: [u64; 9] = [
    libc::FAN_CREATE,
    libc::FAN_RENAME,
    libc::FAN_MOVED_TO,
    libc::FAN_DELETE,
    libc::FAN_OPEN,
    libc::FAN_ACCESS,
    libc::FAN_MODIFY,
    libc::FAN_ATTRIB,
    libc::FAN_CLOSE_WRITE,
];

impl FileSensor {
    pub(super) fn take_notices(&mut self) -> io::Result<()> {
        // The kernel adds the end of an inode to an earlier notice of the same process about it, such
        // as of its unlinking: what was done in between stands behind that in the queue.
        let mut ended = Vec::new();
        for _ in 0..MOST_READS {
            let Some(fanotify) = &mut self.fanotify else {
                break;
            };
            let notices = fanotify.read()?;
            if notices.is_empty() {
                break;
            }
            for notice in notices {
                self.notice(&notice);
                if notice.mask & libc::FAN_DELETE_SELF != 0
                    && let Some(file) = self.object(&notice)
                {
                    let path = self.watch.file(file).map(|file| file.path.clone());
                    ended.push((notice, file, path, BootNanos::now()));
                }
            }
        }
        for (notice, file, path, time) in ended {
            let Some(handle) = &notice.object else {
                continue;
            };
            if let Some(path) = path {
                // Before what has its number by now.
                let reused = !self.watch.is_current(file, handle);
                let time = if reused { time } else { BootNanos::now() };
                self.tell_at(&notice, file, path, Act::Deleted, time);
            }
            self.watch.gone(&self.loaded.tables, file, handle);
        }
        Ok(())
    }

    fn notice(&mut self, notice: &Notice) {
        let now = BootNanos::now();
        if notice.mask & libc::FAN_Q_OVERFLOW != 0 {
            self.ready.push(FileEvent::Lost(FileLost {
                what: Lost::Notices,
                count: 1,
                since: now,
                until: now,
            }));
            return;
        }
        let on_folder = notice.mask & libc::FAN_ONDIR != 0;
        let own = notice.pid == std::process::id();
        for bit in ORDER {
            if notice.mask & bit == 0 {
                continue;
            }
            match bit {
                libc::FAN_CREATE | libc::FAN_MOVED_TO => self.came(notice, bit, now),
                libc::FAN_RENAME => self.renamed(notice, now),
                libc::FAN_DELETE => self.unlinked(notice, now),
                // Listing a folder is no access to a file.
                _ if on_folder => {}
                // This process writes to no watched file. It was asking `/proc` about one that ended
                // meanwhile, and took that one's memory apart, and the mapping with it.
                libc::FAN_CLOSE_WRITE if own => {
                    let by_somebody = Notice {
                        pid: 0,
                        ..notice.clone()
                    };
                    self.used(&by_somebody, Act::ClosedForWriting, None, now);
                }
                _ if own => {}
                libc::FAN_OPEN => self.used(notice, Act::OpenedSomehow, None, now),
                libc::FAN_ACCESS => self.used(notice, Act::Read, Some(FileAct::Read), now),
                libc::FAN_MODIFY => self.modified(notice, now),
                libc::FAN_ATTRIB => self.attributes(notice, now),
                _ => self.used(notice, Act::ClosedForWriting, None, now),
            }
        }
    }

    /// The watched file or folder that a notice is about.
    fn object(&self, notice: &Notice) -> Option<FileId> {
        self.watch.by_handle(notice.object.as_ref()?)
    }

    /// The watched file that a notice is about, if it is still there.
    fn watched_object(&self, notice: &Notice) -> Option<FileId> {
        let file = self.object(notice)?;
        let is_there =
            self.watch.file(file).is_some() && self.watch.is_current(file, notice.object.as_ref()?);
        is_there.then_some(file)
    }

    fn tell_of(&mut self, notice: &Notice, file: FileId, act: Act, time: BootNanos) {
        let path = self.path_of(file);
        self.tell_at(notice, file, path, act, time);
    }

    fn tell_at(
        &mut self,
        notice: &Notice,
        file: FileId,
        path: Option<PathBuf>,
        act: Act,
        time: BootNanos,
    ) {
        let access = FileAccess::once(time, file, path, act, SeenBy::Fanotify);
        self.tell_by(notice, access);
    }

    fn tell_by(&mut self, notice: &Notice, access: FileAccess) {
        let actor = self.who.named(notice.pid, &self.loaded.tables.exited);
        self.tell(FileAccess { actor, ..access });
    }

    /// Something is in a folder that was not: made, linked or moved there.
    fn came(&mut self, notice: &Notice, bit: u64, now: BootNanos) {
        let Some(entry) = &notice.entry else { return };
        let means = Means {
            tables: &self.loaded.tables,
            fanotify: self.fanotify.as_ref(),
        };
        // What is gone again by now was told or not by its other notices.
        let came = self.watch.came(&means, entry);
        for file in self.watch.take_fresh() {
            self.found_new(file, now);
        }
        let Ok(Some((file, path, known))) = came else {
            return;
        };
        // A move inside the watched folders has its own notice.
        if bit == libc::FAN_MOVED_TO && known {
            return;
        }
        let links = self.watch.file(file).map_or(1, |file| file.links);
        // Known or not: the programs may have told its first open before.
        let act = match bit {
            libc::FAN_MOVED_TO => Act::Renamed,
            _ if links > 1 => Act::Linked,
            _ => Act::Created,
        };
        let known_path = self.path_of(file);
        let other = (known_path.as_ref() != Some(&path)).then_some(path);
        let access = FileAccess {
            other,
            ..FileAccess::once(now, file, known_path, act, SeenBy::Fanotify)
        };
        self.tell_by(notice, access);
    }

    /// A file that came with its folder; who made it is not known.
    fn found_new(&mut self, file: FileId, time: BootNanos) {
        let path = self.path_of(file);
        self.tell(FileAccess::once(
            time,
            file,
            path,
            Act::Created,
            SeenBy::Scan,
        ));
    }

    fn renamed(&mut self, notice: &Notice, now: BootNanos) {
        let Some(file) = self.object(notice) else {
            return;
        };
        let old = notice.old.as_ref().and_then(|old| self.watch.path_of(old));
        let new = notice.new.as_ref().and_then(|new| self.watch.path_of(new));
        if let Some(new) = &new {
            self.watch.renamed(file, new);
        } else {
            self.watch.lost_its_path(file);
        }
        if self.watch.is_folder(file) {
            return;
        }
        let access = FileAccess {
            other: old,
            // Out of the watched folders: the inode is watched on, and where it is is not known.
            ..FileAccess::once(now, file, new, Act::Renamed, SeenBy::Fanotify)
        };
        self.tell_by(notice, access);
    }

    fn unlinked(&mut self, notice: &Notice, now: BootNanos) {
        let Some(file) = self.object(notice) else {
            return;
        };
        if self.watch.is_folder(file) {
            return;
        }
        let path = notice.entry.as_ref().and_then(|at| self.watch.path_of(at));
        self.tell_at(notice, file, path, Act::Unlinked, now);
    }

    /// An open, read or close; unless the programs have told it.
    fn used(&mut self, notice: &Notice, act: Act, counted: Option<FileAct>, now: BootNanos) {
        let Some(file) = self.watched_object(notice) else {
            return;
        };
        if counted.is_some_and(|counted| self.has_told(notice.pid, file, counted)) {
            return;
        }
        self.tell_of(notice, file, act, now);
    }

    fn modified(&mut self, notice: &Notice, now: BootNanos) {
        let Some(file) = self.watched_object(notice) else {
            return;
        };
        if let Some((before, after)) = self.watch.refresh(file)
            && after.size < before.size
        {
            return self.tell_of(notice, file, Act::Truncated, now);
        }
        if !self.has_told(notice.pid, file, FileAct::Write) {
            self.tell_of(notice, file, Act::Written, now);
        }
    }

    fn attributes(&mut self, notice: &Notice, now: BootNanos) {
        let Some(file) = self.watched_object(notice) else {
            return;
        };
        // The number of names is an attribute too: a name outside of the watched folders has come or
        // gone. One inside has a notice of its own.
        let act = match self.watch.refresh(file) {
            Some((before, after)) if after.links > before.links => Act::Linked,
            Some((before, after)) if after.links < before.links => Act::Unlinked,
            Some(_) => Act::AttributesChanged,
            None if self.watch.lost_its_path(file) => return,
            None => Act::AttributesChanged,
        };
        self.tell_of(notice, file, act, now);
    }
}
