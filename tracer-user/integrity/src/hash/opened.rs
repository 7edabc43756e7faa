//! A file while it is hashed: what was known of it before, and what that makes of it after.

use std::{fs::File, io, ops::Range, os::unix::fs::MetadataExt};

use tracer_probe::{
    model_file::{self, VerityDigest},
    process::FileId,
};

use super::{Contents, HashError, Options, Target, read::Reader};
use crate::{
    digest::{Algorithm, hex},
    filesystem::FileSystem,
    guarantee::{Assurance, Guarantee, NoLease, Reason},
    lease::{Held, Leases, Refusal},
    tree::MAX_FILES,
};

/// An open file with its guard.
#[derive(Debug)]
pub(super) struct Opened<'a> {
    reader: Reader,
    algorithm: Algorithm,
    ranges: Vec<Range<u64>>,
    before: State,
    guard: Guard<'a>,
}

/// What shows that a file was changed, as far as the file system tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct State {
    file: FileId,
    size: u64,
    changed: (i64, i64),
}

/// What watches over the file meanwhile.
#[derive(Debug)]
enum Guard<'a> {
    Verity(VerityDigest),
    Lease(Held<'a>),
    /// A lease that does not hear of every writer.
    OverlayLease(Held<'a>),
    /// None, on a file system where change times can be trusted.
    ChangeTime(NoLease),
    /// Nothing can.
    Nothing(Reason),
}

impl<'a> Opened<'a> {
    pub(super) fn open(
        target: &Target<'_>,
        leases: &'a Leases,
        options: Options,
    ) -> Result<Self, HashError> {
        let file = match &target.contents {
            Contents::InTree(tree, name) => tree.open_file(name),
            Contents::Open(file) => file.try_clone(),
        };
        let file = file.map_err(HashError::Open)?;
        // Before the size is read, so that a held lease covers everything that is decided by it.
        let guard = Guard::over(&file, leases).map_err(HashError::Open)?;
        let before = State::of(&file).map_err(HashError::Open)?;
        let ranges = match target.shard_size {
            // An empty file is one empty piece; in shards it is none.
            None => vec![Range {
                start: 0,
                end: before.size,
            }],
            Some(size) if before.size.div_ceil(size.get()) > MAX_FILES as u64 => {
                return Err(HashError::TooManyShards);
            }
            Some(size) => shards(before.size, size.get()),
        };
        let reader = Reader::new(file, before.size);
        if options.check_disk && !reader.reads_disk() {
            return Err(HashError::NoDirect);
        }
        Ok(Self {
            reader,
            algorithm: target.algorithm,
            ranges,
            before,
            guard,
        })
    }

    pub(super) fn reader(&self) -> &Reader {
        &self.reader
    }

    pub(super) fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    pub(super) fn pieces(&self) -> usize {
        self.ranges.len()
    }

    pub(super) fn range(&self, piece: usize) -> Range<u64> {
        self.ranges[piece].clone()
    }

    pub(super) fn file(&self) -> FileId {
        self.before.file
    }

    pub(super) fn size(&self) -> u64 {
        self.before.size
    }

    /// What the digests vouch for, now that the last piece was hashed. The lease ends here.
    pub(super) fn assurance(self) -> Assurance {
        let file = self.reader.file();
        let same = State::of(file).is_ok_and(|after| after == self.before);
        let (guarantee, reason) = match self.guard {
            Guard::Nothing(reason) => (Guarantee::Unstable, reason),
            _ if !same => (Guarantee::Unstable, Reason::Changed),
            Guard::Verity(before) => match model_file::verity_digest(file) {
                Ok(Some(after)) if after == before => {
                    (Guarantee::Verity, Reason::Verity(verity_text(&after)))
                }
                Ok(_) | Err(_) => (Guarantee::Unstable, Reason::Changed),
            },
            Guard::Lease(held) if held.is_whole() => (Guarantee::Leased, Reason::Lease),
            Guard::OverlayLease(held) if held.is_whole() => {
                (Guarantee::Unchanged, Reason::NoLease(NoLease::Overlay))
            }
            Guard::Lease(_) | Guard::OverlayLease(_) => (Guarantee::Unstable, Reason::LeaseBroken),
            Guard::ChangeTime(why) => (Guarantee::Unchanged, Reason::NoLease(why)),
        };
        Assurance { guarantee, reason }
    }
}

impl<'a> Guard<'a> {
    fn over(file: &File, leases: &'a Leases) -> io::Result<Self> {
        let system = FileSystem::of(file)?;
        if let FileSystem::Foreign(name) = system {
            return Ok(Self::Nothing(Reason::Foreign(name)));
        }
        if system == FileSystem::Nameless {
            return Ok(Self::Nothing(Reason::Nameless));
        }
        if let Some(digest) = model_file::verity_digest(file)? {
            return Ok(Self::Verity(digest));
        }
        let overlay = system == FileSystem::Overlay;
        Ok(match leases.take(file) {
            Ok(held) if overlay => Self::OverlayLease(held),
            Ok(held) => Self::Lease(held),
            Err(Refusal::Writer) => Self::Nothing(Reason::Writer),
            Err(Refusal::No(why)) => Self::ChangeTime(why),
            Err(Refusal::Failed(error)) => Self::Nothing(Reason::Unknown(error.to_string())),
        })
    }
}

impl State {
    fn of(file: &File) -> io::Result<Self> {
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::other("it is not a regular file"));
        }
        Ok(Self {
            file: FileId::of(&metadata),
            size: metadata.len(),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }
}

fn shards(size: u64, shard: u64) -> Vec<Range<u64>> {
    (0..size.div_ceil(shard))
        .map(|number| number * shard..size.min((number + 1).saturating_mul(shard)))
        .collect()
}

fn verity_text(digest: &VerityDigest) -> String {
    let algorithm = match digest.algorithm {
        1 => "sha256",
        2 => "sha512",
        _ => "unknown",
    };
    format!("{algorithm}:{}", hex(&digest.bytes))
}
