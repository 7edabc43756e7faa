//! Sees what happens to watched files, in the best way that this kernel allows.
//!
//! Start at [`FileSensor`]. Programs in the kernel count what each process does to each watched inode;
//! fanotify beside them tells what happens to names and attributes. Nothing is ever stopped, delayed
//! or refused, except by a sensor with a [`Gate`].

mod account;
mod cost;
mod found;
mod gate;
mod load;
mod look;
mod notice;
mod observation;
pub mod pins;
mod tier;
mod trial;
mod views;
mod watch;
mod who;

use std::{
    collections::{HashMap, HashSet},
    fs::File,
    io,
    os::fd::AsFd,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use tracer_abi::file::{AccessKey, FileAct, FileKey, FileTold};

use self::{
    account::{Account, Done},
    load::Loaded,
    views::Views,
    watch::{Means, Watch},
    who::Who,
};
use crate::{
    load::LoadError,
    process::FileId,
    sys::{epoll::Epoll, fanotify::Fanotify, memory, permission::Permission},
    time::BootNanos,
};

pub(crate) use load::verify;

pub use cost::{EmptyProgram, Runs};
pub use gate::{Gate, Held, Taken, Waiting, file_id};
pub use observation::{Act, Actor, FileAccess, FileEvent, FileLost, Lost, SeenBy};
pub use tier::{BlindSpot, Coverage, Tier};

/// How often every counter is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Watches files until it is dropped.
pub struct FileSensor {
    loaded: Loaded,
    fanotify: Option<Fanotify>,
    /// Why there is no fanotify.
    no_fanotify: Option<String>,
    epoll: Epoll,
    watch: Watch,
    account: Account,
    who: Who,
    views: Views,
    looked: Instant,
    /// What was seen and not handed out yet.
    ready: Vec<FileEvent>,
}

/// What a sensor watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watching {
    /// Files.
    pub files: usize,
    /// Folders.
    pub folders: usize,
}

impl FileSensor {
    /// Loads the best tier that works, or the one given, and watches nothing yet.
    ///
    /// # Errors
    /// If the host does not allow it, or the tier that was asked for does not work here.
    pub fn start(tier: Option<Tier>) -> Result<Self, LoadError> {
        Self::with(tier, None)
    }

    /// Loads what a gate needs, and watches nothing yet.
    ///
    /// # Errors
    /// If the host does not allow it: [`Gate::Deny`] needs BPF LSM, [`Gate::Wait`] fanotify's
    /// permission events.
    ///
    /// # Minimum kernel version
    /// 6.1 for [`Gate::Deny`], as far as it was tried.
    pub fn enforcing(gate: Gate) -> Result<Self, LoadError> {
        match gate {
            Gate::Deny => Self::with(Some(Tier::Lsm), Some(gate)),
            Gate::Wait => Self::with(None, Some(gate)),
        }
    }

    fn with(tier: Option<Tier>, gate: Option<Gate>) -> Result<Self, LoadError> {
        let system = |what| move |cause| LoadError::System { what, cause };
        let mut loaded = Loaded::new(tier, gate == Some(Gate::Deny))?;
        let asks = match gate {
            Some(Gate::Wait) => {
                let group = Permission::open();
                Some(Arc::new(
                    group.map_err(system("ask to decide about opens"))?,
                ))
            }
            Some(Gate::Deny) | None => None,
        };
        let epoll = Epoll::new().map_err(system("make an epoll"))?;
        epoll
            .add(loaded.ring.fd(), 0)
            .map_err(system("wait for the ring"))?;
        let (fanotify, no_fanotify) = match Fanotify::open() {
            Ok(fanotify) => (Some(fanotify), None),
            Err(error) => (None, Some(error.to_string())),
        };
        if let Some(fanotify) = &fanotify {
            epoll
                .add(fanotify.fd(), 1)
                .map_err(system("wait for fanotify"))?;
        }
        loaded.coverage.fanotify = fanotify.is_some();
        let (folders, files) = notice::masks(loaded.coverage.tier);
        Ok(Self {
            loaded,
            fanotify,
            no_fanotify,
            epoll,
            watch: Watch::new(folders, files, asks),
            account: Account::default(),
            who: Who::default(),
            views: Views::default(),
            looked: Instant::now(),
            ready: Vec::new(),
        })
    }

    /// What it is made of, and with that what it cannot see.
    #[must_use]
    pub fn coverage(&self) -> Coverage {
        self.loaded.coverage
    }

    /// Better tiers, each with the reason why it is not in force.
    #[must_use]
    pub fn passed_over(&self) -> &[(Tier, String)] {
        &self.loaded.passed_over
    }

    /// Why names and attributes are not told, if they are not: of all files, or of a device's.
    #[must_use]
    pub fn untold_names(&self) -> Vec<String> {
        let devices = self.watch.unmarked.iter().map(|(device, why)| {
            format!("on device {}:{}: {why}", device >> 20, device & 0xf_ffff)
        });
        self.no_fanotify.iter().cloned().chain(devices).collect()
    }

    /// What is watched now.
    #[must_use]
    pub fn watching(&self) -> Watching {
        let (files, folders) = self.watch.len();
        Watching { files, folders }
    }

    /// Watches a folder with all that is below it, or a file; from now on, until it is gone.
    ///
    /// # Errors
    /// If it cannot be looked at, or is neither.
    pub fn watch(&mut self, path: &Path) -> io::Result<()> {
        let means = Means {
            tables: &self.loaded.tables,
            fanotify: self.fanotify.as_ref(),
        };
        self.watch.add_root(&means, path)
    }

    /// Watches the file behind a descriptor, of which perhaps no name is left. `id` is what the kernel
    /// knows it by, as `/proc/PID/maps` says it.
    ///
    /// # Errors
    /// If more are watched than there is room for.
    pub fn watch_open(&mut self, file: &File, id: FileId, path: Option<PathBuf>) -> io::Result<()> {
        let means = Means {
            tables: &self.loaded.tables,
            fanotify: self.fanotify.as_ref(),
        };
        self.watch.add_open(&means, file.as_fd(), id, path)
    }

    /// Whether a file's deletion will be told, so that another one with its number is not taken for it.
    #[must_use]
    pub fn hears_the_end_of(&self, file: FileId) -> bool {
        self.watch.file(file).is_some_and(watch::Watched::is_marked)
    }

    /// Every watched file of which a path is known.
    #[must_use]
    pub fn watched_files(&self) -> Vec<(FileId, PathBuf)> {
        let files = self.watch.files();
        files
            .filter_map(|(id, file)| Some((id, file.path.clone()?)))
            .collect()
    }

    /// Tells that a process was refused a file at a gate.
    pub fn tell_refused(&mut self, pid: u32, file: FileId, reason: &'static str) {
        let actor = self.who.named(pid, &self.loaded.tables.exited);
        let path = self.path_of(file);
        let time = BootNanos::now();
        self.tell(FileAccess {
            actor,
            reason: Some(reason),
            ..FileAccess::once(time, file, path, Act::Refused, SeenBy::Fanotify)
        });
    }

    /// Tells who has a watched file open or mapped already.
    pub fn find_users(&mut self) {
        for found::Found {
            pid,
            file,
            act,
            time,
        } in found::look(&self.watch)
        {
            let actor = self.who.named(pid, &self.loaded.tables.exited);
            let path = self.path_of(file);
            self.tell(FileAccess {
                actor,
                ..FileAccess::once(time, file, path, act, SeenBy::Scan)
            });
        }
    }

    /// What happened since the last call, in the order of time; waits at most `timeout` if nothing
    /// did.
    ///
    /// # Errors
    /// If a map or the queue cannot be read.
    pub fn next(&mut self, timeout: Duration) -> io::Result<Vec<FileEvent>> {
        if self.ready.is_empty() {
            let due = LOOK_EVERY.saturating_sub(self.looked.elapsed());
            self.epoll.wait(timeout.min(due))?;
        }
        let all = self.looked.elapsed() >= LOOK_EVERY;
        self.take(all)
    }

    /// All that happened until now.
    ///
    /// # Errors
    /// As [`FileSensor::next`].
    pub fn sync(&mut self) -> io::Result<Vec<FileEvent>> {
        self.take(true)
    }

    fn take(&mut self, all: bool) -> io::Result<Vec<FileEvent>> {
        let mut done = Vec::new();
        let mut names = HashMap::new();
        let mut changed = HashSet::new();
        self.loaded.ring.drain(|record| {
            if let Some((key, folder, name)) = read(record) {
                changed.insert(key);
                if folder != FileKey::default() {
                    let file = FileId {
                        device: key.device,
                        inode: key.inode,
                    };
                    names.insert(file, (folder, name));
                }
            }
        });
        for (file, (folder, name)) in names {
            let folder = FileId {
                device: folder.device,
                inode: folder.inode,
            };
            let means = Means {
                tables: &self.loaded.tables,
                fanotify: self.fanotify.as_ref(),
            };
            self.watch.learn(&means, file, folder, &name);
        }
        let accesses = &self.loaded.tables.accesses;
        for key in changed {
            self.account.look_at(accesses, key, &mut done)?;
        }
        if all {
            self.looked = Instant::now();
            self.account.look_at_all(accesses, &mut done)?;
        }
        for done in done {
            self.tell_counted(done);
        }
        self.take_notices()?;
        if all {
            self.tell_losses()?;
        }
        let mut events = std::mem::take(&mut self.ready);
        events.sort_by_key(FileEvent::time);
        Ok(events)
    }

    fn tell_counted(&mut self, done: Done) {
        if done.pid == std::process::id() {
            return;
        }
        let page = memory::page_size() as u64;
        let bytes =
            |(first, behind): (u64, u64)| first.saturating_mul(page)..behind.saturating_mul(page);
        let path = self.path_of(done.file);
        let seen_by = SeenBy::Programs(self.loaded.coverage.tier);
        let actor = self.who.seen(done.pid, &done.actor);
        self.tell(FileAccess {
            since: done.since,
            actor: Some(actor),
            count: done.count,
            extent: done.pages.map(bytes),
            ..FileAccess::once(done.until, done.file, path, account::act(done.act), seen_by)
        });
    }

    /// Where a watched file is, as far as that is known.
    fn path_of(&self, file: FileId) -> Option<PathBuf> {
        self.watch.file(file)?.path.clone()
    }

    /// Hands an access out, as soon as possible after it: who did it may end.
    fn tell(&mut self, mut access: FileAccess) {
        if let (Some(actor), Some(path)) = (&access.actor, &access.path) {
            access.inside = self.views.path(actor, path);
        }
        self.ready.push(FileEvent::Access(Box::new(access)));
    }

    fn tell_losses(&mut self) -> io::Result<()> {
        let missed = self.loaded.missed()?;
        let mut lost = self.account.lost(&self.loaded.tables.losses, missed)?;
        let now = BootNanos::now();
        for (count, what) in [
            (&mut self.watch.full, Lost::Files),
            (&mut self.watch.too_deep, Lost::Depth),
        ] {
            let count = std::mem::take(count);
            if count > 0 {
                lost.push(FileLost {
                    what,
                    count,
                    since: now,
                    until: now,
                });
            }
        }
        self.ready.extend(lost.into_iter().map(FileEvent::Lost));
        Ok(())
    }

    /// Whether the programs tell of such an act themselves, so that fanotify's notice of it adds
    /// nothing.
    fn has_told(&self, pid: u32, file: FileId, act: FileAct) -> bool {
        self.account.has_told(pid, file, act)
    }
}

/// Reads a record: which entry, and through which folder and name, if it says so.
fn read(record: &[u8]) -> Option<(AccessKey, FileKey, Vec<u8>)> {
    let at = std::mem::offset_of!(FileTold, name);
    let u64_at = |at: usize| Some(u64::from_ne_bytes(*record.get(at..)?.first_chunk()?));
    let u32_at = |at: usize| Some(u32::from_ne_bytes(*record.get(at..)?.first_chunk()?));
    let length = u32_at(std::mem::offset_of!(FileTold, name_length))? as usize;
    let key = AccessKey {
        inode: u64_at(0)?,
        device: u32_at(8)?,
        pid: u32_at(12)?,
        started: u64_at(16)?,
    };
    let folder = FileKey {
        inode: u64_at(24)?,
        device: u32_at(32)?,
        reserved: 0,
    };
    let name = record.get(at..at.checked_add(length)?)?;
    Some((key, folder, name.to_vec()))
}
