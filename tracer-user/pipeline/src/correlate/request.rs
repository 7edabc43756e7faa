//! One request, from its first input to its end.

use tracer_event::{
    BootNanos, ContextId, Known, ModelId, Nanos, RequestId, SequenceId,
    inference::{EndReason, Request},
};

use super::action::Input;

/// A sequence of a context.
#[derive(Debug, Default)]
pub(super) struct Sequence {
    /// The position after the last input.
    pub(super) next: i32,
    /// The request that is open, if one is.
    pub(super) open: Option<Open>,
    /// A removal in the middle: a context shift if what follows it moves down, else the end.
    pub(super) hole: Option<Hole>,
}

/// A removal whose meaning the next call decides.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hole {
    pub(super) to: i32,
}

/// An open request.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) id: RequestId,
    opened: BootNanos,
    first_position: Option<i32>,
    inputs: u64,
    /// Inputs up to the end of the prompt, once that is known.
    prompt: Option<u64>,
    samples: u64,
    first_token: Option<BootNanos>,
    last_token: Option<BootNanos>,
    /// Whether no one could say if the last token ended the generation.
    end_unknown: bool,
    pub(super) active: BootNanos,
    steps: u64,
    /// The last step that it took part in, its first position and how many tokens were in it.
    step: Option<u64>,
    step_first: i32,
    step_tokens: u64,
    /// Whether the prompt was over before that step, so that several tokens in it are drafts.
    step_generates: bool,
    step_has_output: bool,
    /// Whether the build's layout tells which tokens have an output.
    outputs_told: bool,
    /// Result of the last step, if it failed.
    pub(super) failure: Option<i64>,
    pub(super) approximate: bool,
    pub(super) warm_up: bool,
}

/// What is the same for all requests of a context.
#[derive(Clone, Copy, Debug)]
pub(super) struct Owner {
    pub(super) context: ContextId,
    pub(super) model: Option<ModelId>,
    /// Tokens that the context holds.
    pub(super) length: Option<u64>,
}

impl Open {
    pub(super) fn new(
        id: RequestId,
        opened: BootNanos,
        first_position: Option<i32>,
        warm_up: bool,
    ) -> Self {
        Self {
            id,
            opened,
            first_position,
            inputs: 0,
            prompt: None,
            samples: 0,
            first_token: None,
            last_token: None,
            end_unknown: false,
            active: opened,
            steps: 0,
            step: None,
            step_first: 0,
            step_tokens: 0,
            step_generates: false,
            step_has_output: false,
            outputs_told: false,
            failure: None,
            approximate: false,
            warm_up,
        }
    }

    /// A step begins for this request, unless it has begun already.
    pub(super) fn enter(&mut self, step: u64, position: i32, time: BootNanos) {
        if self.step == Some(step) {
            return;
        }
        self.step = Some(step);
        self.step_first = position;
        self.step_tokens = 0;
        self.step_generates = self.prompt.is_some();
        self.step_has_output = false;
        self.steps += 1;
        self.active = self.active.max(time);
    }

    /// A token goes in.
    pub(super) fn input(&mut self, step: u64, input: &Input, time: BootNanos) {
        self.enter(step, input.position, time);
        self.inputs = self.inputs.saturating_add(1);
        self.step_tokens += 1;
        self.step_has_output |= input.output == Some(true);
        self.outputs_told |= input.output.is_some();
    }

    /// The step ended.
    pub(super) fn left(&mut self, step: u64, time: BootNanos, failure: Option<i64>) {
        if self.step != Some(step) {
            return;
        }
        self.failure = failure;
        self.active = self.active.max(time);
        if failure.is_none() && self.step_has_output && self.prompt.is_none() {
            // Until a sample says otherwise, the first output ends the prompt.
            self.prompt = Some(self.inputs);
            self.first_token = Some(time);
        }
        if failure.is_none() && self.samples == 0 {
            self.last_token = Some(time);
        }
    }

    /// A token was chosen.
    pub(super) fn sampled(&mut self, time: BootNanos, ends: Option<bool>) {
        self.end_unknown = ends.is_none();
        self.prompt.get_or_insert(self.inputs);
        if self.samples == 0 {
            self.first_token = Some(time);
        }
        self.samples += 1;
        self.last_token = Some(time);
        self.active = self.active.max(time);
    }

    /// Whether an output has been asked for, or a token chosen.
    pub(super) const fn prompt_is_over(&self) -> bool {
        self.prompt.is_some()
    }

    /// Whether it took part in a step.
    pub(super) fn was_in(&self, step: Option<u64>) -> bool {
        self.step.is_some() && self.step == step
    }

    /// Whether a removal from `from` on only undoes tokens of the last step: rejected drafts. The
    /// step's own first token was known before.
    pub(super) const fn is_draft(&self, from: i32) -> bool {
        self.step_generates && self.step_tokens > 1 && from > self.step_first
    }

    /// The request as it ended.
    pub(super) fn close(
        self,
        owner: Owner,
        sequence: Option<i32>,
        next: i32,
        why: EndReason,
    ) -> (BootNanos, Request) {
        let Self {
            id,
            opened,
            first_position,
            inputs,
            prompt,
            samples,
            first_token,
            last_token,
            end_unknown,
            active,
            steps,
            step: _,
            step_first: _,
            step_tokens: _,
            step_generates: _,
            step_has_output: _,
            outputs_told,
            failure,
            approximate,
            warm_up,
        } = self;
        let full = owner
            .length
            .is_some_and(|length| u64::try_from(next).is_ok_and(|next| next >= length));
        let end = match (why, failure) {
            (EndReason::Eog, _) => EndReason::Eog,
            (_, Some(1)) => EndReason::ContextFull,
            (_, Some(2)) => EndReason::Aborted,
            (_, Some(_)) => EndReason::Error,
            (EndReason::Stopped, None) if full => EndReason::ContextFull,
            (EndReason::Stopped, None) if end_unknown => EndReason::Unknown,
            (why, None) => why,
        };
        let prompt = prompt.unwrap_or(inputs);
        let fed = inputs - prompt;
        // Without a sampling probe the tokens that were fed back tell; the last one is not among
        // them.
        let (generated, counted) = match samples {
            0 if fed == 0 => (0, outputs_told),
            0 => (fed + 1, false),
            samples => (samples, true),
        };
        let known = first_position.is_some();
        let cached = first_position.map(|position| u64::try_from(position).unwrap_or(0));
        let first = first_token.filter(|_| generated > 0);
        let between = match (first, last_token) {
            (Some(first), Some(last)) if generated > 1 => {
                Some(Nanos(last.since(first).0 / (generated - 1)))
            }
            _ => None,
        };
        let request = Request {
            request: id,
            context: Known::Known(owner.context),
            model: owner.model.into(),
            sequence: sequence.map(SequenceId).into(),
            opened,
            duration: active.since(opened),
            prompt_tokens: cached.map(|cached| cached + prompt).into(),
            cached_tokens: cached.into(),
            generated_tokens: (known || samples > 0).then_some(generated).into(),
            time_to_first_token: first.map(|first| first.since(opened)).into(),
            time_per_output_token: between.into(),
            end,
            steps,
            warm_up,
            approximate: approximate || !known || !counted,
        };
        (active, request)
    }
}
