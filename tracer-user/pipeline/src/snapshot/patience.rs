//! Reading on behalf of a process that may see to it that the read never ends: its files may lie in a
//! file system of its own (FUSE), on a server that does not answer, or be so made that they take long.

use std::{
    sync::{
        atomic::{AtomicUsize, Ordering},
        mpsc::sync_channel,
    },
    thread,
    time::Duration,
};

/// How long the loop waits for an answer: the headers of the largest models, some 30 MiB, come from a
/// slow disk within it.
const PATIENCE: Duration = Duration::from_secs(3);
/// Reads that were given up and have not ended, of all processes; each has a thread.
const MOST_STUCK: usize = 16;
static RUNNING: AtomicUsize = AtomicUsize::new(0);

/// The patience that one process is met with: it ends with the first read that takes too long.
#[derive(Debug, Default)]
pub(crate) struct Patience {
    is_over: bool,
}

impl Patience {
    /// Does some reading on a thread of its own. `None` if that takes longer than three seconds, and from
    /// then on at once; also while too much reading of other processes is stuck. What was being read
    /// is unknown then.
    pub(crate) fn read<T: Send + 'static>(
        &mut self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        if self.is_over || RUNNING.load(Ordering::Relaxed) >= MOST_STUCK {
            return None;
        }
        let (sender, answer) = sync_channel(1);
        let counted = Counted::new();
        let reading = move || {
            let _counted = counted;
            drop(sender.send(work()));
        };
        thread::Builder::new()
            .name("snapshot".to_owned())
            .spawn(reading)
            .ok()?;
        let done = answer.recv_timeout(PATIENCE).ok();
        self.is_over = done.is_none();
        done
    }
}

/// One of the reads that run.
struct Counted;

impl Counted {
    fn new() -> Self {
        RUNNING.fetch_add(1, Ordering::Relaxed);
        Self
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        RUNNING.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_read_that_does_not_end_is_waited_for_once() {
        let mut patience = Patience::default();
        assert_eq!(patience.read(|| 7), Some(7));
        let (let_go, held) = mpsc::channel::<()>();
        assert_eq!(patience.read(move || held.recv().is_ok()), None);
        assert_eq!(patience.read(|| 7), None);
        assert_eq!(Patience::default().read(|| 7), Some(7));
        drop(let_go);
    }
}
