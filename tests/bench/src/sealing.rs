//! What it costs to seal decode steps, and to check what was sealed: on one thread, in its own CPU
//! time.

use std::{hint::black_box, sync::Arc};

use anyhow::{Context, Result, ensure};
use tracer_event::{
    Body, BootNanos, Cgroup, ContextId, Cpu, Digest, Event, Grant, Known, Level, ModelId, Moment,
    Name, Nanos, Pid, Place, RawEvent, RedactedEvent, Schema, StartTicks, Tid, WallNanos,
    inference,
};
use tracer_redact::{CaptureLevel, Engine, Policy, RunKey};
use tracer_wire::{
    Accepted, BatchBuilder, Opener, RecipientSecret, Record, Sealer, SigningKey, Stream, Verifier,
};

use crate::{
    clock::cpu_seconds,
    row::{Bar, Row},
};

/// Group on the command line.
pub const GROUP: &str = "sealing";

/// Events of each figure.
const EVENTS: u64 = 200_000;
/// 2026-11-23.
pub(crate) const BEGIN: u64 = 1_795_402_800_000_000_000;

/// How much to measure.
#[derive(Clone, Copy, Debug)]
pub struct Extent {
    /// Figures of each row.
    pub repetitions: usize,
}

/// Measures sealing, its size, and checking without and with the recipient's key.
///
/// # Errors
/// If something cannot be sealed, or does not come out as it went in.
pub fn measure(extent: Extent) -> Result<Vec<Row>> {
    let events = steps(EVENTS)?;
    let mut figures = Figures::default();
    for _ in 0..extent.repetitions {
        figures.once(&events)?;
    }
    let Figures {
        sealed,
        size,
        verified,
        opened,
    } = figures;
    let note = format!(
        "{} repetitions of {EVENTS} events in batches of 256 KiB",
        extent.repetitions
    );
    [
        ("decode steps to sealed records, one core", "M/s", sealed),
        ("a decode step in sealed records", "B", size),
        (
            "decode steps verified without a key, one core",
            "M/s",
            verified,
        ),
        (
            "decode steps opened by a recipient, one core",
            "M/s",
            opened,
        ),
    ]
    .into_iter()
    .map(|(name, unit, values)| Row::judge(GROUP, name, unit, values, Bar::None, &*note))
    .collect()
}

/// Seals `count` decode steps and returns how many records came of them.
///
/// # Errors
/// As [`measure`].
pub fn work(count: u64) -> Result<usize> {
    let (key, recipient) = (SigningKey::generate()?, RecipientSecret::generate()?);
    Ok(seal(&steps(count)?, &key, &recipient)?.len())
}

fn steps(count: u64) -> Result<Vec<RedactedEvent>> {
    let policy = Policy::default();
    let engine = Engine::new(policy, CaptureLevel::Shape, RunKey::new([7; 32]))
        .context("making the engine")?;
    let steps = (0..count).map(|number| step(number).redact(&engine));
    Ok(steps.collect())
}

#[derive(Default)]
struct Figures {
    sealed: Vec<f64>,
    size: Vec<f64>,
    verified: Vec<f64>,
    opened: Vec<f64>,
}

impl Figures {
    fn once(&mut self, events: &[RedactedEvent]) -> Result<()> {
        #[expect(clippy::cast_precision_loss, reason = "some hundred thousand events")]
        let count = events.len() as f64;
        let key = SigningKey::generate()?;
        let recipient = RecipientSecret::generate()?;

        let begun = cpu_seconds();
        let sealed = seal(events, &key, &recipient)?;
        self.sealed.push(count / (cpu_seconds() - begun) / 1e6);
        let bytes: Vec<_> = sealed.iter().map(Record::to_bytes).collect();
        #[expect(clippy::cast_precision_loss, reason = "some megabytes")]
        let size = bytes.iter().map(Vec::len).sum::<usize>() as f64;
        self.size.push(size / count);

        let begun = cpu_seconds();
        let records = verify(&bytes)?;
        self.verified.push(count / (cpu_seconds() - begun) / 1e6);

        let mut opener = Opener::new(recipient);
        let mut opened = 0;
        let begun = cpu_seconds();
        for record in &records {
            opener.learn(record)?;
            if let tracer_wire::Body::Batch(_) = record.claims().body {
                let contents = opener.open(record)?;
                opened += black_box(contents.ndjson())
                    .iter()
                    .filter(|&&byte| byte == b'\n')
                    .count();
            }
        }
        self.opened.push(count / (cpu_seconds() - begun) / 1e6);
        ensure!(opened == events.len(), "{opened} events came out");
        Ok(())
    }
}

fn seal(
    events: &[RedactedEvent],
    key: &SigningKey,
    recipient: &RecipientSecret,
) -> Result<Vec<Record>> {
    let recipients = vec![recipient.recipient().clone()];
    let now = WallNanos(BEGIN);
    let (mut sealer, opening) = Sealer::begin(key, Stream::Telemetry, recipients, now)?;
    let mut records = vec![opening];
    let mut builder = BatchBuilder::new(Stream::Telemetry);
    for event in events {
        builder.push(event)?;
        if builder.is_full()
            && let Some(batch) = builder.take()?
        {
            records.extend(sealer.seal(batch, now)?.into_records());
        }
    }
    if let Some(batch) = builder.take()? {
        records.extend(sealer.seal(batch, now)?.into_records());
    }
    records.extend(sealer.close());
    Ok(records)
}

fn verify(sealed: &[Vec<u8>]) -> Result<Vec<Record>> {
    let records: Vec<_> = sealed
        .iter()
        .map(|bytes| Record::parse(bytes))
        .collect::<Result<_, _>>()?;
    let first = records.first().context("a session has records")?;
    let mut verifier = Verifier::of(first.claims());
    for record in &records {
        ensure!(verifier.accept(record, |_| None)? == Accepted::Next);
    }
    verifier.finish()?;
    Ok(records)
}

/// A decode step as llama.cpp's profile tells it, about 10 ms after the one before.
pub(crate) fn step(number: u64) -> RawEvent {
    let jitter = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 44;
    let time = number * 10_000_000 + jitter;
    Event {
        schema: Schema,
        time: Moment {
            boot: BootNanos(4_526_177_075_150 + time),
            wall: WallNanos(BEGIN + time),
        },
        place: Place {
            cpu: Some(Cpu(u16::from(jitter % 2 == 1))),
            pid: Some(Pid(16_354)),
            tid: Some(Tid(16_354)),
            start: Some(StartTicks(452_193)),
            cgroup: Some(Cgroup(1)),
            ..Place::node(Name::new("gpu-7"))
        },
        probe: Some(Name::new("llama/decode")),
        grant: Arc::new(Grant {
            name: Name::new("local"),
            level: Level::Shape,
            policy: Digest([0xab; 32]),
        }),
        late: false,
        body: Body::Step(Box::new(inference::Step {
            context: Known::Known(ContextId(1)),
            model: Known::Known(ModelId(1)),
            kind: Known::Known(inference::StepKind::Decode),
            duration: Known::Known(Nanos(9_000_000 + jitter)),
            tokens: Known::Known(1),
            sequences: Known::Known(1),
            outcome: inference::Outcome::Returned(0),
            warm_up: false,
            approximate: false,
        })),
    }
}
