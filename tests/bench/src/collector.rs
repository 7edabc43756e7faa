//! What it costs a collector to take decode steps in, and how long it takes to find them again.

mod agents;
mod amount;
mod site;
mod tail;

use std::{
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use tracer_collector::{
    ingest::{Conversation, Request},
    store::{Outcome, SqliteStore, Store as _},
};
use tracer_event::{Body, Digest, Known, ModelId, Name, RawEvent, RedactedEvent, WallNanos, model};
use tracer_redact::{CaptureLevel, Engine, Policy, RunKey};
use tracer_tests::tracer;
use tracer_wire::{
    BatchBuilder, Frame, PROTOCOL, Recipient, RecipientSecret, Record, Sealer, SigningKey, Stream,
};

use self::site::Prepared;
use crate::{
    clock::cpu_seconds,
    peer::LeftOut,
    row::{Bar, Row},
    sealing::{BEGIN, step},
};

/// Group on the command line.
pub const GROUP: &str = "collector";

/// Events that are taken in for each figure.
const TAKEN: u64 = 1_000_000;
/// Records that are stored together: as many as an agent may send before an answer.
const TOGETHER: usize = 32;
/// Nodes, each with a model of its own, whose events are searched.
const NODES: u64 = 4;
const HOUR: u64 = 3_600_000_000_000;
/// Time over which they are spread.
const DAY: u64 = 24 * HOUR;

/// How much to measure.
#[derive(Clone, Copy, Debug)]
pub struct Extent {
    /// Figures of each row.
    pub repetitions: usize,
    /// Events that are stored when they are searched.
    pub stored: u64,
    /// Events that a fleet of agents sends.
    pub sent: u64,
    /// How long a fleet sends to somebody who follows.
    pub followed: Duration,
    /// Stored batches at which a batch and a search are measured, smallest first.
    pub amounts: &'static [u64],
}

/// Measures taking in, on one thread and over TLS, how fast a follower hears, a query by model over an
/// hour, and what all that costs when much is stored.
///
/// # Errors
/// If something is not stored, or not found.
pub fn measure(extent: Extent, left_out: &mut Vec<LeftOut>) -> Result<Vec<Row>> {
    let engine = Engine::new(Policy::default(), CaptureLevel::Shape, RunKey::new([7; 32]))
        .context("making the engine")?;
    let mut rows = ingest(extent.repetitions, &engine)?;
    let Extent {
        repetitions,
        sent,
        followed,
        amounts,
        ..
    } = extent;
    rows.extend(agents::measure(repetitions, sent, &engine)?);
    rows.extend(tail::measure(repetitions.div_ceil(3), followed, &engine)?);
    rows.push(query(extent, &engine)?);
    rows.extend(amount::measure(repetitions, amounts, &engine, left_out)?);
    Ok(rows)
}

fn ingest(repetitions: usize, engine: &Engine) -> Result<Vec<Row>> {
    let recipient = RecipientSecret::generate()?;
    let key = SigningKey::generate()?;
    let mut records = Vec::new();
    let events = (0..TAKEN).map(|number| step(number).redact(engine));
    seal(events, &key, recipient.recipient(), |record| {
        records.push(record);
        Ok(())
    })?;
    let frames: Vec<Vec<u8>> = records
        .into_iter()
        .map(|record| Frame::Record(Box::new(record)).to_bytes())
        .collect();
    let (mut by_cpu, mut by_wall) = (Vec::new(), Vec::new());
    for _ in 0..repetitions {
        let folder = tempfile::tempdir().context("making a folder")?;
        let store = SqliteStore::open(folder.path(), 64 << 20)?;
        let mut conversation = Conversation::new(key.agent(), 1 << 20);
        let hello = Frame::Hello { version: PROTOCOL }.to_bytes();
        let mut requests = Vec::new();
        conversation.receive(&hello, &mut requests)?;
        let (cpu, wall) = (cpu_seconds(), Instant::now());
        for together in frames.chunks(TOGETHER) {
            for frame in together {
                conversation.receive(frame, &mut requests)?;
            }
            take_in(&store, &mut conversation, &mut requests)?;
        }
        by_cpu.push(million(TAKEN) / (cpu_seconds() - cpu));
        by_wall.push(million(TAKEN) / wall.elapsed().as_secs_f64());
    }
    let note = format!(
        "{repetitions} repetitions of {TAKEN} events, {TOGETHER} records together; read, verified, \
         in the index and synced under TMPDIR; TLS not included"
    );
    Ok(vec![
        Row::judge(
            GROUP,
            "decode steps taken in by a collector, one core",
            "M/s",
            by_cpu,
            Bar::AtLeast(0.5),
            &*note,
        )?,
        Row::judge(
            GROUP,
            "the same, with the waits for the disk",
            "M/s",
            by_wall,
            Bar::None,
            note,
        )?,
    ])
}

fn take_in(
    store: &SqliteStore,
    conversation: &mut Conversation,
    requests: &mut Vec<Request>,
) -> Result<()> {
    let mut records = Vec::with_capacity(requests.len());
    for request in requests.drain(..) {
        if let Request::Append(record) = request {
            records.push(*record);
        }
    }
    let outcomes = store.append(&records, WallNanos(BEGIN))?;
    let mut done = Vec::with_capacity(records.len());
    for (record, outcome) in records.iter().zip(outcomes) {
        ensure!(outcome == Outcome::Stored, "{outcome:?}");
        done.push((record.claims().session, record.claims().sequence, outcome));
    }
    std::hint::black_box(conversation.appended(&done));
    Ok(())
}

/// The whole way: the command, TLS, the index, opening, choosing the events, printing them.
fn query(extent: Extent, engine: &Engine) -> Result<Row> {
    let Extent {
        repetitions,
        stored,
        ..
    } = extent;
    let prepared = Prepared::new()?;
    fill(&prepared, stored, engine)?;
    let site = prepared.listen()?;
    let token = site.reader_token()?;
    let model = model_digest(2);
    let [from, to] = [12 * HOUR, 13 * HOUR].map(|at| WallNanos(BEGIN + at).to_string());
    let mut seconds = Vec::new();
    let expected = stored / NODES / 24;
    for _ in 0..repetitions {
        let begun = Instant::now();
        let output = Command::new(tracer::binary()?)
            .args(["query", "-o", "ndjson", "--kind", "inference.step"])
            .args(["--model", &model.to_string(), "--from", &from, "--to", &to])
            .env("TRACER_READER_TOKEN", &token)
            .stderr(Stdio::inherit())
            .output()
            .context("running tracer query")?;
        seconds.push(begun.elapsed().as_secs_f64());
        let found = output.stdout.iter().filter(|&&byte| byte == b'\n').count() as u64;
        ensure!(
            output.status.success() && found.abs_diff(expected) <= 2,
            "{found} events were found, and {expected} are there"
        );
    }
    site.stop()?;
    let note = format!(
        "{repetitions} repetitions; {stored} events of {NODES} models in 24 hours are stored, \
         {expected} are found; from the command's start to its last line, over TLS"
    );
    let name = "one hour of one model's decode steps";
    Row::judge(GROUP, name, "s", seconds, Bar::AtMost(1.0), note)
}

fn fill(prepared: &Prepared, stored: u64, engine: &Engine) -> Result<()> {
    let telemetry = prepared.telemetry()?;
    let configuration = &prepared.configuration;
    let store = SqliteStore::open(&configuration.store, configuration.segment)?;
    let each = stored / NODES;
    for node in 0..NODES {
        let key = SigningKey::generate()?;
        let loaded = std::iter::once(loaded(node).redact(engine));
        let steps = (0..each).map(|number| {
            let mut event = step(number);
            event.time.wall = WallNanos(BEGIN + number * (DAY / each));
            event.place.node = Name::new(&format!("gpu-{node}"));
            if let Body::Step(step) = &mut event.body {
                step.model = Known::Known(ModelId(node));
            }
            event.redact(engine)
        });
        let mut records = Vec::new();
        let flush = |records: &mut Vec<Record>| {
            let outcomes = store.append(records, now())?;
            ensure!(outcomes.iter().all(|outcome| *outcome == Outcome::Stored));
            records.clear();
            Ok(())
        };
        seal(loaded.chain(steps), &key, telemetry.recipient(), |record| {
            records.push(record);
            if records.len() >= 256 {
                flush(&mut records)?;
            }
            Ok(())
        })?;
        flush(&mut records)?;
    }
    Ok(())
}

fn seal(
    events: impl Iterator<Item = RedactedEvent>,
    key: &SigningKey,
    recipient: &Recipient,
    mut to: impl FnMut(Record) -> Result<()>,
) -> Result<()> {
    let now = WallNanos(BEGIN);
    let recipients = vec![recipient.clone()];
    let (mut sealer, opening) = Sealer::begin(key, Stream::Telemetry, recipients, now)?;
    to(opening)?;
    let mut builder = BatchBuilder::new(Stream::Telemetry);
    for event in events {
        builder.push(&event)?;
        if builder.is_full()
            && let Some(batch) = builder.take()?
        {
            sealer
                .seal(batch, now)?
                .into_records()
                .try_for_each(&mut to)?;
        }
    }
    if let Some(batch) = builder.take()? {
        sealer
            .seal(batch, now)?
            .into_records()
            .try_for_each(&mut to)?;
    }
    sealer.close().try_for_each(to)
}

const fn model_digest(node: u64) -> Digest {
    let mut bytes = [0x5a; 32];
    bytes[0] = node as u8;
    Digest(bytes)
}

/// A load that says which file the steps' model is.
fn loaded(node: u64) -> RawEvent {
    let mut event = step(0);
    event.body = Body::ModelLoaded(Box::new(model::ModelSnapshot {
        model: ModelId(node),
        runtime: Name::new("llama.cpp"),
        runtime_version: Known::Unknown,
        load: model::LoadSeen::Seen,
        load_began: Known::Unknown,
        load_duration: Known::Unknown,
        load_result: Known::Unknown,
        dry_run: Known::Known(false),
        load_parameters: model::LoadParameters::default(),
        contexts: Vec::new(),
        files: Vec::new(),
        header: model::Header {
            digest: Known::Known(model_digest(node)),
            ..model::Header::default()
        },
        chat_template: model::ChatTemplate::UNKNOWN,
        backends: Vec::new(),
        process_threads: Known::Unknown,
        environment: Default::default(),
        limits: model::CgroupLimits::default(),
    }));
    event
}

#[expect(clippy::cast_precision_loss, reason = "some millions")]
fn million(count: u64) -> f64 {
    count as f64 / 1e6
}

fn now() -> WallNanos {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let nanos = since.map_or(0, |since| since.as_nanos());
    WallNanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}
