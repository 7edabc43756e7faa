//! The kernel's table of verified files: what was hashed goes in, what was written comes out.

use std::{
    collections::{HashMap, HashSet},
    fs::{self, File},
    os::{fd::AsRawFd as _, unix::fs::MetadataExt as _},
    sync::mpsc::{self, Receiver, Sender},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use tracer_probe::{files::FileSensor, process::FileId};

use super::checker::{Checked, Checker};

/// The thread that hashes, and what it found.
pub(in crate::files) struct VerdictTable {
    jobs: Sender<Job>,
    done: Receiver<Done>,
    /// Asked for and not answered yet; once more, if it was written meanwhile.
    open: HashSet<FileId>,
    found: HashMap<FileId, Found>,
}

/// What was found of a file, and what that took.
struct Found {
    checked: Checked,
    took: Duration,
    when: Instant,
}

struct Done {
    /// Open until the kernel is told: its inode number goes to no other file meanwhile.
    file: File,
    id: FileId,
    writes: u64,
    checked: Checked,
    took: Duration,
}

/// A file is not hashed again sooner than this after it was, nor sooner than many times what that took:
/// whoever tries a file that is refused over and over does not keep the disk busy.
const AGAIN: Duration = Duration::from_secs(1);
const TIMES: u32 = 20;

struct Job {
    file: File,
    id: FileId,
    /// Writes that had been seen when it was asked for.
    writes: u64,
}

impl VerdictTable {
    /// Starts the thread.
    ///
    /// # Errors
    /// If it cannot be started.
    pub(super) fn start(checker: Checker) -> Result<Self> {
        // Each watched file at most once, so that neither grows beyond the watch itself.
        let (jobs, to_do) = mpsc::channel::<Job>();
        let (finished, done) = mpsc::channel();
        thread::Builder::new()
            .name("hashing".into())
            .spawn(move || {
                for Job { file, id, writes } in to_do {
                    let path = fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()));
                    let began = Instant::now();
                    let checked = checker.check(&file, &path.unwrap_or_default());
                    let done = Done {
                        file,
                        id,
                        writes,
                        checked,
                        took: began.elapsed(),
                    };
                    if finished.send(done).is_err() {
                        return;
                    }
                }
            })
            .context("start the thread that hashes model files")?;
        Ok(Self {
            jobs,
            done,
            open: HashSet::new(),
            found: HashMap::new(),
        })
    }

    /// Hashes a file, unless that is being done, or was a moment ago and nobody wrote to it since.
    pub(super) fn hash(&mut self, sensor: &FileSensor, file: File, id: FileId) {
        let is_recent = |found: &Found| found.when.elapsed() < AGAIN.max(found.took * TIMES);
        if self.found.get(&id).is_some_and(is_recent) {
            return;
        }
        let Ok(writes) = sensor.writes(id) else {
            return;
        };
        if self.open.insert(id) && self.jobs.send(Job { file, id, writes }).is_err() {
            self.open.remove(&id);
        }
    }

    /// Nobody gets in any more until it was hashed again.
    pub(super) fn written(&mut self, sensor: &FileSensor, id: FileId) {
        self.found.remove(&id);
        // The kernel's own count of writes has ended it already, except for a truncation that only
        // fanotify saw.
        let _ = sensor.refuse(id);
    }

    /// Why a file is refused.
    pub(super) fn reason(&self, id: FileId) -> &'static str {
        match self.found.get(&id).map(|found| found.checked) {
            Some(checked) if checked.verified => "it was to be written, and watched files are not",
            Some(checked) => checked.reason,
            None => "it was not verified yet",
        }
    }

    /// Whether everything that was asked for was hashed.
    pub(super) fn is_idle(&self) -> bool {
        self.open.is_empty()
    }

    /// Writes what was found into the kernel's table.
    ///
    /// # Errors
    /// If that cannot be written.
    pub(super) fn settle(&mut self, sensor: &FileSensor) -> Result<()> {
        for done in self.done.try_iter() {
            let Done {
                file,
                id,
                writes,
                checked,
                took,
            } = done;
            self.open.remove(&id);
            let found = Found {
                checked,
                took,
                when: Instant::now(),
            };
            // One that was written to meanwhile is hashed again at the next try.
            if sensor.writes(id).is_ok_and(|now| now == writes) {
                self.found.insert(id, found);
            }
            // Whoever deleted it gives its number to another file as soon as this one closes it.
            let is_there = file.metadata().is_ok_and(|found| found.nlink() > 0);
            if checked.verified && is_there {
                sensor.vouch(id, writes)
            } else {
                sensor.refuse(id)
            }
            .context("say which files are verified")?;
        }
        Ok(())
    }
}
