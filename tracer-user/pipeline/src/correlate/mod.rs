//! Makes models, contexts and requests of calls.
//!
//! `Inference` and what is below it are pure: calls go in, facts come out.
//! `Models` asks [`snapshot`](crate::snapshot) about the live process. This
//! file decides which process a call belongs to and hands out numbers.

mod action;
mod called;
mod context;
mod inference;
mod ledger;
mod models;
mod parameters;
mod request;
mod surroundings;

use std::collections::BTreeMap;

use tracer_abi::Phase;
use tracer_event::{
    Body, BootNanos, ContextId, Known, LossReason, ModelId, Name, Pid,
    inference::{EndReason, RuntimeError},
    model::{ContextFreed, ContextParameters, ContextSnapshot, LoadSeen},
};
use tracer_probe::observation::Runtime;
use tracer_profile::{FieldName, Profile, Signal};

pub(crate) use self::ledger::{SequenceChange, TextChange};
use self::{
    action::{Action, What},
    called::called,
    context::Context,
    inference::Inference,
    ledger::{Fact, Ledger},
    models::Models,
    parameters::context_parameters,
    surroundings::Surroundings,
};
use crate::{
    call::Call,
    output::{Draft, Output},
    snapshot::gguf::Want,
};

/// Processes that are remembered.
const MOST_PROCESSES: usize = 4096;

/// What is known of every traced process. Bounded: the one that has called least recently is given
/// up and counted.
#[derive(Default)]
pub struct Correlator {
    processes: BTreeMap<Pid, Process>,
    ledger: Ledger,
    want: Want,
    next_model: u64,
    next_context: u64,
}

#[derive(Default)]
struct Process {
    inference: Inference,
    models: Models,
    /// When it last called, or was found.
    used: BootNanos,
    /// The profiles whose word on snapshots is known.
    found: Vec<String>,
    /// Whether models that were there before have been looked for.
    is_searched: bool,
    /// Whether it may have loaded models that nobody saw.
    missed: bool,
}

impl Process {
    fn new(want: Want) -> Self {
        Self {
            models: Models::new(want),
            ..Self::default()
        }
    }

    /// Looks for models whose load was not seen, once with success. Only a process that
    /// `is_serving` has loaded what its command line names: another may be about to.
    fn search(
        &mut self,
        pid: Pid,
        runtime: &Name,
        time: BootNanos,
        is_serving: bool,
        next_model: &mut u64,
        output: &mut Output,
    ) {
        if self.is_searched {
            return;
        }
        let mut next = || {
            *next_model += 1;
            ModelId(*next_model)
        };
        self.models
            .discover(pid, runtime, time, is_serving, &mut next, output);
        self.is_searched = is_serving || !self.models.is_empty();
    }

    /// The model that a call concerns, whose snapshot is then complete. One that was loaded unseen is
    /// known from its first call on.
    fn served(
        &mut self,
        call: &Call<'_>,
        next_model: &mut u64,
        output: &mut Output,
    ) -> Option<ModelId> {
        let address = call.address(FieldName::Model);
        if address.or_else(|| call.address(FieldName::Context))? == 0 {
            return None;
        }
        let (pid, runtime) = (call.pid(), &call.probe.runtime);
        if self.models.is_empty() {
            self.search(pid, runtime, call.time(), true, next_model, output);
        }
        let known = match address {
            Some(_) => self.models.at(address),
            None => self
                .models
                .only()
                .filter(|id| !self.missed || self.models.is_unseen(*id)),
        };
        let model = match (known, address) {
            // Whose it is of several cannot be told.
            (None, None) if !self.models.is_empty() => None,
            (None, _) => {
                *next_model += 1;
                let id = ModelId(*next_model);
                self.models.adopt(call, address, id, output);
                Some(id)
            }
            (Some(id), _) => Some(id),
        };
        // A call may come before the word that its process has this runtime, and with it what a
        // snapshot is to tell.
        if !self.found.is_empty() {
            self.models.serves(pid, model, output);
        }
        model
    }
}

/// Whether a profile tells of models: one of operations or texts alone does not, and a process that
/// has such a runtime has another.
fn is_about_models(profile: &Profile) -> bool {
    profile.probes.iter().any(|probe| match probe.signal {
        Signal::Operation => false,
        Signal::Call => {
            let names = [FieldName::Model, FieldName::Context];
            names.iter().any(|name| probe.field(*name).is_some())
        }
        _ => true,
    })
}

impl Correlator {
    /// Knows nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Also reads what the tokens of each model stand for.
    #[must_use]
    pub const fn wanting(mut self, want: Want) -> Self {
        self.want = want;
        self
    }

    /// A call, in the order of time as far as the window of the merge reaches.
    pub fn call(&mut self, call: &Call<'_>, output: &mut Output) {
        self.make_room(call.pid(), call.time(), output);
        let process = self
            .processes
            .entry(call.pid())
            .or_insert_with(|| Process::new(self.want));
        process.used = process.used.max(call.time());
        match call.signal() {
            Signal::ModelLoad => {
                if call.phase == Phase::Entry {
                    process.models.load_begins(call, output);
                } else {
                    self.next_model += 1;
                    process
                        .models
                        .loaded(call, ModelId(self.next_model), output);
                }
            }
            Signal::ModelFree => process.models.freed(call, output),
            Signal::TemplateInit => process.models.template(call),
            Signal::ContextCreate => {
                if call.phase != Phase::Entry {
                    create_context(
                        process,
                        call,
                        &mut self.next_context,
                        &mut self.ledger,
                        output,
                    );
                }
            }
            Signal::ContextFree => {
                let address = call.address(FieldName::Context).unwrap_or(0);
                let ledger = &mut self.ledger;
                let gone =
                    process
                        .inference
                        .remove(address, call.time(), EndReason::Stopped, ledger);
                emit_facts(ledger, Some(call), call.pid(), output);
                if let Some(Context { id, .. }) = gone {
                    let body = Body::ContextFreed(ContextFreed { context: id });
                    output.emit(Draft::of_call(call, body));
                }
            }
            Signal::Error => {
                let text = |name| Known::from(call.text(name).map(|text| text.to_raw()));
                let error = RuntimeError {
                    file: text(FieldName::SourceFile),
                    line: call
                        .number(FieldName::SourceLine)
                        .and_then(|line| u32::try_from(line).ok())
                        .into(),
                    message: text(FieldName::Message),
                };
                let body = Body::RuntimeError(Box::new(error));
                output.emit(Draft::of_call(call, body));
            }
            Signal::Call => {
                let model = process.served(call, &mut self.next_model, output);
                let body = Body::Called(Box::new(called(call, model)));
                output.emit(Draft::of_call(call, body));
            }
            Signal::Step
            | Signal::Batch
            | Signal::SequenceRemove
            | Signal::SequenceCopy
            | Signal::SequenceKeep
            | Signal::SequenceShift
            | Signal::SequenceClear
            | Signal::StateRestore
            | Signal::Sample
            | Signal::WarmUp => {
                let Some(mut action) = Action::of(call) else {
                    return;
                };
                if let What::Sample(sample) = &mut action.what
                    && let (None, Some(token)) = (sample.ends, sample.token)
                {
                    sample.ends = process.models.ends(token);
                }
                if let Some(address) = action.context()
                    && address != 0
                {
                    let next = (&mut self.next_model, &mut self.next_context);
                    meet_context(process, address, call, next, &mut self.ledger, output);
                }
                process.inference.act(&action, &mut self.ledger);
                if let Some(address) = action.context()
                    && let Some(context) = process.inference.context(address)
                    && !context.warming
                    && !context.is_fresh()
                {
                    process.models.serves(call.pid(), context.model, output);
                }
                emit_facts(&mut self.ledger, Some(call), call.pid(), output);
            }
            Signal::InputToken | Signal::Tokenize | Signal::TokenPiece | Signal::Operation => {}
        }
    }

    /// A process with a known runtime.
    pub fn runtime_found(&mut self, runtime: &Runtime, profile: &Profile, output: &mut Output) {
        let pid = Pid(runtime.process.id.pid);
        let time = BootNanos(runtime.time.0);
        self.make_room(pid, time, output);
        let process = self
            .processes
            .entry(pid)
            .or_insert_with(|| Process::new(self.want));
        process.used = process.used.max(time);
        if let Some(version) = &runtime.version {
            let runtime = Name::new(&profile.runtime);
            process.models.version(runtime, version.clone());
        }
        if process.found.contains(&profile.name) || !is_about_models(profile) {
            return;
        }
        process.missed |= runtime.load_may_be_missed;
        let is_first = process.found.is_empty();
        process.found.push(profile.name.clone());
        process.models.surroundings(pid, Surroundings::of(profile));
        process.models.announced(pid, output);
        if is_first && runtime.load_may_be_missed {
            let name = Name::new(&profile.runtime);
            process.search(pid, &name, time, false, &mut self.next_model, output);
        }
    }

    /// A process ended, or replaced its program: what it had is over.
    pub fn process_gone(&mut self, pid: Pid, time: BootNanos, output: &mut Output) {
        if let Some(mut process) = self.processes.remove(&pid) {
            let mut next = || {
                self.next_model += 1;
                ModelId(self.next_model)
            };
            process.models.gone(pid, time, &mut next, output);
            self.end(pid, process, time, output);
        }
    }

    /// Something was lost: what it may concern is no longer exact.
    pub fn lost(&mut self, reason: LossReason, time: BootNanos) {
        let _ = time;
        if reason.loses_record() && !reason.is_intended() {
            for process in self.processes.values_mut() {
                process.inference.doubt();
            }
        }
    }

    /// Time passed without calls.
    pub fn tick(&mut self, now: BootNanos, output: &mut Output) {
        for (pid, process) in &mut self.processes {
            process.models.tick(*pid, now, output);
            process.inference.tick(now, &mut self.ledger);
            emit_facts(&mut self.ledger, None, *pid, output);
        }
    }

    /// Tracing ends: what is open is closed as it stands.
    pub fn finish(&mut self, now: BootNanos, output: &mut Output) {
        for (pid, process) in std::mem::take(&mut self.processes) {
            self.end(pid, process, now, output);
        }
    }

    fn end(&mut self, pid: Pid, mut process: Process, time: BootNanos, output: &mut Output) {
        process.models.end(output);
        process
            .inference
            .end(time, EndReason::Unknown, &mut self.ledger);
        emit_facts(&mut self.ledger, None, pid, output);
    }

    fn make_room(&mut self, pid: Pid, time: BootNanos, output: &mut Output) {
        if self.processes.len() < MOST_PROCESSES || self.processes.contains_key(&pid) {
            return;
        }
        let oldest = self.processes.iter().min_by_key(|(_, known)| known.used);
        if let Some((&oldest, _)) = oldest {
            output.give_up();
            if let Some(process) = self.processes.remove(&oldest) {
                self.end(oldest, process, time, output);
            }
        }
    }
}

/// The call that makes a context ended.
fn create_context(
    process: &mut Process,
    call: &Call<'_>,
    next: &mut u64,
    ledger: &mut Ledger,
    output: &mut Output,
) {
    let Some(address) = call
        .address(FieldName::Context)
        .filter(|address| *address != 0)
    else {
        return;
    };
    *next += 1;
    let id = ContextId(*next);
    let model = process.models.at(call.address(FieldName::Model));
    let parameters = context_parameters(call);
    let mut context = Context::new(id, model);
    context.memory = call.address(FieldName::Memory);
    context.length = match parameters.context_length {
        Known::Known(0) => model.and_then(|model| process.models.length(model)),
        Known::Known(length) => Some(length.into()),
        Known::Unknown => None,
    };
    process.inference.add(address, context, call.time(), ledger);
    emit_facts(ledger, Some(call), call.pid(), output);
    let snapshot = ContextSnapshot {
        context: id,
        model: model.into(),
        created: LoadSeen::Seen,
        duration: Known::Known(call.duration()),
        parameters,
    };
    let body = Body::ContextCreated(Box::new(snapshot.clone()));
    let draft = Draft::of_call(call, body);
    process.models.context(model, snapshot, draft, output);
}

/// A call concerns a context, which therefore has a model. One that no load is known of was loaded
/// unseen, as is the one whose load ran while its process was found. That a context is made proves
/// nothing yet: a dry run makes one too, and the load that serves comes after it.
fn meet_context(
    process: &mut Process,
    address: u64,
    call: &Call<'_>,
    (next_model, next_context): (&mut u64, &mut u64),
    ledger: &mut Ledger,
    output: &mut Output,
) {
    let known = process.inference.context(address);
    if known.is_some_and(|context| context.model.is_some()) {
        return;
    }
    let is_known = known.is_some();
    if process.models.is_empty() {
        let (pid, runtime) = (call.pid(), &call.probe.runtime);
        process.search(pid, runtime, call.time(), true, next_model, output);
    }
    if is_known {
        let model = process.models.only();
        let unseen = model.filter(|id| process.models.is_unseen(*id));
        process.inference.learn_model(address, unseen);
    } else {
        adopt_context(process, address, call, next_context, ledger, output);
    }
}

/// A context that was there before the probes is known from its first call on.
fn adopt_context(
    process: &mut Process,
    address: u64,
    call: &Call<'_>,
    next: &mut u64,
    ledger: &mut Ledger,
    output: &mut Output,
) {
    *next += 1;
    let id = ContextId(*next);
    let model = process.models.only();
    process
        .inference
        .add(address, Context::found(id, model), call.time(), ledger);
    emit_facts(ledger, Some(call), call.pid(), output);
    let snapshot = ContextSnapshot {
        context: id,
        model: model.into(),
        created: LoadSeen::NotSeen,
        duration: Known::Unknown,
        parameters: ContextParameters::default(),
    };
    let body = Body::ContextCreated(Box::new(snapshot.clone()));
    let draft = Draft::of_call(call, body);
    process.models.context(model, snapshot, draft, output);
}

/// Hands on what the pure part found, at the time when it happened.
fn emit_facts(ledger: &mut Ledger, call: Option<&Call<'_>>, pid: Pid, output: &mut Output) {
    for (time, fact) in ledger.facts.drain(..) {
        let mut model = None;
        let body = match fact {
            Fact::Step(step) => Body::Step(step),
            Fact::Request(request) => Body::Request(request),
            Fact::Tokens(tokens) => {
                model = tokens.model;
                Body::Tokens(Box::new(tokens.into_event()))
            }
            Fact::Sequence(change) => {
                output.change(change);
                continue;
            }
        };
        let draft = match (call, &body) {
            (Some(call), Body::Step(_) | Body::Tokens(_)) => Draft {
                time,
                ..Draft::of_call(call, body)
            },
            _ => Draft::of_process(time, pid, body),
        };
        output.emit(Draft { model, ..draft });
    }
    for _ in 0..std::mem::take(&mut ledger.given_up) {
        output.give_up();
    }
}
