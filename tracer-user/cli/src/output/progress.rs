//! A line that shows that something which takes long is still going on.

use std::{
    io::{self, IsTerminal, Write},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

/// How long something may take before it shows.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often the line changes.
const INTERVAL: Duration = Duration::from_millis(250);

/// Shows a line with the time on standard error, if that is a terminal, until it is dropped.
#[derive(Debug)]
pub(crate) struct Progress {
    /// Dropping it ends the thread.
    done: Option<mpsc::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Progress {
    /// Begins to wait; nothing shows in the first second.
    pub(crate) fn of(what: &'static str) -> Self {
        Self::showing(what, String::new)
    }

    /// As [`of`](Self::of), with words of `how_far` behind it that are asked for each time.
    pub(crate) fn showing(
        what: &'static str,
        how_far: impl Fn() -> String + Send + 'static,
    ) -> Self {
        if !io::stderr().is_terminal() {
            return Self {
                done: None,
                thread: None,
            };
        }
        let (done, is_done) = mpsc::channel();
        let thread = thread::Builder::new()
            .name("progress".into())
            .spawn(move || {
                show(what, &how_far, &is_done);
            });
        // Without a thread there is no line, and the work goes on.
        Self {
            done: Some(done),
            thread: thread.ok(),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        drop(self.done.take());
        if let Some(thread) = self.thread.take() {
            // It ends within a moment of the channel's closing; a panic in it is of no interest.
            let _ = thread.join();
        }
    }
}

fn show(what: &str, how_far: &impl Fn() -> String, is_done: &mpsc::Receiver<()>) {
    let started = Instant::now();
    let mut wait = PATIENCE;
    let mut shown = false;
    while is_done.recv_timeout(wait) == Err(mpsc::RecvTimeoutError::Timeout) {
        let _ = write!(
            io::stderr(),
            "\r{what} … {:.0} s {}\x1b[K",
            started.elapsed().as_secs_f32(),
            how_far(),
        );
        let _ = io::stderr().flush();
        shown = true;
        wait = INTERVAL;
    }
    if shown {
        // Erases the line (ECMA-48, EL 2).
        let _ = write!(io::stderr(), "\r\x1b[2K");
    }
}
