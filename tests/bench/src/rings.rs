//! What a record costs who writes it: a ring for each CPU, as the tracer has them, against one that all
//! share. A BPF program writes bursts on two CPUs at once into rings that never fill.

use std::{sync::Barrier, thread};

use anyhow::{Context, Result, ensure};
use tracer_probe::{
    Config,
    bench::{Generator, Source},
};

use crate::{
    affinity::Pinned,
    clock::cpu_seconds,
    drain::GROUP,
    row::{Bar, Row},
};

/// Of a ring: a record of 64 bytes with the ring's own 8.
const RECORD_BYTES: usize = 64 + 8;
/// Records that one writer makes in a burst: both fit into half of one ring.
const BURST: u32 = (Config::RING_BYTES / RECORD_BYTES / 4) as u32;
const BURSTS: u32 = 20;

/// Measures both `repetitions` times, one after the other.
///
/// # Errors
/// If there is one CPU only, the generator cannot be loaded, or a record is lost.
pub fn measure(repetitions: usize) -> Result<Vec<Row>> {
    let cpus = thread::available_parallelism()?.get();
    ensure!(cpus >= 2, "two CPUs are needed, and there is one");
    // Each of the rings holds what one ring of all does: only sharing differs.
    let mut own = Generator::load(Config::RING_BYTES * cpus)?;
    let mut one = Generator::load_sharing_one_ring(Config::RING_BYTES)?;
    let (mut of_own, mut of_one, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..repetitions {
        let figures = [cost(&mut own)?, cost(&mut one)?];
        of_own.push(figures[0]);
        of_one.push(figures[1]);
        ratios.push(figures[1] / figures[0]);
    }
    let note =
        format!("{repetitions} repetitions of {BURSTS} bursts of {BURST} records of 64 B a writer");
    let row = |name, unit, values| Row::judge(GROUP, name, unit, values, Bar::None, &*note);
    Ok(vec![
        row("two writers, a ring for each CPU: a record", "ns", of_own)?,
        row("two writers, one ring: a record", "ns", of_one)?,
        row("two writers: one ring ÷ a ring for each CPU", "x", ratios)?,
    ])
}

/// CPU time of a record, in nanoseconds, where two CPUs write at once.
fn cost(generator: &mut Generator) -> Result<f64> {
    let source = generator.source(BURST)?;
    let mut seconds = 0.0;
    let mut expected = 0;
    for _ in 0..BURSTS {
        let both = Barrier::new(2);
        let write = |cpu| write(&source, cpu, &both);
        let taken = thread::scope(|scope| {
            let writers = [0, 1].map(|cpu| scope.spawn(move || write(cpu)));
            writers.map(|writer| writer.join().ok().context("a writer has panicked")?)
        });
        for taken in taken {
            seconds += taken?;
        }
        expected += 2 * BURST as usize;
        let found: usize = generator.drain().iter().map(|batch| batch.len()).sum();
        expected -= found;
        ensure!(
            expected == 0 && generator.lost()? == 0,
            "{expected} of {} records did not arrive",
            2 * BURST
        );
    }
    Ok(1e9 * seconds / f64::from(2 * BURST * BURSTS))
}

fn write(source: &Source, cpu: usize, both: &Barrier) -> Result<f64> {
    let _pinned = Pinned::to(cpu)?;
    both.wait();
    let begun = cpu_seconds();
    source.emit();
    Ok(cpu_seconds() - begun)
}
