//! A disk in memory that knows what it was made to promise, and breaks in the ways that disks do.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    io::{self, ErrorKind},
    ops::Range,
    rc::Rc,
};

use super::{random::Random, world::Faults};
use crate::spool::{Append, Storage};

/// A folder that outlives the process that uses it.
#[derive(Clone)]
pub(super) struct Disk {
    state: Rc<RefCell<State>>,
}

struct State {
    random: Random,
    faults: Faults,
    files: BTreeMap<String, Contents>,
    /// Files that were removed, which the power's going may bring back.
    removed: BTreeMap<String, Contents>,
}

#[derive(Clone, Default)]
struct Contents {
    bytes: Vec<u8>,
    /// How many of them are on the platter.
    durable: usize,
    /// Whether its name is.
    is_named: bool,
    /// Stretches that can be read, were never written, and will not be: their sync failed.
    forgotten: Vec<Range<usize>>,
}

impl Disk {
    pub(super) fn new(random: Random, faults: Faults) -> Self {
        Self {
            state: Rc::new(RefCell::new(State {
                random,
                faults,
                files: BTreeMap::new(),
                removed: BTreeMap::new(),
            })),
        }
    }

    /// From now on it works.
    pub(super) fn repair(&self) {
        self.state.borrow_mut().faults = Faults::NONE;
    }

    /// The power goes: of what was not promised, some is there and some is not.
    pub(super) fn lose_power(&self) {
        let mut state = self.state.borrow_mut();
        let random = state.random.clone();
        let removed = std::mem::take(&mut state.removed);
        let back = removed.into_iter().filter(|_| random.chance(500));
        state.files.extend(back);
        state
            .files
            .retain(|_, file| file.is_named || random.chance(500));
        for file in state.files.values_mut() {
            for range in std::mem::take(&mut file.forgotten) {
                file.bytes[range].fill(0);
            }
            let uncertain = file.bytes.len() - file.durable;
            let kept = file.durable + random.below(uncertain + 1);
            file.bytes.truncate(kept);
            // A torn sector.
            if kept > file.durable && random.chance(500) {
                let at = file.durable + random.below(kept - file.durable);
                file.bytes[at] ^= 0x55;
            }
            file.durable = kept;
            file.is_named = true;
        }
    }

    /// A bit flips somewhere.
    pub(super) fn rot(&self) {
        let mut state = self.state.borrow_mut();
        let random = state.random.clone();
        let chosen = random.below(state.files.len());
        if let Some(file) = state.files.values_mut().nth(chosen)
            && !file.bytes.is_empty()
        {
            let at = random.below(file.bytes.len());
            file.bytes[at] ^= 1 << random.below(8);
        }
    }

    /// Everything that is written on it.
    pub(super) fn everything(&self) -> Vec<u8> {
        let state = self.state.borrow();
        let files = state.files.values();
        files.flat_map(|file| file.bytes.iter().copied()).collect()
    }
}

impl State {
    fn fails(&self) -> io::Result<()> {
        if self.random.chance(self.faults.io_errors) {
            return Err(io::Error::other("the disk answers with EIO"));
        }
        Ok(())
    }

    fn lies(&self) -> bool {
        self.random.chance(self.faults.lost_syncs)
    }

    fn room(&self) -> usize {
        let used: usize = self.files.values().map(|file| file.bytes.len()).sum();
        self.faults.capacity.saturating_sub(used)
    }
}

impl Storage for Disk {
    type File = Writer;

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.state.borrow().files.keys().cloned().collect())
    }

    fn create(&self, name: &str) -> io::Result<Writer> {
        let mut state = self.state.borrow_mut();
        state.fails()?;
        if state.room() == 0 {
            return Err(ErrorKind::StorageFull.into());
        }
        assert!(!state.files.contains_key(name), "{name} is made anew");
        state.files.insert(name.to_owned(), Contents::default());
        Ok(Writer {
            state: Rc::clone(&self.state),
            name: name.to_owned(),
        })
    }

    fn read(&self, name: &str, limit: u64) -> io::Result<Vec<u8>> {
        let state = self.state.borrow();
        state.fails()?;
        let file = state.files.get(name).ok_or(ErrorKind::NotFound)?;
        let limit = usize::try_from(limit).unwrap();
        Ok(file.bytes[..file.bytes.len().min(limit)].to_vec())
    }

    fn read_at(&self, name: &str, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let state = self.state.borrow();
        state.fails()?;
        let file = state.files.get(name).ok_or(ErrorKind::NotFound)?;
        let offset = usize::try_from(offset).unwrap();
        let bytes = file.bytes.get(offset..offset + length);
        Ok(bytes.ok_or(ErrorKind::UnexpectedEof)?.to_vec())
    }

    fn sync(&self, name: &str) -> io::Result<()> {
        let state = Rc::clone(&self.state);
        let name = name.to_owned();
        Writer { state, name }.sync()
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.state.borrow_mut();
        state.fails()?;
        let file = state.files.remove(name).ok_or(ErrorKind::NotFound)?;
        if file.is_named {
            state.removed.insert(name.to_owned(), file);
        }
        Ok(())
    }

    fn sync_folder(&self) -> io::Result<()> {
        let mut state = self.state.borrow_mut();
        state.fails()?;
        if !state.lies() {
            state.removed.clear();
            state
                .files
                .values_mut()
                .for_each(|file| file.is_named = true);
        }
        Ok(())
    }
}

/// A file that is appended to.
pub(super) struct Writer {
    state: Rc<RefCell<State>>,
    name: String,
}

impl Append for Writer {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.state.borrow_mut();
        let failure = state.fails();
        let room = state.room();
        let random = state.random.clone();
        let Some(file) = state.files.get_mut(&self.name) else {
            return Ok(());
        };
        if failure.is_err() {
            let part = random.below(bytes.len());
            file.bytes.extend_from_slice(&bytes[..part]);
            return failure;
        }
        let fits = bytes.len().min(room);
        file.bytes.extend_from_slice(&bytes[..fits]);
        if fits < bytes.len() {
            return Err(ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut state = self.state.borrow_mut();
        let failure = state.fails();
        let lies = state.lies();
        let Some(file) = state.files.get_mut(&self.name) else {
            return Ok(());
        };
        if failure.is_err() {
            // The next try would succeed, and prove nothing.
            file.forgotten.push(file.durable..file.bytes.len());
            file.durable = file.bytes.len();
            return failure;
        }
        if !lies {
            file.durable = file.bytes.len();
        }
        Ok(())
    }

    fn cut(&mut self, length: u64) -> io::Result<()> {
        let mut state = self.state.borrow_mut();
        let length = usize::try_from(length).unwrap();
        let Some(file) = state.files.get_mut(&self.name) else {
            return Ok(());
        };
        file.bytes.truncate(length);
        file.durable = file.durable.min(length);
        file.forgotten.retain(|range| range.end <= length);
        Ok(())
    }
}
