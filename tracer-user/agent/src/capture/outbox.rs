//! Records on their way from capture to ship.
//!
//! A record leaves the outbox when ship has said that it is on the disk. Until then it waits here, in
//! bounded memory: beyond the bound the oldest batches of telemetry, then those of content, are
//! replaced by gaps. A gap says how many events are gone and from when, and is signed like everything
//! else.

use std::{
    collections::VecDeque,
    mem,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tracer_wire::{Body, Gap, GapReason, Record, Sequence, SessionId, SigningKey, Stream};

use crate::link::PLACES;

/// Bytes of records that wait, at most: what two minutes of a busy host amount to, and a small part
/// of what capture may use.
pub const ROOM: usize = 8 << 20;

/// Records that wait for ship.
pub struct Outbox {
    key: &'static SigningKey,
    room: usize,
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    records: VecDeque<Record>,
    /// Of all records.
    bytes: usize,
    /// How many of the first are with ship, and not kept yet.
    handed: usize,
    /// Whether ship is there.
    is_connected: bool,
    counts: Counts,
}

/// What became of records since the process began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Records that ship keeps.
    pub kept: u64,
    /// Events that were dropped here for lack of room.
    pub dropped_events: u64,
    /// Records that wait.
    pub waiting: u64,
}

impl Outbox {
    /// An empty one.
    #[must_use]
    pub fn new(key: &'static SigningKey, room: usize) -> Self {
        Self {
            key,
            room,
            waiting: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    /// Takes a record. It never waits: the tracing goes on.
    pub fn put(&self, record: Record) {
        let mut waiting = self.lock();
        waiting.bytes += weight(&record);
        waiting.records.push_back(record);
        while waiting.bytes > self.room && waiting.drop_oldest(self.key) {}
        self.changed.notify_all();
    }

    /// The next record for ship; none if there was none for so long, or ship has left.
    pub fn take(&self, patience: Duration) -> Option<Record> {
        let end = Instant::now() + patience;
        let mut waiting = self.lock();
        loop {
            if !waiting.is_connected {
                return None;
            }
            if waiting.handed < PLACES
                && let Some(record) = waiting.records.get(waiting.handed)
            {
                let record = record.clone();
                waiting.handed += 1;
                return Some(record);
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            waiting = match self.changed.wait_timeout(waiting, left) {
                Ok((waiting, _)) => waiting,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
    }

    /// Ship keeps all records of a session up to this one.
    pub fn kept(&self, session: SessionId, through: Sequence) {
        let mut waiting = self.lock();
        let mut index = 0;
        while index < waiting.handed {
            let claims = waiting.records[index].claims();
            if claims.session == session && claims.sequence <= through {
                let record = waiting.records.remove(index).expect("it is there");
                waiting.bytes -= weight(&record);
                waiting.handed -= 1;
                waiting.counts.kept += 1;
            } else {
                index += 1;
            }
        }
        self.changed.notify_all();
    }

    /// Ship has come, or is gone. What was with it and not kept is handed over again.
    pub fn connected(&self, is_connected: bool) {
        let mut waiting = self.lock();
        waiting.handed = 0;
        waiting.is_connected = is_connected;
        self.changed.notify_all();
    }

    /// Whether ship is there.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.lock().is_connected
    }

    /// Waits until ship keeps everything; tells whether it does.
    pub fn drain(&self, patience: Duration) -> bool {
        let end = Instant::now() + patience;
        let mut waiting = self.lock();
        while !waiting.records.is_empty() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            waiting = match self.changed.wait_timeout(waiting, left) {
                Ok((waiting, _)) => waiting,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
        true
    }

    /// What became of records so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let waiting = self.lock();
        Counts {
            waiting: waiting.records.len() as u64,
            ..waiting.counts
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Every change is whole before anything in it can panic.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    /// Replaces the oldest batch that is not with ship, telemetry first; tells whether there was one.
    fn drop_oldest(&mut self, key: &SigningKey) -> bool {
        let of = |stream| {
            let mut rest = self.records.iter().enumerate().skip(self.handed);
            let batch = rest.find(|(_, record)| {
                let claims = record.claims();
                claims.stream == stream && matches!(claims.body, Body::Batch(_))
            });
            batch.map(|(index, _)| index)
        };
        let Some(victim) = of(Stream::Telemetry).or_else(|| of(Stream::Content)) else {
            return false;
        };
        let dropped = gap(&self.records[victim]);
        if let Body::Batch(batch) = &self.records[victim].claims().body {
            self.counts.dropped_events += batch.events();
        }
        // One gap for all that is gone of a session in a row.
        let before = (self.handed..victim)
            .rev()
            .find(|&index| self.records[index].claims().session == dropped.claims().session);
        let joined = before.and_then(|index| {
            let earlier = &self.records[index];
            let is_gap = matches!(earlier.claims().body, Body::Gap(_));
            let joined = is_gap.then(|| gap(earlier).joined(&dropped)).flatten();
            joined.map(|joined| (index, joined))
        });
        let (index, signed) = match joined {
            Some((index, joined)) => {
                let batch = self.records.remove(victim).expect("it is there");
                self.bytes -= weight(&batch);
                (index, Record::gap(joined, key))
            }
            None => (victim, Record::gap(dropped, key)),
        };
        self.bytes += weight(&signed);
        let replaced = mem::replace(&mut self.records[index], signed);
        self.bytes -= weight(&replaced);
        true
    }
}

fn gap(record: &Record) -> Gap {
    Gap::over(record.claims(), record.link(), GapReason::SpoolFull)
}

/// What a record takes in memory, about.
fn weight(record: &Record) -> usize {
    record.sealed().len() + 1024
}

#[cfg(test)]
mod tests {
    use tracer_wire::{Accepted, Verifier};

    use super::*;
    use crate::fixture::{KEY, session};

    fn filled(room: usize, records: &[Record]) -> Outbox {
        let outbox = Outbox::new(&KEY, room);
        for record in records {
            outbox.put(record.clone());
        }
        outbox
    }

    /// All that ship gets.
    fn taken(outbox: &Outbox) -> Vec<Record> {
        let mut records = Vec::new();
        while let Some(record) = outbox.take(Duration::ZERO) {
            outbox.kept(record.claims().session, record.claims().sequence);
            records.push(record);
        }
        records
    }

    /// The records of a stream, which must be a whole session.
    fn of(stream: Stream, records: &[Record]) -> Vec<Record> {
        let records = records
            .iter()
            .filter(|record| record.claims().stream == stream);
        let records: Vec<_> = records.cloned().collect();
        let mut verifier = Verifier::of(records[0].claims());
        for record in &records {
            assert_eq!(verifier.accept(record, |_| None), Ok(Accepted::Next));
        }
        verifier.finish().unwrap();
        records
    }

    #[test]
    fn a_record_leaves_when_ship_keeps_it_and_not_before() {
        let records = session(Stream::Telemetry, 3);
        let outbox = filled(ROOM, &records);
        assert!(outbox.take(Duration::ZERO).is_none(), "nobody is there");
        outbox.connected(true);
        assert_eq!(outbox.take(Duration::ZERO), Some(records[0].clone()));
        assert_eq!(outbox.take(Duration::ZERO), Some(records[1].clone()));
        outbox.kept(records[0].claims().session, Sequence(0));
        // Ship ends and comes back: what it did not keep is handed over again.
        outbox.connected(false);
        assert!(outbox.take(Duration::ZERO).is_none());
        outbox.connected(true);
        assert_eq!(taken(&outbox), records[1..]);
        assert!(outbox.drain(Duration::ZERO));
        assert_eq!(outbox.counts().kept, 5);
    }

    #[test]
    fn no_more_records_are_on_the_way_than_ship_has_places() {
        let records = session(Stream::Telemetry, 2 * PLACES as u64);
        let outbox = filled(ROOM, &records);
        outbox.connected(true);
        let handed = std::iter::from_fn(|| outbox.take(Duration::ZERO)).count();
        assert_eq!(handed, PLACES);
        outbox.kept(records[0].claims().session, Sequence(9));
        let handed = std::iter::from_fn(|| outbox.take(Duration::ZERO)).count();
        assert_eq!(handed, 10);
    }

    #[test]
    fn without_room_the_oldest_telemetry_becomes_a_gap_and_content_stays() {
        let content = session(Stream::Content, 20);
        let telemetry = session(Stream::Telemetry, 60);
        let mixed: Vec<Record> = [&content[..21], &telemetry, &content[21..]].concat();
        let outbox = filled(40 * 1400, &mixed);
        let dropped = outbox.counts().dropped_events;
        assert!((20..60).contains(&dropped), "{dropped}");
        outbox.connected(true);
        let taken = taken(&outbox);
        assert_eq!(of(Stream::Content, &taken), content);
        let telemetry = of(Stream::Telemetry, &taken);
        let gaps: Vec<_> = telemetry
            .iter()
            .filter_map(|record| match &record.claims().body {
                Body::Gap(gap) => gap.events,
                Body::Epoch(_) | Body::Batch(_) | Body::Closing => None,
            })
            .collect();
        assert_eq!(gaps, [dropped]);
    }

    #[test]
    fn content_is_dropped_last_and_declared() {
        let records = session(Stream::Content, 60);
        let outbox = filled(20 * 1400, &records);
        outbox.connected(true);
        let events: u64 = of(Stream::Content, &taken(&outbox))
            .iter()
            .map(|record| match &record.claims().body {
                Body::Gap(gap) => gap.events.unwrap_or(0),
                Body::Batch(batch) => batch.events(),
                Body::Epoch(_) | Body::Closing => 0,
            })
            .sum();
        assert_eq!(events, 60);
    }

    #[test]
    fn what_is_with_ship_is_never_replaced() {
        let records = session(Stream::Telemetry, 60);
        let outbox = Outbox::new(&KEY, 10 * 1400);
        outbox.connected(true);
        for record in &records[..5] {
            outbox.put(record.clone());
        }
        let handed: Vec<_> = std::iter::from_fn(|| outbox.take(Duration::ZERO)).collect();
        for record in &records[5..] {
            outbox.put(record.clone());
        }
        outbox.connected(true);
        let again: Vec<_> = (0..5).filter_map(|_| outbox.take(Duration::ZERO)).collect();
        assert_eq!(again, handed);
    }
}
