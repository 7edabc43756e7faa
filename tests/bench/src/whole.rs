//! The whole way: calls of a real process, through the kernel, capture, ship and a collector, until the
//! collector says that they are stored and a query finds them. All of it shares the machine's processors,
//! the traced process with it.

use std::{
    fs,
    process::Command,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, ensure};
use tracer_agent::status::CaptureStatus;
use tracer_event::WallNanos;
use tracer_tests::{
    cache::Cache,
    compile::SOURCES,
    fleet::{Fleet, Part, Wishes},
    report::Event,
    workload::{Place, Running, Target},
};

use crate::{
    affinity,
    footprint::Process,
    row::{Bar, Row},
};

/// Group on the command line.
pub const GROUP: &str = "whole";

/// Thousands of events a second.
const LEAST: f64 = 200.0;
/// Calls a second of a process that keeps to a rate.
const RATE: u64 = 250_000;
/// Figures of one that does not: what it loses is declared, and has no bar.
const UNBRIDLED: usize = 2;
/// Processors that all of it has.
const CORES: [usize; 2] = [0, 1];
/// Between two looks at what was stored: each is a process of its own.
const LOOK: Duration = Duration::from_millis(250);
/// How long the agent gets to settle after it has attached.
const SETTLES: Duration = Duration::from_secs(2);

/// After so long without a change something is broken.
const STUCK: Duration = Duration::from_secs(60);

/// How much to measure.
#[derive(Clone, Copy, Debug)]
pub struct Extent {
    /// Figures.
    pub repetitions: usize,
    /// Calls of each.
    pub calls: u64,
}

/// Measures from a process's first call until the last of its events is stored.
///
/// # Errors
/// If one of the processes fails, or loses an event that it had.
pub fn measure(extent: Extent) -> Result<Vec<Row>> {
    let Extent { repetitions, calls } = extent;
    let _cores = affinity::Pinned::among(&CORES)?;
    let calls_text = calls.to_string();
    let target = |rate: u64| {
        let arguments = [&*calls_text, "1", &rate.to_string()];
        Target::Steps.command(&Cache::open()?, &arguments)
    };
    let wishes = Wishes {
        exe: Some(target(0)?.get_program().into()),
        profiles: vec![fs::canonicalize(SOURCES)?.join("steps.toml")],
        spool: "512MiB",
        ..Wishes::default()
    };
    let mut fleet = Fleet::start(wishes)?;
    let mut rows = Vec::new();
    let paced = format!("at {RATE} calls a second");
    for (pace, rate, repetitions, bars) in [
        (
            &*paced,
            RATE,
            repetitions,
            [Bar::AtLeast(LEAST), Bar::AtMost(0.0)],
        ),
        (
            "at full speed",
            0,
            repetitions.min(UNBRIDLED),
            [Bar::None, Bar::None],
        ),
    ] {
        let mut figures = [const { Vec::new() }; 5];
        for _ in 0..repetitions {
            let Once { speed, lost, costs } = once(&mut fleet, target(rate)?, calls)?;
            let [capture, ship, collector] = costs;
            for (all, one) in std::iter::zip(&mut figures, [speed, lost, capture, ship, collector])
            {
                all.push(one);
            }
        }
        let note = format!(
            "{repetitions} repetitions of {calls} calls by one thread, its own probes' cost included; from the \
             first call until the collector has stored all, which a query then finds; {} processors for all",
            CORES.len()
        );
        let [speed, lost, capture, ship, collector] = figures;
        let [least, most] = bars;
        for (what, unit, values, bar) in [
            ("kernel to committed, whole pipeline", "k/s", speed, least),
            ("calls lost", "%", lost, most),
            (
                "processor time of an event, capture",
                "ns",
                capture,
                Bar::None,
            ),
            ("processor time of an event, ship", "ns", ship, Bar::None),
            (
                "processor time of an event, collector",
                "ns",
                collector,
                Bar::None,
            ),
        ] {
            let name = format!("{pace}: {what}");
            rows.push(Row::judge(GROUP, name, unit, values, bar, &*note)?);
        }
    }
    Ok(rows)
}

/// One figure.
struct Once {
    /// Thousands of stored events a second.
    speed: f64,
    /// Of all calls, in percent: what did not fit into the rings.
    lost: f64,
    /// Nanoseconds of an event, in capture, ship, collector.
    costs: [f64; 3],
}

fn once(fleet: &mut Fleet, command: Command, calls: u64) -> Result<Once> {
    let before = capture(fleet)?;
    let mut running = Running::start(command, Place::Host)?;
    running.until_waiting()?;
    let pid = running.pid();
    fleet.until("attached", |status| {
        let mut capture = status.capture.iter();
        capture.any(|capture| capture.runtimes > before.runtimes && capture.attached > 0)
    })?;
    std::thread::sleep(SETTLES);
    let sealed_before = capture(fleet)?.events_sealed;
    let parts = [Part::Capture, Part::Ship, Part::Collector];
    let processes = [
        Process(fleet.pid(parts[0])?),
        Process(fleet.pid(parts[1])?),
        Process(fleet.pid(parts[2])?),
    ];
    let busy = || -> Result<[Duration; 3]> {
        let [capture, ship, collector] = &processes;
        Ok([capture.used()?, ship.used()?, collector.used()?])
    };
    let busy_before = busy()?;
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let from = WallNanos(u64::try_from(since_1970.as_nanos())?).to_string();
    let begun = Instant::now();
    running.go()?;
    running.until(|event| matches!(event, Event::Counts { .. }))?;
    let stored = until_stored(fleet, sealed_before, calls)?;
    let seconds = (stored - begun).as_secs_f64();
    let busy_after = busy()?;
    let ours = format!("\"pid\":{pid},");
    let mut found = 0;
    fleet.query(&["--kind", "inference.step", "--from", &from], |line| {
        found += u64::from(line.contains(&ours));
    })?;
    ensure!(
        (1..=calls).contains(&found),
        "{found} of {calls} events are found"
    );
    running.until_waiting()?;
    running.go()?;
    running.finish()?;
    let mut costs = [0.0; 3];
    for (cost, (after, before)) in costs.iter_mut().zip(busy_after.iter().zip(busy_before)) {
        *cost = (*after - before).as_secs_f64() * 1e6 / thousands(found);
    }
    Ok(Once {
        speed: thousands(found) / seconds,
        lost: 100.0 * (thousands(calls) - thousands(found)) / thousands(calls),
        costs,
    })
}

/// Waits until so many more events are stored, or all that there are: when that was, to a look and the second
/// within which capture says how it goes.
fn until_stored(fleet: &Fleet, sealed_before: u64, calls: u64) -> Result<Instant> {
    let (mut before, mut moved) = ([0; 3], Instant::now());
    // The last look at which something was new, or on its way.
    let mut last = moved;
    let mut known = 0;
    loop {
        ensure!(
            moved.elapsed() < STUCK,
            "for {STUCK:?} no event was sealed or stored; sealed, waiting for ship, in the spool: {before:?}"
        );
        std::thread::sleep(LOOK);
        let status = fleet.status()?;
        let Some(capture) = status.capture else {
            continue;
        };
        ensure!(
            capture.events_lost + capture.events_dropped == 0,
            "{} events were lost, {} dropped",
            capture.events_lost,
            capture.events_dropped
        );
        let sealed = capture.events_sealed - sealed_before;
        let now = [sealed, capture.records_waiting, status.spool_records];
        if now != before {
            (before, moved) = (now, Instant::now());
        }
        let is_stored = now[1..] == [0, 0];
        if !is_stored || sealed > known {
            (known, last) = (sealed, Instant::now());
        }
        if is_stored && (sealed >= calls || last.elapsed() > SETTLES * 2) {
            return Ok(last);
        }
    }
}

fn capture(fleet: &mut Fleet) -> Result<CaptureStatus> {
    fleet.until("capture has said how it goes", |status| {
        status.capture.is_some()
    })?;
    fleet.status()?.capture.context("it was there a moment ago")
}

#[expect(clippy::cast_precision_loss, reason = "some millions")]
fn thousands(count: u64) -> f64 {
    count as f64 / 1e3
}
