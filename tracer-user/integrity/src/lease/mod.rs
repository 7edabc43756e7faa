//! Read leases: nobody else opens a file for writing while one is held. Whoever tries waits until
//! the holder gives it back, so that a holder must be quick: a thread of this process looks at every
//! lease each 5 ms, and a second process, the [keeper], does the same more slowly, so that a
//! writer also goes on when this process is stopped. Either can release a lease alone.

pub mod keeper;

use std::{
    fs::File,
    io,
    os::fd::AsFd,
    process::Command,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use rustix::io::Errno;
use tracer_probe::model_file::{self, Lease};

use self::keeper::Keeper;
use crate::guarantee::NoLease;

/// How often this process looks whether a lease is wanted back: a quarter of the 20 ms in which a
/// writer shall be let go.
const INTERVAL: Duration = Duration::from_millis(5);

/// Takes leases, and gives them back as soon as somebody wants to write.
#[derive(Debug)]
pub struct Leases {
    watched: Arc<Watched>,
    keeper: Result<Mutex<Keeper>, String>,
    next: AtomicU64,
    thread: Option<JoinHandle<()>>,
}

/// Why there is no lease.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The file is open or mapped for writing.
    Writer,
    /// Another reason.
    No(NoLease),
    /// The call failed in a way that says nothing.
    Failed(io::Error),
}

impl Leases {
    /// Begins to watch. `keeper` is a command that runs [`keeper::serve`] on its standard input; it
    /// is started at once and ends with this value.
    #[must_use]
    pub fn start(keeper: &mut Command) -> Self {
        Self::with(Keeper::start(keeper).map_err(|error| error.to_string()))
    }

    fn with(keeper: Result<Keeper, String>) -> Self {
        let watched = Arc::new(Watched::default());
        let shared = Arc::clone(&watched);
        let thread = thread::Builder::new()
            .name("leases".into())
            .spawn(move || shared.release_what_breaks());
        let (keeper, thread) = match thread {
            Ok(thread) => (keeper, Some(thread)),
            // Without the thread no lease may be taken: nobody would give it back in time.
            Err(error) => (Err(error.to_string()), None),
        };
        Self {
            watched,
            keeper: keeper.map(Mutex::new),
            next: AtomicU64::new(0),
            thread,
        }
    }

    /// Takes a read lease for `file`, which is open for reading only.
    pub(crate) fn take(&self, file: &File) -> Result<Held<'_>, Refusal> {
        let no_keeper = |why: &str| Refusal::No(NoLease::NoKeeper(why.to_owned()));
        let keeper = self.keeper.as_ref().map_err(|why| no_keeper(why))?;
        let file = file.try_clone().map_err(Refusal::Failed)?;
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let answer = lock(keeper).take(number, file.as_fd());
        match answer {
            Ok(Ok(())) => {}
            Ok(Err(Errno::AGAIN)) => return Err(Refusal::Writer),
            Ok(Err(Errno::ACCESS | Errno::PERM)) => return Err(Refusal::No(NoLease::NotOwner)),
            Ok(Err(Errno::INVAL | Errno::OPNOTSUPP | Errno::NOLCK | Errno::NOSYS)) => {
                return Err(Refusal::No(NoLease::NotSupported));
            }
            Ok(Err(other)) => return Err(Refusal::Failed(other.into())),
            Err(error) => return Err(no_keeper(&error.to_string())),
        }
        let lease = Arc::new(Leased {
            file,
            number,
            broken: AtomicBool::new(false),
        });
        self.watched.add(Arc::clone(&lease));
        Ok(Held {
            leases: self,
            lease,
        })
    }
}

impl Drop for Leases {
    fn drop(&mut self) {
        self.watched.end();
        if let Some(thread) = self.thread.take() {
            // It ends at its next look; a panic in it is of no interest any more.
            let _ = thread.join();
        }
    }
}

/// A lease that is held, or was until it broke.
#[derive(Debug)]
pub(crate) struct Held<'a> {
    leases: &'a Leases,
    lease: Arc<Leased>,
}

impl Held<'_> {
    /// Whether the lease is still held, and was all the time.
    pub(crate) fn is_whole(&self) -> bool {
        !self.lease.broken.load(Ordering::Acquire)
            && model_file::lease(self.lease.file.as_fd()).is_ok_and(|lease| lease == Lease::Read)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.leases.watched.remove(self.lease.number);
        // Gone already if it broke.
        let _ = model_file::release_lease(self.lease.file.as_fd());
        if let Ok(keeper) = &self.leases.keeper {
            lock(keeper).forget(self.lease.number);
        }
    }
}

#[derive(Debug)]
struct Leased {
    file: File,
    number: u64,
    broken: AtomicBool,
}

#[derive(Debug, Default)]
struct Watched {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    leases: Vec<Arc<Leased>>,
    ended: bool,
}

impl Watched {
    fn add(&self, lease: Arc<Leased>) {
        lock(&self.state).leases.push(lease);
        self.changed.notify_all();
    }

    fn remove(&self, number: u64) {
        lock(&self.state)
            .leases
            .retain(|lease| lease.number != number);
    }

    fn end(&self) {
        lock(&self.state).ended = true;
        self.changed.notify_all();
    }

    fn release_what_breaks(&self) {
        let mut state = lock(&self.state);
        while !state.ended {
            if state.leases.is_empty() {
                let wait = self.changed.wait(state);
                state = wait.unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            state.leases.retain(|lease| {
                let whole = is_held(lease.file.as_fd());
                if !whole {
                    lease.broken.store(true, Ordering::Release);
                    let _ = model_file::release_lease(lease.file.as_fd());
                }
                whole
            });
            drop(state);
            thread::sleep(INTERVAL);
            state = lock(&self.state);
        }
    }
}

/// Whether the lease is there and nobody wants it back.
fn is_held(file: impl AsFd) -> bool {
    model_file::lease(file.as_fd()).is_ok_and(|lease| lease == Lease::Read)
}

/// A panic elsewhere leaves these plain values whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
pub(crate) mod tests {
    use std::{fs::OpenOptions, os::unix::fs::OpenOptionsExt, time::Instant};

    use super::*;

    /// Leases whose keeper is a thread of this process: the real loop, without a second process.
    pub(crate) fn leases() -> Leases {
        let (ours, theirs) = keeper::socket_pair().unwrap();
        thread::spawn(move || keeper::serve(theirs.as_fd()));
        Leases::with(Keeper::over(ours).map_err(|error| error.to_string()))
    }

    #[test]
    fn a_writer_is_let_go_at_once_and_the_lease_is_no_longer_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weights");
        std::fs::write(&path, b"x").unwrap();
        let leases = leases();
        let file = File::open(&path).unwrap();
        let held = leases.take(&file).unwrap();
        assert!(held.is_whole());
        let mut longest = Duration::ZERO;
        let start = Instant::now();
        OpenOptions::new().append(true).open(&path).unwrap();
        longest = longest.max(start.elapsed());
        assert!(!held.is_whole());
        // For a loaded machine; the kernel would let it go by itself after 45 seconds.
        assert!(longest < Duration::from_secs(10), "{longest:?}");
    }

    #[test]
    fn a_file_that_is_open_for_writing_has_no_lease() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weights");
        std::fs::write(&path, b"x").unwrap();
        let writer = OpenOptions::new().append(true).open(&path).unwrap();
        let leases = leases();
        let file = File::open(&path).unwrap();
        assert!(matches!(leases.take(&file), Err(Refusal::Writer)));
        drop(writer);
        assert!(leases.take(&file).unwrap().is_whole());
    }

    #[test]
    fn nobody_waits_once_the_lease_was_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weights");
        std::fs::write(&path, b"x").unwrap();
        let leases = leases();
        let file = File::open(&path).unwrap();
        drop(leases.take(&file).unwrap());
        let writer = OpenOptions::new()
            .append(true)
            .custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed())
            .open(&path);
        assert!(writer.is_ok(), "{writer:?}");
    }

    #[test]
    fn without_a_keeper_there_is_no_lease() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weights");
        std::fs::write(&path, b"x").unwrap();
        let leases = Leases::start(&mut Command::new("/nonexistent/keeper"));
        let refusal = leases.take(&File::open(&path).unwrap()).unwrap_err();
        assert!(
            matches!(refusal, Refusal::No(NoLease::NoKeeper(_))),
            "{refusal:?}"
        );
    }
}
