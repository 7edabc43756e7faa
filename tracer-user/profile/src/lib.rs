//! Runtime profiles: what to probe in llama.cpp and others, written as TOML.
//!
//! A profile is parsed strictly, checked once, and compiled to the operations of
//! [`tracer_abi`]; after that its types cannot be wrong. This room reads no process and no
//! library: a gate asks a [`Library`] that the `probe` crate implements. A new runtime must never
//! need a change here.
#![forbid(unsafe_code)]

mod catalogue;
mod compile;
mod describe;
mod document;
mod enumeration;
mod error;
mod expression;
mod gate;
mod names;
mod profile;
mod read;
mod recipe;
mod signal;

pub use catalogue::Catalogue;
pub use compile::Moment;
pub use enumeration::Enumeration;
pub use error::ProfileError;
pub use gate::{Gate, GateRefusal, Library, SymbolPattern, Version, VersionRange};
pub use profile::{
    Argument, ExitWanted, Field, FieldKind, Mode, Options, Place, Probe, Profile, Reading,
    Selection,
};
pub use read::read;
pub use recipe::{FunctionTable, Recipe, Way};
pub use signal::{FieldName, Shape, Signal, TokenSet};
