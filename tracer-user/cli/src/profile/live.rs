//! One call of each probe of a running process, captured as `trace` would.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, anyhow};
use tracer_abi::{CaptureLevel, SpecFlags};
use tracer_event::{Body, BootNanos, Name, RedactedEvent, call::CallPart};
use tracer_pipeline::{Pipeline, Sink};
use tracer_probe::{Config, Selection, Supervisor, features::Host, time};
use tracer_profile::{Mode, Profile, Signal};
use tracer_redact::{Engine, Policy};

use super::checked::{Captured, Checked};
use crate::{
    arguments::{
        meant::{level_name, profile::Live},
        quantity::typed_duration,
    },
    consent::{ceiling, journal},
    output::progress::Progress,
    profiles::Numbered,
    signals::StopRequest,
    trace::{
        run::{options, run_key},
        settings::read_policy,
    },
};

/// How long nothing may happen before signals and the deadline are looked at again.
const PAUSE: Duration = Duration::from_millis(50);

/// Watches a process until each probe that can be attached was called once, or the time is over.
///
/// # Errors
/// If the host or its ceiling does not allow it, or tracing fails.
pub(super) fn watch(
    profile: &Profile,
    checked: &Checked,
    live: &Live,
) -> Result<BTreeMap<String, Captured>> {
    ceiling::permit(live.level)?;
    if let Some(obstacle) = Host::read().obstacle() {
        return Err(anyhow!(obstacle).context("cannot capture calls"));
    }
    let policy = match &live.policy {
        Some(path) => read_policy(path)?,
        None => Policy::default(),
    };
    let stop = StopRequest::listen()?;
    let profile = with_plain_calls(profile);
    let calls = FirstCalls::wanted(&profile, checked);
    if live.level <= CaptureLevel::Shape {
        return capture(profile, calls, live, policy, &stop);
    }
    let log = journal::record(&format!(
        "capture at level {} begins: by {}; of {{ pid = {} }}; for at most {}, one call of each probe \
         of profile {}; policy {}",
        level_name(live.level),
        journal::caller(),
        live.pid,
        typed_duration(live.duration),
        profile.name,
        policy.digest(),
    ))?;
    let captured = capture(profile, calls, live, policy, &stop);
    log.write(&format!(
        "capture at level {} ended",
        level_name(live.level)
    ))
    .with_context(|| format!("note the end of the capture in {}", log.place()))?;
    captured
}

fn capture(
    profile: Profile,
    mut calls: FirstCalls,
    live: &Live,
    policy: Policy,
    stop: &StopRequest,
) -> Result<BTreeMap<String, Captured>> {
    let deadline = time::BootNanos::now().after(live.duration);
    let config = Config {
        selection: Selection::Pids(vec![live.pid]),
        level: live.level,
        deadline,
        ..Config::new(vec![profile])
    };
    let progress = Progress::of("waiting for calls");
    let mut supervisor = Supervisor::start(config).context("cannot capture calls")?;
    let probes = Numbered(Arc::clone(supervisor.profiles()));
    let options = options(Arc::clone(supervisor.profiles()));
    let mut pipeline = Pipeline::new(options, Engine::new(policy, live.level, run_key()?)?);
    while !calls.are_complete() && !stop.is_made() && time::BootNanos::now() < deadline {
        for observation in supervisor.next(PAUSE)? {
            pipeline.push(observation);
        }
        let read = time::BootNanos::now();
        pipeline.advance(BootNanos(read.0), &probes, &mut calls)?;
        if supervisor.is_finished() {
            break;
        }
    }
    for observation in supervisor.stop()? {
        pipeline.push(observation);
    }
    pipeline.finish(&probes, &mut calls)?;
    drop(progress);
    Ok(calls.seen)
}

/// The profile with each call becoming an event of its own, whatever it means.
fn with_plain_calls(profile: &Profile) -> Profile {
    let mut profile = profile.clone();
    for probe in &mut profile.probes {
        if probe.mode == Mode::Event {
            probe.signal = Signal::Call;
        }
    }
    profile
}

/// Keeps the first call of each probe, both of its ends where both are told, and the first window of
/// each histogram.
struct FirstCalls {
    profile: String,
    /// Probes of which nothing was seen yet, or only the beginning; those that tell their end.
    open: BTreeSet<String>,
    ending: BTreeSet<String>,
    seen: BTreeMap<String, Captured>,
}

impl FirstCalls {
    fn wanted(profile: &Profile, checked: &Checked) -> Self {
        let probes = profile.probes.iter();
        let ending = probes
            .filter(|probe| probe.spec.flags & SpecFlags::EMIT_EXIT != 0)
            .map(|probe| probe.name.clone());
        Self {
            profile: profile.name.clone(),
            open: checked
                .attachable()
                .map(|probe| probe.probe.clone())
                .collect(),
            ending: ending.collect(),
            seen: BTreeMap::new(),
        }
    }

    fn are_complete(&self) -> bool {
        self.open.is_empty()
    }

    /// The probe's name in its profile, if something of it is still waited for.
    fn awaited(&self, probe: &Name) -> Option<String> {
        let name = probe.as_str().strip_prefix(self.profile.as_str())?;
        let name = name.strip_prefix('/')?;
        self.open.contains(name).then(|| name.to_owned())
    }

    fn keep(&mut self, name: String, captured: Captured, is_whole: bool) {
        if is_whole {
            self.open.remove(&name);
        }
        let captured = match self.seen.remove(&name) {
            Some(entry) => captured.after(entry),
            None => captured,
        };
        self.seen.insert(name, captured);
    }
}

impl Sink for FirstCalls {
    fn write(&mut self, event: &RedactedEvent) -> io::Result<()> {
        if let (Body::Called(called), Some(probe)) = (&event.body, &event.probe) {
            let Some(name) = self.awaited(probe) else {
                return Ok(());
            };
            let is_whole = called.at != CallPart::Entry || !self.ending.contains(&name);
            self.keep(name, Captured::of(called)?, is_whole);
        } else if let Body::OperationHistogram(calls) = &event.body
            && let Some(name) = self.awaited(&calls.operation)
        {
            self.keep(name, Captured::of_operation(calls)?, true);
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
