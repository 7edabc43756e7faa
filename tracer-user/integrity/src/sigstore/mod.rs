//! Signatures without a key of one's own, as Sigstore makes them, verified without a network.
//!
//! The signer proved an identity to a certificate authority (Fulcio), which gave the key a certificate
//! for ten minutes. A transparency log (Rekor) took the signature in and vouches for the time. Whom to
//! believe is a file, Sigstore's `trusted_root.json`, which whoever verifies has got and checked
//! by other means. Everything is checked of every log entry that a bundle has:
//!
//! 1. the log's promise over the entry and its time, its inclusion proof, and the signed tree head;
//! 2. that the entry is about this signature, these bytes and this certificate;
//! 3. the certificate's chain at that time, and that a certificate transparency log promised to show it;
//! 4. that the certificate names the identity, and who vouched for it.
//!
//! Logs of Rekor's second version, whose entries have no time of their own, are not read.

mod certificate;
mod entry;
mod root;

pub(crate) use self::entry::TypedEntry;
pub use self::root::{MAX_TRUSTED_ROOT, RootError, TrustedRoot};
use crate::trust::{CertificateError, PublicKey};

/// Log entries of one bundle, at most.
const MAX_ENTRIES: usize = 8;

/// Whose keyless signatures are believed.
#[derive(Debug)]
pub struct Keyless {
    root: TrustedRoot,
    identity: String,
    issuer: String,
}

/// What a bundle has beside the signature.
#[derive(Debug)]
pub(crate) struct Evidence {
    certificate: Vec<u8>,
    entries: Vec<entry::Entry>,
}

/// What was signed, and the signature.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Signed<'a> {
    pub(crate) payload: &'a [u8],
    pub(crate) signature: &'a [u8],
}

/// A signature's place and time in a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Logged {
    pub(crate) index: u64,
    /// Seconds since 1970.
    pub(crate) time: u64,
}

/// Why a keyless signature is not believed.
#[derive(Debug, thiserror::Error)]
pub enum SigstoreError {
    /// A part of an entry has another form.
    #[error("the bundle's log entry has no {0} in the right form")]
    Form(&'static str),
    /// None, or far too many.
    #[error("the bundle has {0} log entries; it must have 1 to {MAX_ENTRIES}")]
    Entries(usize),
    /// A log that the trusted root does not have.
    #[error("the log of the bundle's entry ({0}) is not in the trusted root")]
    UnknownLog(String),
    /// A log was trusted at another time.
    #[error("the trusted root trusts the log of the bundle's entry at another time only")]
    LogAtAnotherTime,
    /// Its key is of another kind, as those of Rekor's second version.
    #[error(
        "the key of the bundle's log is not ECDSA on P-256, P-384 or P-521: it cannot be verified"
    )]
    LogKey,
    /// The log did not sign the entry.
    #[error("the log's promise (signed entry timestamp) is not valid")]
    Promise,
    /// The entry is not in the tree.
    #[error("the log entry's inclusion proof does not lead to the root of the tree")]
    Inclusion,
    /// The log did not sign the tree.
    #[error("the log's signed tree head (checkpoint) is not valid: {0}")]
    Checkpoint(&'static str),
    /// The entry is of another kind.
    #[error("the log entry is of kind `{0}`; only `dsse` 0.0.1 can be verified")]
    Kind(String),
    /// The entry belongs to another bundle.
    #[error("the log entry is about another {0}")]
    OtherEntry(&'static str),
    /// No authority of the trusted root was trusted then.
    #[error("the trusted root has no certificate authority for the time of signing")]
    NoAuthority,
    /// The chain.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// A log promised nothing.
    #[error(
        "no certificate transparency log of the trusted root promised to show the signer's certificate"
    )]
    Timestamp,
    /// Somebody else signed.
    #[error("the signer is {found}, and not {wanted}")]
    Identity {
        /// As the certificate has it.
        found: String,
        /// Whom the verifier trusts.
        wanted: String,
    },
    /// Somebody else vouched for the signer.
    #[error("the signer's identity was vouched for by {found}, and not by {wanted}")]
    Issuer {
        /// As the certificate has it.
        found: String,
        /// Whom the verifier trusts.
        wanted: String,
    },
}

impl Keyless {
    /// Trusts the holder of `identity`, an address or URL, if `issuer` vouched for it.
    #[must_use]
    pub fn new(root: TrustedRoot, identity: String, issuer: String) -> Self {
        Self {
            root,
            identity,
            issuer,
        }
    }

    /// Whom it trusts.
    pub(crate) fn signer(&self) -> (&str, &str) {
        (&self.identity, &self.issuer)
    }

    /// Checks everything but the signature itself; returns the key that must have made it.
    ///
    /// # Errors
    /// If anything of it is not as it must be.
    pub(crate) fn verify(
        &self,
        evidence: &Evidence,
        signed: Signed<'_>,
    ) -> Result<(PublicKey, Logged), SigstoreError> {
        let Evidence {
            certificate,
            entries,
        } = evidence;
        let mut verified = None;
        for entry in entries {
            entry.verify(&self.root, certificate, signed)?;
            let key = certificate::verify(&self.root, certificate, entry.time())?;
            verified.get_or_insert((key, entry.logged()));
        }
        let verified = verified.ok_or(SigstoreError::Entries(0))?;
        certificate::check_identity(certificate, &self.identity, &self.issuer)?;
        Ok(verified)
    }
}

impl Evidence {
    pub(crate) fn read(
        certificate: Vec<u8>,
        entries: Vec<TypedEntry>,
    ) -> Result<Self, SigstoreError> {
        if !(1..=MAX_ENTRIES).contains(&entries.len()) {
            return Err(SigstoreError::Entries(entries.len()));
        }
        let entries = entries.into_iter().map(entry::Entry::read);
        Ok(Self {
            certificate,
            entries: entries.collect::<Result<_, _>>()?,
        })
    }
}

#[cfg(test)]
mod tests;
