//! The contexts of one process: which context a call concerns, and which token a sample is.
//!
//! A context is known by its address, never by the thread that uses it: callers hop over threads.

use std::collections::BTreeMap;

use tracer_abi::Phase;
use tracer_event::{
    BootNanos, ModelId,
    inference::{EndReason, Outcome},
};

use super::{
    action::{Action, Sample, Target, What},
    context::{Context, StepEnd},
    ledger::Ledger,
};

/// Contexts of one process.
pub(super) const MOST_CONTEXTS: usize = 256;
/// Samples that wait for the call around them to end.
const MOST_HELD: usize = 64;
/// Nanoseconds that a sample waits for it.
const HOLD: u64 = 100_000_000;

/// Contexts by address, and samples that may be part of others.
#[derive(Debug, Default)]
pub(super) struct Inference {
    contexts: BTreeMap<u64, Context>,
    held: Vec<Held>,
    /// What samplers that name no context said last on each thread: the call around them says nothing
    /// of probabilities.
    likely: Vec<Held>,
    /// Whether a sample ever named its context: then those that do not are parts of such ones.
    samples_name_contexts: bool,
}

/// A sample whose enclosing call may still be running: samplers call each other.
#[derive(Clone, Copy, Debug)]
struct Held {
    tid: u32,
    began: BootNanos,
    time: BootNanos,
    sample: Sample,
}

impl Inference {
    /// Adds a context that is made or first seen at `time`. One of the same address, whose end was
    /// not seen, ends. Where there are too many, the one that no call has concerned for longest is
    /// given up, and counted.
    pub(super) fn add(
        &mut self,
        address: u64,
        mut context: Context,
        time: BootNanos,
        ledger: &mut Ledger,
    ) {
        self.remove(address, time, EndReason::Unknown, ledger);
        if self.contexts.len() >= MOST_CONTEXTS {
            let oldest = self.contexts.iter().min_by_key(|(_, context)| context.used);
            if let Some((&oldest, _)) = oldest {
                self.remove(oldest, time, EndReason::Unknown, ledger);
                ledger.given_up += 1;
            }
        }
        context.used = time;
        self.contexts.insert(address, context);
    }

    /// The context is released. Gives back what it was.
    pub(super) fn remove(
        &mut self,
        address: u64,
        time: BootNanos,
        why: EndReason,
        ledger: &mut Ledger,
    ) -> Option<Context> {
        self.settle(ledger);
        let mut context = self.contexts.remove(&address)?;
        context.end(time, why, ledger);
        Some(context)
    }

    /// The context of an address.
    pub(super) fn context(&self, address: u64) -> Option<&Context> {
        self.contexts.get(&address)
    }

    /// The model of a known context, where it could not be told when the context was made.
    pub(super) fn learn_model(&mut self, address: u64, model: Option<ModelId>) {
        if let Some(context) = self.contexts.get_mut(&address) {
            context.model = context.model.or(model);
        }
    }

    /// A call.
    pub(super) fn act(&mut self, action: &Action, ledger: &mut Ledger) {
        if let What::Sample(sample) = action.what {
            self.hold(action, sample, ledger);
            return;
        }
        self.settle(ledger);
        let Action {
            time,
            began,
            tid,
            call,
            phase,
            ref what,
        } = *action;
        match *what {
            What::Step {
                context,
                memory,
                kind,
                result,
                tokens,
                ref inputs,
            } => {
                let Some(context) = self.find(context, time) else {
                    return;
                };
                context.memory = memory.or(context.memory);
                let outcome = match phase {
                    Phase::Entry => {
                        context.step_begins(call, tid, time, kind, ledger);
                        if inputs.is_some() {
                            context.batch(tid, time, tokens, inputs.as_ref(), ledger);
                        }
                        return;
                    }
                    Phase::Exit => result.map_or(Outcome::Ended, Outcome::Returned),
                    Phase::Unwound => Outcome::Unwound,
                };
                let end = StepEnd {
                    tid,
                    began,
                    time,
                    kind,
                    tokens,
                    outcome,
                };
                context.step_ends(call, end, ledger);
            }
            What::Batch {
                context,
                tokens,
                ref inputs,
            } => {
                if let Some(context) = self.find(context, time) {
                    context.batch(tid, time, tokens, inputs.as_ref(), ledger);
                }
            }
            What::Sequence { target, change } => {
                if let Some(context) = self.target(target, time) {
                    context.change(change, time, ledger);
                }
            }
            What::Restore { context, sequence } => {
                if let Some(context) = self.find(context, time) {
                    context.restored(sequence, time, ledger);
                }
            }
            What::WarmUp { context, begins } => {
                if let Some(context) = self.find(context, time) {
                    context.warming = begins;
                }
            }
            What::Sample(_) => {}
        }
    }

    /// The context that a call of `time` concerns.
    fn find(&mut self, address: Option<u64>, time: BootNanos) -> Option<&mut Context> {
        let context = match address {
            Some(address) => self.contexts.get_mut(&address),
            None => self.only(),
        }?;
        context.used = context.used.max(time);
        Some(context)
    }

    fn only(&mut self) -> Option<&mut Context> {
        let mut contexts = self.contexts.values_mut();
        match (contexts.next(), contexts.next()) {
            (Some(context), None) => Some(context),
            _ => None,
        }
    }

    /// The context whose cache a call of `time` means. If that cannot be told, all counts are in
    /// doubt.
    fn target(&mut self, target: Target, time: BootNanos) -> Option<&mut Context> {
        let address = match target {
            Target::Context(address) => Some(address),
            Target::Memory(memory) => {
                let mut contexts = self.contexts.iter();
                let known = contexts.find(|(_, context)| context.memory == Some(memory));
                known.map(|(address, _)| *address)
            }
            Target::Unknown => None,
        };
        let only = match self.contexts.first_key_value() {
            // A cache that is not the only context's belongs to one that is not known.
            Some((address, context)) if self.contexts.len() == 1 => {
                (context.memory.is_none() || target == Target::Unknown).then_some(*address)
            }
            Some(_) | None => None,
        };
        let unknown = self
            .contexts
            .values()
            .any(|context| context.memory.is_none());
        match address.or(only) {
            Some(address) => self.find(Some(address), time),
            None => {
                if unknown {
                    self.doubt();
                }
                None
            }
        }
    }

    fn hold(&mut self, action: &Action, sample: Sample, ledger: &mut Ledger) {
        let Action {
            time, began, tid, ..
        } = *action;
        if action.phase != Phase::Exit {
            return;
        }
        self.held
            .retain(|held| held.tid != tid || held.began < began || held.time > time);
        let mut held = Held {
            tid,
            began,
            time,
            sample,
        };
        self.likely(&mut held);
        if sample.context.is_none() && self.samples_name_contexts {
            return;
        }
        if sample.context.is_some() {
            self.samples_name_contexts = true;
            self.held.retain(|held| held.sample.context.is_some());
        }
        if self.held.len() == MOST_HELD {
            self.settle(ledger);
        }
        self.held.push(held);
    }

    /// Remembers what a sampler within another one said of its token, or says it of the outer one's.
    fn likely(&mut self, held: &mut Held) {
        let Held {
            tid,
            began,
            time,
            ref mut sample,
        } = *held;
        let known = self.likely.iter().position(|inner| inner.tid == tid);
        let inner = known.map(|place| self.likely.swap_remove(place));
        if sample.log_probability.is_some() {
            if self.likely.len() == MOST_HELD {
                self.likely.remove(0);
            }
            self.likely.push(*held);
        } else if let Some(inner) = inner
            && inner.began >= began
            && inner.time <= time
            && inner.sample.token == sample.token
        {
            sample.log_probability = inner.sample.log_probability;
        }
    }

    /// Counts the samples that waited.
    fn settle(&mut self, ledger: &mut Ledger) {
        for held in std::mem::take(&mut self.held) {
            let context = match held.sample.context {
                Some(address) => self.find(Some(address), held.time),
                None => {
                    let contexts = self.contexts.values_mut();
                    let mut candidates = contexts.filter(|context| context.may_be_sampled());
                    match (candidates.next(), candidates.next()) {
                        (Some(context), None) => Some(context),
                        _ => None,
                    }
                }
            };
            let is_known =
                context.is_some_and(|context| context.sampled(&held.sample, held.time, ledger));
            if !is_known && held.sample.context.is_none() {
                // Someone generated a token; whose count it changes is not known.
                self.doubt();
            }
        }
    }

    /// Counts are no longer certain.
    pub(super) fn doubt(&mut self) {
        for context in self.contexts.values_mut() {
            context.doubt();
        }
    }

    /// Time passed.
    pub(super) fn tick(&mut self, now: BootNanos, ledger: &mut Ledger) {
        if self.held.iter().any(|held| now.since(held.time).0 > HOLD) {
            self.settle(ledger);
        }
        for context in self.contexts.values_mut() {
            context.tick(now, ledger);
        }
    }

    /// Everything ends.
    pub(super) fn end(&mut self, time: BootNanos, why: EndReason, ledger: &mut Ledger) {
        self.settle(ledger);
        for (_, mut context) in std::mem::take(&mut self.contexts) {
            context.end(time, why, ledger);
        }
    }
}

#[cfg(test)]
mod tests;
