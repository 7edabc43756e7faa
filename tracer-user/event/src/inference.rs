//! Families `inference`, `content` and `op`: what the model does.

use serde::{Deserialize, Serialize};
use tracer_redact::Field;

use crate::{
    identity::{ContextId, ModelId, Position, RequestId, SequenceId},
    known::Known,
    time::{BootNanos, Nanos},
};

/// One call that handed the model a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
pub struct Step {
    /// The context; unknown where the build's layout is.
    pub context: Known<ContextId>,
    /// Its model.
    pub model: Known<ModelId>,
    /// What kind of step.
    pub kind: Known<StepKind>,
    /// How long the call took.
    pub duration: Known<Nanos>,
    /// Tokens in the batch.
    pub tokens: Known<u32>,
    /// Sequences in the batch.
    pub sequences: Known<u32>,
    /// How the call ended.
    pub outcome: Outcome,
    /// Whether it came before the first request and only warms caches. Not counted.
    pub warm_up: bool,
    /// Whether the build's layout is unknown, so that only the step itself is certain.
    pub approximate: bool,
}

/// What kind of step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum StepKind {
    /// Input is encoded, without a cache.
    Encode,
    /// The cache is extended.
    Decode,
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It returned this result code, the runtime's own.
    Returned(i64),
    /// It ended; the result is not read at this site.
    Ended,
    /// It was left without returning: an exception, `longjmp`, or the thread's end.
    Unwound,
    /// Its end is not seen, because this build has no site for it or because it was lost.
    NotSeen,
}

/// A request from its first input to its end.
///
/// It opens at the first input to a sequence after the sequence's creation, a removal, copy or
/// state restore that touches it, a sampled end-of-generation token, or the end of the one before.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
pub struct Request {
    /// The request.
    pub request: RequestId,
    /// Its context.
    pub context: Known<ContextId>,
    /// Its model.
    pub model: Known<ModelId>,
    /// Its sequence in the context.
    pub sequence: Known<SequenceId>,
    /// When its first input was handed over.
    pub opened: BootNanos,
    /// From its first input to its end.
    #[serde(rename = "gen_ai.server.request.duration", with = "seconds")]
    #[cfg_attr(any(test, feature = "schema"), schemars(with = "f64"))]
    pub duration: Nanos,
    /// Prompt tokens, those from the cache included.
    #[serde(rename = "gen_ai.usage.input_tokens")]
    pub prompt_tokens: Known<u64>,
    /// Prompt tokens that the cache already held: the first position of the input.
    #[serde(rename = "gen_ai.usage.cache_read.input_tokens")]
    pub cached_tokens: Known<u64>,
    /// Tokens that were generated.
    #[serde(rename = "gen_ai.usage.output_tokens")]
    pub generated_tokens: Known<u64>,
    /// From the first input to the first generated token, in seconds.
    #[serde(rename = "gen_ai.server.time_to_first_token", with = "known_seconds")]
    #[cfg_attr(any(test, feature = "schema"), schemars(with = "Known<f64>"))]
    pub time_to_first_token: Known<Nanos>,
    /// Mean time between generated tokens after the first, in seconds.
    #[serde(rename = "gen_ai.server.time_per_output_token", with = "known_seconds")]
    #[cfg_attr(any(test, feature = "schema"), schemars(with = "Known<f64>"))]
    pub time_per_output_token: Known<Nanos>,
    /// Why it ended.
    #[serde(rename = "gen_ai.response.finish_reasons", with = "one_element")]
    #[cfg_attr(any(test, feature = "schema"), schemars(with = "[EndReason; 1]"))]
    pub end: EndReason,
    /// Steps that it took part in.
    pub steps: u64,
    /// Whether it came before serving and only warms caches. Not counted.
    pub warm_up: bool,
    /// Whether the counts are not exact, because the build's layout is unknown or records were
    /// lost meanwhile.
    pub approximate: bool,
}

/// Why a request ended, as observed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum EndReason {
    /// The model generated an end-of-generation token.
    Eog,
    /// A step failed.
    Error,
    /// A step was aborted by its caller.
    Aborted,
    /// The context had no room for more.
    ContextFull,
    /// The caller asked no more: its limit, a stop string or a client that left, which the library
    /// does not tell apart.
    Stopped,
    /// The caller's limit was reached; only where the server's own library tells.
    Length,
    /// The client left; only where the server's own library tells.
    Cancelled,
    /// Not seen: the process ended, or tracing did.
    Unknown,
}

impl EndReason {
    /// The word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Eog => "eog",
            Self::Error => "error",
            Self::Aborted => "aborted",
            Self::ContextFull => "context_full",
            Self::Stopped => "stopped",
            Self::Length => "length",
            Self::Cancelled => "cancelled",
            Self::Unknown => "unknown",
        }
    }
}

/// The runtime gave up, in its own words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
pub struct RuntimeError<C> {
    /// Source file of the runtime.
    pub file: Known<C>,
    /// Line in it.
    pub line: Known<u32>,
    /// What it says: the message's fixed part.
    pub message: Known<C>,
}

impl<C> RuntimeError<C> {
    pub(crate) fn map<D>(self, change: &mut impl FnMut(Field<'_>, C) -> D) -> RuntimeError<D> {
        let Self {
            file,
            line,
            message,
        } = self;
        RuntimeError {
            file: file.map(|content| change(Field::Symbol, content)),
            line,
            message: message.map(|content| change(Field::ErrorText, content)),
        }
    }
}

/// Tokens that went into or came out of a model; only under a grant that includes them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
pub struct Tokens<C> {
    /// Which way.
    pub direction: Direction,
    /// The context.
    pub context: Known<ContextId>,
    /// The request that they belong to.
    pub request: Known<RequestId>,
    /// The sequence that they belong to.
    pub sequence: Known<SequenceId>,
    /// The tokens' ids; `null` where a token's text may not leave.
    pub tokens: C,
    /// Natural logarithms of the probabilities that the sampler gave them, where it computed any: one
    /// for each token, `null` where there is none or the token's text may not leave.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_probabilities: Option<C>,
    /// Their positions, where the build's layout tells; as many as tokens.
    pub positions: Known<Vec<Position>>,
    /// Whether there were more, which a record did not hold or which were lost.
    pub truncated: bool,
}

impl<C> Tokens<C> {
    pub(crate) fn map<D>(self, change: &mut impl FnMut(Field<'_>, C) -> D) -> Tokens<D> {
        let Self {
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
            context,
            request,
            sequence,
            tokens: change(Field::TokenIds, tokens),
            log_probabilities: log_probabilities.map(|content| change(Field::TokenIds, content)),
            positions,
            truncated,
        }
    }
}

/// The text of one direction of a request; only under a grant that includes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
pub struct Text<C> {
    /// Which way. Generated tokens that go in again are output alone.
    pub direction: Direction,
    /// The context.
    pub context: Known<ContextId>,
    /// The request that it belongs to.
    pub request: Known<RequestId>,
    /// The sequence that it belongs to.
    pub sequence: Known<SequenceId>,
    /// Which part of the request's text it is, from 0: a long one leaves in parts.
    pub part: u32,
    /// The text, as the model's vocabulary has it, control tokens included.
    pub text: C,
    /// Whether something is missing in it or beside it: records that were lost, or a cache that was
    /// filled by other means than tokens.
    pub incomplete: bool,
}

impl<C> Text<C> {
    pub(crate) fn map<D>(self, change: &mut impl FnMut(Field<'_>, C) -> D) -> Text<D> {
        let Self {
            direction,
            context,
            request,
            sequence,
            part,
            text,
            incomplete,
        } = self;
        Text {
            direction,
            context,
            request,
            sequence,
            part,
            text: change(Field::Text, text),
            incomplete,
        }
    }
}

/// Which way content went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// Into the model: the prompt, and each generated token again.
    Input,
    /// Chosen by the sampler.
    Output,
}

/// A duration as OpenTelemetry has it: seconds, in floating point.
mod seconds {
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::time::Nanos;

    pub(super) fn serialize<S: Serializer>(value: &Nanos, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_f64(value.as_seconds())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Nanos, D::Error> {
        f64::deserialize(from).map(nanos)
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "`as` saturates, and no duration is negative"
    )]
    pub(super) fn nanos(seconds: f64) -> Nanos {
        Nanos((seconds * 1e9).round() as u64)
    }
}

/// As [`seconds`], or `unknown`.
mod known_seconds {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::{known::Known, time::Nanos};

    pub(super) fn serialize<S: Serializer>(value: &Known<Nanos>, to: S) -> Result<S::Ok, S::Error> {
        value.map(Nanos::as_seconds).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Known<Nanos>, D::Error> {
        Known::deserialize(from).map(|known: Known<f64>| known.map(super::seconds::nanos))
    }
}

/// One reason in a list: OpenTelemetry has one for each answer to a request.
mod one_element {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::EndReason;

    pub(super) fn serialize<S: Serializer>(value: &EndReason, to: S) -> Result<S::Ok, S::Error> {
        [value].serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<EndReason, D::Error> {
        <[EndReason; 1]>::deserialize(from).map(|[reason]| reason)
    }
}
