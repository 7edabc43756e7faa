//! Starts capture and ship and keeps both running, where no service manager does.

use std::{
    io,
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, Command, ExitStatus},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, kill_process};

use crate::signals::Signals;

/// Between two looks at children and signals.
const LOOK: Duration = Duration::from_millis(50);
/// A process that ran so long is started again at once.
const GOOD: Duration = Duration::from_secs(10);
/// The shortest and the longest pause before a process is started again.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));
/// How long one may take to end: capture hands over what it has, ship gives the collector a moment.
const PATIENCE: Duration = Duration::from_secs(20);

/// One of the two.
struct Part {
    name: &'static str,
    child: Option<Child>,
    started: Instant,
    pause: Duration,
}

/// Runs both until a signal. `command` starts one of them by its name.
///
/// # Errors
/// If signals cannot be listened for. A process that cannot be started is tried again.
pub fn run(command: impl Fn(&str) -> Command) -> Result<()> {
    let signals = Signals::listen().context("listen for signals")?;
    let part = |name| Part {
        name,
        child: None,
        started: Instant::now(),
        pause: Duration::ZERO,
    };
    // Ship first: capture hands over to it.
    let mut parts = [part("ship"), part("capture")];
    while !signals.is_stop() {
        let is_reload = signals.take_reload();
        for part in &mut parts {
            if is_reload {
                part.signal(Signal::HUP);
            }
            part.look(&command);
        }
        thread::sleep(LOOK);
    }
    // Capture first: ship keeps what it hands over last.
    for part in parts.iter_mut().rev() {
        part.end();
    }
    Ok(())
}

/// This program with the arguments of one of the two.
#[must_use]
pub fn this_program(config: &Path, part: &str) -> Command {
    let mut command = Command::new("/proc/self/exe");
    // Ctrl-C reaches this process alone, which ends the two in their order.
    command
        .process_group(0)
        .arg("agent")
        .arg("--config")
        .arg(config)
        .arg(part)
        .arg("--supervised");
    command
}

impl Part {
    /// Notices its end, and starts it when its time has come.
    fn look(&mut self, command: &impl Fn(&str) -> Command) {
        if let Some(child) = &mut self.child {
            match child.try_wait() {
                Ok(None) => return,
                Ok(Some(status)) => self.ended(status),
                Err(error) => {
                    log::warn!("{}: {error}", self.name);
                    return;
                }
            }
        }
        if self.started.elapsed() < self.pause {
            return;
        }
        self.started = Instant::now();
        match command(self.name).spawn() {
            Ok(child) => self.child = Some(child),
            Err(error) => {
                self.pause = PAUSES.1;
                log::error!("cannot start {}: {error}; trying again", self.name);
            }
        }
    }

    fn ended(&mut self, status: ExitStatus) {
        self.child = None;
        let lasted = self.started.elapsed();
        self.pause = if lasted >= GOOD || status.success() {
            Duration::ZERO
        } else {
            (self.pause * 2).clamp(PAUSES.0, PAUSES.1)
        };
        self.started = Instant::now();
        log::warn!("{} ended ({status}); it is started again", self.name);
    }

    fn signal(&self, signal: Signal) {
        let pid = self.child.as_ref().and_then(|child| {
            let raw = i32::try_from(child.id()).ok()?;
            Pid::from_raw(raw)
        });
        if let Some(pid) = pid {
            // It may have ended this very moment; then it is noticed at the next look.
            let _ = kill_process(pid, signal);
        }
    }

    fn end(&mut self) {
        self.signal(Signal::TERM);
        let Some(mut child) = self.child.take() else {
            return;
        };
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            match child.try_wait() {
                Ok(None) => thread::sleep(LOOK),
                Ok(Some(_)) | Err(_) => return,
            }
        }
        log::error!("{} does not end; it is killed", self.name);
        let killed: io::Result<()> = child.kill();
        drop(killed.and_then(|()| child.wait()));
    }
}
