//! How far the bytes that were hashed are bound to the bytes that others read.

use std::fmt;

/// What a digest vouches for. Higher is stronger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Guarantee {
    /// `G0`: the bytes may have changed meanwhile. Never a verified file.
    Unstable,
    /// `G1`: on a local file system, no lease could be had for a reason other than a writer, and
    /// inode, size and change time were the same before and after.
    Unchanged,
    /// `G2`: a read lease was held over the whole hash, so that nobody had the file open for
    /// writing or mapped for writing.
    Leased,
    /// `G3`: the kernel checks every page that it reads against the file's fs-verity digest.
    Verity,
}

impl Guarantee {
    /// `G0` to `G3`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unstable => "G0",
            Self::Unchanged => "G1",
            Self::Leased => "G2",
            Self::Verity => "G3",
        }
    }
}

impl fmt::Display for Guarantee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A guarantee and why it is no other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assurance {
    /// The class.
    pub guarantee: Guarantee,
    /// Why.
    pub reason: Reason,
}

/// Why a file got its guarantee.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// For `G3`.
    #[error("fs-verity digest {0}")]
    Verity(String),
    /// For `G2`.
    #[error("a read lease was held while it was hashed")]
    Lease,
    /// For `G1`: no lease for this reason.
    #[error("no lease ({0}); it did not change while it was hashed")]
    NoLease(NoLease),
    /// For `G0`.
    #[error("it is open or mapped for writing")]
    Writer,
    /// For `G0`: the lease was taken away.
    #[error("it was opened for writing or truncated while it was hashed")]
    LeaseBroken,
    /// For `G0`: a writer was reported by whoever watches the file.
    #[error("a writer was seen while it was hashed")]
    WriterSeen,
    /// For `G0`: the watch on writers was incomplete.
    #[error("events about writers were lost while it was hashed")]
    EventsLost,
    /// For `G0`.
    #[error("its size or change time was another after it was hashed")]
    Changed,
    /// For `G0`.
    #[error("it is memory without a name, which whoever made it may still be able to write to")]
    Nameless,
    /// For `G0`.
    #[error("its file system ({0}) cannot vouch that others read the same bytes")]
    Foreign(String),
    /// For `G0`.
    #[error("its lease could not be asked for: {0}")]
    Unknown(String),
}

/// Why there was no lease, other than a writer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoLease {
    /// `EACCES`.
    #[error("it is somebody else's, and CAP_LEASE is missing")]
    NotOwner,
    /// `EINVAL` and the like.
    #[error("its file system knows none")]
    NotSupported,
    /// A lease on an overlay's inode does not hear of writers to the layers.
    #[error("it lies in an overlay, whose layers can be written past it")]
    Overlay,
    /// Nobody could give the lease back if this process were stopped.
    #[error("the lease keeper is not there: {0}")]
    NoKeeper(String),
}
