//! Vouches for the bytes of model files: hashes them without disturbing the server that maps them,
//! says how far each digest binds the bytes, and compares with what somebody trusted has signed or
//! listed.
//!
//! It runs beside the event path, never on it, and never opens anything but regular files. A digest
//! whose file may have changed meanwhile is [`Guarantee::Unstable`] and never a verified one.
#![forbid(unsafe_code)]

pub mod cache;
mod digest;
pub mod expected;
mod filesystem;
mod guarantee;
pub mod hash;
pub mod ignore;
pub mod lease;
pub mod oms;
pub mod report;
pub mod sign;
pub mod sigstore;
pub mod store;
pub mod sums;
pub mod tree;
pub mod trust;
pub mod verify;

pub use digest::{Algorithm, ContentDigest};
pub use guarantee::{Assurance, Guarantee, NoLease, Reason};
