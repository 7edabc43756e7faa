//! Family `integrity`: whether the bytes of a model file are those that somebody vouched for.

use serde::{Deserialize, Serialize};
use tracer_redact::Field;

use crate::{
    identity::{Digest, Inode, Label, ModelId, Name},
    known::Known,
    time::Nanos,
};

/// What is known of a file that a loaded model was made of. It comes after the model's own event,
/// when the file has been hashed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
pub struct FileVerdict<C> {
    /// The model.
    pub model: ModelId,
    /// The file's path as the process sees it.
    pub path: Known<C>,
    /// The file that the process maps, whatever lies at its path.
    pub inode: Known<Inode>,
    /// Bytes.
    pub size: Known<u64>,
    /// SHA-256 of its contents, where that is what was compared.
    pub digest: Known<Digest>,
    /// How the comparison ended.
    pub outcome: VerdictOutcome,
    /// How far the digest binds the bytes.
    pub guarantee: Known<VerdictGuarantee>,
    /// Why it is no better.
    pub reason: Label,
    /// What it was compared with, as the operator named it.
    pub source: Name,
    /// How long the hashing took.
    pub duration: Nanos,
}

impl<C> FileVerdict<C> {
    pub(crate) fn map<D>(self, change: &mut impl FnMut(Field<'_>, C) -> D) -> FileVerdict<D> {
        let Self {
            model,
            path,
            inode,
            size,
            digest,
            outcome,
            guarantee,
            reason,
            source,
            duration,
        } = self;
        FileVerdict {
            model,
            path: path.map(|content| change(Field::Path, content)),
            inode,
            size,
            digest,
            outcome,
            guarantee,
            reason,
            source,
            duration,
        }
    }
}

/// How a comparison ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
pub enum VerdictOutcome {
    /// The mapped bytes are vouched for.
    #[serde(rename = "verified")]
    Verified,
    /// They are others.
    #[serde(rename = "not verified")]
    NotVerified,
    /// Nobody can tell.
    #[serde(rename = "undetermined")]
    Undetermined,
}

/// How far a digest binds the bytes; the last one is the strongest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
pub enum VerdictGuarantee {
    /// The bytes may have changed meanwhile.
    G0,
    /// They did not change as far as the file system tells.
    G1,
    /// Nobody could write meanwhile: a read lease was held.
    G2,
    /// The kernel checks every page that is read (fs-verity).
    G3,
}
