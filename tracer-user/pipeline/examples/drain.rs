//! Measures how fast records become events: `cargo run --release -p tracer-pipeline --example
//! drain [MILLIONS]`. 64-byte records of two rings, interleaved in time, arrive in bursts of the
//! default rings' size; one thread does everything. Prints one line of JSON for `cargo xtask
//! bench`, in millions of records a second.

use std::{hint::black_box, io, sync::Arc, time::Instant};

use tracer_abi::{Phase, RecordHeader, RecordKind};
use tracer_event::{BootNanos, Label, Name, RedactedEvent};
use tracer_pipeline::{Decoder, Merge, Merged, Options, Pipeline, ProbeSource, Sink, What};
use tracer_probe::observation::{Observation, ProbeId, RecordBatch};
use tracer_profile::{FieldName, Probe, Profile};
use tracer_redact::{CaptureLevel, Engine, Policy};

const PROFILE: &str = r#"
name = "drain"
runtime = "drain"
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
/// Records of one burst: 8 MiB of rings, each record with the ring's own 8 bytes.
const BURST: u64 = (8 << 20) / (64 + 8);

struct Loaded(Profile);

impl ProbeSource for Loaded {
    fn probe(&self, id: ProbeId) -> Option<(&Profile, &Probe)> {
        Some((&self.0, self.0.probes.get(usize::from(id.0))?))
    }
}

/// Takes every event and keeps none.
#[derive(Default)]
struct Count(u64);

impl Sink for Count {
    fn write(&mut self, event: &RedactedEvent) -> io::Result<()> {
        black_box(event);
        self.0 += 1;
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let millions = std::env::args()
        .nth(1)
        .map_or(Ok(10), |text| text.parse())?;
    let bursts = (millions * 1_000_000_u64).div_ceil(BURST);
    let loaded = Loaded(tracer_profile::read("drain", PROFILE)?);
    let decoded = decode_all(bursts, &loaded);
    let (written, summary) = write_all(bursts, &loaded)?;
    println!(
        r#"{{"records":{},"decoded_millions_per_second":{decoded:.2},"events":{},"written_millions_per_second":{written:.2},"losses":{}}}"#,
        summary.records,
        summary.events,
        summary.unintended_losses(),
    );
    Ok(())
}

/// Merge and decoding to typed calls.
fn decode_all(bursts: u64, loaded: &Loaded) -> f64 {
    let mut merge = Merge::<()>::new(Options::LIMIT);
    let mut decoder = Decoder::new();
    let (mut records, mut seconds) = (0, 0.0);
    for number in 0..bursts {
        let batches = burst(number);
        let began = Instant::now();
        for batch in batches {
            merge.push_records(batch);
        }
        merge.advance(BootNanos(u64::MAX));
        while let Some(Merged { what, .. }) = merge.pop() {
            let What::Record(record) = what else { continue };
            let call = decoder.decode(record, loaded);
            let call = call.expect("the records are made below, for this profile");
            black_box((call.signal(), call.time(), call.address(FieldName::Context)));
            records += 1;
        }
        seconds += began.elapsed().as_secs_f64();
    }
    assert_eq!(records, bursts * BURST, "every record is decoded");
    millions_per_second(records, seconds)
}

/// The whole pipeline, from batches to redacted events at a sink.
fn write_all(
    bursts: u64,
    loaded: &Loaded,
) -> Result<(f64, tracer_event::agent::Summary), Box<dyn std::error::Error>> {
    let options = Options {
        node: Name::new("bench"),
        grant: Name::new("local"),
        version: Label::new("bench"),
        kernel: Name::new("bench"),
        profiles: Arc::from([loaded.0.clone()]),
        window: Options::WINDOW,
        limit: Options::LIMIT,
    };
    let engine = Engine::new(Policy::default(), CaptureLevel::Shape);
    let mut pipeline = Pipeline::new(options, engine);
    let mut sink = Count::default();
    let mut seconds = 0.0;
    for number in 0..bursts {
        let batches = burst(number);
        let began = Instant::now();
        for batch in batches {
            pipeline.push(Observation::Records(batch));
        }
        pipeline.advance(BootNanos(u64::MAX), loaded, &mut sink)?;
        seconds += began.elapsed().as_secs_f64();
    }
    let summary = pipeline.finish(loaded, &mut sink)?;
    assert_eq!(summary.records, bursts * BURST, "every record is read");
    Ok((millions_per_second(summary.records, seconds), summary))
}

/// The records of one burst, 100 ns apart, each ring's in its own order.
fn burst(number: u64) -> Vec<RecordBatch> {
    let mut batches: Vec<_> = (0..RINGS).map(RecordBatch::new).collect();
    for index in 0..BURST {
        let call = number * BURST + index;
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

#[expect(clippy::cast_precision_loss, reason = "a figure of three digits")]
fn millions_per_second(records: u64, seconds: f64) -> f64 {
    records as f64 / seconds / 1e6
}
