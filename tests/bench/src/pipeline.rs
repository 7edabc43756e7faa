//! How fast records become redacted events at a sink: calls of two rings, interleaved in time, in
//! bursts of the default rings' size. The records are made in memory, since the BPF generator of
//! [`drain`](crate::drain) makes only entries, and an event needs a call's end.

use std::{hint::black_box, io, sync::Arc};

use anyhow::{Result, ensure};
use tracer_abi::{Phase, RecordHeader, RecordKind};
use tracer_event::{BootNanos, Label, Name, RedactedEvent};
use tracer_pipeline::{Options, Pipeline, ProbeSource, Sink};
use tracer_probe::{
    Config, Observation,
    observation::{ProbeId, RecordBatch},
};
use tracer_profile::{Probe, Profile};
use tracer_redact::{CaptureLevel, Engine, Policy, RunKey};

use crate::{
    clock::cpu_seconds,
    row::{Bar, Row},
};

/// Group on the command line.
pub const GROUP: &str = "pipeline";

const PROFILE: &str = r#"
name = "pipeline"
runtime = "pipeline"
recognise = ["step"]

[[probe]]
name = "step"
signal = "step"
group = "steps"
rate = 1
symbols = ["step"]
fields = { context = "address rdi" }
"#;

const RINGS: u16 = 2;
/// A record with the ring's own 8 bytes.
const RECORD_BYTES: usize = 64 + 8;
/// Records of one burst.
const BURST: u64 = (Config::RING_BYTES / RECORD_BYTES) as u64;

/// How much to measure.
#[derive(Clone, Copy, Debug)]
pub struct Extent {
    /// Figures.
    pub repetitions: usize,
    /// Bursts of each figure.
    pub bursts: u64,
}

/// Measures merging, decoding, correlating and redacting on one thread, in its own CPU time.
///
/// # Errors
/// If the pipeline fails or leaves a record out.
pub fn measure(extent: Extent) -> Result<Row> {
    let loaded = Loaded(tracer_profile::read("pipeline", PROFILE)?);
    let speeds = (0..extent.repetitions)
        .map(|_| written(extent.bursts, &loaded, cpu_seconds))
        .collect::<Result<Vec<_>>>()?;
    let note = format!(
        "{} repetitions of {} bursts of {BURST} records made in memory",
        extent.repetitions, extent.bursts
    );
    let name = "64 B records to redacted events, one core";
    Row::judge(GROUP, name, "M/s", speeds, Bar::None, note)
}

/// Makes events of `bursts` bursts and returns how many records there were.
///
/// # Errors
/// As [`measure`].
pub fn work(bursts: u64) -> Result<u64> {
    let loaded = Loaded(tracer_profile::read("pipeline", PROFILE)?);
    // valgrind hides the part of the kernel that this clock asks.
    written(bursts, &loaded, || 0.0)?;
    Ok(bursts * BURST)
}

/// Millions of records a second of `clock`.
fn written(bursts: u64, loaded: &Loaded, clock: fn() -> f64) -> Result<f64> {
    let options = Options {
        node: Name::new("bench"),
        grant: Name::new("local"),
        version: Label::new("bench"),
        kernel: Name::new("bench"),
        profiles: Arc::from([loaded.0.clone()]),
        window: Options::WINDOW,
        limit: Options::LIMIT,
    };
    let key = RunKey::new([7; 32]);
    let engine = Engine::new(Policy::default(), CaptureLevel::Shape, key)?;
    let mut pipeline = Pipeline::new(options, engine);
    let mut sink = Discard;
    let mut seconds = 0.0;
    for number in 0..bursts {
        let batches = burst(number);
        let start = clock();
        for batch in batches {
            pipeline.push(Observation::Records(batch));
        }
        pipeline.advance(BootNanos(u64::MAX), loaded, &mut sink)?;
        seconds += clock() - start;
    }
    let summary = pipeline.finish(loaded, &mut sink)?;
    ensure!(
        summary.records == bursts * BURST && summary.events >= summary.records,
        "{} of {} records were read, and became {} events",
        summary.records,
        bursts * BURST,
        summary.events
    );
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    Ok(summary.records as f64 / seconds / 1e6)
}

/// The records of one burst, 100 ns apart, each ring's in its own order.
fn burst(number: u64) -> Vec<RecordBatch> {
    let mut batches: Vec<_> = (0..RINGS).map(RecordBatch::new).collect();
    for call in number * BURST..(number + 1) * BURST {
        let cpu = u16::try_from(call % u64::from(RINGS)).expect("below RINGS");
        let header = RecordHeader {
            kind: RecordKind::Call as u8,
            phase: Phase::Exit as u8,
            cpu,
            pid: 1,
            tid: 1,
            time: call * 100,
            duration: 50,
            call,
            value_count: 1,
            ..RecordHeader::default()
        };
        let mut record = [0; 64];
        let (words, _) = record.as_chunks_mut::<8>();
        for (place, word) in words.iter_mut().zip(header.to_words()) {
            *place = word.to_le_bytes();
        }
        words[7] = 0x7f00_0000_0000_u64.to_le_bytes();
        batches[usize::from(cpu)].push(&record);
    }
    batches
}

/// The one probe that the records name.
struct Loaded(Profile);

impl ProbeSource for Loaded {
    fn probe(&self, id: ProbeId) -> Option<(&Profile, &Probe)> {
        Some((&self.0, self.0.probes.get(usize::from(id.0))?))
    }
}

/// Takes every event and keeps none.
struct Discard;

impl Sink for Discard {
    fn write(&mut self, event: &RedactedEvent) -> io::Result<()> {
        black_box(event);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
