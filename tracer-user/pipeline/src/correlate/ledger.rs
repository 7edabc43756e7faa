//! What correlation found, before it becomes events.

use tracer_event::{
    BootNanos, Content, ContextId, Known, LogProbability, ModelId, Position, Raw, RequestId,
    SequenceId,
    inference::{Direction, Request, Step, Tokens},
};

/// What a context produces.
#[derive(Debug)]
pub(super) enum Fact {
    Step(Box<Step>),
    Request(Box<Request>),
    Tokens(BatchOfTokens),
    Sequence(SequenceChange),
}

/// Something that happened to a sequence's text, told in the order of its tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SequenceChange {
    pub(crate) context: ContextId,
    pub(crate) sequence: i32,
    pub(crate) change: TextChange,
}

/// What happened to a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TextChange {
    /// The request that it belongs to ended.
    Ended,
    /// Its tokens from a position on were taken back.
    Removed { from: i32 },
    /// Tokens in its midst are no longer in the cache.
    Forgotten { from: i32, to: i32 },
    /// Its positions from one on moved.
    Shifted { from: i32, delta: i32 },
    /// What the sequence holds now is nothing, or not what was told.
    Emptied,
}

/// Tokens of one sequence, as numbers until the event is made.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BatchOfTokens {
    pub(super) model: Option<ModelId>,
    pub(super) direction: Direction,
    pub(super) context: ContextId,
    pub(super) request: Option<RequestId>,
    pub(super) sequence: i32,
    pub(super) tokens: Vec<i32>,
    /// As many as tokens, or none where none is known.
    pub(super) log_probabilities: Vec<Option<LogProbability>>,
    pub(super) positions: Vec<Position>,
    pub(super) truncated: bool,
}

impl BatchOfTokens {
    pub(super) fn into_event(self) -> Tokens<Raw<Content>> {
        let Self {
            model: _,
            direction,
            context,
            request,
            sequence,
            tokens,
            log_probabilities,
            positions,
            truncated,
        } = self;
        Tokens {
            direction,
            context: Known::Known(context),
            request: request.into(),
            sequence: Known::Known(SequenceId(sequence)),
            positions: (!positions.is_empty()).then_some(positions).into(),
            tokens: Raw::new(Content::tokens(tokens)),
            log_probabilities: (!log_probabilities.is_empty())
                .then(|| Raw::new(Content::LogProbabilities(log_probabilities))),
            truncated,
        }
    }
}

/// Facts with their times, and the numbers of requests.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    pub(super) facts: Vec<(BootNanos, Fact)>,
    pub(super) next_request: u64,
    pub(super) given_up: u64,
}

impl Ledger {
    /// Something happened to a sequence's text.
    pub(super) fn text(
        &mut self,
        time: BootNanos,
        context: ContextId,
        sequence: i32,
        change: TextChange,
    ) {
        let change = SequenceChange {
            context,
            sequence,
            change,
        };
        self.facts.push((time, Fact::Sequence(change)));
    }

    /// The next request's number.
    pub(super) fn request(&mut self) -> RequestId {
        self.next_request += 1;
        RequestId(self.next_request)
    }
}
