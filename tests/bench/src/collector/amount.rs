//! What a batch costs, and a search, in a store that holds many of them already.
//!
//! Ten thousand batches are sealed and stored. The index is then filled with copies of their rows, of other
//! sessions and later times, since ten million batches would take half an hour to seal: a search and a new
//! batch meet the index that they would meet, and nothing that is read is a copy.

use std::{collections::BTreeSet, path::Path, time::Instant};

use anyhow::{Context, Result, anyhow, ensure};
use rusqlite::{Connection, named_params};
use rustix::fs::statvfs;
use tracer_collector::store::{Cursor, Outcome, RecordNumber, Selection, SqliteStore, Store as _};
use tracer_event::{Body, Known, ModelId, WallNanos};
use tracer_redact::Engine;
use tracer_wire::{BatchBuilder, EventKind, RecipientSecret, Record, Sealer, SigningKey, Stream};

use super::{GROUP, HOUR, NODES, TOGETHER, loaded, model_digest, now};
use crate::{
    clock::cpu_seconds,
    peer::LeftOut,
    row::{Bar, Row},
    sealing::{BEGIN, step},
};

/// Batches that are sealed and stored, all nodes together.
const SEALED: u64 = 10_000;
/// Batches of an hour, all nodes together: those that come in addition are of other hours.
const AN_HOUR: u64 = 1000;
/// Events of a batch.
const EVENTS: u64 = 3;
const SEGMENT: u64 = 64 << 20;
/// Of the index, for a batch: measured, rounded up.
const BYTES_OF_INDEX: u64 = 200;
/// What a reader is told at once.
const PAGE: usize = 64;

/// Measures at each of `amounts` of stored batches, smallest first. What the disk has no room for goes to
/// `left_out`.
///
/// # Errors
/// If something is not stored, or not found.
pub(super) fn measure(
    repetitions: usize,
    amounts: &[u64],
    engine: &Engine,
    left_out: &mut Vec<LeftOut>,
) -> Result<Vec<Row>> {
    let folder = tempfile::tempdir().context("making a folder")?;
    let stored = store_base(folder.path(), engine)?;
    let mut rows = Vec::new();
    for &amount in amounts {
        let space = statvfs(folder.path())?;
        let (has, needs) = (space.f_bavail * space.f_frsize, 2 * amount * BYTES_OF_INDEX);
        if has < needs {
            let why = anyhow!("{} MiB are free and {} are needed", has >> 20, needs >> 20);
            let what = format!("a store of {amount} batches");
            left_out.push(LeftOut::because(GROUP, what, &why));
            break;
        }
        grow(folder.path(), &stored, amount)?;
        rows.extend(at(folder.path(), amount, repetitions, engine)?);
    }
    Ok(rows)
}

/// The last numbers of what was really stored.
struct Stored {
    session: i64,
    record: i64,
}

fn store_base(folder: &Path, engine: &Engine) -> Result<Stored> {
    {
        let store = SqliteStore::open(folder, SEGMENT)?;
        for node in 0..NODES {
            let every = HOUR / AN_HOUR;
            let times = (0..SEALED / NODES).map(|number| BEGIN + (number * NODES + node) * every);
            for records in sealed(node, times, engine)?.chunks(512) {
                append(&store, records)?;
            }
        }
    }
    let index = open(folder)?;
    let last = |sql: &str| index.query_row(sql, [], |row| row.get(0));
    Ok(Stored {
        session: last("SELECT max(id) FROM sessions")?,
        record: last("SELECT max(number) FROM records")?,
    })
}

fn open(folder: &Path) -> Result<Connection> {
    let index = Connection::open(folder.join("index.sqlite"))?;
    // Nothing is lost if this fails half way: the figures are not taken then.
    index.pragma_update(None, "journal_mode", "OFF")?;
    index.pragma_update(None, "synchronous", "OFF")?;
    index.pragma_update(None, "cache_size", -256 * 1024)?;
    Ok(index)
}

/// Copies the rows of what was really stored until there are `amount` batches.
fn grow(folder: &Path, stored: &Stored, amount: u64) -> Result<()> {
    const COPIES: [&str; 4] = [
        "INSERT INTO sessions (id, agent, session, stream, next, link, epoch, closed, began, stored, latest)
         SELECT id + :sessions, agent, randomblob(length(session)), stream, next, link, epoch, closed,
         began, stored, latest + :later FROM sessions WHERE id <= :session",
        "INSERT INTO records (number, session, epoch, sequence, body, link, stream, first, last, events,
         segment, position, length)
         SELECT number + :records, session + :sessions, epoch, sequence, body, link, stream,
         first + :later, last + :later, events, segment, position, length
         FROM records WHERE number <= :record",
        "INSERT INTO counts SELECT record + :records, kind, events FROM counts WHERE record <= :record",
        "INSERT INTO mentions SELECT model, first + :later, record + :records FROM mentions
         WHERE record <= :record",
    ];
    let mut index = open(folder)?;
    let transaction = index.transaction()?;
    let batches = |sql: &str| transaction.query_row(sql, [], |row| row.get::<_, i64>(0));
    loop {
        let there = batches("SELECT count(*) FROM records WHERE body = 2")?;
        if there.cast_unsigned() >= amount {
            break;
        }
        // Counting takes longer than copying: as many as are missing, at once.
        for copy in 0..(amount - there.cast_unsigned()).div_ceil(SEALED) {
            let sessions = batches("SELECT max(id) FROM sessions")?;
            let records = batches("SELECT max(number) FROM records")?;
            let blocks = there.cast_unsigned().div_ceil(SEALED) + copy;
            let later = (blocks * (HOUR * SEALED / AN_HOUR)).cast_signed();
            let offsets = named_params! {
                ":sessions": sessions, ":records": records, ":later": later,
                ":session": stored.session, ":record": stored.record,
            };
            for sql in COPIES {
                let mut statement = transaction.prepare_cached(sql)?;
                let wanted: Vec<_> = offsets
                    .iter()
                    .filter(|(name, _)| matches!(statement.parameter_index(name), Ok(Some(_))))
                    .copied()
                    .collect();
                statement.execute(wanted.as_slice())?;
            }
        }
    }
    Ok(transaction.commit()?)
}

/// The rows of a store that holds `amount` batches.
fn at(folder: &Path, amount: u64, repetitions: usize, engine: &Engine) -> Result<Vec<Row>> {
    let store = SqliteStore::open(folder, SEGMENT)?;
    let last = BEGIN + amount / AN_HOUR * HOUR;
    let times = (0..(repetitions * TOGETHER) as u64).map(|number| last + number);
    let records = sealed(0, times, engine)?;
    let (opening, batches) = records.split_first().context("a session has a beginning")?;
    append(&store, std::slice::from_ref(opening))?;
    let (mut storing, mut searching, mut following) = (Vec::new(), Vec::new(), Vec::new());
    let an_hour = Selection {
        from: WallNanos(BEGIN + HOUR),
        to: WallNanos(BEGIN + 2 * HOUR),
        models: BTreeSet::from([model_digest(2)]),
        kinds: BTreeSet::from([EventKind::new("inference.step").context("it is a kind")?]),
        ..Selection::all(Stream::Telemetry)
    };
    for batches in batches.chunks_exact(TOGETHER).take(repetitions) {
        let begun = cpu_seconds();
        append(&store, batches)?;
        storing.push(1e6 * (cpu_seconds() - begun) / TOGETHER as f64);

        let through = store.newest()?;
        let begun = Instant::now();
        let found = store.select(
            &an_hour,
            Cursor::Time {
                after: None,
                through,
            },
            PAGE,
        )?;
        searching.push(1e3 * begun.elapsed().as_secs_f64());
        ensure!(found.len() == PAGE, "{} batches were found", found.len());
        store.read(&found[0])?;

        let after = RecordNumber(through.0 - TOGETHER as u64);
        let begun = Instant::now();
        let all = Selection::all(Stream::Telemetry);
        let found = store.select(&all, Cursor::Arrival { after }, PAGE)?;
        following.push(1e3 * begun.elapsed().as_secs_f64());
        ensure!(found.len() >= TOGETHER, "{} batches arrived", found.len());
    }
    let note = format!(
        "{repetitions} repetitions; {SEALED} batches are real, the others copies of their rows in the index"
    );
    let row = |what: &str, unit, values| {
        let name = format!("{what}, {} batches stored", power(amount));
        Row::judge(GROUP, name, unit, values, Bar::None, &*note)
    };
    Ok(vec![
        row("a batch taken in, CPU time", "µs", storing)?,
        row("first page of an hour of one model", "ms", searching)?,
        row("what has just arrived", "ms", following)?,
    ])
}

fn append(store: &SqliteStore, records: &[Record]) -> Result<()> {
    let outcomes = store.append(records, now())?;
    ensure!(outcomes.iter().all(|outcome| *outcome == Outcome::Stored));
    Ok(())
}

/// 10^5 where that is what it is.
fn power(amount: u64) -> String {
    let exponent = amount.ilog10();
    match 10_u64.pow(exponent) == amount {
        true => format!("10^{exponent}"),
        false => amount.to_string(),
    }
}

/// A session with a batch of a node's decode steps at each of `times`.
fn sealed(node: u64, times: impl Iterator<Item = u64>, engine: &Engine) -> Result<Vec<Record>> {
    let key = SigningKey::generate()?;
    let recipients = vec![RecipientSecret::generate()?.recipient().clone()];
    let now = WallNanos(BEGIN);
    let (mut sealer, opening) = Sealer::begin(&key, Stream::Telemetry, recipients, now)?;
    let mut records = vec![opening];
    let mut builder = BatchBuilder::new(Stream::Telemetry);
    builder.push(&loaded(node).redact(engine))?;
    for time in times {
        for part in 0..EVENTS {
            let mut event = step(part);
            event.time.wall = WallNanos(time + part);
            if let Body::Step(step) = &mut event.body {
                step.model = Known::Known(ModelId(node));
            }
            builder.push(&event.redact(engine))?;
        }
        let batch = builder.take()?.context("events make a batch")?;
        records.extend(sealer.seal(batch, now)?.into_records());
    }
    Ok(records)
}
