//! The kernel's counters, turned into what was done since the last look.

use std::{
    collections::HashMap,
    io,
    time::{Duration, Instant},
};

use tracer_abi::{
    LossCell,
    file::{self, AccessKey, FileAct, FileLoss, MAX_ACCESSES},
};

use super::observation::{Act, FileLost, Lost};
use crate::{process::FileId, table::Table, time::BootNanos};

/// An entry that nothing was added to for so long makes room. Its last counts are taken in the moment in
/// which it is removed.
const IDLE: Duration = Duration::from_secs(30);
/// How long what a process did is remembered, so that it is not told again by fanotify.
const REMEMBERED: Duration = Duration::from_secs(2);

/// What was told already.
#[derive(Default)]
pub(super) struct Account {
    entries: HashMap<AccessKey, Entry>,
    /// When the programs last told of each act, by process and file: fanotify knows no start time.
    told: HashMap<(u32, FileId), Told>,
    losses: HashMap<FileLoss, u64>,
    missed: u64,
    looked: Option<BootNanos>,
}

type Told = [Option<Instant>; FileAct::COUNT];

struct Entry {
    counts: [u64; FileAct::COUNT],
    since: u64,
    changed: Instant,
}

/// What one process did to one file since the last look.
pub(super) struct Done {
    pub(super) pid: u32,
    pub(super) actor: file::FileActor,
    pub(super) file: FileId,
    pub(super) act: FileAct,
    pub(super) count: u64,
    pub(super) since: BootNanos,
    pub(super) until: BootNanos,
    /// Pages, where the hook tells.
    pub(super) pages: Option<(u64, u64)>,
}

impl Account {
    /// Looks at one entry.
    pub(super) fn look_at(
        &mut self,
        table: &Table<AccessKey, file::FileAccess>,
        key: AccessKey,
        done: &mut Vec<Done>,
    ) -> io::Result<()> {
        if let Some(now) = table.get(key)? {
            self.add(key, &now, done);
        }
        Ok(())
    }

    fn add(&mut self, key: AccessKey, now: &file::FileAccess, done: &mut Vec<Done>) {
        let instant = Instant::now();
        let entry = self.entries.entry(key).or_insert(Entry {
            counts: [0; FileAct::COUNT],
            since: now.first,
            changed: instant,
        });
        let since = entry.since;
        let file = FileId {
            device: key.device,
            inode: key.inode,
        };
        for act in FileAct::ALL {
            let index = act as usize;
            // Read while programs add: never less than before.
            let count = now.counts[index].saturating_sub(entry.counts[index]);
            if count == 0 {
                continue;
            }
            entry.counts[index] += count;
            self.told.entry((key.pid, file)).or_default()[index] = Some(instant);
            entry.changed = instant;
            entry.since = now.newest;
            let has_pages = matches!(act, FileAct::Read | FileAct::PageIn);
            done.push(Done {
                pid: key.pid,
                actor: now.actor,
                file,
                act,
                count,
                since: BootNanos(since),
                until: BootNanos(now.newest),
                pages: (has_pages && now.lowest < now.highest).then_some((now.lowest, now.highest)),
            });
        }
    }

    /// Looks at every entry, and removes those that nothing happens to any more.
    pub(super) fn look_at_all(
        &mut self,
        table: &Table<AccessKey, file::FileAccess>,
        done: &mut Vec<Done>,
    ) -> io::Result<()> {
        for (key, now) in table.entries(2 * MAX_ACCESSES as usize)? {
            self.add(key, &now, done);
        }
        let idle: Vec<AccessKey> = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.changed.elapsed() > IDLE)
            .map(|(key, _)| *key)
            .collect();
        for key in idle {
            if let Some(last) = table.take(key)? {
                self.add(key, &last, done);
            }
            self.entries.remove(&key);
        }
        self.told
            .retain(|_, told| told.iter().flatten().copied().any(is_recent));
        Ok(())
    }

    /// Whether the programs told of such an act of this process a moment ago.
    pub(super) fn has_told(&self, pid: u32, file: FileId, act: FileAct) -> bool {
        self.told
            .get(&(pid, file))
            .and_then(|told| told[act as usize])
            .is_some_and(is_recent)
    }

    /// What was lost since the last look; `missed` is how often a program was left out so far.
    pub(super) fn lost(
        &mut self,
        table: &Table<u32, LossCell>,
        missed: u64,
    ) -> io::Result<Vec<FileLost>> {
        let until = BootNanos::now();
        let since = self.looked.replace(until).unwrap_or(until);
        let mut lost = Vec::new();
        let left_out = missed.saturating_sub(std::mem::replace(&mut self.missed, missed));
        if left_out > 0 {
            lost.push(FileLost {
                what: Lost::Missed,
                count: left_out,
                since,
                until,
            });
        }
        for loss in FileLoss::ALL {
            let total: u64 = table
                .per_cpu(loss as u32)?
                .iter()
                .map(|cell| cell.count)
                .sum();
            let told = self.losses.entry(loss).or_default();
            let count = total.saturating_sub(*told);
            *told = total;
            if count > 0 {
                let what = match loss {
                    FileLoss::RingFull => Lost::Names,
                    FileLoss::TableFull => Lost::Accesses,
                    FileLoss::TooDeep => Lost::Depth,
                    FileLoss::WatchedFull => Lost::Files,
                };
                lost.push(FileLost {
                    what,
                    count,
                    since,
                    until,
                });
            }
        }
        Ok(lost)
    }
}

fn is_recent(told: Instant) -> bool {
    told.elapsed() < REMEMBERED
}

/// What a counter stands for.
pub(super) const fn act(act: FileAct) -> Act {
    match act {
        FileAct::Open => Act::Opened,
        FileAct::OpenWritable => Act::OpenedForWriting,
        FileAct::Map => Act::Mapped,
        FileAct::MapWritable => Act::MappedForWriting,
        FileAct::Receive => Act::Received,
        FileAct::Read => Act::Read,
        FileAct::Write => Act::Written,
        FileAct::PageIn => Act::Touched,
        FileAct::Refused => Act::Refused,
    }
}
