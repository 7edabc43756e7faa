//! What a collector keeps: records as they came, an index over what they say in the clear, and who
//! may do what. One trait, whatever keeps it; `conformance` is what every implementation must do.

#[cfg(test)]
mod conformance;
mod registry;
mod segments;
mod sqlite;

use std::{collections::BTreeSet, io, path::PathBuf, time::Duration};

use tracer_event::{Digest, WallNanos};
use tracer_wire::{
    AgentId, ChainError, Epoch, EventKind, FormError, Position, Record, RecordHash, Sequence,
    SessionId, Stream,
};

pub use registry::{Agent, Credential, Denied, Fingerprint, Registry, Token, TokenPurpose};
pub use sqlite::SqliteStore;

/// Keeps records.
///
/// Its calls wait for disks: an async caller makes them where it may block.
pub trait Store: Send + Sync + 'static {
    /// Where a session stands; at the start if it is not known.
    ///
    /// # Errors
    /// If the store does not work.
    fn position(&self, agent: AgentId, session: SessionId) -> Result<Position, StoreError>;

    /// Takes records in this order, each if it is what comes next in its session. When this returns,
    /// all that was taken survives a loss of power, and can be selected. On an error none was taken.
    ///
    /// # Errors
    /// If the store does not work.
    fn append(&self, records: &[Record], now: WallNanos) -> Result<Vec<Outcome>, StoreError>;

    /// The next entries of a selection, at most `limit`.
    ///
    /// # Errors
    /// If the store does not work.
    fn select(
        &self,
        selection: &Selection,
        from: Cursor,
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError>;

    /// The record of an entry.
    ///
    /// # Errors
    /// [`StoreError::Gone`] if it was deleted meanwhile, [`StoreError::Damaged`] if the disk does not
    /// give back what was stored.
    fn read(&self, entry: &Entry) -> Result<Record, StoreError>;

    /// The record that began an epoch; none if it is not kept.
    ///
    /// # Errors
    /// If the store does not work.
    fn epoch(
        &self,
        agent: AgentId,
        session: SessionId,
        epoch: Epoch,
    ) -> Result<Option<Entry>, StoreError>;

    /// All records of a session that are kept, after a place, in their order, at most `limit`.
    ///
    /// # Errors
    /// If the store does not work.
    fn chain(
        &self,
        agent: AgentId,
        session: SessionId,
        after: Option<Sequence>,
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError>;

    /// The number of the newest record.
    ///
    /// # Errors
    /// If the store does not work.
    fn newest(&self) -> Result<RecordNumber, StoreError>;

    /// All sessions of which something is known, in the order in which they began.
    ///
    /// # Errors
    /// If the store does not work.
    fn sessions(&self) -> Result<Vec<Session>, StoreError>;

    /// Destroys what a session holds: its bytes are overwritten, those of wrapped keys first. That
    /// it existed, and where it stands, stays known, so that it cannot be sent again.
    /// Gives the number of records.
    ///
    /// # Errors
    /// If the store does not work. Then it goes on with it when it is opened again.
    fn shred(&self, agent: AgentId, session: SessionId) -> Result<u64, StoreError>;

    /// Deletes what has been kept for long enough.
    ///
    /// # Errors
    /// If the store does not work.
    fn expire(&self, retention: &Retention, now: WallNanos) -> Result<Expired, StoreError>;

    /// Bytes of stored records.
    ///
    /// # Errors
    /// If the store does not work.
    fn size(&self) -> Result<u64, StoreError>;
}

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is stored.
    Stored,
    /// It was stored before.
    Repeated,
    /// It is not what comes next, and was not stored.
    Refused(ChainError),
}

/// The order in which records were stored; it only grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordNumber(pub u64);

/// What is asked for. Only what records say in the clear can be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    /// Of which stream.
    pub stream: Stream,
    /// Of these agents; of all if there is none.
    pub agents: Option<BTreeSet<AgentId>>,
    /// Of this session; of all if there is none.
    pub session: Option<SessionId>,
    /// No event before this.
    pub from: WallNanos,
    /// No event after this.
    pub to: WallNanos,
    /// With events of one of these kinds; of any if it is empty.
    pub kinds: BTreeSet<EventKind>,
    /// With events about one of these models; about any or none if it is empty.
    pub models: BTreeSet<Digest>,
}

impl Selection {
    /// Everything of a stream.
    #[must_use]
    pub const fn all(stream: Stream) -> Self {
        Self {
            stream,
            agents: None,
            session: None,
            from: WallNanos(0),
            to: WallNanos(u64::MAX),
            kinds: BTreeSet::new(),
            models: BTreeSet::new(),
        }
    }
}

/// Where to go on with a selection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cursor {
    /// In the order of events' times, after this one, among those stored up to a number.
    Time {
        /// The last one that was seen.
        after: Option<(WallNanos, RecordNumber)>,
        /// The newest to look at.
        through: RecordNumber,
    },
    /// In the order of arrival, after this one.
    Arrival {
        /// The last one that was seen.
        after: RecordNumber,
    },
}

/// What the index says of a record: a batch or a gap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its number.
    pub number: RecordNumber,
    /// Whose it is.
    pub agent: AgentId,
    /// Of which session.
    pub session: SessionId,
    /// Of which stream.
    pub stream: Stream,
    /// Of which epoch.
    pub epoch: Epoch,
    /// Its place.
    pub sequence: Sequence,
    /// What the next one names as the one before.
    pub link: RecordHash,
    /// When its first event was. Of a gap that does not know, the latest time before it.
    pub first: WallNanos,
    /// When its last event was. Of a gap that does not know, when it was stored.
    pub last: WallNanos,
    /// How many events it holds, or has lost; none where that is not known.
    pub events: Option<u64>,
    /// Whether it is a gap.
    pub is_gap: bool,
    /// Where its bytes are.
    place: Place,
}

/// Where bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    segment: u64,
    position: u64,
    length: u32,
}

/// A session as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Whose.
    pub agent: AgentId,
    /// Which.
    pub session: SessionId,
    /// Of which stream.
    pub stream: Stream,
    /// Where it stands.
    pub position: Position,
    /// When its first record was stored.
    pub began: WallNanos,
    /// When its last record was stored.
    pub stored: WallNanos,
    /// How many of its records are kept.
    pub records: u64,
    /// Events in them.
    pub events: u64,
    /// Events that its gaps declare as lost, those not known left out.
    pub lost: u64,
    /// How many gaps it has.
    pub gaps: u64,
    /// Whether it was shredded.
    pub is_shredded: bool,
    /// Whether it is not closed, and its agent has begun another session of this stream: then its end
    /// is missing.
    pub is_cut_off: bool,
}

/// How long records are kept, counted from when they were stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Of telemetry.
    pub telemetry: Duration,
    /// Of content.
    pub content: Duration,
    /// Bytes of all records: beyond, the oldest go first.
    pub total: u64,
}

/// What was deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expired {
    /// Records.
    pub records: u64,
    /// Bytes.
    pub bytes: u64,
    /// Whether any of it was younger than its time, and went for lack of room.
    pub for_room: bool,
}

/// The store does not work, or not as it should.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk, or the file system on it.
    #[error("cannot {attempt} {}", path.display())]
    Disk {
        /// What was attempted.
        attempt: &'static str,
        /// On what.
        path: PathBuf,
        /// What happened.
        #[source]
        source: io::Error,
    },
    /// The index.
    #[error("the index does not work")]
    Index(#[from] rusqlite::Error),
    /// The index says something that it cannot say.
    #[error("the index is damaged: {0} is no value that was stored")]
    BadIndex(&'static str),
    /// The index is of another version of the program.
    #[error(
        "the store is of version {found}, and this program has version {expected}: use the program \
         that made it"
    )]
    Version {
        /// What it is.
        found: i64,
        /// What this program makes.
        expected: i64,
    },
    /// Another collector uses it.
    #[error("{} is in use by another collector", .0.display())]
    InUse(PathBuf),
    /// Data that was written may not be on the disk, and nobody can tell.
    #[error(
        "an earlier write could not be finished; restart the collector once the disk is repaired"
    )]
    Broken,
    /// The record is no longer kept.
    #[error("record {0:?} is no longer kept")]
    Gone(RecordNumber),
    /// The disk does not give back what was stored.
    #[error("record {number:?} is damaged in segment {segment}: {why}")]
    Damaged {
        /// Which.
        number: RecordNumber,
        /// In which file.
        segment: u64,
        /// How.
        why: Damage,
    },
}

/// How a record is damaged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// The file ends before it.
    #[error("the file ends before its end")]
    Short,
    /// Its bytes are others.
    #[error("its checksum is wrong")]
    Checksum,
    /// Its bytes are no record.
    #[error(transparent)]
    Form(#[from] FormError),
    /// It is a record, but not this one.
    #[error("it is another record")]
    Other,
}
