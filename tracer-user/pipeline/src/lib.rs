//! From ring records to events at a sink, whatever the sink.
//!
//! Observations go in at [`Pipeline::push`]; [`Merge`] brings the records of all rings into one
//! order of time, [`Decoder`] turns each into a typed [`Call`], [`correlate`] makes models,
//! contexts and requests of them with [`snapshot`]'s help, and each event passes redaction before
//! it reaches the [`Sink`]. There is no other way out: a sink cannot be handed raw content.
//!
//! Everything here is synchronous and bounded. It never waits for the traced process, never
//! panics on a record's bytes, and counts what it cannot use.
#![forbid(unsafe_code)]

mod call;
mod content;
pub mod correlate;
mod decode;
mod files;
#[cfg(test)]
mod fixture;
mod merge;
mod output;
mod pipeline;
mod process;
mod sink;
pub mod snapshot;
#[cfg(test)]
mod tests;
mod totals;
mod translate;

pub use call::{Call, CapturedText, Numbers};
pub use decode::{DecodeError, Decoder, LoadedProbe, ProbeSource};
pub use merge::{Merge, Merged, What};
pub use output::{Draft, Output, SetUpdate};
pub use pipeline::{Options, Pipeline, PipelineError};
pub use process::Processes;
pub use sink::Sink;
