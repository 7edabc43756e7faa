//! The one event model: what tracer says, to whatever output.
//!
//! [`Event<C>`] is the same from capture to output; `C` is what its content is wrapped in:
//! `Raw<Content>` until redaction, `Redacted<Content>` after it, and [`Recorded`] when an output
//! is read back. Numbers, digests and tracer's own words are plain; whatever can hold text of the
//! served process is a `C`, and [`Event::redact`] is the only way on. The types here hold facts
//! and know how to be written; they decide nothing and read nothing.
//!
//! Names follow OpenTelemetry's conventions for generative AI where one exists, as in
//! <https://github.com/open-telemetry/semantic-conventions-genai>.
#![forbid(unsafe_code)]

pub mod agent;
pub mod call;
pub mod diff;
mod event;
pub mod file;
mod identity;
pub mod inference;
pub mod integrity;
mod known;
mod loss;
pub mod model;
mod operation;
mod place;
pub mod process;
mod recorded;
#[cfg(test)]
mod samples;
#[cfg(any(test, feature = "schema"))]
pub mod schema;
#[cfg(test)]
mod tests;
mod time;

pub use event::{Body, Event, SCHEMA, Schema};
pub use identity::{
    BuildId, Cgroup, ContainerId, ContextId, Cpu, Device, Digest, Inode, Label, ModelId, Name,
    ParseIdentityError, Pid, Position, RequestId, SequenceId, StartTicks, Tid, TokenId,
};
pub use known::Known;
pub use loss::{Loss, LossReason};
pub use operation::OperationHistogram;
pub use place::{Grant, Level, Place, ProcessKey};
pub use recorded::Recorded;
pub use time::{BootNanos, Moment, Nanos, WallNanos};
pub use tracer_redact::{Content, Field, LogProbability, Raw, Redacted};

/// An event before redaction.
pub type RawEvent = Event<Raw<Content>>;
/// An event that may leave.
pub type RedactedEvent = Event<Redacted<Content>>;
