//! Taking records in.

use std::{cell::RefCell, collections::HashMap};

use rusqlite::{Connection, OptionalExtension as _, Transaction, TransactionBehavior, params};
use tracer_event::{Digest, WallNanos};
use tracer_wire::{
    Accepted, AgentId, Body, ChainError, Claims, EventKind, Position, Record, RecordHash, Sequence,
    SessionId, Stream, Verifier,
};

use super::{position, stream, stream_code, time};
use crate::store::{
    Outcome, StoreError,
    segments::{self, HEADER, Open, Segments},
};

/// Sessions whose position is remembered, at most.
const REMEMBERED: usize = 4096;

/// The one that writes.
pub(super) struct Writer {
    pub(super) index: Connection,
    /// The segment that each stream's records are added to.
    pub(super) open: HashMap<Stream, Open>,
    /// Bytes at which a segment is closed.
    segment_bytes: u64,
    sessions: HashMap<(AgentId, SessionId), Known>,
    /// The longest time between first and last event so far.
    longest: i64,
    /// Numbers of kinds and models in the index.
    kinds: HashMap<EventKind, i64>,
    models: HashMap<Digest, i64>,
    /// Whether what is on the disk is not known.
    is_broken: bool,
}

/// A session in the index.
#[derive(Clone)]
struct Known {
    id: i64,
    verifier: Verifier,
    stream: Stream,
    latest: i64,
}

/// Records that are being added to the segment of a stream.
struct Added {
    bytes: Vec<u8>,
    segment: i64,
    /// Where the first of the bytes will be.
    begins: u64,
}

impl Writer {
    pub(super) fn open(
        index: Connection,
        segments: &Segments,
        segment_bytes: u64,
    ) -> Result<Self, StoreError> {
        let known: Vec<(i64, Stream, i64, bool)> = index
            .prepare("SELECT number, stream, length, open FROM segments")?
            .query_map([], |row| {
                Ok((row.get(0)?, stream(row, 1)?, row.get(2)?, row.get(3)?))
            })?
            .collect::<Result<_, _>>()?;
        let numbers: Vec<u64> = known
            .iter()
            .map(|(number, ..)| number.cast_unsigned())
            .collect();
        segments.keep_only(&numbers)?;
        let mut open = HashMap::new();
        for (number, stream, length, is_open) in known {
            if is_open {
                let resumed = segments.resume(number.cast_unsigned(), length.cast_unsigned())?;
                open.insert(stream, resumed);
            }
        }
        let longest = index.query_row("SELECT longest FROM spans", [], |row| row.get(0))?;
        Ok(Self {
            index,
            open,
            segment_bytes,
            sessions: HashMap::new(),
            longest,
            kinds: HashMap::new(),
            models: HashMap::new(),
            is_broken: false,
        })
    }

    pub(super) fn append(
        &mut self,
        segments: &Segments,
        records: &[Record],
        now: WallNanos,
    ) -> Result<Vec<Outcome>, StoreError> {
        if self.is_broken {
            return Err(StoreError::Broken);
        }
        for record in records {
            self.make_segment(segments, record.claims().stream, now)?;
        }
        let result = self.append_all(records, now);
        if result.is_err() {
            // What is remembered may be of the transaction that was rolled back.
            self.sessions.clear();
            self.kinds.clear();
            self.models.clear();
            for open in self.open.values_mut() {
                self.is_broken |= open.revert().is_err();
            }
        }
        result
    }

    fn append_all(
        &mut self,
        records: &[Record],
        now: WallNanos,
    ) -> Result<Vec<Outcome>, StoreError> {
        let Self {
            index,
            open,
            sessions,
            longest,
            kinds,
            models,
            is_broken,
            segment_bytes: _,
        } = self;
        let mut added: HashMap<Stream, Added> = HashMap::new();
        for (stream, open) in open.iter() {
            added.insert(
                *stream,
                Added {
                    bytes: Vec::new(),
                    segment: open.number.cast_signed(),
                    begins: open.length,
                },
            );
        }
        let transaction = index.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut adding = Adding {
            transaction: &transaction,
            kinds,
            models,
            longest: *longest,
            now: time(now),
        };
        if sessions.len() > REMEMBERED {
            sessions.clear();
        }
        let mut outcomes = Vec::with_capacity(records.len());
        for record in records {
            let claims = record.claims();
            let key = (claims.agent, claims.session);
            let mut known = match sessions.get(&key) {
                Some(known) => known.clone(),
                None => adding.session(claims)?,
            };
            let outcome = adding.check(&mut known, record)?;
            if outcome == Outcome::Stored {
                let to = added
                    .get_mut(&claims.stream)
                    .expect("a segment was made for each record's stream");
                adding.store(&mut known, record, to)?;
            }
            // A session that begins with a record that was refused is none.
            if known.id != NEW {
                sessions.insert(key, known);
            }
            outcomes.push(outcome);
        }
        *longest = adding.longest;
        for (stream, added) in added {
            let is_empty = added.bytes.is_empty();
            let Some(open) = open.get_mut(&stream).filter(|_| !is_empty) else {
                continue;
            };
            open.write(&added.bytes)?;
            // After a failed sync nobody knows what the disk has, now or later.
            open.sync().inspect_err(|_| *is_broken = true)?;
            transaction
                .prepare_cached("UPDATE segments SET length = ?, newest = ? WHERE number = ?")?
                .execute(params![
                    (added.begins + added.bytes.len() as u64).cast_signed(),
                    time(now),
                    added.segment,
                ])?;
        }
        transaction.execute("UPDATE spans SET longest = ?", [*longest])?;
        transaction.commit()?;
        open.values_mut().for_each(Open::count_written);
        Ok(outcomes)
    }

    /// Sees that a stream has a segment with room.
    fn make_segment(
        &mut self,
        segments: &Segments,
        stream: Stream,
        now: WallNanos,
    ) -> Result<(), StoreError> {
        let has_room = self
            .open
            .get(&stream)
            .is_some_and(|open| open.length < self.segment_bytes);
        if has_room {
            return Ok(());
        }
        let transaction = self
            .index
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute(
            "UPDATE segments SET open = 0 WHERE stream = ?",
            [stream_code(stream)],
        )?;
        transaction.execute(
            "INSERT INTO segments (stream, length, newest, open) VALUES (?, 0, ?, 1)",
            params![stream_code(stream), time(now)],
        )?;
        let number = transaction.last_insert_rowid().cast_unsigned();
        // The file comes first: one that the index does not know is deleted on opening.
        let open = segments.create(number)?;
        transaction.commit()?;
        self.open.insert(stream, open);
        Ok(())
    }

    /// Forgets where sessions stand, because somebody else has written.
    pub(super) fn forget(&mut self) {
        self.sessions.clear();
    }
}

/// Stands for a session that the index does not have.
const NEW: i64 = 0;

/// One transaction that adds records.
struct Adding<'a> {
    transaction: &'a Transaction<'a>,
    kinds: &'a mut HashMap<EventKind, i64>,
    models: &'a mut HashMap<Digest, i64>,
    longest: i64,
    now: i64,
}

impl Adding<'_> {
    fn session(&self, claims: &Claims) -> Result<Known, StoreError> {
        let mut statement = self.transaction.prepare_cached(
            "SELECT id, stream, latest, next, link, epoch, closed FROM sessions
             WHERE agent = ? AND session = ?",
        )?;
        let found = statement
            .query_row(params![claims.agent.0, claims.session.0], |row| {
                Ok(Known {
                    id: row.get(0)?,
                    stream: stream(row, 1)?,
                    latest: row.get(2)?,
                    verifier: Verifier::resume(claims, position(row, 3)?),
                })
            })
            .optional()?;
        Ok(found.unwrap_or_else(|| Known {
            id: NEW,
            stream: claims.stream,
            latest: 0,
            verifier: Verifier::resume(claims, Position::START),
        }))
    }

    fn check(&self, known: &mut Known, record: &Record) -> Result<Outcome, StoreError> {
        let claims = record.claims();
        let is_counted = i64::try_from(claims.sequence.0).is_ok();
        if known.stream != claims.stream || !is_counted {
            return Ok(Outcome::Refused(ChainError::OtherSession(claims.sequence)));
        }
        let failure = RefCell::new(None);
        let id = known.id;
        let accepted = known.verifier.accept(record, |at| {
            let link = self.link(id, at);
            link.unwrap_or_else(|error| {
                failure.replace(Some(error));
                None
            })
        });
        if let Some(error) = failure.into_inner() {
            return Err(error);
        }
        Ok(match accepted {
            Ok(Accepted::Next) => Outcome::Stored,
            Ok(Accepted::Repeated) => Outcome::Repeated,
            Err(error) => Outcome::Refused(error),
        })
    }

    fn link(&self, session: i64, at: Sequence) -> Result<Option<RecordHash>, StoreError> {
        let mut statement = self
            .transaction
            .prepare_cached("SELECT link FROM records WHERE session = ? AND sequence = ?")?;
        let link = statement
            .query_row(params![session, at.0.cast_signed()], |row| row.get(0))
            .optional()?;
        Ok(link.map(RecordHash))
    }

    fn store(
        &mut self,
        known: &mut Known,
        record: &Record,
        to: &mut Added,
    ) -> Result<(), StoreError> {
        let claims = record.claims();
        let (body, first, last, events) = match &claims.body {
            Body::Epoch(_) => (1, self.now, self.now, Some(0)),
            Body::Batch(batch) => {
                let (first, last) = (time(batch.first), time(batch.last));
                (2, first, last, Some(batch.events()))
            }
            Body::Gap(gap) => {
                let span = gap.span.map(|(first, last)| (time(first), time(last)));
                let (first, last) = span.unwrap_or((known.latest, self.now));
                (3, first, last, gap.events)
            }
            Body::Closing => (4, self.now, self.now, Some(0)),
        };
        // An agent's clock may run backwards; what it says is kept, and found.
        let (first, last) = (first.min(last), first.max(last));
        if matches!(claims.body, Body::Batch(_) | Body::Gap(_)) {
            known.latest = known.latest.max(last);
            self.longest = self.longest.max(last.saturating_sub(first));
        }
        self.store_session(known, claims)?;
        let position = to.begins + to.bytes.len() as u64;
        let length = segments::append(&record.to_bytes(), &mut to.bytes);
        debug_assert_eq!(
            to.begins + to.bytes.len() as u64,
            position + (HEADER as u64) + u64::from(length)
        );
        self.transaction
            .prepare_cached(
                "INSERT INTO records (session, epoch, sequence, body, link, stream, first, last,
                 events, segment, position, length) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            )?
            .execute(params![
                known.id,
                claims.epoch.0,
                claims.sequence.0.cast_signed(),
                body,
                record.link().0,
                stream_code(claims.stream),
                first,
                last,
                events.map(u64::cast_signed),
                to.segment,
                position.cast_signed(),
                length,
            ])?;
        if let Body::Batch(batch) = &claims.body {
            let number = self.transaction.last_insert_rowid();
            for (kind, count) in &batch.kinds {
                let kind = self.kind(kind)?;
                self.transaction
                    .prepare_cached("INSERT INTO counts (record, kind, events) VALUES (?, ?, ?)")?
                    .execute(params![number, kind, count])?;
            }
            for model in &batch.models {
                let model = self.model(*model)?;
                self.transaction
                    .prepare_cached(
                        "INSERT OR IGNORE INTO mentions (model, first, record) VALUES (?, ?, ?)",
                    )?
                    .execute(params![model, first, number])?;
            }
        }
        Ok(())
    }

    fn store_session(&self, known: &mut Known, claims: &Claims) -> Result<(), StoreError> {
        let Position {
            next,
            link,
            epoch,
            closed,
        } = known.verifier.position();
        let epoch = epoch.map(|epoch| epoch.0);
        let next = next.0.cast_signed();
        if known.id == NEW {
            self.transaction
                .prepare_cached(
                    "INSERT INTO sessions (agent, session, stream, next, link, epoch, closed, began,
                     stored, latest) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                )?
                .execute(params![
                    claims.agent.0,
                    claims.session.0,
                    stream_code(claims.stream),
                    next,
                    link.0,
                    epoch,
                    closed,
                    self.now,
                    self.now,
                    known.latest,
                ])?;
            known.id = self.transaction.last_insert_rowid();
            return Ok(());
        }
        self.transaction
            .prepare_cached(
                "UPDATE sessions SET next = ?, link = ?, epoch = ?, closed = ?, stored = ?,
                 latest = ? WHERE id = ?",
            )?
            .execute(params![
                next,
                link.0,
                epoch,
                closed,
                self.now,
                known.latest,
                known.id
            ])?;
        Ok(())
    }

    fn kind(&mut self, kind: &EventKind) -> Result<i64, StoreError> {
        if let Some(id) = self.kinds.get(kind) {
            return Ok(*id);
        }
        let name = kind.as_str();
        self.transaction
            .execute("INSERT OR IGNORE INTO kinds (name) VALUES (?)", [name])?;
        let id =
            self.transaction
                .query_row("SELECT id FROM kinds WHERE name = ?", [name], |row| {
                    row.get(0)
                })?;
        if self.kinds.len() < REMEMBERED {
            self.kinds.insert(kind.clone(), id);
        }
        Ok(id)
    }

    fn model(&mut self, model: Digest) -> Result<i64, StoreError> {
        if let Some(id) = self.models.get(&model) {
            return Ok(*id);
        }
        self.transaction.execute(
            "INSERT OR IGNORE INTO models (digest) VALUES (?)",
            [model.0],
        )?;
        let id = self.transaction.query_row(
            "SELECT id FROM models WHERE digest = ?",
            [model.0],
            |row| row.get(0),
        )?;
        if self.models.len() < REMEMBERED {
            self.models.insert(model, id);
        }
        Ok(id)
    }
}
