//! The gate at which openers wait: a thread that answers them, and threads that hash for it.
//!
//! The answering thread opens nothing and waits for nobody but the kernel, so that it can always let
//! this process itself through. What it has to know of files it reads from descriptors that the kernel
//! opened for it.

use std::{
    collections::{HashMap, HashSet},
    fs::{self, File},
    io,
    os::{
        fd::{AsFd, AsRawFd as _},
        unix::fs::MetadataExt as _,
    },
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver, Sender, SyncSender, TrySendError},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tracer_probe::{
    files::{Held, Taken, Waiting, file_id},
    model_file,
    process::FileId,
};

use super::{
    checker::{Checked, Checker},
    policy::Policy,
    watchdog::Watchdog,
};

/// Files that wait to be hashed, at most; who opens one beyond is refused.
const WAITING: usize = 1024;
/// Threads that hash: a small file need not wait for a large one.
const HASHERS: usize = 2;
/// How often deadlines and the end are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// A file that was changed so shortly before it was hashed could be changed again within the same
/// tick of its change time.
const TICK: Duration = Duration::from_millis(50);

/// An opener that was refused; 0 and no file where the kernel does not say whom it refused.
#[derive(Debug)]
pub(in crate::files) struct Refusal {
    pub(super) pid: u32,
    pub(super) file: FileId,
    pub(super) reason: &'static str,
}

/// What is known of files, for the threads that ask for hashes and the one that answers.
#[derive(Default)]
struct Known(Mutex<Files>);

#[derive(Default)]
struct Files {
    /// What was found, until somebody may have written to the file.
    found: HashMap<FileId, Verdict>,
    /// What is being hashed, once at a time: an opener's file shares its lease with the job that
    /// hashes it, so that another job's end must not look for writers through it.
    hashing: HashSet<FileId>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Verdict {
    state: State,
    checked: Checked,
}

/// What changes when a file is written through a descriptor or a new mapping.
#[derive(Clone, Copy, PartialEq, Eq)]
struct State {
    size: u64,
    changed: (i64, i64),
}

/// The gate's threads; they end with it, and then nobody is held any more.
pub(in crate::files) struct Gatekeeper {
    known: Arc<Known>,
    jobs: SyncSender<Job>,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

struct Job {
    file: File,
    id: FileId,
}

/// Somebody who waits for a file.
struct Opener {
    held: Held,
    since: Instant,
    /// Whether the hash that it waits for had begun before it came. What that finds of an earlier state
    /// of the file says nothing against this opener.
    joined: bool,
}

struct Done {
    id: FileId,
    checked: Checked,
    /// What the file was when it was hashed; none if it cannot be looked at.
    state: Option<State>,
    /// Whether it may serve those who come later.
    lasts: bool,
}

impl Gatekeeper {
    /// Starts the threads; from now on somebody answers. Refusals come out of the receiver.
    ///
    /// # Errors
    /// If a thread cannot be started.
    pub(super) fn start(
        waiting: Waiting,
        checker: Checker,
        policy: &Policy,
    ) -> Result<(Self, Receiver<Refusal>)> {
        let known = Arc::new(Known::default());
        let ended = Arc::new(AtomicBool::new(false));
        let (jobs, to_do) = mpsc::sync_channel(WAITING);
        // Never fuller than what was asked for.
        let (finished, done) = mpsc::channel();
        // As many as were refused since the last look, which is ten times a second.
        let (told, refusals) = mpsc::channel();
        let (to_do, checker) = (Arc::new(Mutex::new(to_do)), Arc::new(checker));
        for _ in 0..HASHERS {
            let (to_do, checker, finished) =
                (Arc::clone(&to_do), Arc::clone(&checker), finished.clone());
            thread::Builder::new()
                .name("hashing".into())
                .spawn(move || hash_for(&to_do, &checker, &finished))
                .context("start a thread that hashes model files")?;
        }
        let answering = Answering {
            waiting,
            known: Arc::clone(&known),
            jobs: jobs.clone(),
            done,
            told,
            held: HashMap::new(),
            deadline: policy.deadline,
            in_after: policy.in_after,
            watchdog: Watchdog::start()?,
        };
        let shared = Arc::clone(&ended);
        let thread = thread::Builder::new()
            .name("gate".into())
            .spawn(move || answering.run(&shared))
            .context("start the thread that answers openers")?;
        let this = Self {
            known,
            jobs,
            ended,
            thread: Some(thread),
        };
        Ok((this, refusals))
    }

    /// Hashes a file before somebody opens it; if too many wait already, it is hashed then.
    pub(super) fn prepare(&self, file: File, id: FileId) {
        let _ = self.known.lock().hash(&self.jobs, || Ok(file), id);
    }

    /// Somebody may have written to a file.
    pub(super) fn written(&self, id: FileId) {
        self.known.lock().found.remove(&id);
    }

    /// Whether nobody answers any more, so that openers would wait for ever.
    pub(super) fn has_ended(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Events about writers were lost.
    pub(super) fn events_lost(&self) {
        self.known.lock().found.clear();
    }
}

impl Drop for Gatekeeper {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            // It ends at its next look.
            let _ = thread.join();
        }
    }
}

impl Known {
    fn lock(&self) -> MutexGuard<'_, Files> {
        // A panic elsewhere leaves these plain values whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Files {
    /// Has a file hashed, unless that is being done; whether it had to be asked for.
    ///
    /// # Errors
    /// Why it is not.
    fn hash(
        &mut self,
        jobs: &SyncSender<Job>,
        file: impl FnOnce() -> io::Result<File>,
        id: FileId,
    ) -> Result<bool, &'static str> {
        if self.hashing.contains(&id) {
            return Ok(false);
        }
        let file = file().map_err(|_| "no more files can be opened")?;
        match jobs.try_send(Job { file, id }) {
            Ok(()) => Ok(self.hashing.insert(id)),
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                Err("too many files wait to be hashed")
            }
        }
    }
}

impl State {
    fn of(file: &File) -> io::Result<Self> {
        let metadata = file.metadata()?;
        Ok(Self {
            size: metadata.len(),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }

    /// Whether a later change would show.
    fn is_settled(self) -> bool {
        let (seconds, nanos) = self.changed;
        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let (Ok(now), Ok(seconds), Ok(nanos)) =
            (since_epoch, u64::try_from(seconds), u32::try_from(nanos))
        else {
            return false;
        };
        now.checked_sub(Duration::new(seconds, nanos))
            .is_some_and(|age| age > TICK)
    }
}

/// Whether nobody has the file open or mapped for writing at this moment, the opener included. A
/// file system without leases cannot tell: there, a file is hashed for each opener.
fn is_free_of_writers(file: &File) -> bool {
    model_file::take_read_lease(file.as_fd())
        .and_then(|()| model_file::release_lease(file.as_fd()))
        .is_ok()
}

fn hash_for(to_do: &Mutex<Receiver<Job>>, checker: &Checker, finished: &Sender<Done>) {
    loop {
        let next = to_do.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Job { file, id }) = next else { return };
        let before = State::of(&file);
        let settled = before.as_ref().is_ok_and(|state| state.is_settled());
        let path = fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()));
        let checked = checker.check(&file, &path.unwrap_or_default());
        let (checked, state) = match (before, State::of(&file)) {
            (Ok(before), Ok(after)) if before == after => (checked, Some(after)),
            (Ok(_), Ok(after)) => (Checked::not("it changed while it was hashed"), Some(after)),
            // Who waits for it is told all the same.
            (_, _) => (Checked::not("it cannot be looked at"), None),
        };
        let done = Done {
            id,
            checked,
            state,
            lasts: settled && checked.lasts,
        };
        if finished.send(done).is_err() {
            return;
        }
    }
}

/// The thread that answers.
struct Answering {
    waiting: Waiting,
    known: Arc<Known>,
    jobs: SyncSender<Job>,
    done: Receiver<Done>,
    told: Sender<Refusal>,
    /// Who waits for which file.
    held: HashMap<FileId, Vec<Opener>>,
    deadline: Duration,
    in_after: bool,
    watchdog: Watchdog,
}

impl Answering {
    fn run(mut self, ended: &AtomicBool) {
        while !ended.load(Ordering::Acquire) {
            let timeout = Timespec {
                tv_sec: 0,
                tv_nsec: i64::try_from(LOOK_EVERY.as_nanos()).unwrap_or(1_000_000),
            };
            // Interrupted or not: everything is looked at.
            let _ = poll(
                &mut [PollFd::new(&self.waiting.fd(), PollFlags::IN)],
                Some(&timeout),
            );
            match self.waiting.take() {
                Ok(Taken { held, refused }) => {
                    if let Some(error) = refused {
                        self.tell_unseen(&error);
                    }
                    held.into_iter().for_each(|held| self.came(held));
                }
                // Without the queue nobody can be answered. The tracer ends, which lets everybody go.
                Err(_) => break,
            }
            self.take_results();
            self.end_deadlines();
            self.watchdog.beat();
        }
        // Who still waits is not refused because this ends.
        for opener in self.held.drain().flat_map(|(_, openers)| openers) {
            opener.held.answer(true);
        }
    }

    /// The kernel has refused somebody, and does not say who wanted what.
    fn tell_unseen(&self, error: &io::Error) {
        log::warn!(
            "an opener was refused, since the kernel cannot open its file for the tracer: {error}"
        );
        let _ = self.told.send(Refusal {
            pid: 0,
            file: FileId::default(),
            reason: "the kernel could not open it for the tracer",
        });
    }

    fn came(&mut self, held: Held) {
        let Ok(id) = file_id(held.file()) else {
            return self.refuse(held, FileId::default(), "it cannot be looked at");
        };
        match self.found_of(&held, id) {
            Some(checked) => self.decide(held, id, checked),
            None => self.hold(held, id),
        }
    }

    /// What was found of a file, if it is still what it was then.
    fn found_of(&self, held: &Held, id: FileId) -> Option<Checked> {
        let verdict = self.known.lock().found.get(&id).copied()?;
        let now = State::of(held.file()).ok()?;
        (now == verdict.state).then_some(verdict.checked)
    }

    fn hold(&mut self, held: Held, id: FileId) {
        match self.hash(&held, id) {
            Ok(asked) => self.held.entry(id).or_default().push(Opener {
                held,
                since: Instant::now(),
                joined: !asked,
            }),
            Err(reason) => self.refuse(held, id, reason),
        }
    }

    /// An opener that came during a hash whose result does not let it in is held for a hash that begins
    /// now; as no opener joins twice, nobody waits for a third.
    fn hold_again(&mut self, opener: Opener, id: FileId) {
        if let Some(checked) = self.found_of(&opener.held, id) {
            return self.decide(opener.held, id, checked);
        }
        match self.hash(&opener.held, id) {
            Ok(_) => self.held.entry(id).or_default().push(Opener {
                joined: false,
                ..opener
            }),
            Err(reason) => self.refuse(opener.held, id, reason),
        }
    }

    fn hash(&self, held: &Held, id: FileId) -> Result<bool, &'static str> {
        let file = || held.file().try_clone();
        self.known.lock().hash(&self.jobs, file, id)
    }

    fn take_results(&mut self) {
        while let Ok(Done {
            id,
            checked,
            state,
            lasts,
        }) = self.done.try_recv()
        {
            let mut known = self.known.lock();
            known.hashing.remove(&id);
            match state.filter(|_| lasts) {
                Some(state) => known.found.insert(id, Verdict { state, checked }),
                None => known.found.remove(&id),
            };
            drop(known);
            for opener in self.held.remove(&id).unwrap_or_default() {
                let now = State::of(opener.held.file());
                let is_same = state.is_none_or(|state| now.is_ok_and(|now| now == state));
                if opener.joined && !(is_same && checked.verified) {
                    self.hold_again(opener, id);
                } else if is_same {
                    self.decide(opener.held, id, checked);
                } else {
                    self.refuse(opener.held, id, "it changed after it was hashed");
                }
            }
        }
    }

    fn decide(&self, held: Held, id: FileId, checked: Checked) {
        if !checked.verified {
            return self.refuse(held, id, checked.reason);
        }
        if checked.leased && !is_free_of_writers(held.file()) {
            return self.refuse(
                held,
                id,
                "it is open for writing, perhaps by this very open",
            );
        }
        held.answer(true);
    }

    fn end_deadlines(&mut self) {
        let (deadline, in_after) = (self.deadline, self.in_after);
        let mut late = Vec::new();
        for (id, openers) in &mut self.held {
            let is_late = |opener: &mut Opener| opener.since.elapsed() >= deadline;
            late.extend(
                openers
                    .extract_if(.., is_late)
                    .map(|opener| (opener.held, *id)),
            );
        }
        for (held, id) in late {
            if in_after {
                held.answer(true);
            } else {
                self.refuse(held, id, "it was not verified before the deadline");
            }
        }
    }

    fn refuse(&self, held: Held, file: FileId, reason: &'static str) {
        let pid = held.pid();
        held.answer(false);
        let _ = self.told.send(Refusal { pid, file, reason });
    }
}
