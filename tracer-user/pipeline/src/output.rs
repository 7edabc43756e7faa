//! What correlation hands back.

use std::sync::Arc;

use tracer_event::{Body, BootNanos, Content, Cpu, ModelId, Name, Pid, Place, Raw, Tid};
use tracer_profile::TokenSet;

use crate::{call::Call, correlate::SequenceChange, snapshot::Pieces};

/// An event that still lacks what is the same for all events of its process.
pub struct Draft {
    /// When it happened.
    pub time: BootNanos,
    /// The process, if it is of one.
    pub pid: Option<Pid>,
    /// The thread, if it is of one.
    pub tid: Option<Tid>,
    /// The CPU, if a probe saw it.
    pub cpu: Option<Cpu>,
    /// The probe, if one saw it.
    pub probe: Option<Name>,
    /// The model whose tokens it has, if it has some and the model is known.
    pub model: Option<ModelId>,
    /// Whether what it tells of arrived late.
    pub late: bool,
    /// Where it happened, if whoever saw it knows; else that is read from `/proc`.
    pub place: Option<Place>,
    /// What happened.
    pub body: Body<Raw<Content>>,
}

impl Draft {
    /// An event that a call tells of.
    #[must_use]
    pub fn of_call(call: &Call<'_>, body: Body<Raw<Content>>) -> Self {
        Self {
            time: call.time(),
            pid: Some(call.pid()),
            tid: Some(call.tid()),
            cpu: Some(call.cpu()),
            probe: Some(call.probe.name.clone()),
            model: None,
            late: call.late,
            place: None,
            body,
        }
    }

    /// An event of a process that no single call tells of.
    #[must_use]
    pub const fn of_process(time: BootNanos, pid: Pid, body: Body<Raw<Content>>) -> Self {
        let mut draft = Self::of_agent(time, body);
        draft.pid = Some(pid);
        draft
    }

    /// An event of tracer itself.
    #[must_use]
    pub const fn of_agent(time: BootNanos, body: Body<Raw<Content>>) -> Self {
        Self {
            time,
            pid: None,
            tid: None,
            cpu: None,
            probe: None,
            model: None,
            late: false,
            place: None,
            body,
        }
    }
}

/// The members of a set of numbers of one process, for the kernel to compare with
/// (`Supervisor::put_set`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetUpdate {
    /// The process.
    pub pid: Pid,
    /// Which set.
    pub set: TokenSet,
    /// Its members; they replace what it had.
    pub values: Vec<u64>,
}

/// Something that matters for the text of tokens and is no event.
pub(crate) enum Change {
    /// Of a sequence.
    Sequence(SequenceChange),
    /// What a model's tokens stand for.
    Pieces(ModelId, Arc<Pieces>),
    /// The model is gone.
    Gone(ModelId),
}

/// Collects what one step of correlation produces.
#[derive(Default)]
pub struct Output {
    pub(crate) drafts: Vec<Draft>,
    /// What happened to texts, each with how many drafts came before it.
    pub(crate) changes: Vec<(usize, Change)>,
    pub(crate) sets: Vec<SetUpdate>,
    pub(crate) given_up: u64,
}

impl Output {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an event.
    pub fn emit(&mut self, draft: Draft) {
        self.drafts.push(draft);
    }

    pub(crate) fn change(&mut self, change: SequenceChange) {
        self.changes
            .push((self.drafts.len(), Change::Sequence(change)));
    }

    pub(crate) fn know_pieces(&mut self, model: ModelId, pieces: Arc<Pieces>) {
        self.changes
            .push((self.drafts.len(), Change::Pieces(model, pieces)));
    }

    pub(crate) fn forget_pieces(&mut self, model: ModelId) {
        self.changes.push((self.drafts.len(), Change::Gone(model)));
    }

    /// Asks for a set to be told to the kernel.
    pub fn put_set(&mut self, update: SetUpdate) {
        self.sets.push(update);
    }

    /// Counts a model, context or request that was given up because a table is full; it becomes a
    /// loss event.
    pub fn give_up(&mut self) {
        self.given_up += 1;
    }

    /// The events so far, oldest first, for a test to look at.
    #[must_use]
    pub fn drafts(&self) -> &[Draft] {
        &self.drafts
    }

    /// The sets so far, for a test to look at.
    #[must_use]
    pub fn sets(&self) -> &[SetUpdate] {
        &self.sets
    }
}
