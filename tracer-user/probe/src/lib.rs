//! Finds the processes that run a model, chooses where to probe them, attaches the BPF programs,
//! and reads what they send.
//!
//! This is the only crate of the user half with unsafe code and with a dependency on aya. It never
//! interprets a record and never writes one anywhere: it hands [`Observation`]s to `pipeline`,
//! which redacts them. It never stops, signals or writes to a process that it probes, and pins
//! nothing, so that its death removes every probe; except for what enforces a policy that says so.
//!
//! Start at [`Supervisor`]; `tracer doctor` starts at [`features::Features`], `tracer ps` at
//! [`survey`](survey::survey).

mod attach;
pub mod bench;
mod btf;
pub mod code;
pub mod features;
pub mod files;
mod govern;
mod histogram;
mod inside;
mod load;
mod loss;
pub mod observation;
pub mod process;
pub mod proof;
mod ring;
pub mod supervisor;
pub mod survey;
mod sys;
mod table;
mod target;
pub mod time;
pub mod verifier;
mod watch;

pub use inside::Inside;
pub use load::LoadError;
pub use observation::Observation;
pub use supervisor::{Config, Selection, StartError, Supervisor};
pub use sys::model_file;
pub use target::TargetError;
