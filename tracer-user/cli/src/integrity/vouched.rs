//! What is said of a file that was compared while something else goes on: of a model that is traced, or
//! of one that somebody wants to open.

use std::path::Path;

use tracer_integrity::{NoLease, Reason, expected::Expected, store};

/// What a file's name in a store says of it.
pub(crate) fn of_store(path: &Path) -> Option<Expected> {
    let (_, digest) = store::named_by_digest(path)?;
    let name = path.file_name()?.to_string_lossy().into_owned();
    Some(Expected::of_files([(name, digest)]))
}

/// A reason in fixed words, in which nothing of the host can hide.
pub(crate) fn words(reason: &Reason) -> &'static str {
    match reason {
        Reason::Verity(_) => "the kernel checks its fs-verity digest",
        Reason::Lease => "a read lease was held while it was hashed",
        Reason::NoLease(NoLease::NotOwner) => "no lease without CAP_LEASE; it did not change",
        Reason::NoLease(NoLease::NotSupported) => {
            "its file system has no leases; it did not change"
        }
        Reason::NoLease(NoLease::Overlay) => "it lies in an overlay; it did not change",
        Reason::NoLease(NoLease::NoKeeper(_)) => "there is no lease keeper; it did not change",
        Reason::Writer => "it is open or mapped for writing",
        Reason::LeaseBroken => "it was opened for writing or truncated while it was hashed",
        Reason::WriterSeen => "a writer was seen while it was hashed",
        Reason::EventsLost => "events about writers were lost while it was hashed",
        Reason::Changed => "it changed while it was hashed",
        Reason::Nameless => {
            "it is memory without a name, which whoever made it may still be able to write to"
        }
        Reason::Foreign(_) => "its file system cannot vouch that others read the same bytes",
        Reason::Unknown(_) => "its lease could not be asked for",
    }
}
