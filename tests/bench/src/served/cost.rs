//! What the hits of a run cost by their measured price.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use tracer_event::{
    Body, Recorded,
    agent::{AttachedProbe, SiteCost, SiteRole},
};
use tracer_tests::tracer::{Line, Trace};

/// What a probed call was measured to cost its thread, in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub struct Prices {
    /// With its exit and a record, both sites emulated.
    pub pair: f64,
    /// The same with a single-stepped exit.
    pub stepped: f64,
}

/// The probe that told a call.
pub(super) fn probe_of(line: &Line) -> Option<&str> {
    let probe = line.probe.as_ref()?;
    matches!(line.body, Body::Called(_)).then_some(probe.as_str())
}

/// Nanoseconds of all records, for a runtime whose calls become events of other kinds: each is taken
/// as an entry with its exit.
pub(super) fn of_records(trace: &Trace, prices: Prices) -> Result<f64> {
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    let records = trace.summary()?.records as f64;
    Ok(records * prices.pair)
}

/// Nanoseconds of all hits in the process: a function's calls are what the busiest of its probes told,
/// and each of its probes pays for each of them, whether it makes a record or not.
pub(super) fn of_calls(trace: &Trace, pid: u32, prices: Prices) -> Result<f64> {
    let mut told: BTreeMap<&str, u64> = BTreeMap::new();
    for probe in trace.of(pid).filter_map(probe_of) {
        *told.entry(probe).or_default() += 1;
    }
    let operations = trace.operations()?;
    for (operation, histogram) in &operations {
        told.insert(operation, histogram.count);
    }
    let mut calls: BTreeMap<&Recorded, u64> = BTreeMap::new();
    let attached: Vec<&AttachedProbe<Recorded>> = trace.events.iter().flat_map(probes).collect();
    for probe in &attached {
        let told = told.get(probe.probe.as_str()).copied();
        let calls = calls.entry(&probe.symbol).or_default();
        *calls = told.unwrap_or_default().max(*calls);
    }
    ensure!(calls.values().any(|&calls| calls > 0), "no probe was hit");
    let cost = |probe: &&AttachedProbe<Recorded>| {
        #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
        let calls = calls.get(&probe.symbol).copied().unwrap_or_default() as f64;
        calls * price(probe, prices)
    };
    Ok(attached.iter().map(cost).sum())
}

/// Of one call: one entry, and one of its exits.
fn price(probe: &AttachedProbe<Recorded>, prices: Prices) -> f64 {
    let is_stepped = |role: SiteRole| {
        let mut sites = probe.sites.iter();
        sites.any(|site| site.role == role && site.cost == SiteCost::SingleStepped)
    };
    let stepped = [SiteRole::Entry, SiteRole::Exit].map(|role| u8::from(is_stepped(role)));
    let stepped = f64::from(stepped.iter().sum::<u8>());
    prices.pair + stepped * (prices.stepped - prices.pair)
}

fn probes(line: &Line) -> impl Iterator<Item = &AttachedProbe<Recorded>> {
    let probes: &[_] = match &line.body {
        Body::Attached(attached) => &attached.probes,
        _ => &[],
    };
    probes.iter()
}
