//! Who does what next: files are opened one by one, the largest first, and their pieces handed to
//! whoever is free.

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

use super::{Digests, HashError, Hashed, Piece, Target, opened::Opened};
use crate::digest::ContentDigest;

/// Something to do.
pub(super) enum Job<'q> {
    /// Open this target.
    Open(usize, &'q Target<'q>),
    /// Hash one piece of a target that is open.
    Piece {
        file: usize,
        opened: Arc<Opened<'q>>,
        piece: usize,
    },
}

/// All that is to be done, and its results.
pub(super) struct Queue<'q> {
    targets: &'q [Target<'q>],
    state: Mutex<State<'q>>,
    changed: Condvar,
}

struct State<'q> {
    /// Targets that nobody has opened, the next one last.
    unopened: Vec<usize>,
    /// Pieces that nobody hashes yet.
    pieces: VecDeque<(usize, Arc<Opened<'q>>, usize)>,
    /// Targets that are being opened; they will bring pieces.
    opening: usize,
    results: Vec<Slot>,
}

/// A target's result so far.
enum Slot {
    Pending {
        digests: Vec<Option<Digests>>,
        left: usize,
    },
    Done(Result<Hashed, HashError>),
}

impl<'q> Queue<'q> {
    pub(super) fn new(targets: &'q [Target<'q>]) -> Self {
        let mut unopened: Vec<usize> = (0..targets.len()).collect();
        // The largest is opened first, so that it does not run on alone at the end.
        unopened.sort_by_key(|&number| targets[number].size_hint);
        let results = targets
            .iter()
            .map(|_| Slot::Pending {
                digests: Vec::new(),
                left: 0,
            })
            .collect();
        let state = State {
            unopened,
            pieces: VecDeque::new(),
            opening: 0,
            results,
        };
        Self {
            targets,
            state: Mutex::new(state),
            changed: Condvar::new(),
        }
    }

    /// The next job; waits while others open files, and ends when nothing will come any more.
    pub(super) fn next(&self) -> Option<Job<'q>> {
        let mut state = self.lock();
        loop {
            if let Some((file, opened, piece)) = state.pieces.pop_front() {
                return Some(Job::Piece {
                    file,
                    opened,
                    piece,
                });
            }
            if let Some(number) = state.unopened.pop() {
                state.opening += 1;
                return Some(Job::Open(number, &self.targets[number]));
            }
            if state.opening == 0 {
                return None;
            }
            let wait = self.changed.wait(state);
            state = wait.unwrap_or_else(PoisonError::into_inner);
        }
    }

    pub(super) fn opened(&self, number: usize, opened: Opened<'q>) {
        let mut state = self.lock();
        state.opening -= 1;
        let pieces = opened.pieces();
        if pieces == 0 {
            state.results[number] = Slot::Done(Ok(hashed(opened, Vec::new())));
        } else {
            let opened = Arc::new(opened);
            state.results[number] = Slot::Pending {
                digests: (0..pieces).map(|_| None).collect(),
                left: pieces,
            };
            for piece in 0..pieces {
                let job = (number, Arc::clone(&opened), piece);
                state.pieces.push_back(job);
            }
        }
        self.changed.notify_all();
    }

    pub(super) fn failed(&self, number: usize, error: HashError) {
        let mut state = self.lock();
        state.opening -= 1;
        state.results[number] = Slot::Done(Err(error));
        self.changed.notify_all();
    }

    /// Takes the digest of a piece; with the last one of a file its guarantee is decided.
    pub(super) fn finished(
        &self,
        number: usize,
        opened: Arc<Opened<'q>>,
        piece: usize,
        digest: Result<Digests, HashError>,
    ) {
        let mut state = self.lock();
        match digest {
            Ok(digest) => {
                let Slot::Pending { digests, left } = &mut state.results[number] else {
                    // Another piece of it has failed.
                    return;
                };
                digests[piece] = Some(digest);
                *left -= 1;
                if *left > 0 {
                    // Before the lock goes: whoever counts the last piece has the only handle.
                    drop(opened);
                    return;
                }
                let digests = digests.drain(..).flatten().collect();
                drop(state);
                let hashed = match Arc::try_unwrap(opened) {
                    Ok(opened) => hashed(opened, digests),
                    Err(_) => unreachable!("every piece gives its handle back before the last"),
                };
                self.lock().results[number] = Slot::Done(Ok(hashed));
            }
            Err(error) => {
                state.pieces.retain(|(other, ..)| *other != number);
                if matches!(state.results[number], Slot::Pending { .. }) {
                    state.results[number] = Slot::Done(Err(error));
                }
            }
        }
    }

    /// The results, once every worker has ended.
    pub(super) fn results(self) -> Vec<Result<Hashed, HashError>> {
        let state = self.state.into_inner();
        let state = state.unwrap_or_else(PoisonError::into_inner);
        state
            .results
            .into_iter()
            .map(|slot| match slot {
                Slot::Done(result) => result,
                Slot::Pending { .. } => Err(HashError::Read(std::io::Error::other(
                    "the thread that hashed it ended",
                ))),
            })
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, State<'q>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn hashed(opened: Opened<'_>, digests: Vec<Digests>) -> Hashed {
    let (file, size) = (opened.file(), opened.size());
    let mut same_on_disk = None;
    let pieces = digests
        .into_iter()
        .enumerate()
        .map(|(piece, Digests { mapped, disk })| {
            if let Some(disk) = disk {
                let same: &ContentDigest = &mapped;
                same_on_disk = Some(same_on_disk.unwrap_or(true) && *same == disk);
            }
            Piece {
                range: opened.range(piece),
                digest: mapped,
            }
        })
        .collect();
    Hashed {
        file,
        size,
        pieces,
        assurance: opened.assurance(),
        same_on_disk,
    }
}
