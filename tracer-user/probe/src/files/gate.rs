//! Holding who opens a watched file until somebody has decided, and deciding in the kernel.
//!
//! Two gates: programs at the security hooks refuse by a table of verified inodes (`deny`), or
//! fanotify lets every opener wait for an answer (`wait`), also where no program may refuse anything.

use std::{fs::File, io, os::fd::AsFd, sync::Arc};

use tracer_abi::file::MAX_EXEMPT;

use super::{FileSensor, load::key, look};
use crate::{
    process::{FileId, ProcessId},
    sys::permission::{Permission, Question, Questions},
};

/// Which gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// The kernel refuses what is not verified at once. Needs BPF LSM.
    Deny,
    /// Who opens waits for [`Held::answer`]. Needs fanotify's permission events.
    Wait,
}

/// Where those come out who wait at a gate of kind [`Gate::Wait`]. As long as it lives, somebody has
/// to ask it; once it and its sensor are gone, nobody waits any more.
#[derive(Debug)]
pub struct Waiting {
    group: Arc<Permission>,
}

/// Somebody who waits in `open`. Dropping it without an answer refuses.
#[derive(Debug)]
pub struct Held {
    group: Arc<Permission>,
    file: File,
    pid: u32,
    answered: bool,
}

/// What came out of a gate's queue.
#[derive(Debug)]
pub struct Taken {
    /// Who waits now.
    pub held: Vec<Held>,
    /// Why the kernel has refused an opener itself: it could not open the file for this process. It
    /// does not say which opener, nor which file.
    pub refused: Option<io::Error>,
}

impl Waiting {
    pub(super) fn new(group: Arc<Permission>) -> Self {
        Self { group }
    }

    /// What becomes readable when somebody waits.
    #[must_use]
    pub fn fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.group.fd()
    }

    /// Who waits now; never this process itself, which goes on at once.
    ///
    /// # Errors
    /// If the queue cannot be read.
    pub fn take(&self) -> io::Result<Taken> {
        let own = std::process::id();
        let mut waiting = Vec::new();
        let Questions { asked, refused } = self.group.read()?;
        for Question { pid, file } in asked {
            let held = Held {
                group: Arc::clone(&self.group),
                file,
                pid,
                answered: false,
            };
            if pid == own {
                held.answer(true);
            } else {
                waiting.push(held);
            }
        }
        Ok(Taken {
            held: waiting,
            refused,
        })
    }
}

impl Held {
    /// The process that waits.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The file, open for reading.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Lets the process go on, or refuses it with `EPERM`.
    pub fn answer(mut self, allow: bool) {
        self.give(allow);
    }

    fn give(&mut self, allow: bool) {
        self.answered = true;
        // Who was killed meanwhile needs no answer.
        let _ = self.group.answer(&self.file, allow);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if !self.answered {
            self.give(false);
        }
    }
}

/// The file behind a descriptor, as a sensor names it.
///
/// # Errors
/// If it cannot be asked.
pub fn file_id(file: impl AsFd) -> io::Result<FileId> {
    look::id_of(file.as_fd())
}

impl FileSensor {
    /// Where those come out who wait; none unless this sensor has a gate of that kind.
    #[must_use]
    pub fn waiting(&self) -> Option<Waiting> {
        self.watch.gate.clone().map(Waiting::new)
    }

    /// How many writes the programs have seen of a file.
    ///
    /// # Errors
    /// If the map cannot be read.
    pub fn writes(&self, file: FileId) -> io::Result<u64> {
        Ok(self.loaded.tables.writes.get(key(file))?.unwrap_or(0))
    }

    /// Lets everybody open a file that was verified; `writes` is what [`FileSensor::writes`] said
    /// before it was hashed.
    ///
    /// # Errors
    /// If the map cannot be written.
    pub fn vouch(&self, file: FileId, writes: u64) -> io::Result<()> {
        self.loaded.tables.vouched.put(key(file), &writes)
    }

    /// Lets nobody open a file any more.
    ///
    /// # Errors
    /// If the map cannot be written.
    pub fn refuse(&self, file: FileId) -> io::Result<()> {
        self.loaded.tables.vouched.remove(key(file))
    }

    /// Lets a process through whatever is enforced, until it ends.
    ///
    /// # Errors
    /// If there is no such process, or the map cannot be written.
    pub fn exempt(&self, pid: u32) -> io::Result<()> {
        exempt(&self.loaded.tables.exempt, pid)
    }
}

/// Writes a process into a table of those that are let through.
pub(super) fn exempt(table: &crate::table::Table<u32, u64>, pid: u32) -> io::Result<()> {
    let process = ProcessId::of(pid).map_err(io::Error::other)?;
    // Those that ended give their places back, or a tracer that is started again and again fills them.
    for (pid, start_ticks) in table.entries(MAX_EXEMPT as usize)? {
        if !(ProcessId { pid, start_ticks }).is_alive() {
            table.remove(pid)?;
        }
    }
    table.put(pid, &process.start_ticks)
}
