//! Records that come one by one, just when the reader may be falling asleep. Needs root and BPF.

use std::{
    thread,
    time::{Duration, Instant},
};

use tracer_abi::RecordHeader;
use tracer_probe::{LoadError, bench::Generator, time::BootNanos};

/// The reader falls asleep after so long without a record, instead of 100 ms, so that it does it
/// many times.
const AWAKE: Duration = Duration::from_micros(300);
/// How long the reader sleeps if nobody wakes it: far above what a busy machine delays a thread.
const SLEEP: Duration = Duration::from_secs(20);
/// A record that waited so long was there while the reader slept on: its wake-up was lost. Below
/// the 0.6 s in which the records behind it would fill a quarter of the ring and wake the reader
/// after all; an idle machine stays below 20 ms.
const LOST: Duration = Duration::from_millis(500);

/// How many records; `TRACER_FULL=1` for the million of a full run.
fn records() -> u32 {
    if std::env::var_os("TRACER_FULL").is_some() {
        1_000_000
    } else {
        40_000
    }
}

#[test]
fn no_record_waits_for_the_next_one_however_the_reader_sleeps() {
    let mut generator = match Generator::load(1 << 20) {
        Ok(generator) => generator,
        Err(LoadError::Obstacle(obstacle)) if std::env::var_os("CI").is_none() => {
            return eprintln!("skipped no_record_waits_for_the_next_one: {obstacle}");
        }
        Err(error) => panic!("{error}"),
    };
    generator.stay_awake_for(AWAKE);
    let source = generator.source(1).expect("uprobe_multi works");
    let count = records();
    let producer = thread::spawn(move || {
        // Pauses around the limit, from a generator whose sequence is the same each time.
        let mut random = 0x9e37_79b9_7f4a_7c15_u64;
        for _ in 0..count {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let pause = Duration::from_nanos(random % (2 * AWAKE.as_nanos() as u64));
            let end = Instant::now() + pause;
            while Instant::now() < end {
                std::hint::spin_loop();
            }
            source.emit();
        }
    });
    let mut waits = Vec::new();
    let mut received = 0;
    while received < count {
        generator.wait(SLEEP).expect("epoll works");
        let batches = generator.drain();
        let now = BootNanos::now();
        for record in batches.iter().flat_map(|batch| batch.iter()) {
            let (header, _) = RecordHeader::parse(record).expect("records are whole");
            waits.push(now.since(BootNanos(header.time)));
            received += 1;
        }
    }
    producer.join().expect("the producer does not panic");
    assert_eq!(generator.lost().expect("counters are readable"), 0);
    waits.sort_unstable();
    let longest = *waits.last().expect("there were records");
    eprintln!(
        "{count} records waited {:?} in the median, {:?} at the 99.9th percentile, {longest:?} at most",
        waits[waits.len() / 2],
        waits[waits.len() * 999 / 1000]
    );
    assert!(longest < LOST, "{longest:?}");
}
