//! The one thread that writes.

use std::{
    sync::Arc,
    thread::{self, JoinHandle},
    time::{SystemTime, UNIX_EPOCH},
};

use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};
use tracer_event::WallNanos;
use tracer_wire::{AgentId, Position, Record, Sequence, SessionId};

use super::Request;
use crate::store::{Outcome, RecordNumber, Store, StoreError};

/// Requests that wait, at most; who has one more waits.
const WAITING: usize = 1024;
/// Requests that are done together, at most.
const TOGETHER: usize = 512;
/// Bytes of sealed events that are stored together, at most.
const TOGETHER_BYTES: usize = 16 << 20;

/// A request of a connection, and where its answer goes.
pub struct Job {
    /// Whose connection it is.
    pub agent: AgentId,
    /// What it wants.
    pub request: Request,
    /// Holds the room that the record takes in memory.
    pub room: Option<OwnedSemaphorePermit>,
    /// Where the answer goes. No more answers wait than the connection has credits for.
    pub answers: mpsc::UnboundedSender<Answer>,
}

/// The answer to a request.
#[derive(Debug)]
pub enum Answer {
    /// Where a session stands.
    Stands(SessionId, Position),
    /// What became of a record.
    Appended(SessionId, Sequence, Outcome),
    /// The store does not work; nothing was stored. The connection should end.
    Failed,
}

/// Hands requests to the thread.
#[derive(Clone)]
pub struct Committer {
    jobs: mpsc::Sender<Job>,
    newest: watch::Receiver<RecordNumber>,
    works: watch::Receiver<bool>,
}

/// The thread, which ends when all [`Committer`]s are gone and all they asked for is done.
pub struct Committing(JoinHandle<()>);

impl Committing {
    /// Waits for its end. Blocks.
    pub fn wait(self) {
        if self.0.join().is_err() {
            log::error!("the committing thread has panicked");
        }
    }
}

impl Committer {
    /// Starts the thread.
    ///
    /// # Errors
    /// If the store does not work, or no thread can be started.
    pub fn start(store: Arc<dyn Store>) -> Result<(Self, Committing), StoreError> {
        let (jobs, waiting) = mpsc::channel(WAITING);
        let (newest_to, newest) = watch::channel(store.newest()?);
        let (works_to, works) = watch::channel(true);
        let thread = Thread {
            store,
            waiting,
            newest: newest_to,
            works: works_to,
        };
        let handle = thread::Builder::new()
            .name(String::from("committer"))
            .spawn(move || thread.run())
            .map_err(|source| StoreError::Disk {
                attempt: "start the thread that writes to",
                path: "the store".into(),
                source,
            })?;
        let committer = Self {
            jobs,
            newest,
            works,
        };
        Ok((committer, Committing(handle)))
    }

    /// Hands over a request; waits while too many are waiting. Tells whether the thread still runs.
    pub async fn submit(&self, job: Job) -> bool {
        self.jobs.send(job).await.is_ok()
    }

    /// Follows the number of the newest record.
    #[must_use]
    pub fn newest(&self) -> watch::Receiver<RecordNumber> {
        self.newest.clone()
    }

    /// Whether the last write succeeded.
    #[must_use]
    pub fn works(&self) -> bool {
        *self.works.borrow()
    }
}

struct Thread {
    store: Arc<dyn Store>,
    waiting: mpsc::Receiver<Job>,
    newest: watch::Sender<RecordNumber>,
    works: watch::Sender<bool>,
}

/// Who is told what became of a record.
struct Asker {
    session: SessionId,
    sequence: Sequence,
    answers: mpsc::UnboundedSender<Answer>,
    _room: Option<OwnedSemaphorePermit>,
}

impl Thread {
    fn run(mut self) {
        let mut jobs = Vec::new();
        while self.waiting.blocking_recv_many(&mut jobs, TOGETHER) > 0 {
            let (mut records, mut askers, mut bytes) = (Vec::new(), Vec::new(), 0);
            for job in jobs.drain(..) {
                match job.request {
                    Request::Append(record) => {
                        bytes += record.sealed().len();
                        askers.push(Asker {
                            session: record.claims().session,
                            sequence: record.claims().sequence,
                            answers: job.answers,
                            _room: job.room,
                        });
                        records.push(*record);
                        if bytes >= TOGETHER_BYTES {
                            self.commit(&mut records, &mut askers);
                            bytes = 0;
                        }
                    }
                    Request::Position(session) => {
                        // What was handed over before counts; others' sessions need not be written for it.
                        if askers.iter().any(|asker| asker.session == session) {
                            self.commit(&mut records, &mut askers);
                            bytes = 0;
                        }
                        let position = self.store.position(job.agent, session);
                        let answer = match position {
                            Ok(position) => Answer::Stands(session, position),
                            Err(error) => self.failed(&error),
                        };
                        let _ = job.answers.send(answer);
                    }
                }
            }
            self.commit(&mut records, &mut askers);
        }
    }

    fn commit(&self, records: &mut Vec<Record>, askers: &mut Vec<Asker>) {
        if records.is_empty() {
            return;
        }
        let result = self.store.append(records, now());
        records.clear();
        match result {
            Ok(outcomes) => {
                self.works.send_replace(true);
                if let Ok(newest) = self.store.newest() {
                    self.newest.send_if_modified(|known| {
                        let is_newer = *known < newest;
                        *known = newest;
                        is_newer
                    });
                }
                for (asker, outcome) in askers.drain(..).zip(outcomes) {
                    // Who is gone will ask again.
                    let answer = Answer::Appended(asker.session, asker.sequence, outcome);
                    let _ = asker.answers.send(answer);
                }
            }
            Err(error) => {
                let _ = self.failed(&error);
                for asker in askers.drain(..) {
                    let _ = asker.answers.send(Answer::Failed);
                }
            }
        }
    }

    fn failed(&self, error: &StoreError) -> Answer {
        log::error!("nothing was stored: {error}{}", Source(error));
        self.works.send_replace(false);
        Answer::Failed
    }
}

/// An error's cause, as it is added to a line.
struct Source<'a>(&'a StoreError);

impl std::fmt::Display for Source<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut next = std::error::Error::source(self.0);
        while let Some(error) = next {
            write!(f, ": {error}")?;
            next = error.source();
        }
        Ok(())
    }
}

/// The time, by the system's clock.
pub(crate) fn now() -> WallNanos {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let nanos = since.map_or(0, |since| since.as_nanos());
    WallNanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}
