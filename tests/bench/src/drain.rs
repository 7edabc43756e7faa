//! How fast records become typed calls: a BPF program fills the real rings in bursts, and one
//! thread reads, merges and decodes them. Only the reading side is timed, in its own CPU time.

use std::hint::black_box;

use anyhow::{Context, Result, ensure};
use tracer_event::BootNanos;
use tracer_pipeline::{Decoder, Merge, Merged, Options, ProbeSource, What};
use tracer_probe::{Config, bench::Generator, observation::ProbeId};
use tracer_profile::{FieldName, Probe, Profile};

use crate::{
    affinity::Pinned,
    clock::cpu_seconds,
    row::{Bar, Row},
};

/// Group on the command line.
pub const GROUP: &str = "drain";

/// Millions of records a second.
const LEAST: f64 = 3.0;
/// Of a ring: a record of 64 bytes with the ring's own 8, and some room left.
const RECORD_BYTES: usize = 64 + 8;

const PROFILE: &str = r#"
name = "drain"
runtime = "drain"
recognise = ["step"]

[[probe]]
name = "step"
signal = "step"
group = "steps"
rate = 1
emit = "entry"
symbols = ["step"]
fields = { size = "u64 rdi" }
"#;

/// How much to measure.
#[derive(Clone, Copy, Debug)]
pub struct Extent {
    /// Figures.
    pub repetitions: usize,
    /// Bursts of each figure, each of which fills the default rings.
    pub bursts: usize,
}

/// Measures reading, merging and decoding.
///
/// # Errors
/// If the generator cannot be loaded, or a record is lost.
pub fn measure(extent: Extent) -> Result<Row> {
    let mut bench = Bench::start()?;
    bench.drained_in(1)?; // memory that grows on the first burst is there for the others
    let speeds = (0..extent.repetitions)
        .map(|_| bench.drained_in(extent.bursts))
        .collect::<Result<Vec<_>>>()?;
    let note = format!(
        "{} repetitions of {} bursts of {} records in {} rings",
        extent.repetitions,
        extent.bursts,
        bench.burst as usize * bench.cpus,
        bench.cpus,
    );
    let name = "64 B records, rings to typed calls, one core";
    Row::judge(GROUP, name, "M/s", speeds, Bar::AtLeast(LEAST), note)
}

struct Bench {
    generator: Generator,
    profile: Profile,
    merge: Merge<()>,
    decoder: Decoder,
    cpus: usize,
    /// Records of one burst in one ring.
    burst: u32,
}

impl Bench {
    fn start() -> Result<Self> {
        let cpus = std::thread::available_parallelism()?.get();
        let room = Config::RING_BYTES / cpus / RECORD_BYTES;
        Ok(Self {
            generator: Generator::load(Config::RING_BYTES)?,
            profile: tracer_profile::read("drain", PROFILE)?,
            merge: Merge::new(Options::LIMIT),
            decoder: Decoder::new(),
            cpus,
            burst: u32::try_from(room * 9 / 10).context("the rings are too large")?,
        })
    }

    /// Millions of records that were decoded in a second.
    fn drained_in(&mut self, bursts: usize) -> Result<f64> {
        let (mut records, mut seconds) = (0_usize, 0.0);
        for _ in 0..bursts {
            self.fill()?;
            let expected = self.burst as usize * self.cpus;
            let pinned = Pinned::to(0)?;
            let start = cpu_seconds();
            let decoded = self.drain();
            seconds += cpu_seconds() - start;
            drop(pinned);
            let lost = self.generator.lost()?;
            ensure!(
                decoded == expected && lost == 0,
                "{decoded} of {expected} records were decoded, {lost} did not fit the rings"
            );
            records += decoded;
        }
        #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
        Ok(records as f64 / seconds / 1e6)
    }

    /// Fills the ring of every CPU.
    fn fill(&self) -> Result<()> {
        let source = self.generator.source(self.burst)?;
        for cpu in 0..self.cpus {
            let _pinned = Pinned::to(cpu)?;
            source.emit();
        }
        Ok(())
    }

    fn drain(&mut self) -> usize {
        for batch in self.generator.drain() {
            self.merge.push_records(batch);
        }
        self.merge.advance(BootNanos(u64::MAX));
        let mut decoded = 0;
        let loaded = Loaded(&self.profile);
        while let Some(Merged { what, .. }) = self.merge.pop() {
            let What::Record(record) = what else { continue };
            if let Ok(call) = self.decoder.decode(record, &loaded) {
                black_box((call.signal(), call.time(), call.number(FieldName::Size)));
                decoded += 1;
            }
        }
        decoded
    }
}

/// The one probe that the records name.
struct Loaded<'a>(&'a Profile);

impl ProbeSource for Loaded<'_> {
    fn probe(&self, id: ProbeId) -> Option<(&Profile, &Probe)> {
        Some((self.0, self.0.probes.get(usize::from(id.0))?))
    }
}
