//! What the spool has of each session, in memory.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Range,
};

use tracer_wire::{Record, Sequence, SessionId};

use super::{kind_of, segment::SegmentId};

/// Where a record lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) segment: SegmentId,
    pub(super) offset: u64,
    pub(super) length: usize,
    /// The first place that it fills; the last is its key.
    pub(super) first: Sequence,
    pub(super) kind: Kind,
    /// Whether it was there at the last commit.
    is_kept: bool,
    /// How often the disk failed to read it.
    failures: u8,
}

/// What may become of a record when room is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// It becomes a gap.
    Batch,
    /// It is one.
    Gap,
    /// It is needed to read others.
    Other,
}

impl Entry {
    pub(super) fn new(record: &Record, segment: SegmentId, range: Range<usize>) -> Self {
        Self {
            segment,
            offset: range.start as u64,
            length: range.len(),
            first: record.claims().first(),
            kind: kind_of(&record.claims().body),
            is_kept: false,
            failures: 0,
        }
    }
}

/// All records that are to be delivered.
#[derive(Default)]
pub(super) struct Index {
    sessions: HashMap<SessionId, Session>,
    /// Sessions in the order in which they were met.
    order: BTreeMap<u64, SessionId>,
    met: u64,
    /// How many entries each segment has.
    used: BTreeMap<SegmentId, u64>,
    /// What was added since the last commit.
    uncommitted: Vec<(SessionId, Sequence)>,
}

struct Session {
    entries: BTreeMap<Sequence, Entry>,
    /// The last that was ever taken, delivered or not.
    last: Sequence,
}

impl Index {
    /// Adds a record that was found, unless all that it stands for was found before: then a drop was
    /// cut short, and what it wrote down may be read and not be on the disk.
    pub(super) fn recover(&mut self, record: &Record, entry: Entry) {
        let claims = record.claims();
        if !self.has_all(claims.session, entry.first, claims.sequence) {
            self.insert(record, entry);
        }
    }

    fn has_all(&self, session: SessionId, first: Sequence, last: Sequence) -> bool {
        let Some(session) = self.sessions.get(&session) else {
            return false;
        };
        let mut next = first;
        for (sequence, entry) in session.entries.range(first..=last) {
            if entry.first != next {
                return false;
            }
            next = sequence.next();
        }
        next == last.next()
    }

    /// Adds a record. What a gap replaces leaves; what a gap has replaced does not come back.
    pub(super) fn insert(&mut self, record: &Record, entry: Entry) {
        let claims = record.claims();
        let (id, last) = (claims.session, claims.sequence);
        let session = self.sessions.entry(id).or_insert_with(|| {
            self.met += 1;
            self.order.insert(self.met, id);
            Session {
                entries: BTreeMap::new(),
                last,
            }
        });
        session.last = session.last.max(last);
        let covering = session.entries.range(last..).next();
        let is_replaced = covering.is_some_and(|(end, other)| {
            let is_larger =
                other.first <= entry.first && (*end, other.first) != (last, entry.first);
            // The same record may lie in two segments, if the power went between its second
            // writing and the removal of the first.
            let is_gap_of_it =
                other.first == entry.first && other.kind == Kind::Gap && entry.kind != Kind::Gap;
            is_larger || is_gap_of_it
        });
        if is_replaced {
            return;
        }
        let replaced: Vec<_> = session
            .entries
            .range(entry.first..=last)
            .filter(|(_, other)| other.first >= entry.first)
            .map(|(sequence, _)| *sequence)
            .collect();
        for sequence in replaced {
            self.remove(id, sequence);
        }
        *self.used.entry(entry.segment).or_default() += 1;
        self.uncommitted.push((id, last));
        if let Some(session) = self.sessions.get_mut(&id) {
            session.entries.insert(last, entry);
        }
    }

    /// All that is there is kept from now on.
    pub(super) fn commit(&mut self) {
        for (session, sequence) in self.uncommitted.drain(..) {
            let session = self.sessions.get_mut(&session);
            if let Some(entry) = session.and_then(|session| session.entries.get_mut(&sequence)) {
                entry.is_kept = true;
            }
        }
    }

    pub(super) fn count(&self) -> u64 {
        self.used.values().sum()
    }

    /// Sessions with something to deliver, the oldest first.
    pub(super) fn sessions(&self) -> impl Iterator<Item = SessionId> {
        let has_entries = |id: &&SessionId| {
            let session = self.sessions.get(*id);
            session.is_some_and(|session| !session.entries.is_empty())
        };
        self.order.values().filter(has_entries).copied()
    }

    /// The last record that was taken of a session.
    pub(super) fn last(&self, session: SessionId) -> Option<Sequence> {
        self.sessions.get(&session).map(|session| session.last)
    }

    /// The first kept entry that ends at or after a place.
    pub(super) fn next(&self, session: SessionId, place: Sequence) -> Option<(Sequence, Entry)> {
        let mut entries = self.sessions.get(&session)?.entries.range(place..);
        let (sequence, entry) = entries.next()?;
        entry.is_kept.then_some((*sequence, *entry))
    }

    pub(super) fn remove(&mut self, session: SessionId, sequence: Sequence) {
        let entries = self.sessions.get_mut(&session);
        let Some(entry) = entries.and_then(|session| session.entries.remove(&sequence)) else {
            return;
        };
        if let Some(count) = self.used.get_mut(&entry.segment) {
            *count -= 1;
        }
    }

    /// Forgets what was delivered.
    pub(super) fn acknowledge(&mut self, id: SessionId, through: Sequence) {
        let Some(session) = self.sessions.get(&id) else {
            return;
        };
        let delivered: Vec<_> = session
            .entries
            .range(..=through)
            .map(|(key, _)| *key)
            .collect();
        for sequence in delivered {
            self.remove(id, sequence);
        }
    }

    /// The disk failed to read an entry; tells how often it has.
    pub(super) fn count_failure(&mut self, session: SessionId, sequence: Sequence) -> u8 {
        let session = self.sessions.get_mut(&session);
        let entry = session.and_then(|session| session.entries.get_mut(&sequence));
        entry.map_or(0, |entry| {
            entry.failures = entry.failures.saturating_add(1);
            entry.failures
        })
    }

    /// Whether a segment holds a batch, so that dropping it makes room.
    pub(super) fn has_batches(&self, segment: SegmentId) -> bool {
        let mut entries = self
            .sessions
            .values()
            .flat_map(|session| session.entries.values());
        entries.any(|entry| entry.segment == segment && entry.kind == Kind::Batch)
    }

    /// The entries in a segment, session by session, in their order.
    pub(super) fn entries_in(&self, segment: SegmentId) -> Vec<Vec<Entry>> {
        let sessions = self.order.values().filter_map(|id| self.sessions.get(id));
        sessions
            .map(|session| {
                let entries = session.entries.values();
                entries
                    .filter(|entry| entry.segment == segment)
                    .copied()
                    .collect()
            })
            .filter(|entries: &Vec<Entry>| !entries.is_empty())
            .collect()
    }

    /// Forgets what lay in a segment that is gone.
    pub(super) fn forget_segment(&mut self, segment: SegmentId) {
        for session in self.sessions.values_mut() {
            session.entries.retain(|_, entry| entry.segment != segment);
        }
        self.used.remove(&segment);
    }

    pub(super) fn is_used(&self, segment: SegmentId) -> bool {
        self.used.get(&segment).is_some_and(|&count| count > 0)
    }
}
