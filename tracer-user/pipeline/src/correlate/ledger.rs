//! What correlation found, before it becomes events.

use tracer_event::{
    BootNanos, Content, ContextId, Known, Position, Raw, RequestId, SequenceId,
    inference::{Direction, Request, Step, Tokens},
};

/// What a context produces.
#[derive(Debug)]
pub(super) enum Fact {
    Step(Box<Step>),
    Request(Box<Request>),
    Tokens(BatchOfTokens),
}

/// Tokens of one sequence, as numbers until the event is made.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BatchOfTokens {
    pub(super) direction: Direction,
    pub(super) context: ContextId,
    pub(super) request: Option<RequestId>,
    pub(super) sequence: i32,
    pub(super) tokens: Vec<i32>,
    pub(super) positions: Vec<Position>,
    pub(super) truncated: bool,
}

impl BatchOfTokens {
    pub(super) fn into_event(self) -> Tokens<Raw<Content>> {
        let Self {
            direction,
            context,
            request,
            sequence,
            tokens,
            positions,
            truncated,
        } = self;
        Tokens {
            direction,
            context: Known::Known(context),
            request: request.into(),
            sequence: Known::Known(SequenceId(sequence)),
            positions: (!positions.is_empty()).then_some(positions).into(),
            tokens: Raw::new(Content::Tokens(tokens)),
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
    /// The next request's number.
    pub(super) fn request(&mut self) -> RequestId {
        self.next_request += 1;
        RequestId(self.next_request)
    }
}
