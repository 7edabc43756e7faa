//! What is said of a file that was compared while something else goes on: of a model that is traced, or
//! of one that somebody wants to open.

use std::{fs::File, num::NonZeroUsize, path::Path};

use tracer_integrity::{
    NoLease, Reason,
    expected::{Expected, ExpectedFile},
    hash::{self, Contents, Hashed, Options, Progress, Target},
    lease::Leases,
    store,
};

/// What a file's name in a store says of it.
pub(crate) fn of_store(path: &Path) -> Option<Expected> {
    let (_, digest) = store::named_by_digest(path)?;
    let name = path.file_name()?.to_string_lossy().into_owned();
    Some(Expected::of_files([(name, digest)]))
}

/// Hashes an open file as another one was hashed, with one thread: the processors are the server's.
pub(crate) fn hash(
    file: &File,
    like: &ExpectedFile,
    leases: &Leases,
) -> Result<Hashed, &'static str> {
    let file = file.try_clone();
    let target = Target {
        contents: Contents::Open(file.map_err(|_| "no more files can be opened")?),
        algorithm: like.algorithm,
        shard_size: like.shard_size,
        size_hint: 0,
    };
    let options = Options {
        workers: NonZeroUsize::new(1),
        check_disk: false,
    };
    hash::hash(&[target], leases, options, &Progress::default())
        .pop()
        .and_then(Result::ok)
        .ok_or("it cannot be read")
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
