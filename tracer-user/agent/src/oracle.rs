//! The oracle: an agent with a bad disk and a bad network, whose every promise is held against what
//! a collector has in the end.
//!
//! Each run is a seed. The records are real, sealed and signed; the disk and the network are not, so
//! that a run takes milliseconds and can be repeated. CI runs a slice, `TRACER_FULL=1` all 10,000.

mod collector;
mod disk;
mod random;
mod world;

use self::world::{Faults, World};

/// Seeds in CI and at full length; `TRACER_SEED` names one to look at.
fn seeds() -> std::ops::Range<u64> {
    if let Ok(seed) = std::env::var("TRACER_SEED") {
        let seed = seed.parse().expect("TRACER_SEED is a number");
        return seed..seed + 1;
    }
    match std::env::var_os("TRACER_FULL") {
        Some(_) => 0..10_000,
        None => 0..150,
    }
}

fn run(seed: u64, faults: Faults) -> World {
    let mut world = World::new(seed, faults);
    for _ in 0..80 {
        world.step();
    }
    world.recover_and_drain();
    world
}

#[test]
fn what_was_kept_arrives_once_in_order_unchanged() {
    let mut stored = 0;
    for seed in seeds() {
        let world = run(seed, Faults::HONEST);
        world.check_kept();
        world.check_stored();
        stored += world.stored();
    }
    assert!(stored > 1000, "the runs delivered only {stored} records");
}

#[test]
fn what_a_full_spool_drops_is_declared() {
    let mut declared = 0;
    for seed in seeds() {
        let world = run(seed, Faults::FULL);
        world.check_kept();
        world.check_stored();
        declared += world.declared();
    }
    assert!(declared > 100, "the runs dropped only {declared} records");
}

#[test]
fn what_a_lying_disk_destroys_is_missed_and_never_invented() {
    let mut missed = 0;
    for seed in seeds() {
        let world = run(seed, Faults::LYING);
        world.check_stored();
        missed += world.declared();
    }
    assert!(missed > 0, "the runs destroyed nothing");
}
