//! Reading what may never answer. Whoever owns a file system in user space (FUSE) decides when a read
//! of it ends, and a process maps what it likes; the loop that drains the rings must not wait for it.
//! So another thread opens and reads files. When it takes too long it is left behind with its work,
//! whose answer is still taken when it comes, and a fresh thread does the next.

use std::{
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

/// How long the loop waits for an answer. Reading the largest library known takes half a second.
const PATIENCE: Duration = Duration::from_secs(1);
/// After that nothing is expected any more.
const GIVE_UP_AFTER: Duration = Duration::from_secs(30);

/// Threads that may be stuck at once before no more is read from where reads may never end.
const MOST_THREADS: usize = 8;

type Job = Box<dyn FnOnce() + Send>;

/// The thread that reads.
#[derive(Default)]
pub(super) struct Reader {
    jobs: Option<SyncSender<Job>>,
    /// Every thread that has not ended holds it too.
    threads: Arc<()>,
}

/// What became of a piece of work.
pub(super) enum Answer<T> {
    /// It is done.
    Done(T),
    /// It takes long; the answer may still come.
    Late(Late<T>),
    /// It ended without an answer, by a defect of this program.
    Failed,
}

/// An answer that is still to come.
pub(super) struct Late<T> {
    answer: Receiver<T>,
    since: Instant,
}

impl Reader {
    /// Whether so many threads are stuck that one more should not be risked.
    pub(super) fn is_busy(&self) -> bool {
        Arc::strong_count(&self.threads) > MOST_THREADS
    }

    /// Does some work on the thread, and waits a while for it.
    pub(super) fn run<T: Send + 'static>(
        &mut self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Answer<T> {
        let (sender, answer) = sync_channel(1);
        let since = Instant::now();
        let job: Job = Box::new(move || drop(sender.send(work())));
        if !self.give(job) {
            return Answer::Failed;
        }
        match answer.recv_timeout(PATIENCE) {
            Ok(done) => Answer::Done(done),
            Err(RecvTimeoutError::Timeout) => {
                // The thread ends when it has finished what it does.
                self.jobs = None;
                Answer::Late(Late { answer, since })
            }
            Err(RecvTimeoutError::Disconnected) => {
                self.jobs = None;
                Answer::Failed
            }
        }
    }

    fn give(&mut self, job: Job) -> bool {
        let jobs = match &self.jobs {
            Some(jobs) => jobs,
            None => {
                let (sender, jobs) = sync_channel::<Job>(1);
                let named = thread::Builder::new().name("reader".to_owned());
                let counted = Arc::clone(&self.threads);
                let started = named.spawn(move || {
                    jobs.into_iter().for_each(|job| job());
                    drop(counted);
                });
                if started.is_err() {
                    return false;
                }
                self.jobs.insert(sender)
            }
        };
        jobs.send(job).is_ok()
    }
}

impl<T> Late<T> {
    /// The answer if it has come; itself again if it may still come.
    pub(super) fn take(self) -> Answer<T> {
        match self.answer.try_recv() {
            Ok(done) => Answer::Done(done),
            Err(TryRecvError::Empty) => Answer::Late(self),
            Err(TryRecvError::Disconnected) => Answer::Failed,
        }
    }

    /// Whether nothing is expected any more.
    pub(super) fn is_hopeless(&self) -> bool {
        self.since.elapsed() >= GIVE_UP_AFTER
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn work_that_takes_long_holds_up_nothing_and_its_answer_still_comes() {
        let mut reader = Reader::default();
        let (let_go, held) = mpsc::channel::<()>();
        let Answer::Late(late) = reader.run(move || held.recv().is_ok()) else {
            panic!("it is held")
        };
        assert!(matches!(reader.run(|| 7), Answer::Done(7)));
        let Answer::Late(mut late) = late.take() else {
            panic!("it is still held")
        };
        assert!(!late.is_hopeless());
        let_go.send(()).expect("it still waits");
        loop {
            match late.take() {
                Answer::Done(went_on) => return assert!(went_on),
                Answer::Late(again) => late = again,
                Answer::Failed => panic!("it did not fail"),
            }
            thread::yield_now();
        }
    }

    #[test]
    fn work_that_panics_is_told_and_the_next_is_done() {
        let mut reader = Reader::default();
        assert!(matches!(
            reader.run(|| panic!("as a defect would")),
            Answer::<()>::Failed
        ));
        assert!(matches!(reader.run(|| 7), Answer::Done(7)));
    }
}
