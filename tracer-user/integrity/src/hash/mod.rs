//! Hashing files in parallel, each with the guarantee that its digest deserves.
//!
//! Work is shared out by pieces, a file or a shard of one, so that one large file in shards is as
//! quick as many. Nothing here opens anything but regular files, and a thread needs little more
//! than one mebibyte however large they are.

mod opened;
mod queue;
mod read;

use std::{
    fs::File,
    io,
    num::{NonZeroU64, NonZeroUsize},
    ops::Range,
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

use tracer_probe::model_file;

use self::{
    opened::Opened,
    queue::{Job, Queue},
    read::{Buffer, Part, Source},
};
use crate::{
    digest::{Algorithm, ContentDigest, Hasher},
    guarantee::Assurance,
    lease::Leases,
    tree::Tree,
};

/// Threads at most: more would only wait for the disk, and their memory adds up.
const MAX_WORKERS: usize = 16;
/// What a hole is hashed from.
static ZEROES: [u8; 64 << 10] = [0; 64 << 10];

/// What to hash.
#[derive(Debug)]
pub struct Target<'a> {
    /// Where the bytes are.
    pub contents: Contents<'a>,
    /// How to hash them.
    pub algorithm: Algorithm,
    /// Whole, or in shards of so many bytes.
    pub shard_size: Option<NonZeroU64>,
    /// Its size as it was seen, for the order of work and the progress alone.
    pub size_hint: u64,
}

/// Where a target's bytes are.
#[derive(Debug)]
pub enum Contents<'a> {
    /// A file of a model, opened when its turn comes.
    InTree(&'a Tree, &'a str),
    /// A file that is open already, such as one that a process maps. It must be open for reading
    /// only, or no lease can be had.
    Open(File),
}

/// How to go about it.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Threads; the machine's usable processors unless given.
    pub workers: Option<NonZeroUsize>,
    /// Hash a second time past the page cache, and compare.
    pub check_disk: bool,
}

/// How far the work is; readable from any thread.
#[derive(Debug, Default)]
pub struct Progress {
    total: AtomicU64,
    done: AtomicU64,
}

impl Progress {
    /// Bytes that were hashed, and bytes in all as far as they are known.
    #[must_use]
    pub fn bytes(&self) -> (u64, u64) {
        let load = |number: &AtomicU64| number.load(Ordering::Relaxed);
        (load(&self.done), load(&self.total))
    }
}

/// A hashed file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hashed {
    /// Device number in the kernel's encoding, and inode number.
    pub file: tracer_probe::process::FileId,
    /// Bytes.
    pub size: u64,
    /// The digest of the whole file, or of each shard in order; none for an empty file in shards.
    pub pieces: Vec<Piece>,
    /// What the digests vouch for.
    pub assurance: Assurance,
    /// Where disk and page cache were compared: whether they held the same bytes.
    pub same_on_disk: Option<bool>,
}

/// A digest and the bytes that it is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The part of the file.
    pub range: Range<u64>,
    /// The digest.
    pub digest: ContentDigest,
}

/// Why a file has no digest.
#[derive(Debug, thiserror::Error)]
pub enum HashError {
    /// It could not be opened.
    #[error("it cannot be opened: {0}")]
    Open(io::Error),
    /// It could not be read to its end.
    #[error("it cannot be read: {0}")]
    Read(io::Error),
    /// More pieces than a manifest may have.
    #[error("it has more than {} shards of that size", crate::tree::MAX_FILES)]
    TooManyShards,
    /// Page cache and disk were to be compared.
    #[error("its file system cannot be read past the page cache")]
    NoDirect,
}

impl HashError {
    /// Whether the file is not there.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Open(error) if error.kind() == io::ErrorKind::NotFound)
    }
}

/// Hashes all targets and returns their results in the same order.
pub fn hash(
    targets: &[Target<'_>],
    leases: &Leases,
    options: Options,
    progress: &Progress,
) -> Vec<Result<Hashed, HashError>> {
    let passes = 1 + u64::from(options.check_disk);
    let total = targets
        .iter()
        .map(|target| target.size_hint.saturating_mul(passes))
        .fold(0, u64::saturating_add);
    progress.total.store(total, Ordering::Relaxed);
    progress.done.store(0, Ordering::Relaxed);
    let queue = Queue::new(targets);
    let processors = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let workers = options
        .workers
        .map_or(processors, NonZeroUsize::get)
        .clamp(1, MAX_WORKERS);
    let worker = Worker {
        queue: &queue,
        leases,
        options,
        progress,
    };
    thread::scope(|scope| {
        for _ in 1..workers {
            // With fewer threads the same work takes longer.
            let _ = thread::Builder::new()
                .name("hash".into())
                .spawn_scoped(scope, || worker.run());
        }
        // Not on the caller's own thread, whose I/O priority is not ours to change.
        let _ = scope.spawn(|| worker.run()).join();
    });
    queue.results()
}

struct Worker<'w, 'q> {
    queue: &'w Queue<'q>,
    leases: &'q Leases,
    options: Options,
    progress: &'w Progress,
}

impl Worker<'_, '_> {
    fn run(&self) {
        // Where the I/O scheduler knows no priorities, there is none to lower.
        let _ = model_file::idle_io_priority();
        let mut buffer = Buffer::new();
        while let Some(job) = self.queue.next() {
            match job {
                Job::Open(number, target) => {
                    match Opened::open(target, self.leases, self.options) {
                        Ok(opened) => self.queue.opened(number, opened),
                        Err(error) => self.queue.failed(number, error),
                    }
                }
                Job::Piece {
                    file,
                    opened,
                    piece,
                } => {
                    let digest = self.piece(&opened, piece, &mut buffer);
                    self.queue.finished(file, opened, piece, digest);
                }
            }
        }
    }

    fn piece(
        &self,
        opened: &Opened<'_>,
        piece: usize,
        buffer: &mut Buffer,
    ) -> Result<Digests, HashError> {
        let range = opened.range(piece);
        let mapped = self.digest(opened, range.clone(), Source::Mapped, buffer)?;
        let disk = if self.options.check_disk {
            Some(self.digest(opened, range, Source::Disk, buffer)?)
        } else {
            None
        };
        Ok(Digests { mapped, disk })
    }

    fn digest(
        &self,
        opened: &Opened<'_>,
        range: Range<u64>,
        source: Source,
        buffer: &mut Buffer,
    ) -> Result<ContentDigest, HashError> {
        let mut hasher = Hasher::new(opened.algorithm(), range.end - range.start);
        let mut take = |part: Part<'_>| {
            let length = match part {
                Part::Bytes(bytes) => {
                    hasher.update(bytes);
                    bytes.len() as u64
                }
                Part::Zeroes(count) => {
                    let mut left = count;
                    while left > 0 {
                        let step = ZEROES
                            .len()
                            .min(usize::try_from(left).unwrap_or(usize::MAX));
                        hasher.update(&ZEROES[..step]);
                        left -= step as u64;
                        // A hole can be terabytes long; it shall be seen to move.
                        self.progress.done.fetch_add(step as u64, Ordering::Relaxed);
                    }
                    0
                }
            };
            self.progress.done.fetch_add(length, Ordering::Relaxed);
        };
        opened
            .reader()
            .read(range, source, buffer, &mut take)
            .map_err(HashError::Read)?;
        Ok(hasher.finish())
    }
}

/// What a piece was hashed to.
#[derive(Debug)]
struct Digests {
    mapped: ContentDigest,
    disk: Option<ContentDigest>,
}

#[cfg(test)]
mod tests;
