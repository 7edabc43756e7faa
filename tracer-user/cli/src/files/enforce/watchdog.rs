//! Ends a tracer that is stopped while openers wait for its answer.
//!
//! Whoever opens a file at the gate waits in the kernel, without a time limit. A tracer that was
//! stopped would hold them until somebody lets it go on; so this program once more, in a process group
//! of its own, hears from the thread that answers, and kills the tracer when that falls silent. The
//! kernel then lets everybody go.

use std::{
    io::{self, Write as _},
    os::{fd::AsFd as _, unix::process::CommandExt as _},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{PidfdFlags, Signal, getppid, pidfd_open, pidfd_send_signal},
};

use crate::outcome::Outcome;

/// How often the tracer says that it lives, at most.
const BEAT: Duration = Duration::from_millis(100);
/// How long one look waits for it.
const PATIENCE: Duration = Duration::from_millis(500);
/// Looks without a word after which it is ended. More than one, so that a machine that was suspended
/// with both of them on it ends nobody.
const MOST_SILENT: u32 = 3;

/// The tracer's side.
pub(super) struct Watchdog {
    child: Child,
    said: Option<Instant>,
}

impl Watchdog {
    /// Starts the second process.
    ///
    /// # Errors
    /// If it cannot be started.
    pub(super) fn start() -> Result<Self> {
        let child = Command::new("/proc/self/exe")
            .arg("gate-watchdog")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .process_group(0)
            .spawn()
            .context("start the watchdog")?;
        if let Some(stdin) = &child.stdin {
            // One that is stopped itself must not stop the thread that answers.
            rustix::io::ioctl_fionbio(stdin, true).context("talk to the watchdog")?;
        }
        Ok(Self { child, said: None })
    }

    /// Says that the tracer lives.
    pub(super) fn beat(&mut self) {
        if self.said.is_some_and(|said| said.elapsed() < BEAT) {
            return;
        }
        self.said = Some(Instant::now());
        if let Some(stdin) = &mut self.child.stdin {
            // A watchdog that is gone guards nobody, and holds nobody up.
            let _ = stdin.write_all(b".");
        }
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        // Killed, since one that is stopped would not see the end of its standard input.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `tracer gate-watchdog`.
///
/// # Errors
/// If it was not started by a tracer.
pub(crate) fn watch() -> Result<Outcome> {
    let Some(parent) = getppid() else {
        bail!("gate-watchdog is started by tracer itself");
    };
    let tracer = pidfd_open(parent, PidfdFlags::empty()).context("open the tracer's process")?;
    if getppid() != Some(parent) {
        return Ok(Outcome::Something);
    }
    let stdin = io::stdin();
    let patience = Timespec {
        tv_sec: 0,
        tv_nsec: i64::try_from(PATIENCE.as_nanos()).unwrap_or(500_000_000),
    };
    let mut silent = 0;
    while silent < MOST_SILENT {
        let mut heard = [PollFd::new(&stdin, PollFlags::IN)];
        match poll(&mut heard, Some(&patience)) {
            Ok(0) => silent += 1,
            Ok(_) => {
                silent = 0;
                if rustix::io::read(stdin.as_fd(), &mut [0_u8; 64]).context("listen")? == 0 {
                    return Ok(Outcome::Something);
                }
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error).context("listen to the tracer"),
        }
    }
    pidfd_send_signal(&tracer, Signal::KILL).context("end the tracer")?;
    eprintln!(
        "tracer: process {} was stopped while it held openers, and was ended",
        parent.as_raw_nonzero()
    );
    Ok(Outcome::Something)
}
