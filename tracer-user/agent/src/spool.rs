//! Keeps sealed records on disk until a collector has them.
//!
//! A record counts as kept after [`Spool::commit`], which waits for the disk once for all that was
//! appended before. What a reader takes out is checked again by its checksum, and a record that is
//! damaged costs only itself: what is missing is declared by a gap that its agent signs. The spool
//! holds no key and nothing in the clear.

mod index;
mod room;
mod segment;
mod storage;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, io};

use tracer_wire::{Body, Gap, Position, Record, Sequence, SessionId, Stream};

pub use self::storage::{Append, Folder, Storage};
use self::{
    index::{Entry, Index, Kind},
    room::RESERVE,
    segment::SegmentId,
};

/// How often the disk may fail to read something before it counts as missing.
const PATIENCE: u8 = 8;

/// How much a spool holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of all segments together, at most; a reserve of one segment comes on top. Reached, the oldest telemetry goes first, then the
    /// oldest content.
    pub total: u64,
    /// Bytes after which a segment is full; what is dropped or freed is a segment.
    pub segment: u64,
}

impl Limits {
    /// The least that makes sense: the largest record in each stream, and a segment to write gaps to.
    pub const SMALLEST: u64 = 4 * Record::MAX as u64;

    /// Limits for so many bytes in all: segments of a 32nd, between 64 KiB and 8 MiB.
    #[must_use]
    pub fn of_total(total: u64) -> Self {
        Self {
            total: total.max(Self::SMALLEST),
            segment: (total / 32).clamp(64 << 10, 8 << 20),
        }
    }
}

/// The spool does not take or give a record.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// The disk failed. What was not committed may be gone: open the spool anew.
    #[error("the spool's disk failed while {doing}")]
    Disk {
        /// What was done.
        doing: &'static str,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The disk failed earlier.
    #[error("the spool's disk failed earlier: nothing is kept until it is opened anew")]
    Broken,
    /// The disk is full, and nothing can be dropped any more.
    #[error("the spool's disk is full, and nothing in the spool can be dropped")]
    Full,
    /// Something must be dropped, and whoever signs what declares it does not answer.
    #[error("the spool is full, and nobody signs what would say what is dropped")]
    Unsigned,
    /// The spool has taken the record, or a later one of its session, before.
    #[error("record {sequence} comes after record {last} of its session, which was taken before")]
    Taken {
        /// The record's place.
        sequence: Sequence,
        /// The last that the spool took.
        last: Sequence,
    },
}

/// What was found when a spool was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Records that are still to be delivered.
    pub records: u64,
    /// Bytes that are no record: cut off when the power went, or changed.
    pub damaged_bytes: u64,
    /// Segments that could not be read.
    pub unread_segments: u64,
}

/// What a reader gets next of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// The record that comes next.
    Record(Box<Record>),
    /// Records are gone. Sign it, and send it as what comes next.
    Missing(Gap),
}

/// Records on their way from an agent to a collector.
pub struct Spool<S: Storage> {
    storage: S,
    limits: Limits,
    index: Index,
    /// Bytes of each segment that is there.
    sizes: BTreeMap<SegmentId, u64>,
    /// The segments that are written to.
    open: BTreeMap<Stream, Open<S::File>>,
    next_segment: u64,
    /// Whether a file was made that may not be on the disk under its name.
    is_folder_dirty: bool,
    is_broken: bool,
    /// Whether there is room for gaps when there is none for anything else.
    has_reserve: bool,
}

struct Open<F> {
    id: SegmentId,
    file: F,
    /// Bytes of it that are on the disk.
    synced: u64,
    is_dirty: bool,
}

impl<F: Append> Open<F> {
    /// Waits until all of it is on the disk; `size` is how much that is.
    fn sync(&mut self, size: u64) -> io::Result<()> {
        if !self.is_dirty {
            return Ok(());
        }
        if let Err(error) = self.file.sync() {
            // The system would go on showing what never reached the disk, and call it written.
            if let Err(error) = self.file.cut(self.synced) {
                log::error!("cutting {} of the spool back: {error}", self.id.name());
            }
            return Err(error);
        }
        self.synced = size;
        self.is_dirty = false;
        Ok(())
    }
}

/// Whoever can sign a gap in an agent's name; none while the key is out of reach.
pub type Sign<'a> = dyn FnMut(Gap) -> Option<Record> + 'a;

impl<S: Storage> Spool<S> {
    /// Opens a spool with what an earlier one left.
    ///
    /// # Errors
    /// If the folder cannot be listed, or the disk fails while what was found is made durable. A segment
    /// that cannot be read is left alone, and counted.
    pub fn open(storage: S, limits: Limits) -> Result<(Self, Recovered), SpoolError> {
        let names = storage.list().map_err(|source| SpoolError::Disk {
            doing: "listing its folder",
            source,
        })?;
        let mut segments: Vec<_> = names
            .iter()
            .filter_map(|name| SegmentId::from_name(name))
            .collect();
        segments.sort_unstable();
        let mut spool = Self {
            storage,
            limits,
            index: Index::default(),
            sizes: BTreeMap::new(),
            open: BTreeMap::new(),
            next_segment: segments.last().map_or(0, |last| last.number + 1),
            is_folder_dirty: false,
            is_broken: false,
            has_reserve: false,
        };
        let mut recovered = Recovered::default();
        // Nothing is appended to a segment of before: its end may be torn.
        let longest = limits.segment.saturating_add(2 * Record::MAX as u64);
        for id in segments {
            let name = id.name();
            let mut tries = (0..PATIENCE).map(|_| spool.storage.read(&name, longest));
            let Some(bytes) = tries.find_map(Result::ok) else {
                log::warn!("{name} of the spool cannot be read: what it holds is declared missing");
                recovered.unread_segments += 1;
                continue;
            };
            let scanned = segment::scan(&bytes);
            recovered.damaged_bytes += scanned.damaged as u64;
            spool.sizes.insert(id, bytes.len() as u64);
            for (range, record) in scanned.records {
                spool.index.recover(&record, Entry::new(&record, id, range));
            }
        }
        spool.make_durable()?;
        spool.remove_empty_segments();
        let reserve = spool.storage.read(RESERVE, limits.segment);
        spool.has_reserve = reserve.is_ok_and(|bytes| bytes.len() as u64 == limits.segment);
        spool.reserve();
        recovered.records = spool.index.count();
        Ok((spool, recovered))
    }

    /// Bytes on the disk.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.sizes.values().sum()
    }

    /// Records that are to be delivered.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.index.count()
    }

    /// Takes a record. It counts as kept after the next [`Self::commit`]. Where there is no room, the
    /// oldest segment of telemetry, or else of content, is dropped, and what it held is declared by
    /// gaps that `sign` signs. Records that are missing before it are declared on the way out.
    ///
    /// # Errors
    /// If it or one after it was taken before, or the disk fails. After [`SpoolError::Full`] and
    /// [`SpoolError::Unsigned`] the spool is as it was before.
    pub fn append(&mut self, record: &Record, sign: &mut Sign<'_>) -> Result<(), SpoolError> {
        self.whole()?;
        let claims = record.claims();
        if let Some(last) = self.index.last(claims.session) {
            let sequence = claims.sequence;
            if sequence <= last {
                return Err(SpoolError::Taken { sequence, last });
            }
        }
        let entry = segment::entry(record);
        while self.bytes() + entry.len() as u64 > self.limits.total {
            if !self.drop_oldest(sign)? {
                return Err(SpoolError::Full);
            }
        }
        // Each time a segment less.
        while !self.write(record, &entry)? {
            if !self.drop_oldest(sign)? {
                return Err(SpoolError::Full);
            }
        }
        Ok(())
    }

    /// Waits until all that was appended is on the disk; from then on it is kept.
    ///
    /// # Errors
    /// If the disk fails. Nothing that was appended since the last time counts as kept then.
    pub fn commit(&mut self) -> Result<(), SpoolError> {
        self.whole()?;
        for open in self.open.values_mut() {
            let size = self.sizes.get(&open.id).copied().unwrap_or(0);
            if let Err(source) = open.sync(size) {
                let doing = "waiting for a segment";
                self.is_broken = true;
                return Err(SpoolError::Disk { doing, source });
            }
        }
        if self.is_folder_dirty {
            if let Err(source) = self.storage.sync_folder() {
                let doing = "waiting for its folder";
                self.is_broken = true;
                return Err(SpoolError::Disk { doing, source });
            }
            self.is_folder_dirty = false;
        }
        self.index.commit();
        Ok(())
    }

    /// Sessions of which something is to be delivered, the oldest first.
    pub fn sessions(&self) -> impl Iterator<Item = SessionId> {
        self.index.sessions()
    }

    /// What a reader that stands at a position of a session gets next; none if it has all that is
    /// kept.
    ///
    /// # Errors
    /// If the disk fails to read it. Try again: after a few times it counts as missing.
    pub fn next(
        &mut self,
        session: SessionId,
        position: &Position,
    ) -> Result<Option<Next>, SpoolError> {
        loop {
            let Some((sequence, entry)) = self.index.next(session, position.next) else {
                return Ok(None);
            };
            let record = match self.read(&entry) {
                Ok(Some(record)) => record,
                // It was whole when it was written or found; now it is not.
                Ok(None) => {
                    self.index.remove(session, sequence);
                    continue;
                }
                Err(source) => {
                    if self.index.count_failure(session, sequence) >= PATIENCE {
                        self.index.remove(session, sequence);
                    }
                    let doing = "reading a record";
                    return Err(SpoolError::Disk { doing, source });
                }
            };
            let missing = Gap::missing(position, record.claims());
            let next = missing.map_or_else(|| Next::Record(Box::new(record)), Next::Missing);
            return Ok(Some(next));
        }
    }

    /// Forgets what a collector has: all records of a session up to this one.
    pub fn acknowledge(&mut self, session: SessionId, through: Sequence) {
        self.index.acknowledge(session, through);
        if self.remove_empty_segments() {
            self.reserve();
        }
    }

    /// What was found may be in the system's memory alone: the process before ended, not the power.
    fn make_durable(&mut self) -> Result<(), SpoolError> {
        let found: Vec<_> = self.sizes.keys().copied().collect();
        for id in found {
            if self.storage.sync(&id.name()).is_ok() {
                continue;
            }
            // Nobody knows what of it is on the disk: it is written anew.
            let entries = self.index.entries_in(id).into_iter().flatten();
            let records: Vec<_> = entries
                .filter_map(|entry| self.read_patiently(&entry))
                .collect();
            if !self.write_all(&records)? {
                return Err(SpoolError::Full);
            }
            self.commit()?;
        }
        self.is_folder_dirty = true;
        self.commit()
    }

    const fn whole(&self) -> Result<(), SpoolError> {
        if self.is_broken {
            return Err(SpoolError::Broken);
        }
        Ok(())
    }

    /// A record; none if it is not there as it was written.
    fn read(&self, entry: &Entry) -> io::Result<Option<Record>> {
        let name = entry.segment.name();
        match self.storage.read_at(&name, entry.offset, entry.length) {
            Ok(bytes) => Ok(segment::read_entry(&bytes)),
            Err(error) if is_gone(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A record, if the disk gives it out at last.
    fn read_patiently(&self, entry: &Entry) -> Option<Record> {
        let mut tries = (0..PATIENCE).map(|_| self.read(entry));
        tries.find_map(Result::ok).flatten()
    }

    /// Writes an entry to the stream's segment; tells whether the disk had room.
    fn write(&mut self, record: &Record, entry: &[u8]) -> Result<bool, SpoolError> {
        let stream = record.claims().stream;
        let is_full = self.open.get(&stream).is_some_and(|open| {
            let size = self.sizes.get(&open.id).copied().unwrap_or(0);
            size > 0 && size + entry.len() as u64 > self.limits.segment
        });
        if is_full {
            self.close_segment(stream)?;
        }
        if !self.open.contains_key(&stream) {
            let id = SegmentId {
                number: self.next_segment,
                stream,
            };
            let file = match self.storage.create(&id.name()) {
                Ok(file) => file,
                Err(error) if is_lack_of_room(&error) => return Ok(false),
                Err(source) => return Err(self.broken("making a segment", source)),
            };
            self.next_segment += 1;
            self.is_folder_dirty = true;
            self.sizes.insert(id, 0);
            let open = Open {
                id,
                file,
                synced: 0,
                is_dirty: false,
            };
            self.open.insert(stream, open);
        }
        let open = self.open.get_mut(&stream).expect("it was opened above");
        let id = open.id;
        open.is_dirty = true;
        let written = open.file.append(entry);
        let size = self.sizes.entry(id).or_default();
        let offset = *size;
        // What was written of it before the disk was full takes room as well.
        *size += entry.len() as u64;
        match written {
            Ok(()) => {
                let begin = usize::try_from(offset).expect("a segment is far smaller than memory");
                let range = begin..begin + entry.len();
                self.index.insert(record, Entry::new(record, id, range));
                Ok(true)
            }
            Err(error) if is_lack_of_room(&error) => {
                // Its end is torn: nothing more goes into it.
                self.close_segment(stream)?;
                Ok(false)
            }
            Err(source) => Err(self.broken("writing a record", source)),
        }
    }

    /// Nothing more is written to the stream's segment. What is in it is on the disk afterwards.
    fn close_segment(&mut self, stream: Stream) -> Result<(), SpoolError> {
        let Some(mut open) = self.open.remove(&stream) else {
            return Ok(());
        };
        let size = self.sizes.get(&open.id).copied().unwrap_or(0);
        if let Err(source) = open.sync(size) {
            return Err(self.broken("waiting for a segment", source));
        }
        Ok(())
    }

    fn broken(&mut self, doing: &'static str, source: io::Error) -> SpoolError {
        self.is_broken = true;
        SpoolError::Disk { doing, source }
    }

    fn write_all(&mut self, records: &[Record]) -> Result<bool, SpoolError> {
        for record in records {
            if !self.write(record, &segment::entry(record))? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof | io::ErrorKind::NotFound
    )
}

fn is_lack_of_room(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

/// What the body of a record means for the spool.
const fn kind_of(body: &Body) -> Kind {
    match body {
        Body::Batch(_) => Kind::Batch,
        Body::Gap(_) => Kind::Gap,
        Body::Epoch(_) | Body::Closing => Kind::Other,
    }
}
