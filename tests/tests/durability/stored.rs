//! What a collector has, read from its disks, and held against what must be true of it.

use std::{collections::BTreeMap, fs};

use anyhow::{Context as _, Result, ensure};
use tracer_collector::{
    config::Configuration,
    store::{Cursor, RecordNumber, Selection, SqliteStore, Store as _},
};
use tracer_tests::{fleet::Fleet, tracer::Line};
use tracer_wire::{Body, Opener, RecipientSecret, Record, RecordHash, SessionId, Stream};

/// All that is stored, opened.
pub(crate) struct Stored {
    /// Every event, telemetry and content, in the order of sessions.
    pub(crate) events: Vec<Line>,
    /// Records, those that gaps stand for included.
    pub(crate) records: u64,
    /// Records that gaps stand for.
    pub(crate) declared: u64,
    /// Events that gaps say are lost.
    pub(crate) lost: u64,
    /// Sessions that ended in order.
    pub(crate) closed: usize,
    /// All sessions.
    pub(crate) sessions: usize,
}

/// Reads a collector's store, which must not be running, and checks that each session is a row of
/// signed, linked records, each once, whose batches open for those that they were sealed for and for
/// nobody else.
pub(crate) fn read(fleet: &Fleet) -> Result<Stored> {
    let configuration = Configuration::read(&fleet.path("collector/collector.toml"))?;
    let store = SqliteStore::open(&configuration.store, configuration.segment)?;
    let telemetry = fs::read_to_string(fleet.path("collector/telemetry.key"))?;
    let telemetry = RecipientSecret::parse(&telemetry).context("the telemetry key")?;
    let secret = |stream| -> Result<RecipientSecret> {
        Ok(match stream {
            Stream::Telemetry => RecipientSecret::from_bytes(&telemetry.to_bytes())?,
            Stream::Content => RecipientSecret::from_bytes(&fleet.reader.to_bytes())?,
        })
    };
    let mut stored = Stored {
        events: Vec::new(),
        records: 0,
        declared: 0,
        lost: 0,
        closed: 0,
        sessions: 0,
    };
    for session in store.sessions()? {
        stored.sessions += 1;
        stored.closed += usize::from(session.position.closed);
        stored.records += session.position.next.0;
        let records = records(&store, session.stream, session.session)?;
        let (mut right, mut wrong) = match session.stream {
            Stream::Telemetry => (secret(Stream::Telemetry)?, secret(Stream::Content)?),
            Stream::Content => (secret(Stream::Content)?, secret(Stream::Telemetry)?),
        }
        .map(Opener::new, Opener::new);
        let mut next: BTreeMap<u64, RecordHash> = BTreeMap::new();
        for record in &records {
            let claims = record.claims();
            ensure!(
                record.is_signed(),
                "record {} is not signed",
                claims.sequence
            );
            for place in claims.first().0..=claims.sequence.0 {
                let before = next.insert(place, record.link());
                ensure!(
                    before.is_none(),
                    "place {place} of {} twice",
                    session.session
                );
            }
            let before = claims
                .first()
                .0
                .checked_sub(1)
                .and_then(|place| next.get(&place));
            if let Some(link) = before {
                ensure!(
                    *link == claims.previous,
                    "record {} is unlinked",
                    claims.sequence
                );
            }
            match &claims.body {
                Body::Epoch(_) => {
                    right.learn(record)?;
                    ensure!(wrong.learn(record).is_err(), "sealed for somebody else");
                }
                Body::Batch(_) => {
                    for event in right.open(record)?.events() {
                        stored.events.push(event?);
                    }
                    ensure!(wrong.open(record).is_err(), "somebody else opens a batch");
                }
                Body::Gap(gap) => {
                    stored.declared += claims.sequence.0 - claims.first().0 + 1;
                    stored.lost += gap.events.context("what is dropped was counted")?;
                }
                Body::Closing => {}
            }
        }
    }
    Ok(stored)
}

/// Batches and gaps of a session, with the beginning of each epoch before its first batch.
fn records(store: &SqliteStore, stream: Stream, session: SessionId) -> Result<Vec<Record>> {
    let selection = Selection {
        session: Some(session),
        ..Selection::all(stream)
    };
    let mut records = Vec::new();
    let mut epochs = BTreeMap::new();
    let mut after = RecordNumber(0);
    loop {
        let entries = store.select(&selection, Cursor::Arrival { after }, 1000)?;
        let Some(last) = entries.last() else {
            return Ok(records);
        };
        after = last.number;
        for entry in entries {
            if !entry.is_gap && epochs.insert(entry.epoch, ()).is_none() {
                let epoch = store.epoch(entry.agent, session, entry.epoch)?;
                let epoch = epoch.context("the epoch's beginning is stored")?;
                records.push(store.read(&epoch)?);
            }
            records.push(store.read(&entry)?);
        }
    }
}

/// Both halves of a pair.
trait Both<A, B> {
    fn map<C, D>(self, first: impl Fn(A) -> C, second: impl Fn(B) -> D) -> (C, D);
}

impl<A, B> Both<A, B> for (A, B) {
    fn map<C, D>(self, first: impl Fn(A) -> C, second: impl Fn(B) -> D) -> (C, D) {
        (first(self.0), second(self.1))
    }
}
