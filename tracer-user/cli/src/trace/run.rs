//! A run: the supervisor's observations go through the pipeline to the outputs.

use std::{
    fs,
    io::{self, Write},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use rustix::rand::GetRandomFlags;
use tracer_event::{Body, BootNanos, Label, LossReason, Name, RedactedEvent};
use tracer_pipeline::{Options, Pipeline, PipelineError, Sink};
use tracer_probe::{Selection, Supervisor, time};
use tracer_profile::Profile;
use tracer_redact::{Engine, RunKey};

use super::{
    detaching,
    settings::Settings,
    vouching::{Verdict, Vouching},
};
use crate::{
    outcome::Outcome,
    output::progress::Progress,
    profiles::{self, Numbered},
    text::printable,
};

/// How long nothing may happen before signals and the deadline are looked at again.
const PAUSE: Duration = Duration::from_millis(250);
/// After this time without a runtime the run says what it waits for.
const LONELY: Duration = Duration::from_secs(1);

/// What a run has found so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Found {
    /// Runtimes.
    pub(crate) runtimes: u64,
    /// Libraries that probes were attached to.
    pub(crate) attached: u64,
}

/// Everything that runs, whatever the sink.
pub(crate) struct Run<S> {
    supervisor: Supervisor,
    pipeline: Pipeline,
    sink: S,
    found: Found,
    probes: Numbered,
    vouching: Option<Vouching>,
    selection: Selection,
    /// When to say that nothing was found yet; none once that is settled.
    lonely_from: Option<time::BootNanos>,
}

impl<S: Sink> Run<S> {
    /// Loads and attaches.
    ///
    /// # Errors
    /// If the host does not allow it, or the selection names what is not there.
    pub(crate) fn start(settings: &Settings, sink: S) -> Result<Self> {
        let against = settings.arguments.vouch.as_ref();
        let vouching = against.map(Vouching::start).transpose()?;
        let progress = Progress::of("attaching");
        let supervisor = Supervisor::start(settings.probe_config()).context("cannot trace")?;
        drop(progress);
        let level = settings.arguments.level;
        let engine = Engine::new(settings.policy.clone(), level, run_key()?)?;
        let options = options(Arc::clone(supervisor.profiles()));
        Ok(Self {
            probes: Numbered(Arc::clone(supervisor.profiles())),
            supervisor,
            pipeline: Pipeline::new(options, engine),
            sink,
            found: Found::default(),
            vouching,
            selection: settings.arguments.selection.clone(),
            lonely_from: Some(time::BootNanos::now().after(LONELY)),
        })
    }

    /// Takes what happened until now, waiting a moment if nothing did; says whether anything can
    /// still come.
    ///
    /// # Errors
    /// If a ring cannot be read or events cannot be written.
    pub(crate) fn go_on(&mut self, deadline: Option<time::BootNanos>) -> Result<bool> {
        // What the pipeline holds back should wait no longer than its window.
        let pause = if self.pipeline.holds_back() {
            Options::WINDOW
        } else {
            PAUSE
        };
        let left = deadline.map_or(pause, |deadline| deadline.since(time::BootNanos::now()));
        self.take(left.min(pause))?;
        // The rings are read once more, so that `read` is not as old as the pause.
        let read = time::BootNanos::now();
        self.take(Duration::ZERO)?;
        let mut sink = Watched {
            sink: &mut self.sink,
            found: &mut self.found,
            vouching: self.vouching.as_mut(),
            at_once: Vec::new(),
        };
        let sets = self
            .pipeline
            .advance(BootNanos(read.0), &self.probes, &mut sink)?;
        let at_once = sink.at_once;
        let ready = self.vouching.iter_mut().flat_map(Vouching::ready);
        for (pid, verdict) in at_once.into_iter().chain(ready) {
            self.pipeline.push_verdict(pid, verdict);
        }
        for set in sets {
            self.supervisor
                .put_set(set.pid.0, set.set.number().into(), &set.values);
        }
        for line in self.supervisor.kernel_log() {
            let _ = writeln!(io::stderr(), "kernel: {}", printable(&line));
        }
        self.mention_loneliness(read);
        Ok(!self.supervisor.is_finished())
    }

    fn take(&mut self, timeout: Duration) -> Result<()> {
        for observation in self.supervisor.next(timeout)? {
            self.pipeline.push(observation);
        }
        Ok(())
    }

    /// Where events go.
    pub(crate) const fn sink(&mut self) -> &mut S {
        &mut self.sink
    }

    /// What was found so far.
    pub(crate) const fn found(&self) -> Found {
        self.found
    }

    /// Says in the stream that the sink could not use so many events.
    pub(crate) fn count_refused(&mut self, events: u64) {
        self.pipeline.count_loss(LossReason::OutputFailed, events);
    }

    /// Detaches, writes what is left, and gives the sink back.
    ///
    /// # Errors
    /// If events could not be written.
    pub(crate) fn finish(self) -> Result<(S, Outcome)> {
        if self.lonely_from.is_some() && self.found.runtimes == 0 {
            self.say("no model runtime was seen");
        }
        let Self {
            supervisor,
            mut pipeline,
            mut sink,
            mut found,
            probes,
            vouching,
            selection: _,
            lonely_from: _,
        } = self;
        for observation in detaching::detach(supervisor)? {
            pipeline.push(observation);
        }
        for (pid, verdict) in vouching.into_iter().flat_map(Vouching::finish) {
            pipeline.push_verdict(pid, verdict);
        }
        let mut counting = Watched {
            sink: &mut sink,
            found: &mut found,
            vouching: None,
            at_once: Vec::new(),
        };
        match pipeline.finish(&probes, &mut counting) {
            // Whoever read the events has seen enough.
            Err(PipelineError::Output { source }) if source.kind() == io::ErrorKind::BrokenPipe => {
            }
            finished => drop(finished?),
        }
        let outcome = match found.runtimes {
            0 => Outcome::Nothing,
            _ => Outcome::Something,
        };
        Ok((sink, outcome))
    }

    /// Silence needs a reason: without any runtime, the run says once what it looks for.
    fn mention_loneliness(&mut self, now: time::BootNanos) {
        if self.lonely_from.is_none_or(|from| now < from) {
            return;
        }
        self.lonely_from = None;
        if self.found.runtimes == 0 {
            let what = match self.selection {
                Selection::Everything | Selection::Runtime(_) => "no model runtime runs here yet",
                Selection::Pids(_) | Selection::Exe(_) | Selection::Cgroup(_) => {
                    "what was selected runs no model runtime yet"
                }
            };
            self.say(&format!("{what}; waiting for one, Ctrl-C ends"));
        }
    }

    fn say(&self, what: &str) {
        let looked_for = profiles::looked_for(&self.probes.0);
        let text = format!(
            "tracer: {what}\n{looked_for}  tracer ps -v names libraries that look like a stripped one\n"
        );
        let _ = io::stderr().write_all(text.as_bytes());
    }
}

/// A key that nobody has: it lives in this process, and goes when the run does.
pub(crate) fn run_key() -> Result<RunKey> {
    let mut bytes = [0; 32];
    let filled = rustix::rand::getrandom(&mut bytes, GetRandomFlags::empty());
    ensure!(
        filled.context("get random bytes from the kernel")? == bytes.len(),
        "the kernel gave fewer random bytes than asked for"
    );
    Ok(RunKey::new(bytes))
}

/// The sink, with an eye on the runtimes that are found and the models that are loaded.
struct Watched<'a, S> {
    sink: &'a mut S,
    found: &'a mut Found,
    vouching: Option<&'a mut Vouching>,
    /// Verdicts that need no hashing.
    at_once: Vec<Verdict>,
}

impl<S: Sink> Sink for Watched<'_, S> {
    fn write(&mut self, event: &RedactedEvent) -> io::Result<()> {
        self.found.runtimes += u64::from(matches!(event.body, Body::RuntimeFound(_)));
        self.found.attached += u64::from(matches!(event.body, Body::Attached(_)));
        if let Some(vouching) = &mut self.vouching {
            self.at_once.extend(vouching.consider(event));
        }
        self.sink.write(event)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sink.flush()
    }
}

/// What a pipeline on this host is told, with these profiles.
pub(crate) fn options(profiles: Arc<[Profile]>) -> Options {
    Options {
        node: Name::new(&kernel_text("/proc/sys/kernel/hostname")),
        grant: Name::new("local"),
        version: Label::new(env!("CARGO_PKG_VERSION")),
        kernel: Name::new(&kernel_text("/proc/sys/kernel/osrelease")),
        profiles,
        window: Options::WINDOW,
        limit: Options::LIMIT,
    }
}

/// What a file of `/proc` says.
pub(crate) fn kernel_text(path: &str) -> String {
    fs::read_to_string(path)
        .map(|text| text.trim_end().to_owned())
        .unwrap_or_default()
}
