//! `tracer files`: watches model files, and tells who does what to them; with a policy, it also decides
//! who gets in.

mod enforce;

use std::{io, os::unix::ffi::OsStrExt as _, path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context, Result, anyhow};
use tracer_abi::CaptureLevel;
use tracer_event::{
    BootNanos, Content, Label, Raw,
    file::{FilesWatched, PassedOver},
};
use tracer_pipeline::{Options, Pipeline, PipelineError};
use tracer_probe::{
    features::Host,
    files::{FileSensor, Gate, pins},
    time,
};
use tracer_redact::{Engine, Policy};

use self::enforce::Enforcer;
pub(crate) use self::enforce::watchdog::watch as watchdog;
use crate::{
    arguments::meant,
    outcome::Outcome,
    output::{outputs::Outputs, progress::Progress},
    profiles::Numbered,
    signals::StopRequest,
    trace::{
        run::{options, run_key},
        settings::read_policy,
    },
};

/// How long nothing may happen before signals and the deadline are looked at again.
const PAUSE: Duration = Duration::from_millis(100);

/// Watches until a signal or the duration's end.
///
/// # Errors
/// If the host does not allow it, a folder cannot be watched, or events could not be written.
pub(crate) fn run(arguments: meant::Files) -> Result<Outcome> {
    let policy = match &arguments.policy {
        Some(path) => read_policy(path)?,
        None => Policy::default(),
    };
    if let Some(obstacle) = Host::read().obstacle() {
        return Err(anyhow!(obstacle).context("cannot watch files"));
    }
    let enforced = arguments.enforce.as_deref().map(enforce::Policy::read);
    let enforced = enforced.transpose()?;
    let outputs = Outputs::open(&arguments.outputs, false)?;
    let stop = StopRequest::listen()?;
    let mut run = Run::start(&arguments, enforced.as_ref(), policy, outputs)?;
    let began = time::BootNanos::now();
    let deadline = arguments.duration.map(|duration| began.after(duration));
    while !stop.is_made() && deadline.is_none_or(|deadline| time::BootNanos::now() < deadline) {
        let left = deadline.map_or(PAUSE, |end| end.since(time::BootNanos::now()));
        match run.go_on(left.min(PAUSE)) {
            // Whoever read the events has seen enough.
            Err(error) if is_closed(&error) => break,
            done => done?,
        }
    }
    run.finish()
}

/// `tracer files --release`.
///
/// # Errors
/// If what is pinned cannot be found or removed, or a tracer that lives still enforces it.
pub(crate) fn release() -> Result<Outcome> {
    let pinned = pins::all().context("look for what is pinned in /sys/fs/bpf/tracer")?;
    if pinned.is_empty() {
        println!("nothing is enforced here without a tracer");
        return Ok(Outcome::Nothing);
    }
    for pinned in pinned {
        let pid = pinned.pid();
        let lives = pinned.is_in_use();
        pinned
            .remove()
            .with_context(|| format!("remove what process {pid} has pinned"))?;
        if lives {
            println!(
                "what process {pid} has pinned is released; it enforces its policy until it ends"
            );
        } else {
            println!("what process {pid} has left behind is released: nobody is refused any more");
        }
    }
    Ok(Outcome::Something)
}

struct Run {
    /// Before the sensor, so that whoever waits is let go first.
    enforcer: Option<Enforcer>,
    /// Whether the policy stays in force when this ends.
    outlives: bool,
    sensor: FileSensor,
    pipeline: Pipeline,
    outputs: Outputs,
    /// There are none: what is watched here is files.
    probes: Numbered,
}

impl Run {
    fn start(
        arguments: &meant::Files,
        enforced: Option<&enforce::Policy>,
        policy: Policy,
        outputs: Outputs,
    ) -> Result<Self> {
        let progress = Progress::of("looking at the watched folders");
        let roots = enforced.map_or(&arguments.watch, |policy| &policy.watch);
        let before = match enforced {
            Some(_) => enforce::let_through()?,
            None => Vec::new(),
        };
        let mut sensor = match enforced {
            None => FileSensor::start(arguments.tier).context("cannot watch files")?,
            Some(policy) => FileSensor::enforcing(policy.gate)
                .map_err(|error| enforce::cannot(policy.gate, &error))?,
        };
        let mut enforcer = enforced
            .map(|policy| Enforcer::start(&sensor, policy))
            .transpose()?;
        for root in roots {
            sensor
                .watch(root)
                .with_context(|| format!("cannot watch {}", root.display()))?;
        }
        drop(progress);
        if let Some(enforcer) = &mut enforcer {
            enforcer.prepare(&mut sensor)?;
        }
        let outlives = enforced.is_some_and(|policy| policy.outlives);
        if outlives {
            sensor
                .pin()
                .context("on_agent_death = \"deny\": leave the programs in the kernel")?;
        }
        for pinned in before {
            pinned
                .remove()
                .context("replace what an earlier tracer enforced")?;
        }
        let engine = Engine::new(policy, CaptureLevel::Shape, run_key()?)?;
        let probes = Numbered(Arc::from(Vec::new()));
        let options = options(Arc::clone(&probes.0));
        let mut pipeline = Pipeline::new(options, engine);
        pipeline.push_files_watched(watched(&sensor, roots, enforced));
        sensor.find_users();
        Ok(Self {
            enforcer,
            outlives,
            sensor,
            pipeline,
            outputs,
            probes,
        })
    }

    fn go_on(&mut self, timeout: Duration) -> Result<()> {
        let timeout = if self.pipeline.holds_back() {
            timeout.min(Options::WINDOW)
        } else {
            timeout
        };
        self.take(timeout)
    }

    fn take(&mut self, timeout: Duration) -> Result<()> {
        let mut events = self.sensor.next(timeout).context("read what happened")?;
        if let Some(enforcer) = &mut self.enforcer {
            for event in &mut events {
                enforcer.consider(&self.sensor, event);
            }
            enforcer.settle(&mut self.sensor)?;
        }
        for event in events {
            self.pipeline.push_file_event(event);
        }
        let read = BootNanos(time::BootNanos::now().0);
        self.pipeline
            .advance(read, &self.probes, &mut self.outputs)?;
        Ok(())
    }

    fn finish(mut self) -> Result<Outcome> {
        if let Some(enforcer) = &mut self.enforcer {
            enforcer.settle(&mut self.sensor)?;
        }
        for event in self.sensor.sync().context("read what happened")? {
            self.pipeline.push_file_event(event);
        }
        let Self {
            enforcer,
            outlives,
            sensor,
            pipeline,
            mut outputs,
            probes,
        } = self;
        drop(enforcer);
        drop(sensor);
        if outlives {
            eprintln!(
                "tracer: the policy goes on without this tracer; `tracer files --release` ends it"
            );
        }
        match pipeline.finish(&probes, &mut outputs) {
            // Whoever read the events has seen enough.
            Err(PipelineError::Output { source }) if source.kind() == io::ErrorKind::BrokenPipe => {
            }
            finished => drop(finished?),
        }
        let outcome = if outputs.closing().has_accesses() {
            Outcome::Something
        } else {
            Outcome::Nothing
        };
        outputs.finish()?;
        Ok(outcome)
    }
}

fn is_closed(error: &anyhow::Error) -> bool {
    matches!(
        error.downcast_ref::<PipelineError>(),
        Some(PipelineError::Output { source }) if source.kind() == io::ErrorKind::BrokenPipe
    )
}

fn watched(
    sensor: &FileSensor,
    roots: &[PathBuf],
    enforced: Option<&enforce::Policy>,
) -> FilesWatched<Raw<Content>> {
    let coverage = sensor.coverage();
    let watching = sensor.watching();
    FilesWatched {
        tier: Label::new(coverage.tier.name()),
        passed_over: sensor
            .passed_over()
            .iter()
            .map(|(tier, why)| PassedOver {
                tier: Label::new(tier.name()),
                reason: Raw::new(Content::text(why.as_str())),
            })
            .collect(),
        roots: roots
            .iter()
            .map(|root| Raw::new(Content::text(root.as_os_str().as_bytes())))
            .collect(),
        gate: enforced.map(|policy| {
            Label::new(match policy.gate {
                Gate::Deny => "deny",
                Gate::Wait => "wait",
            })
        }),
        files: watching.files as u64,
        folders: watching.folders as u64,
        blind_spots: coverage
            .blind_spots()
            .into_iter()
            .map(|spot| Label::new(spot.name()))
            .collect(),
    }
}
