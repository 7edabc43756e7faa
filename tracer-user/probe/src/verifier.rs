//! What the verifier of the running kernel makes of the programs, for tests that hold them to it.

pub use crate::load::{Purpose, Verified};
use crate::{
    files,
    load::{KernelHalf, LoadError},
};

/// What the object in this library was built with: JSON, as `cargo xtask build-ebpf` wrote it.
pub const BUILT_WITH: &str = include_str!(concat!(env!("OUT_DIR"), "/tracer-ebpf.json"));

/// Rings that nothing is written to.
const RING_BYTES: usize = 1 << 20;

/// Loads every program of the object, those that only measure too, as this host would attach it, and
/// unloads it again; in the order of their names.
///
/// # Errors
/// If the host does not allow it, or the verifier refuses a program.
///
/// # Minimum kernel version
/// That of [`Supervisor`](crate::Supervisor).
pub fn verify() -> Result<Vec<Verified>, LoadError> {
    KernelHalf::verify(RING_BYTES)
}

/// The same for the programs that see what happens to files, as they enforce, which is the most that
/// they do. Forms that this host does not allow are left out.
///
/// # Errors
/// As [`verify`].
pub fn verify_files() -> Result<Vec<Verified>, LoadError> {
    files::verify()
}
