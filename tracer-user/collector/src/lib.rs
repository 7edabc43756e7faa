//! Stores the sealed records of many agents, and lets people query what they may read.
//!
//! [`store`] keeps records and an index over what they say in the clear, [`ingest`] is the
//! conversation with an agent. The collector has one key, for telemetry. It has none for content and
//! must never need one.
#![forbid(unsafe_code)]

#[cfg(test)]
mod fixture;
pub mod ingest;
pub mod store;
