//! OpenSSF Model Signing v1.0: a Sigstore bundle around a DSSE envelope around an in-toto statement
//! that lists the files of a model with their digests
//! (<https://github.com/ossf/model-signing-spec>).
//!
//! Reading is in two steps, each of which makes what the next may rely on: [`Bundle::parse`] checks
//! the form, [`Bundle::verify`] the signature and then everything that was signed. What was signed
//! stays the bytes that came; nothing is written anew to be verified.

mod bundle;
mod manifest;
mod statement;

use std::num::NonZeroU64;

pub(crate) use self::manifest::check_path;
pub use self::{
    bundle::{Bundle, BundleError, Signer, Trust},
    manifest::{Manifest, ManifestError, NameError, Resource, Serialization},
    statement::StatementError,
};
use crate::trust::{PrivateKey, SigningCertificate};

/// Bytes that a shard has unless another size is asked for.
pub const DEFAULT_SHARD_SIZE: NonZeroU64 = NonZeroU64::new(1_000_000_000).expect("it is not zero");
/// The longest bundle that is read.
pub const MAX_BUNDLE: u64 = 32 << 20;

/// What to sign with.
#[derive(Debug)]
pub enum SigningIdentity {
    /// A key, which verifiers must know.
    Key(PrivateKey),
    /// A key with a certificate, whose issuer verifiers must know.
    Certificate(PrivateKey, SigningCertificate),
}

/// How the algorithm of a shard is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ShardNames {
    /// `sha256`, as the specification has it.
    #[default]
    Specification,
    /// `sha256-sharded-1000000000`, the only form that the Python reference (1.1.1) accepts.
    Reference,
}

/// Signs a manifest and returns the bundle's text.
///
/// # Errors
/// If the key cannot sign.
pub fn sign(
    manifest: &Manifest,
    identity: &SigningIdentity,
    shard_names: ShardNames,
) -> Result<String, crate::trust::KeyError> {
    let statement = statement::write(manifest, shard_names);
    bundle::write(statement.as_bytes(), identity)
}

#[cfg(test)]
mod tests;
