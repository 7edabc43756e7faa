//! Sequences of calls as real callers make them, and any calls in any order.

mod any_calls;
mod requests;
mod samplers;
mod steps;

use tracer_event::{
    ContextId, Known, LogProbability, Nanos,
    inference::{Direction, Request, Step, StepKind},
};

use super::*;
use crate::correlate::{
    action::{Change, Input, Inputs},
    ledger::Fact,
};

const CONTEXT: u64 = 0x1000;
const MEMORY: u64 = 0x2000;

/// A process that calls; each call takes a microsecond, a step a millisecond.
struct Caller {
    inference: Inference,
    ledger: Ledger,
    now: u64,
    call: u64,
}

impl Caller {
    fn new() -> Self {
        let mut caller = Self {
            inference: Inference::default(),
            ledger: Ledger::default(),
            now: 1_000_000,
            call: 0,
        };
        caller.make_context(CONTEXT, MEMORY, 1);
        caller
    }

    fn make_context(&mut self, address: u64, memory: u64, id: u64) {
        let mut context = Context::new(ContextId(id), None);
        context.memory = Some(memory);
        context.length = Some(64);
        self.inference
            .add(address, context, BootNanos(self.now), &mut self.ledger);
    }

    fn act(&mut self, phase: Phase, call: u64, began: u64, what: What) {
        let action = Action {
            time: BootNanos(self.now),
            began: BootNanos(began),
            tid: 7,
            call,
            phase,
            what,
        };
        self.inference.act(&action, &mut self.ledger);
        self.now += 1_000;
    }

    /// A decode call with tokens of `(sequence, position)`, the last of each sequence with output.
    fn decode(&mut self, tokens: &[(i32, i32)]) {
        self.decode_in(CONTEXT, tokens, Some(0));
    }

    fn decode_in(&mut self, context: u64, tokens: &[(i32, i32)], result: Option<i64>) {
        let step = |result| What::Step {
            context: Some(context),
            memory: None,
            kind: Some(StepKind::Decode),
            result,
            tokens: None,
            inputs: None,
        };
        self.call += 1;
        let (call, began) = (self.call, self.now);
        self.act(Phase::Entry, call, began, step(None));
        if !tokens.is_empty() {
            let inputs = Inputs {
                tokens: tokens
                    .iter()
                    .enumerate()
                    .map(|(index, (sequence, position))| Input {
                        sequence: *sequence,
                        position: *position,
                        token: None,
                        output: Some(
                            tokens[index + 1..]
                                .iter()
                                .all(|(other, _)| other != sequence),
                        ),
                    })
                    .collect(),
                exact: true,
            };
            let batch = What::Batch {
                context: Some(context),
                tokens: Some(tokens.len() as u32),
                inputs: Some(inputs),
            };
            self.act(Phase::Entry, call + 1_000_000, began, batch);
        }
        self.now = began + 1_000_000;
        if result.is_some() {
            self.act(Phase::Exit, call, began, step(result));
        }
    }

    fn sample(&mut self, index: i64, ends: bool) {
        let began = self.now;
        self.now += 500;
        let sample = Sample {
            context: Some(CONTEXT),
            index: Some(index),
            ends: Some(ends),
            token: None,
            log_probability: None,
        };
        self.act(Phase::Exit, 0, began, What::Sample(sample));
    }

    fn change(&mut self, change: Change) {
        let target = Target::Memory(MEMORY);
        let now = self.now;
        self.act(Phase::Entry, 0, now, What::Sequence { target, change });
    }

    fn remove(&mut self, sequence: i32, from: i32, to: i32) {
        self.change(Change::Remove { sequence, from, to });
    }

    /// Decodes single tokens of sequence 0 from `position` on, sampling after each.
    fn generate(&mut self, position: i32, count: i32) {
        for step in 0..count {
            self.decode(&[(0, position + step)]);
            self.sample(-1, false);
        }
    }

    fn prompt(&mut self, from: i32, to: i32) {
        let tokens: Vec<_> = (from..to).map(|position| (0, position)).collect();
        self.decode(&tokens);
    }

    fn end(&mut self) -> Vec<Request> {
        let now = BootNanos(self.now);
        self.inference
            .end(now, EndReason::Unknown, &mut self.ledger);
        self.requests()
    }

    fn requests(&self) -> Vec<Request> {
        let facts = self.ledger.facts.iter();
        facts
            .filter_map(|(_, fact)| match fact {
                Fact::Request(request) => Some(**request),
                Fact::Step(_) | Fact::Tokens(_) | Fact::Sequence(_) => None,
            })
            .collect()
    }

    /// The tokens that were generated since this was asked last.
    fn generated(&mut self) -> Vec<(i32, Option<LogProbability>)> {
        self.inference.settle(&mut self.ledger);
        let mut generated = Vec::new();
        for (_, fact) in self.ledger.facts.drain(..) {
            if let Fact::Tokens(batch) = fact
                && batch.direction == Direction::Output
            {
                let likely = batch.log_probabilities.first().copied().flatten();
                generated.extend(batch.tokens.iter().map(|token| (*token, likely)));
            }
        }
        generated
    }

    fn steps(&self) -> Vec<Step> {
        let facts = self.ledger.facts.iter();
        facts
            .filter_map(|(_, fact)| match fact {
                Fact::Step(step) => Some(**step),
                Fact::Request(_) | Fact::Tokens(_) | Fact::Sequence(_) => None,
            })
            .collect()
    }

    fn decode_without_output(&mut self, tokens: &[(i32, i32)]) {
        let inputs = Inputs {
            tokens: tokens
                .iter()
                .map(|(sequence, position)| Input {
                    sequence: *sequence,
                    position: *position,
                    token: None,
                    output: Some(false),
                })
                .collect(),
            exact: true,
        };
        self.decode_in(CONTEXT, &[], None);
        let call = self.call;
        let began = self.now - 1_000_000;
        let batch = What::Batch {
            context: Some(CONTEXT),
            tokens: Some(tokens.len() as u32),
            inputs: Some(inputs),
        };
        self.act(Phase::Entry, call, began, batch);
        let exit = What::Step {
            context: Some(CONTEXT),
            memory: None,
            kind: Some(StepKind::Decode),
            result: Some(0),
            tokens: None,
            inputs: None,
        };
        self.act(Phase::Exit, call, began, exit);
    }
}

/// Prompt, cached and generated tokens, and why it ended.
fn told(request: &Request) -> (u64, u64, u64, EndReason) {
    let known = |count: Known<u64>| *count.value().expect("the layout is known");
    (
        known(request.prompt_tokens),
        known(request.cached_tokens),
        known(request.generated_tokens),
        request.end,
    )
}
