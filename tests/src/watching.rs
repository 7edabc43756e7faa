//! A running `tracer files --watch`, and what it has told.

use std::{
    path::Path,
    process::{Child, ChildStdin, Stdio},
    sync::mpsc::Receiver,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use tracer_event::{
    Body, LossReason, Recorded,
    file::{FileAccess, FilesWatched},
};

use crate::{
    cache::Cache,
    tracer::{self, Line},
    workload::Target,
};

/// How long an access may take to be told, on a loaded machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A tracer that watches a folder. It ends when this is dropped, and with this process, whatever
/// becomes of that.
#[derive(Debug)]
pub struct Watching {
    child: Child,
    _stdin: ChildStdin,
    incoming: Receiver<Line>,
    /// Every line that was looked at so far.
    pub seen: Vec<Line>,
    /// What it said when it began.
    pub watched: FilesWatched<Recorded>,
}

impl Watching {
    /// Starts one, in this tier or the best one, and waits until it says what it watches.
    ///
    /// # Errors
    /// When the tracer has not been built, or does not watch.
    pub fn start(tier: Option<&str>, folder: &Path) -> Result<Self> {
        let mut command = Target::Accesses.command(&Cache::open()?, &["as-long-as"])?;
        command
            .arg(tracer::binary()?)
            .args(["files", "-o", "ndjson"]);
        if let Some(tier) = tier {
            command.args(["--tier", tier]);
        }
        let mut child = command
            .arg("--watch")
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdin = child.stdin.take().context("it has standard input")?;
        let incoming = tracer::lines(&mut child)?;
        let deadline = Instant::now() + PATIENCE;
        let mut seen = Vec::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line: Line = incoming
                .recv_timeout(left)
                .context("the tracer does not say what it watches")?;
            let body = line.body.clone();
            seen.push(line);
            if let Body::FilesWatched(watched) = body {
                return Ok(Self {
                    child,
                    _stdin: stdin,
                    incoming,
                    seen,
                    watched: *watched,
                });
            }
        }
    }

    /// Waits until an access is told, or was before, that is as wanted.
    ///
    /// # Errors
    /// When none is within `patience`, by the words of `what`.
    pub fn until(
        &mut self,
        what: &str,
        patience: Duration,
        wanted: impl Fn(&Line, &FileAccess<Recorded>) -> bool,
    ) -> Result<FileAccess<Recorded>> {
        self.find(what, patience, |line| match &line.body {
            Body::FileAccess(access) if wanted(line, access) => Some((**access).clone()),
            _ => None,
        })
    }

    /// Waits until a line is told, or was before, in which something is found.
    ///
    /// # Errors
    /// As [`Watching::until`].
    pub fn find<T>(
        &mut self,
        what: &str,
        patience: Duration,
        wanted: impl Fn(&Line) -> Option<T>,
    ) -> Result<T> {
        let deadline = Instant::now() + patience;
        let mut from = 0;
        loop {
            if let Some(found) = self.seen[from..].iter().find_map(&wanted) {
                return Ok(found);
            }
            from = self.seen.len();
            let left = deadline.saturating_duration_since(Instant::now());
            match self.incoming.recv_timeout(left) {
                Ok(line) => self.seen.push(line),
                Err(_) => bail!("{what} was not told within {patience:?}"),
            }
        }
    }

    /// Takes what is told within a moment.
    pub fn take(&mut self, patience: Duration) {
        self.seen.extend(self.incoming.recv_timeout(patience));
    }

    /// How many accesses it says that it missed.
    #[must_use]
    pub fn missed(&self) -> u64 {
        self.lost(LossReason::FileMissed)
    }

    /// How many losses of a kind it told.
    #[must_use]
    pub fn lost(&self, reason: LossReason) -> u64 {
        self.seen
            .iter()
            .filter_map(|line| match &line.body {
                Body::Loss(loss) if loss.reason == reason => Some(loss.count),
                _ => None,
            })
            .sum()
    }

    /// Whether it says that it cannot see something.
    #[must_use]
    pub fn is_blind_to(&self, spot: &str) -> bool {
        self.watched
            .blind_spots
            .iter()
            .any(|known| known.as_str() == spot)
    }

    /// The tracer's process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// When that cannot be sent.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill_process(Pid::from_child(&self.child), signal)?)
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        // What is gone already needs neither.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
