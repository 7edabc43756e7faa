//! Hands records to ship, and gives the two signatures that ship may ask for.

use std::{
    io,
    net::Shutdown,
    os::unix::net::UnixStream,
    path::PathBuf,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use tracer_wire::{Recipient, Record, SigningKey, enrolment::Proof};

use super::{keys::CollectorKey, outbox::Outbox};
use crate::{
    link::{self, FromCapture, FromShip, LinkError, VERSION},
    status::CaptureStatus,
};

/// How long ship may take to read what is written to it: one that is stopped is given up, and its
/// records are handed to the one that comes after it.
const STALLED: Duration = Duration::from_secs(20);
/// Between two tries to reach ship.
const PAUSE: Duration = Duration::from_millis(250);
/// Between two statuses.
const TELL: Duration = Duration::from_secs(1);

/// Where ship is.
#[derive(Clone, Debug)]
pub struct Whom {
    /// Its socket.
    pub socket: PathBuf,
    /// The user that it must run as.
    pub user: u32,
}

/// The thread that talks to ship.
pub struct Handing {
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
}

struct Shared {
    whom: Whom,
    key: &'static SigningKey,
    outbox: Arc<Outbox>,
    collector: Mutex<CollectorKey>,
    learnt: Condvar,
    status: Mutex<CaptureStatus>,
    is_ending: AtomicBool,
    /// The connection that there is, also before ship has answered: shut down, nothing waits on it.
    current: Mutex<Option<UnixStream>>,
}

impl Handing {
    /// Begins to talk to ship, whenever it is there.
    ///
    /// # Errors
    /// If no thread can be started.
    pub fn start(
        whom: Whom,
        key: &'static SigningKey,
        outbox: Arc<Outbox>,
        collector: CollectorKey,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            whom,
            key,
            outbox,
            collector: Mutex::new(collector),
            learnt: Condvar::new(),
            status: Mutex::default(),
            is_ending: AtomicBool::new(false),
            current: Mutex::default(),
        });
        let own = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("handing".into())
            .spawn(move || own.run())?;
        Ok(Self { shared, thread })
    }

    /// Whom telemetry is sealed for, if that is known within so long.
    #[must_use]
    pub fn collector(&self, patience: Duration) -> Option<Recipient> {
        let known = lock(&self.shared.collector);
        let waited = self
            .shared
            .learnt
            .wait_timeout_while(known, patience, |key| key.known().is_none());
        let (known, _) = waited.unwrap_or_else(PoisonError::into_inner);
        known.known().cloned()
    }

    /// Changes what ship is told of this process.
    pub fn tell(&self, change: impl FnOnce(&mut CaptureStatus)) {
        change(&mut lock(&self.shared.status));
    }

    /// Waits until ship keeps everything, and ends; tells whether it does.
    pub fn finish(self, patience: Duration) -> bool {
        let is_drained = self.shared.outbox.drain(patience);
        self.shared.is_ending.store(true, Ordering::SeqCst);
        self.shared.outbox.connected(false);
        // A ship that says nothing or reads nothing holds up nobody.
        if let Some(current) = lock(&self.shared.current).take() {
            let _ = current.shutdown(Shutdown::Both);
        }
        let _ = self.thread.join();
        is_drained
    }
}

impl Shared {
    fn run(self: &Arc<Self>) {
        let mut last = String::new();
        while !self.is_ending.load(Ordering::SeqCst) {
            let began = Instant::now();
            let said = match self.converse() {
                Ok(()) => String::new(),
                Err(error) => error.to_string(),
            };
            self.outbox.connected(false);
            // The same trouble is told once.
            if !said.is_empty() && said != last && !self.is_ending.load(Ordering::SeqCst) {
                log::warn!("{said}; records wait in memory until ship is back");
            }
            if began.elapsed() > STALLED {
                last.clear();
            } else {
                last = said;
            }
            thread::sleep(PAUSE);
        }
    }

    /// One connection, to its end.
    fn converse(self: &Arc<Self>) -> Result<(), LinkError> {
        let mut reading = UnixStream::connect(&self.whom.socket)?;
        link::check_peer(&reading, self.whom.user)?;
        reading.set_write_timeout(Some(STALLED))?;
        reading.set_read_timeout(Some(STALLED))?;
        let writing = Arc::new(Mutex::new(reading.try_clone()?));
        *lock(&self.current) = Some(reading.try_clone()?);
        // Whoever ends sets this first and looks for a connection then: one of the two sees the other.
        if self.is_ending.load(Ordering::SeqCst) {
            return Ok(());
        }
        let hello = FromCapture::Hello {
            version: VERSION,
            agent: self.key.agent(),
        };
        link::write(&mut *lock(&writing), &hello)?;
        match link::read(&mut reading)? {
            FromShip::Hello { version: VERSION } => {}
            FromShip::Hello { version } => return Err(LinkError::Version(version)),
            _ => return Err(LinkError::Order("something else than hello")),
        }
        reading.set_read_timeout(None)?;
        self.outbox.connected(true);
        let (own, answers) = (Arc::clone(self), Arc::clone(&writing));
        let mut input = reading.try_clone()?;
        let answering = thread::Builder::new()
            .name("answering".into())
            .spawn(move || {
                let ended = own.answer(&mut input, &answers);
                own.outbox.connected(false);
                ended
            })?;
        let written = self.hand_over(&writing);
        let _ = reading.shutdown(Shutdown::Both);
        let answered = answering.join().unwrap_or(Ok(()));
        written.and(answered)
    }

    /// Writes records and statuses while ship is there.
    fn hand_over(&self, writing: &Mutex<UnixStream>) -> Result<(), LinkError> {
        let mut told: Option<Instant> = None;
        let mut last = String::new();
        // Asked here too: the end may have come while the connection was made.
        while !self.is_ending.load(Ordering::SeqCst) {
            if told.is_none_or(|told| told.elapsed() >= TELL) {
                told = Some(Instant::now());
                let counts = self.outbox.counts();
                let mut status = lock(&self.status).clone();
                status.pid = std::process::id();
                status.version = env!("CARGO_PKG_VERSION").to_owned();
                status.records_waiting = counts.waiting;
                status.events_dropped = counts.dropped_events;
                let text = serde_json::to_string(&status).expect("a status is numbers and text");
                // On an idle host it is what it was, and ship need not wake up for it.
                if text != last {
                    last.clone_from(&text);
                    link::write(&mut *lock(writing), &FromCapture::Status(text))?;
                }
            }
            let left = told.map_or(TELL, |told| TELL.saturating_sub(told.elapsed()));
            match self.outbox.take(left) {
                Some(record) => {
                    let record = FromCapture::Record(Box::new(record));
                    link::write(&mut *lock(writing), &record)?;
                }
                None if self.outbox.is_connected() => {}
                None => return Ok(()),
            }
        }
        Ok(())
    }

    /// Reads what ship says until it says no more.
    fn answer(&self, input: &mut UnixStream, writing: &Mutex<UnixStream>) -> Result<(), LinkError> {
        loop {
            let answer = match link::read(input)? {
                FromShip::Kept { session, through } => {
                    self.outbox.kept(session, through);
                    continue;
                }
                FromShip::Recipient(recipient) => {
                    match lock(&self.collector).offer(recipient) {
                        Ok(true) => self.learnt.notify_all(),
                        Ok(false) => {}
                        Err(error) => log::error!("{error}"),
                    }
                    continue;
                }
                FromShip::SignGap { question, gap } => {
                    if gap.claims().agent == self.key.agent() {
                        let record = Box::new(Record::gap(gap, self.key));
                        FromCapture::Gap { question, record }
                    } else {
                        FromCapture::Refused { question }
                    }
                }
                FromShip::SignRequest {
                    question,
                    purpose,
                    request,
                } => FromCapture::Proof {
                    question,
                    proof: Proof::sign(purpose, &request, self.key),
                },
                FromShip::Hello { .. } => return Err(LinkError::Order("hello")),
            };
            link::write(&mut *lock(writing), &answer)?;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is behind these is whole after every statement.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;
    use crate::{
        capture::outbox::ROOM,
        fixture::{KEY, session},
    };

    /// Whoever listens there takes the connection, says nothing, and reads nothing.
    #[test]
    fn a_ship_that_says_nothing_does_not_hold_up_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("link.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let outbox = Arc::new(Outbox::new(&KEY, ROOM));
        let collector = CollectorKey::load(folder.path(), None).unwrap();
        let whom = Whom {
            socket,
            user: rustix::process::geteuid().as_raw(),
        };
        let handing = Handing::start(whom, &KEY, Arc::clone(&outbox), collector).unwrap();
        let (_silent, _) = listener.accept().unwrap();
        for record in session(tracer_wire::Stream::Telemetry, 1) {
            outbox.put(record);
        }
        let begun = Instant::now();
        assert!(!handing.finish(Duration::ZERO), "it has nothing");
        assert!(begun.elapsed() < STALLED, "the end waited for ship");
    }
}
