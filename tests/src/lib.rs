//! What the end-to-end tests share: real runtimes fetched from package registries, programs that
//! drive them and report what they did, and the `tracer` binary run against them. Nothing here
//! imitates a runtime or the tracer.
#![forbid(unsafe_code)]

pub mod cache;
pub mod calls;
pub mod candle;
pub mod comparison;
pub mod compile;
pub mod debian;
pub mod disk;
pub mod fleet;
pub mod fuse;
pub mod memory;
pub mod model;
pub mod observed;
pub mod package;
pub mod patience;
pub mod privilege;
pub mod proof;
pub mod python;
pub mod random;
pub mod reference;
pub mod report;
pub mod server;
pub mod torch;
pub mod traced;
pub mod tracer;
pub mod watching;
pub mod workload;
