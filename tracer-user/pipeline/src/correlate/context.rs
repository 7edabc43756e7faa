//! One inference context: its steps, its sequences and their requests.

mod changes;
mod order;
mod sampling;

use std::collections::BTreeMap;

use tracer_event::{
    BootNanos, ContextId, Known, ModelId, Nanos, Position,
    inference::{Direction, EndReason, Outcome, Step, StepKind},
};

use self::order::{Order, Ordered};
use super::{
    action::{Input, Inputs},
    ledger::{BatchOfTokens, Fact, Ledger, TextChange},
    request::{Open, Owner, Sequence},
};

/// Sequences of one context; llama.cpp's own limit is 256.
const MOST_SEQUENCES: usize = 1024;
/// Tokens of a step, and steps, that a warm-up has at most.
const WARM_UP_TOKENS: u32 = 2;
const WARM_UP_STEPS: usize = 2;
/// Nanoseconds after which a held step is told as it is.
const HOLD: u64 = 100_000_000;
/// Steps and requests that may be a warm-up; llama.cpp's own are four at most.
const MOST_HELD: usize = 16;
/// Nanoseconds without a call after which a request is taken as ended: a caller that goes on
/// later opens another.
const IDLE: u64 = 5_000_000_000;

/// A step whose end has not been seen.
#[derive(Debug)]
struct OpenStep {
    call: u64,
    tid: u32,
    began: BootNanos,
    kind: Option<StepKind>,
    tokens: Option<u32>,
    counted: u32,
    /// Sequences that had input.
    sequences: Vec<i32>,
    seen_inputs: bool,
}

/// One context.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) id: ContextId,
    pub(super) model: Option<ModelId>,
    pub(super) memory: Option<u64>,
    /// Tokens that it holds.
    pub(super) length: Option<u64>,
    pub(super) warming: bool,
    /// When a call last concerned it.
    pub(super) used: BootNanos,
    /// Whether nothing but what may be a warm-up has happened yet.
    fresh: bool,
    /// Steps and requests that may be a warm-up: what comes next decides.
    held: Vec<(BootNanos, Fact)>,
    step: Option<OpenStep>,
    /// The last step whose inputs were told.
    last_step: Option<u64>,
    /// A step within the open one: an encode that a decode turns into.
    nested: Option<u64>,
    sequences: BTreeMap<i32, Sequence>,
    /// The tokens of the last step, as its samples name them.
    order: Order,
    /// Outputs of the last step that have been sampled without saying which.
    taken: usize,
    /// Where the build's layout is unknown: steps alone.
    blind: Option<Open>,
    /// Whether a batch ever told its positions.
    reads_inputs: bool,
}

impl Context {
    /// A context that was there before the probes: what it does first is no warm-up.
    pub(super) fn found(id: ContextId, model: Option<ModelId>) -> Self {
        Self {
            fresh: false,
            ..Self::new(id, model)
        }
    }

    /// A context that has just been made.
    pub(super) fn new(id: ContextId, model: Option<ModelId>) -> Self {
        Self {
            id,
            model,
            memory: None,
            length: None,
            warming: false,
            used: BootNanos(0),
            fresh: true,
            held: Vec::new(),
            step: None,
            last_step: None,
            nested: None,
            sequences: BTreeMap::new(),
            order: Order::default(),
            taken: 0,
            blind: None,
            reads_inputs: false,
        }
    }

    /// A call hands over a batch.
    pub(super) fn step_begins(
        &mut self,
        call: u64,
        tid: u32,
        began: BootNanos,
        kind: Option<StepKind>,
        ledger: &mut Ledger,
    ) {
        if let Some(open) = &self.step {
            let inner = open.kind == Some(StepKind::Decode) && kind == Some(StepKind::Encode);
            if open.tid == tid && inner {
                self.nested = Some(call);
                return;
            }
            // The one before ended unseen.
            self.end_step(open.began, None, Outcome::NotSeen, ledger);
        }
        self.order.clear();
        self.taken = 0;
        self.step = Some(OpenStep {
            call,
            tid,
            began,
            kind,
            tokens: None,
            counted: 0,
            sequences: Vec::new(),
            seen_inputs: false,
        });
    }

    /// The call returns, or is left.
    pub(super) fn step_ends(&mut self, call: u64, end: StepEnd, ledger: &mut Ledger) {
        let StepEnd {
            tid,
            began,
            time,
            kind,
            tokens,
            outcome,
        } = end;
        if self.nested == Some(call) {
            self.nested = None;
            return;
        }
        if self.step.as_ref().is_none_or(|open| open.call != call) {
            // Its beginning was lost: what it did is not known.
            self.step_begins(call, tid, began, kind, ledger);
        }
        if let Some(open) = &mut self.step {
            open.kind = open.kind.or(kind);
            open.tokens = open.tokens.or(tokens);
        }
        // Of a step that an exception left it is only known that it is over.
        let duration = (outcome != Outcome::Unwound).then(|| time.since(began));
        self.end_step(time, duration, outcome, ledger);
    }

    /// Part of a step is computed.
    pub(super) fn batch(
        &mut self,
        tid: u32,
        time: BootNanos,
        tokens: Option<u32>,
        inputs: Option<&Inputs>,
        ledger: &mut Ledger,
    ) {
        let (step, began) = match &mut self.step {
            Some(open) => {
                if let Some(tokens) = tokens {
                    open.counted = open.counted.saturating_add(tokens);
                }
                open.seen_inputs |= inputs.is_some();
                (open.call, open.began)
            }
            // The step's beginning was lost, or is not probed: the batch stands for it.
            None => (u64::from(tid) << 32 ^ time.0 | 1 << 63, time),
        };
        let Some(inputs) = inputs else {
            return;
        };
        self.reads_inputs = true;
        self.order.begin_part();
        for input in &inputs.tokens {
            self.input(step, began, input, inputs.exact, ledger);
        }
        self.tell_tokens(time, inputs, ledger);
    }

    fn input(
        &mut self,
        step: u64,
        began: BootNanos,
        input: &Input,
        exact: bool,
        ledger: &mut Ledger,
    ) {
        let number = input.sequence;
        if !self.sequences.contains_key(&number) && self.sequences.len() >= MOST_SEQUENCES {
            ledger.given_up += 1;
            return;
        }
        self.order.push(Ordered {
            sequence: number,
            position: input.position,
            output: input.output.unwrap_or(true),
        });
        if let Some(open) = &mut self.step
            && !open.sequences.contains(&number)
        {
            open.sequences.push(number);
        }
        let sequence = self.sequences.entry(number).or_default();
        if sequence.hole.take().is_some() {
            self.close(number, EndReason::Stopped, ledger);
        }
        let warming = self.warming;
        let sequence = self.sequences.entry(number).or_default();
        let open = sequence.open.get_or_insert_with(|| {
            Open::new(ledger.request(), began, Some(input.position), warming)
        });
        open.input(step, input, began);
        open.approximate |= !exact;
        sequence.next = input.position.saturating_add(1);
    }

    /// Token ids that the grant includes, sequence by sequence.
    fn tell_tokens(&self, time: BootNanos, inputs: &Inputs, ledger: &mut Ledger) {
        let mut by_sequence: BTreeMap<i32, BatchOfTokens> = BTreeMap::new();
        for input in &inputs.tokens {
            let Some(token) = input.token else { continue };
            let batch = by_sequence
                .entry(input.sequence)
                .or_insert_with(|| BatchOfTokens {
                    model: self.model,
                    direction: Direction::Input,
                    context: self.id,
                    request: self.open(input.sequence).map(|open| open.id),
                    sequence: input.sequence,
                    tokens: Vec::new(),
                    log_probabilities: Vec::new(),
                    positions: Vec::new(),
                    truncated: !inputs.exact,
                });
            batch.tokens.push(token);
            batch.positions.push(Position(input.position));
        }
        let facts = by_sequence.into_values();
        ledger
            .facts
            .extend(facts.map(|batch| (time, Fact::Tokens(batch))));
    }

    fn open(&self, sequence: i32) -> Option<&Open> {
        self.sequences.get(&sequence)?.open.as_ref()
    }

    fn end_step(
        &mut self,
        time: BootNanos,
        duration: Option<Nanos>,
        outcome: Outcome,
        ledger: &mut Ledger,
    ) {
        self.nested = None;
        let Some(open) = self.step.take() else {
            return;
        };
        self.order.restore();
        let failure = match outcome {
            Outcome::Returned(0) | Outcome::Ended | Outcome::NotSeen => None,
            Outcome::Returned(result) => Some(result),
            Outcome::Unwound => Some(i64::MIN),
        };
        for sequence in self.sequences.values_mut() {
            let Some(request) = &mut sequence.open else {
                continue;
            };
            request.left(open.call, time, failure);
            if failure.is_some() && !open.seen_inputs && request.was_in(self.last_step) {
                // Refused before any part was computed: no one tells whose input it was, but who
                // was in the step before is likely to be in this one.
                request.failure = failure;
            }
        }
        if open.seen_inputs {
            self.last_step = Some(open.call);
        }
        let approximate = !open.seen_inputs && failure.is_none();
        if approximate && self.reads_inputs {
            // The layout is known, so a part's record is missing.
            self.doubt();
        } else if approximate {
            let warming = self.warming;
            let blind = self
                .blind
                .get_or_insert_with(|| Open::new(ledger.request(), open.began, None, warming));
            blind.enter(open.call, 0, open.began);
            blind.left(open.call, time, failure);
        }
        let counted = (open.counted > 0).then_some(open.counted);
        let step = Step {
            context: Known::Known(self.id),
            model: self.model.into(),
            kind: open.kind.into(),
            duration: duration.into(),
            tokens: open.tokens.or(counted).into(),
            sequences: open
                .seen_inputs
                .then(|| u32::try_from(open.sequences.len()).unwrap_or(u32::MAX))
                .into(),
            outcome,
            warm_up: self.warming,
            approximate,
        };
        let is_small = matches!(step.tokens, Known::Known(..=WARM_UP_TOKENS));
        let steps = self.held.iter();
        let steps = steps
            .filter(|(_, fact)| matches!(fact, Fact::Step(_)))
            .count();
        let fact = (time, Fact::Step(Box::new(step)));
        if self.fresh && is_small && steps < WARM_UP_STEPS {
            self.held.push(fact);
            return;
        }
        self.serves(ledger);
        ledger.facts.push(fact);
    }

    /// What was held back was no warm-up.
    fn serves(&mut self, ledger: &mut Ledger) {
        self.fresh = false;
        ledger.facts.append(&mut self.held);
    }

    /// Whether only what may be a warm-up has happened.
    pub(super) const fn is_fresh(&self) -> bool {
        self.fresh
    }

    /// The cache is emptied right after a context's first steps: they only warmed caches up.
    ///
    /// llama.cpp's own programs decode one or two tokens so, first to touch the weights and then to
    /// find out whether the cache can forget a part of a sequence; the call that once announced it,
    /// `llama_set_warmup`, has no effect since 2026.
    fn was_warm_up(&mut self, ledger: &mut Ledger) {
        if !self.fresh || self.held.is_empty() {
            return;
        }
        for (_, fact) in &mut self.held {
            match fact {
                Fact::Step(step) => step.warm_up = true,
                Fact::Request(request) => request.warm_up = true,
                Fact::Tokens(_) | Fact::Sequence(_) => {}
            }
        }
        ledger.facts.append(&mut self.held);
        let sequences = self.sequences.values_mut();
        let requests = sequences.filter_map(|sequence| sequence.open.as_mut());
        for request in requests.chain(self.blind.as_mut()) {
            request.warm_up = true;
        }
    }

    /// Counts are no longer certain.
    pub(super) fn doubt(&mut self) {
        for sequence in self.sequences.values_mut() {
            if let Some(open) = &mut sequence.open {
                open.approximate = true;
            }
        }
    }

    /// Closes what nobody went on with.
    pub(super) fn tick(&mut self, now: BootNanos, ledger: &mut Ledger) {
        if self.step.is_some() {
            return;
        }
        let since = self.held.last().map(|(time, _)| now.since(*time).0);
        if since.is_some_and(|since| since > HOLD) {
            self.serves(ledger);
        }
        let idle = |open: &Option<Open>| {
            open.as_ref()
                .is_some_and(|open| now.since(open.active).0 > IDLE)
        };
        let sequences = self.sequences.iter();
        let over: Vec<i32> = sequences
            .filter(|(_, sequence)| idle(&sequence.open))
            .map(|(number, _)| *number)
            .collect();
        for number in over {
            self.close(number, EndReason::Stopped, ledger);
        }
        if idle(&self.blind) {
            self.close_blind(EndReason::Stopped, ledger);
        }
    }

    /// The context is gone, or watching it ends.
    pub(super) fn end(&mut self, time: BootNanos, why: EndReason, ledger: &mut Ledger) {
        if self.step.is_some() {
            self.end_step(time, None, Outcome::NotSeen, ledger);
        }
        self.serves(ledger);
        for number in self.meant(-1) {
            self.close(number, why, ledger);
        }
        self.close_blind(why, ledger);
        for number in self.meant(-1) {
            ledger.text(time, self.id, number, TextChange::Emptied);
        }
        self.sequences.clear();
    }

    fn owner(&self) -> Owner {
        Owner {
            context: self.id,
            model: self.model,
            length: self.length,
        }
    }

    fn close(&mut self, number: i32, why: EndReason, ledger: &mut Ledger) {
        let owner = self.owner();
        let Some(sequence) = self.sequences.get_mut(&number) else {
            return;
        };
        sequence.hole = None;
        if let Some(open) = sequence.open.take() {
            let (time, request) = open.close(owner, Some(number), sequence.next, why);
            ledger.text(time, self.id, number, TextChange::Ended);
            let fact = (time, Fact::Request(Box::new(request)));
            if self.held.is_empty() {
                ledger.facts.push(fact);
            } else {
                self.held.push(fact);
                if self.held.len() > MOST_HELD {
                    self.serves(ledger);
                }
            }
        }
    }

    fn close_blind(&mut self, why: EndReason, ledger: &mut Ledger) {
        let owner = self.owner();
        if let Some(open) = self.blind.take() {
            let (time, request) = open.close(owner, None, 0, why);
            ledger.facts.push((time, Fact::Request(Box::new(request))));
        }
    }
}

/// How a step ended, as its call told.
#[derive(Clone, Copy, Debug)]
pub(super) struct StepEnd {
    pub(super) tid: u32,
    pub(super) began: BootNanos,
    pub(super) time: BootNanos,
    pub(super) kind: Option<StepKind>,
    pub(super) tokens: Option<u32>,
    pub(super) outcome: Outcome,
}
