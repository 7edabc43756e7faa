//! The one pipeline: everything between the rings and a sink.

mod observed;

use std::{
    io, mem,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tracer_event::{
    Body, BootNanos, Content, Event, Grant, Known, Label, LossReason, Moment, Name, Pid, Place,
    Raw, Schema, WallNanos,
    agent::{SessionStarted, Summary},
    file::FilesWatched,
    integrity::FileVerdict,
};
use tracer_probe::{files::FileEvent, observation::Observation};
use tracer_profile::Profile;
use tracer_redact::{Engine, Field};

use self::observed::time_of;
use crate::{
    content::{Texts, Told},
    correlate::Correlator,
    decode::{DecodeError, Decoder, ProbeSource},
    files,
    merge::{Merge, Merged, What},
    output::{Change, Draft, Output, SetUpdate},
    process::Processes,
    sink::Sink,
    totals::{OwnLosses, Totals},
    translate::{Names, boot, nanos},
};

/// What a run is told.
#[derive(Clone, Debug)]
pub struct Options {
    /// The machine's name in events.
    pub node: Name,
    /// The grant's name in events; `local` for root on this host.
    pub grant: Name,
    /// tracer's version.
    pub version: Label,
    /// The kernel's release.
    pub kernel: Name,
    /// The profiles of the run, in the supervisor's order.
    pub profiles: Arc<[Profile]>,
    /// How long a record may take from its hit to its ring: a program can be pre-empted or wait
    /// for a page meanwhile. Longer means more order and more delay.
    pub window: Duration,
    /// Bytes of records that wait for the window at most; beyond it, order is given up.
    pub limit: usize,
}

impl Options {
    /// The default window: pre-emption on a loaded machine lasts a few milliseconds.
    pub const WINDOW: Duration = Duration::from_millis(20);
    /// The default limit, twice the default rings.
    pub const LIMIT: usize = 16 << 20;
}

/// Why a run cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    /// The sink refused an event.
    #[error("cannot write an event to the output")]
    Output {
        /// What happened.
        #[source]
        source: io::Error,
    },
}

/// Turns observations into events at a sink.
pub struct Pipeline {
    options: Options,
    engine: Engine,
    grant: Arc<Grant>,
    began: BootNanos,
    boot_to_wall: u64,
    merge: Merge<Observation>,
    decoder: Decoder,
    correlator: Correlator,
    processes: Processes,
    texts: Texts,
    names: Names,
    totals: Totals,
    losses: OwnLosses,
    /// What others have told, until its time has come.
    told: Vec<Draft>,
    output: Output,
    /// How many values could not be searched so far.
    unsearched: u64,
}

impl Pipeline {
    /// A pipeline whose content passes `engine`. What it says first is that the session started.
    #[must_use]
    pub fn new(options: Options, engine: Engine) -> Self {
        let began = boot(tracer_probe::time::BootNanos::now());
        let switches = options.profiles.iter();
        let switches = switches.flat_map(|profile| profile.environment.iter().cloned());
        let engine = engine.with_switches(switches);
        let grant = Arc::new(Grant {
            name: options.grant.clone(),
            level: engine.level().into(),
            policy: tracer_event::Digest(engine.policy_digest().bytes()),
        });
        let mut output = Output::new();
        let started = SessionStarted {
            version: options.version.clone(),
            kernel: options.kernel.clone(),
            level: engine.level().into(),
            policy: Known::Known(tracer_event::Digest(engine.policy_digest().bytes())),
            profiles: options
                .profiles
                .iter()
                .map(|profile| Name::new(&profile.name))
                .collect(),
        };
        output.emit(Draft::of_agent(
            began,
            Body::SessionStarted(Box::new(started)),
        ));
        let texts = Texts::new(&engine);
        Self {
            merge: Merge::new(options.limit),
            decoder: Decoder::new(),
            correlator: Correlator::new().wanting(texts.want()),
            texts,
            processes: Processes::new(options.node.clone())
                .with_arguments(engine.shows(Field::Arguments)),
            names: Names::new(&options.profiles),
            totals: Totals::default(),
            losses: OwnLosses::new(began),
            told: Vec::new(),
            boot_to_wall: boot_to_wall(),
            options,
            engine,
            grant,
            began,
            output,
            unsearched: 0,
        }
    }

    /// Takes what the supervisor saw. Nothing is written before [`Pipeline::advance`].
    pub fn push(&mut self, observation: Observation) {
        match observation {
            Observation::Records(records) => self.merge.push_records(records),
            other => {
                let time = time_of(&other);
                self.merge.push_item(time, other);
            }
        }
    }

    /// Takes a verdict on a file of a process, made beside the event path. It is written in its
    /// place in time, like everything else.
    pub fn push_verdict(&mut self, pid: Pid, verdict: FileVerdict<Raw<Content>>) {
        let now = boot(tracer_probe::time::BootNanos::now());
        self.told.push(Draft {
            pid: Some(pid),
            ..Draft::of_agent(now, Body::FileVerdict(Box::new(verdict)))
        });
    }

    /// Takes what a file sensor saw. It is written in its place in time.
    pub fn push_file_event(&mut self, event: FileEvent) {
        let draft = files::draft(event, &self.options.node);
        self.told.push(draft);
    }

    /// Says what is watched from now on.
    pub fn push_files_watched(&mut self, watched: FilesWatched<Raw<Content>>) {
        let now = boot(tracer_probe::time::BootNanos::now());
        let body = Body::FilesWatched(Box::new(watched));
        self.told.push(Draft::of_agent(now, body));
    }

    /// Counts events or records that were lost outside the pipeline; the stream says so at the next
    /// [`Pipeline::advance`].
    pub fn count_loss(&mut self, reason: LossReason, count: u64) {
        self.losses.add(reason, count);
    }

    /// Whether something waits for the window to pass: the caller should come back to
    /// [`Pipeline::advance`] after [`Options::window`] even if nothing happens.
    #[must_use]
    pub fn holds_back(&self) -> bool {
        !self.merge.is_empty() || !self.told.is_empty()
    }

    /// Writes every event that is not expected to be preceded by another: all rings have been
    /// read since `read`. Gives back what the kernel should be told.
    ///
    /// # Errors
    /// If the sink refuses an event.
    pub fn advance(
        &mut self,
        read: BootNanos,
        probes: &impl ProbeSource,
        sink: &mut impl Sink,
    ) -> Result<Vec<SetUpdate>, PipelineError> {
        let watermark = read.0.saturating_sub(nanos(self.options.window).0);
        self.hand_on(BootNanos(watermark), probes, sink)?;
        self.correlator.tick(BootNanos(watermark), &mut self.output);
        self.write(sink)?;
        self.count_unsearched();
        for loss in self.losses.tell(read) {
            let draft = Draft::of_agent(read, Body::Loss(loss));
            self.output.emit(draft);
        }
        self.write(sink)?;
        sink.flush().map_err(refused)?;
        Ok(mem::take(&mut self.output.sets))
    }

    /// Writes what is left, closes what is open, and says what it all amounted to.
    ///
    /// # Errors
    /// If the sink refuses an event.
    pub fn finish(
        mut self,
        probes: &impl ProbeSource,
        sink: &mut impl Sink,
    ) -> Result<Summary, PipelineError> {
        let now = boot(tracer_probe::time::BootNanos::now());
        self.hand_on(BootNanos(u64::MAX), probes, sink)?;
        self.correlator.finish(now, &mut self.output);
        self.write(sink)?;
        let mut told = Vec::new();
        self.texts.finish(&self.engine, &mut told);
        self.write_told(told, sink)?;
        self.count_unsearched();
        for loss in self.losses.tell(now) {
            let draft = Draft::of_agent(now, Body::Loss(loss));
            self.output.emit(draft);
        }
        self.write(sink)?;
        let summary = Summary {
            duration: now.since(self.began),
            redacted: self
                .engine
                .tally()
                .replaced
                .into_iter()
                .map(|(kind, count)| (Name::new(&kind), count))
                .collect(),
            ..self.totals.summary().clone()
        };
        let body = Body::Summary(Box::new(summary.clone()));
        self.output.emit(Draft::of_agent(now, body));
        self.write(sink)?;
        sink.flush().map_err(refused)?;
        Ok(summary)
    }

    fn hand_on(
        &mut self,
        watermark: BootNanos,
        probes: &impl ProbeSource,
        sink: &mut impl Sink,
    ) -> Result<(), PipelineError> {
        self.boot_to_wall = boot_to_wall();
        self.merge.advance(watermark);
        while let Some(Merged { what, late }) = self.merge.pop() {
            match what {
                What::Record(record) => {
                    self.totals.record();
                    match self.decoder.decode(record, probes) {
                        Ok(call) => {
                            let call = call.arrived(late);
                            self.correlator.call(&call, &mut self.output);
                        }
                        Err(error) => self.losses.add(loss_reason(&error), 1),
                    }
                }
                What::Item(observation) => self.observe(observation, late, probes),
            }
            self.write(sink)?;
        }
        self.told.sort_by_key(|draft| draft.time);
        for draft in self.told.extract_if(.., |draft| draft.time <= watermark) {
            self.output.emit(draft);
        }
        let given_up = mem::take(&mut self.output.given_up);
        self.losses.add(LossReason::TableFull, given_up);
        Ok(())
    }

    /// Completes, redacts and writes what has been put out.
    fn write(&mut self, sink: &mut impl Sink) -> Result<(), PipelineError> {
        let mut drafts = mem::take(&mut self.output.drafts);
        let mut changes = mem::take(&mut self.output.changes).into_iter().peekable();
        for (index, draft) in drafts.drain(..).enumerate() {
            while let Some((_, change)) = changes.next_if(|(before, _)| *before <= index) {
                self.change(change, sink)?;
            }
            let mut told = Vec::new();
            let draft = match draft.body {
                Body::Tokens(_) => self.texts.tokens(draft, &self.engine, &mut told),
                _ => Some(draft),
            };
            self.write_told(told, sink)?;
            if let Some(draft) = draft {
                self.write_draft(draft, sink)?;
            }
        }
        // Its memory is used again.
        self.output.drafts = drafts;
        changes.try_for_each(|(_, change)| self.change(change, sink))
    }

    fn change(&mut self, change: Change, sink: &mut impl Sink) -> Result<(), PipelineError> {
        let mut told = Vec::new();
        self.texts.change(change, &self.engine, &mut told);
        self.write_told(told, sink)
    }

    fn write_draft(&mut self, draft: Draft, sink: &mut impl Sink) -> Result<(), PipelineError> {
        let Draft {
            time,
            pid,
            tid,
            cpu,
            probe,
            model: _,
            late,
            place,
            body,
        } = draft;
        let ended = matches!(body, Body::ProcessExited(_));
        let place = place.unwrap_or_else(|| self.processes.place(pid, tid, cpu));
        let event = Event {
            probe,
            late,
            ..self.event(time, place, body)
        };
        let event = event.redact(&self.engine);
        sink.write(&event).map_err(refused)?;
        self.totals.event(&event);
        if let (true, Some(pid)) = (ended, pid) {
            self.processes.forget(pid);
        }
        Ok(())
    }

    /// Writes what has passed redaction already.
    fn write_told(&mut self, told: Vec<Told>, sink: &mut impl Sink) -> Result<(), PipelineError> {
        for Told { time, pid, body } in told {
            let place = self.processes.place(pid, None, None);
            let event = self.event(time, place, body);
            sink.write(&event).map_err(refused)?;
            self.totals.event(&event);
        }
        Ok(())
    }

    fn event<C>(&self, time: BootNanos, place: Place, body: Body<C>) -> Event<C> {
        Event {
            schema: Schema,
            time: Moment {
                boot: time,
                wall: WallNanos(time.0.wrapping_add(self.boot_to_wall)),
            },
            place,
            probe: None,
            grant: Arc::clone(&self.grant),
            late: false,
            body,
        }
    }

    /// Content that could not be searched was withheld; that is a loss.
    fn count_unsearched(&mut self) {
        let failed = self.engine.tally().failed;
        let new = failed - mem::replace(&mut self.unsearched, failed);
        self.losses.add(LossReason::Unsearched, new);
    }
}

const fn refused(source: io::Error) -> PipelineError {
    PipelineError::Output { source }
}

/// What to add to boot time for wall time, now. Modulo 2^64, as a clock may be set before boot.
fn boot_to_wall() -> u64 {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH);
    let wall = nanos(wall.unwrap_or_default());
    wall.0.wrapping_sub(tracer_probe::time::BootNanos::now().0)
}

const fn loss_reason(error: &DecodeError) -> LossReason {
    match error {
        DecodeError::Malformed(_) | DecodeError::TooMany { .. } | DecodeError::NotACall { .. } => {
            LossReason::MalformedRecord
        }
        DecodeError::UnknownProbe { .. } => LossReason::UnknownProbe,
    }
}
