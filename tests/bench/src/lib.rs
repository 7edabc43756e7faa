//! The measurements behind every claim about speed. Each row is a ratio within one run, so that
//! the speed of the machine cancels out; `cargo xtask bench` runs them.
#![forbid(unsafe_code)]

pub mod affinity;
pub mod attach;
pub mod bpftrace;
pub mod clock;
pub mod collector;
pub mod drain;
pub mod files;
pub mod footprint;
pub mod hashing;
pub mod instructions;
pub mod latency;
pub mod machine;
pub mod overload;
pub mod page;
pub mod peer;
pub mod pipeline;
pub mod probe_cost;
pub mod redaction;
pub mod report;
pub mod rings;
pub mod row;
pub mod sealing;
pub mod served;
pub mod statistics;
pub mod whole;
