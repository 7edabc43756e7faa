//! Stores the sealed records of many agents, and lets people query what they may read.
//!
//! [`store`] keeps records and an index over what they say in the clear, [`ingest`] is the
//! conversation with an agent, [`pki`] issues certificates, [`server`] owns the two ports. The
//! collector has keys that open telemetry. It has none for content and must never need one.
#![forbid(unsafe_code)]

mod admission;
mod api;
pub mod config;
#[cfg(test)]
mod fixture;
pub mod ingest;
pub mod init;
mod metrics;
pub mod pki;
pub mod server;
pub mod store;
mod telemetry;
mod tls;
pub mod verify;

pub use api::fuzzing;
pub use tls::Port;
