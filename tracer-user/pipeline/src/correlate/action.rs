//! What a call means for inference, with only the values that matter there.

use tracer_abi::Phase;
use tracer_event::{BootNanos, LogProbability, inference::StepKind};
use tracer_profile::{FieldName, Signal};

use crate::call::Call;

/// A call that concerns contexts and requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Action {
    pub(super) time: BootNanos,
    pub(super) began: BootNanos,
    pub(super) tid: u32,
    pub(super) call: u64,
    pub(super) phase: Phase,
    pub(super) what: What,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum What {
    Step {
        context: Option<u64>,
        memory: Option<u64>,
        kind: Option<StepKind>,
        result: Option<i64>,
        tokens: Option<u32>,
        inputs: Option<Inputs>,
    },
    Batch {
        context: Option<u64>,
        tokens: Option<u32>,
        inputs: Option<Inputs>,
    },
    Sequence {
        target: Target,
        change: Change,
    },
    Restore {
        context: Option<u64>,
        /// `None` means all.
        sequence: Option<i32>,
    },
    Sample(Sample),
    WarmUp {
        context: Option<u64>,
        begins: bool,
    },
}

/// Which cache a call changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Context(u64),
    Memory(u64),
    Unknown,
}

/// How a call changes a cache. Of sequences and positions, negative ones mean all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Remove {
        sequence: i32,
        from: i32,
        to: i32,
    },
    Copy {
        to: i32,
    },
    Keep {
        sequence: i32,
    },
    Shift {
        sequence: i32,
        from: i32,
        delta: Option<i32>,
    },
    Clear,
}

/// A token that was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sample {
    pub(super) context: Option<u64>,
    /// Which output of the step; negative counts from the last.
    pub(super) index: Option<i64>,
    pub(super) ends: Option<bool>,
    pub(super) token: Option<i32>,
    pub(super) log_probability: Option<LogProbability>,
}

/// One token that goes into a sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Input {
    pub(super) sequence: i32,
    pub(super) position: i32,
    pub(super) token: Option<i32>,
    /// Whether an output was asked for; `None` where the build's layout does not tell.
    pub(super) output: Option<bool>,
}

/// The tokens of a batch in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Inputs {
    pub(super) tokens: Vec<Input>,
    /// Whether these are all, each with its own sequence.
    pub(super) exact: bool,
}

impl Action {
    /// What a call means; `None` if it does not concern inference.
    pub(super) fn of(call: &Call<'_>) -> Option<Self> {
        Some(Self {
            time: call.time(),
            began: call.began(),
            tid: call.tid().0,
            call: call.id(),
            phase: call.phase,
            what: what(call)?,
        })
    }

    /// The context that the call names.
    pub(super) const fn context(&self) -> Option<u64> {
        match &self.what {
            What::Step { context, .. }
            | What::Batch { context, .. }
            | What::Restore { context, .. }
            | What::WarmUp { context, .. } => *context,
            What::Sample(sample) => sample.context,
            What::Sequence { target, .. } => match target {
                Target::Context(context) => Some(*context),
                Target::Memory(_) | Target::Unknown => None,
            },
        }
    }
}

fn what(call: &Call<'_>) -> Option<What> {
    let context = call.address(FieldName::Context);
    let small = |name| {
        call.number(name)
            .and_then(|number| i32::try_from(number).ok())
    };
    let sequence = small(FieldName::SequenceId);
    let from = small(FieldName::PositionFrom).unwrap_or(-1);
    let to = small(FieldName::PositionTo).unwrap_or(-1);
    let change = |change| {
        Some(What::Sequence {
            target: target(call),
            change,
        })
    };
    match call.signal() {
        Signal::Step => Some(What::Step {
            context,
            memory: call.address(FieldName::Memory),
            kind: match call.number(FieldName::StepKind) {
                Some(0) => Some(StepKind::Encode),
                Some(1) => Some(StepKind::Decode),
                Some(_) | None => None,
            },
            result: call.number(FieldName::Result),
            tokens: count(call),
            inputs: inputs(call),
        }),
        Signal::Batch => Some(What::Batch {
            context,
            tokens: count(call),
            inputs: inputs(call),
        }),
        Signal::SequenceRemove => change(Change::Remove {
            sequence: sequence?,
            from,
            to,
        }),
        Signal::SequenceCopy => change(Change::Copy {
            to: small(FieldName::DestinationId)?,
        }),
        Signal::SequenceKeep => change(Change::Keep {
            sequence: sequence?,
        }),
        Signal::SequenceShift => change(Change::Shift {
            sequence: sequence?,
            from,
            delta: small(FieldName::PositionDelta),
        }),
        Signal::SequenceClear => change(Change::Clear),
        Signal::StateRestore => Some(What::Restore {
            context,
            sequence: sequence.filter(|sequence| *sequence >= 0),
        }),
        Signal::Sample => Some(What::Sample(Sample {
            context,
            index: call.number(FieldName::OutputIndex),
            ends: call.membership(FieldName::IsEndOfGeneration),
            token: small(FieldName::TokenId),
            log_probability: call
                .float(FieldName::Probability)
                .and_then(LogProbability::of),
        })),
        Signal::WarmUp => Some(What::WarmUp {
            context,
            begins: call.number(FieldName::Begins)? != 0,
        }),
        Signal::ModelLoad
        | Signal::ModelFree
        | Signal::ContextCreate
        | Signal::ContextFree
        | Signal::InputToken
        | Signal::Tokenize
        | Signal::TokenPiece
        | Signal::TemplateInit
        | Signal::Error
        | Signal::Call
        | Signal::Operation => None,
    }
}

fn target(call: &Call<'_>) -> Target {
    let context = call.address(FieldName::Context).map(Target::Context);
    let memory = call.address(FieldName::Memory).map(Target::Memory);
    context.or(memory).unwrap_or(Target::Unknown)
}

fn count(call: &Call<'_>) -> Option<u32> {
    let count = call.number(FieldName::TokenCount)?;
    u32::try_from(count).ok()
}

fn inputs(call: &Call<'_>) -> Option<Inputs> {
    let positions = call.numbers(FieldName::Positions)?;
    let sequences = call.numbers(FieldName::SequenceIds)?;
    let ids = call.numbers(FieldName::TokenIds);
    let outputs = call.numbers(FieldName::Outputs);
    let shared = match call.number(FieldName::SequencesPerToken) {
        Some(number) => usize::try_from(number).unwrap_or(1).max(1),
        None => 1,
    };
    let small = |number: i64| i32::try_from(number).unwrap_or(-1);
    let ids: Vec<i32> = ids.map_or_else(Vec::new, |ids| ids.iter().map(small).collect());
    let outputs: Vec<bool> = outputs.map_or_else(Vec::new, |outputs| {
        outputs.iter().map(|output| output != 0).collect()
    });
    let sequence_list: Vec<i32> = sequences.iter().map(small).collect();
    let mut tokens = Vec::with_capacity(positions.len());
    for (index, position) in positions.iter().enumerate() {
        // Where tokens are shared, the list holds all sequences of each, as far as it was read.
        let own = sequence_list.chunks(shared).nth(index).unwrap_or_default();
        tokens.extend(own.iter().map(|sequence| Input {
            sequence: *sequence,
            position: small(position),
            token: ids.get(index).copied(),
            output: outputs.get(index).copied(),
        }));
    }
    let all = count(call).is_none_or(|count| count as usize == positions.len());
    Some(Inputs {
        exact: all && shared == 1 && positions.is_whole() && sequences.is_whole(),
        tokens,
    })
}
