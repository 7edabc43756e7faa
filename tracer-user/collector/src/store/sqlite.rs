//! The store that needs nothing beside itself: segments, and an index in SQLite.
//!
//! A record is first in its segment and on the disk, then in the index and on the disk; so the index
//! never names what is not there, and what it does not name does not count. SQLite runs with a
//! write-ahead log and `synchronous=FULL`: what was committed survives a loss of power.

mod append;
mod retention;
mod select;

use std::{
    fs::{DirBuilder, File, TryLockError},
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rusqlite::{Connection, OpenFlags, OptionalExtension as _, Row, params};
use tracer_event::WallNanos;
use tracer_wire::{AgentId, Epoch, Position, Record, RecordHash, Sequence, SessionId, Stream};

use self::append::Writer;
use super::{
    Cursor, Entry, Expired, Outcome, RecordNumber, Retention, Selection, Session, Store,
    StoreError,
    segments::{Segments, disk},
};

const VERSION: i64 = 2;
const SCHEMA: &str = include_str!("sqlite/schema.sql");
/// How long a statement waits for another process that writes, such as `tracer-collector token new`.
const PATIENCE: Duration = Duration::from_secs(10);

/// Records in a folder.
pub struct SqliteStore {
    folder: PathBuf,
    segments: Segments,
    writer: Mutex<Writer>,
    /// Connections that read and are not in use.
    readers: Mutex<Vec<Connection>>,
    /// Held as long as the store is open.
    _lock: Lock,
}

impl SqliteStore {
    /// Opens the store in a folder, or makes it. Segments are closed at about `segment` bytes.
    ///
    /// # Errors
    /// If the folder cannot be used, is in use, or holds a store of another version.
    pub fn open(folder: &Path, segment: u64) -> Result<Self, StoreError> {
        let mut builder = DirBuilder::new();
        let created = builder.recursive(true).mode(0o700).create(folder);
        created.map_err(disk("create", folder))?;
        let lock = Lock::take(folder)?;
        let index = open_index(folder)?;
        let segments = Segments::open(folder.join("segments"))?;
        let writer = Writer::open(index, &segments, segment)?;
        let store = Self {
            folder: folder.to_owned(),
            segments,
            writer: Mutex::new(writer),
            readers: Mutex::default(),
            _lock: lock,
        };
        store.finish_shredding()?;
        Ok(store)
    }

    fn writer(&self) -> MutexGuard<'_, Writer> {
        // A writer that panicked left its transaction rolled back.
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Uses a connection that only reads.
    fn read_index<T>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let idle = {
            let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
            readers.pop()
        };
        let connection = match idle {
            Some(connection) => connection,
            None => {
                let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
                let connection = Connection::open_with_flags(index_path(&self.folder), flags)?;
                connection.busy_timeout(PATIENCE)?;
                connection
            }
        };
        let result = read(&connection);
        let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        readers.push(connection);
        result
    }
}

/// The folder is one store's. Let go of by name: a process that this one starts meanwhile has a copy of
/// the descriptor until it runs its program, and a lock lasts as long as any copy.
struct Lock(File);

impl Lock {
    fn take(folder: &Path) -> Result<Self, StoreError> {
        let path = folder.join("lock");
        let file = File::create(&path).map_err(disk("create", &path))?;
        match file.try_lock() {
            Ok(()) => Ok(Self(file)),
            Err(TryLockError::WouldBlock) => Err(StoreError::InUse(folder.to_owned())),
            Err(TryLockError::Error(source)) => Err(disk("lock", &path)(source)),
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // If it cannot be let go of here, closing the last descriptor does it.
        let _ = self.0.unlock();
    }
}

fn index_path(folder: &Path) -> PathBuf {
    folder.join("index.sqlite")
}

/// The index in a folder, which is made if there is none.
pub(super) fn open_index(folder: &Path) -> Result<Connection, StoreError> {
    let mut connection = Connection::open(index_path(folder))?;
    connection.busy_timeout(PATIENCE)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.set_prepared_statement_cache_capacity(64);
    let transaction =
        connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let found: i64 = transaction.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    match found {
        0 => {
            transaction.execute_batch(SCHEMA)?;
            transaction.pragma_update(None, "user_version", VERSION)?;
        }
        VERSION => {}
        _ => {
            let expected = VERSION;
            return Err(StoreError::Version { found, expected });
        }
    }
    transaction.commit()?;
    Ok(connection)
}

impl Store for SqliteStore {
    fn position(&self, agent: AgentId, session: SessionId) -> Result<Position, StoreError> {
        self.read_index(|index| {
            let mut statement = index.prepare_cached(
                "SELECT next, link, epoch, closed FROM sessions WHERE agent = ? AND session = ?",
            )?;
            let row = statement
                .query_row(params![agent.0, session.0], |row| position(row, 0))
                .optional()?;
            Ok(row.unwrap_or(Position::START))
        })
    }

    fn append(&self, records: &[Record], now: WallNanos) -> Result<Vec<Outcome>, StoreError> {
        self.writer().append(&self.segments, records, now)
    }

    fn select(
        &self,
        selection: &Selection,
        from: Cursor,
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        self.read_index(|index| select::entries(index, selection, from, limit))
    }

    fn read(&self, entry: &Entry) -> Result<Record, StoreError> {
        let number = entry.number;
        let segment = entry.place.segment;
        let damage = match self.segments.read(entry.place)? {
            Ok(record) if is_of(&record, entry) => return Ok(record),
            Ok(_) => super::Damage::Other,
            Err(damage) => damage,
        };
        // It may have been deleted since it was selected.
        let is_kept = self.read_index(|index| select::is_kept(index, number))?;
        Err(if is_kept {
            StoreError::Damaged {
                number,
                segment,
                why: damage,
            }
        } else {
            StoreError::Gone(number)
        })
    }

    fn epoch(
        &self,
        agent: AgentId,
        session: SessionId,
        epoch: Epoch,
    ) -> Result<Option<Entry>, StoreError> {
        self.read_index(|index| select::epoch(index, agent, session, epoch))
    }

    fn chain(
        &self,
        agent: AgentId,
        session: SessionId,
        after: Option<Sequence>,
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        self.read_index(|index| select::chain(index, agent, session, after, limit))
    }

    fn newest(&self) -> Result<RecordNumber, StoreError> {
        self.read_index(|index| {
            let mut statement =
                index.prepare_cached("SELECT coalesce(max(number), 0) FROM records")?;
            let number: i64 = statement.query_row([], |row| row.get(0))?;
            Ok(RecordNumber(number.cast_unsigned()))
        })
    }

    fn sessions(&self) -> Result<Vec<Session>, StoreError> {
        self.read_index(select::sessions)
    }

    fn shred(&self, agent: AgentId, session: SessionId) -> Result<u64, StoreError> {
        self.shred_session(agent, session)
    }

    fn expire(&self, retention: &Retention, now: WallNanos) -> Result<Expired, StoreError> {
        self.writer().expire(&self.segments, retention, now)
    }

    fn size(&self) -> Result<u64, StoreError> {
        self.read_index(|index| {
            let mut statement =
                index.prepare_cached("SELECT coalesce(sum(length), 0) FROM segments")?;
            let size: i64 = statement.query_row([], |row| row.get(0))?;
            Ok(size.cast_unsigned())
        })
    }
}

/// Whether a record is the one that the index means.
fn is_of(record: &Record, entry: &Entry) -> bool {
    let claims = record.claims();
    (record.link(), claims.sequence, claims.session, claims.agent)
        == (entry.link, entry.sequence, entry.session, entry.agent)
}

/// A time as the index has it: those after the year 2262 are that year.
pub(super) const fn time(at: WallNanos) -> i64 {
    if at.0 > i64::MAX.cast_unsigned() {
        i64::MAX
    } else {
        at.0.cast_signed()
    }
}

pub(super) const fn wall(at: i64) -> WallNanos {
    WallNanos(at.cast_unsigned())
}

const fn stream_code(stream: Stream) -> i64 {
    match stream {
        Stream::Telemetry => 1,
        Stream::Content => 2,
    }
}

fn stream(row: &Row<'_>, column: usize) -> rusqlite::Result<Stream> {
    match row.get(column)? {
        1_i64 => Ok(Stream::Telemetry),
        2 => Ok(Stream::Content),
        other => Err(rusqlite::Error::IntegralValueOutOfRange(column, other)),
    }
}

/// Four columns: next, link, epoch, closed.
fn position(row: &Row<'_>, from: usize) -> rusqlite::Result<Position> {
    let next: i64 = row.get(from)?;
    let epoch: Option<u32> = row.get(from + 2)?;
    Ok(Position {
        next: Sequence(next.cast_unsigned()),
        link: RecordHash(row.get(from + 1)?),
        epoch: epoch.map(Epoch),
        closed: row.get(from + 3)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_store_is_free_though_a_process_that_starts_has_a_copy_of_its_lock() {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(folder.path(), 1 << 20).unwrap();
        let copy = store._lock.0.try_clone().unwrap();
        drop(store);
        assert!(SqliteStore::open(folder.path(), 1 << 20).is_ok());
        drop(copy);
    }
}
