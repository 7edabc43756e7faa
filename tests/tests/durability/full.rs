//! A spool whose disk has no room, under a real ship. Needs root and BPF.

use std::{fs, thread, time::Duration};

use anyhow::{Context as _, Result, ensure};
use tracer_event::Body;
use tracer_tests::{
    cache::Cache,
    compile::SOURCES,
    fleet::{Fleet, Part, Wishes},
    requires_root,
    workload::{Place, Running, Target},
};

use crate::stored;

/// As many as fit into the rings, whoever reads them and when.
const BURST: u64 = 30_000;
/// Several times what the disk has room for.
const BURSTS: u64 = 8;
const CALLS: u64 = BURSTS * BURST;

#[test]
fn a_full_disk_costs_the_oldest_telemetry_which_is_declared_and_capture_goes_on() -> Result<()> {
    requires_root!();
    let command =
        Target::Steps.command(&Cache::open()?, &[&BURST.to_string(), &BURSTS.to_string()])?;
    let mut fleet = Fleet::start(Wishes {
        exe: Some(command.get_program().into()),
        profiles: vec![fs::canonicalize(SOURCES)?.join("steps.toml")],
        // The spool may use more than there is.
        spool: "8MiB",
        disk: Some("1m"),
        ..Wishes::default()
    })?;
    let mut running = Running::start(command, Place::Host)?;
    running.until_waiting()?;
    fleet.until("attached", |status| {
        let mut capture = status.capture.iter();
        capture.any(|capture| capture.attached > 0)
    })?;
    thread::sleep(Duration::from_secs(1));
    fleet.kill(Part::Collector)?;
    for burst in 1..=BURSTS {
        running.go()?;
        running.until_waiting()?;
        fleet.until("sealed, and kept or dropped", |status| {
            let mut capture = status.capture.iter();
            capture.any(|capture| {
                capture.events_sealed >= burst * BURST && capture.records_waiting == 0
            })
        })?;
    }
    let full = fleet.status()?;
    let capture = full.capture.context("capture goes on")?;
    ensure!(
        capture.doing == "tracing at level shape",
        "{}",
        capture.doing
    );
    ensure!(
        capture.events_dropped == 0,
        "ship dropped them, not capture"
    );
    ensure!(full.spool_bytes < 1 << 20, "{} bytes", full.spool_bytes);
    fleet.run(Part::Collector)?;
    fleet.until("drained", |status| {
        status.is_connected && status.spool_records == 0
    })?;
    running.go()?;
    running.finish()?;
    fleet.stop(Part::Capture)?;
    fleet.until("drained", |status| {
        status.is_connected && status.spool_records == 0
    })?;
    fleet.stop(Part::Ship)?;
    fleet.stop(Part::Collector)?;
    let stored = stored::read(&fleet)?;
    let is_step = |line: &&tracer_tests::tracer::Line| matches!(line.body, Body::Step(_));
    let steps = stored.events.iter().filter(is_step).count() as u64;
    let told = stored.events.len() as u64;
    println!(
        "{steps} steps are stored, {} events declared as lost",
        stored.lost
    );
    ensure!(stored.lost > 0, "the disk had room for all of it");
    ensure!(steps > 0, "nothing was kept");
    ensure!(
        steps + stored.lost >= CALLS,
        "{steps} steps are stored, {} events declared, of {CALLS}",
        stored.lost
    );
    // Little else happens.
    ensure!(
        told + stored.lost < CALLS + 100,
        "{told} and {}",
        stored.lost
    );
    Ok(())
}
