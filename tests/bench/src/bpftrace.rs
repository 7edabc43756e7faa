//! bpftrace, as its users run it: a script and a process.

use std::{
    fmt::{self, Display, Formatter},
    io::{BufRead as _, BufReader, Read as _},
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{self, Receiver},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

use crate::peer;

/// How long it gets to print what it has seen.
const DRAINS: Duration = Duration::from_millis(300);

/// The program.
pub struct Bpftrace {
    program: PathBuf,
    /// As it says itself.
    version: String,
}

impl Bpftrace {
    /// Finds or installs it.
    ///
    /// # Errors
    /// If it cannot be had.
    pub fn find() -> Result<Self> {
        let program = peer::distribution("bpftrace", "bpftrace")?;
        let version = peer::version(&program, &["--version"]);
        Ok(Self { program, version })
    }

    /// Starts `script` beside the process `pid`, and waits until it is at work.
    ///
    /// # Errors
    /// If it attaches nothing.
    pub fn attach(&self, pid: u32, script: &str) -> Result<Running> {
        let mut child = Command::new(&self.program)
            // A place in a library without symbols can be given only so.
            .args(["-p", &pid.to_string(), "--unsafe", "-e", script])
            // Its default of 64 pages holds 5,000 lines, and a measurement has 20,500 of them.
            .env("BPFTRACE_PERF_RB_PAGES", "4096")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot start bpftrace")?;
        let output = child.stdout.take().context("bpftrace has no output")?;
        let errors = child.stderr.take().context("bpftrace has no errors")?;
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let errors = thread::spawn(move || {
            let mut text = String::new();
            let _ = BufReader::new(errors).read_to_string(&mut text);
            text
        });
        let running = Running {
            child,
            lines,
            errors: Some(errors),
        };
        running.until_attached()?;
        Ok(running)
    }
}

impl Display for Bpftrace {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.version)
    }
}

/// A script at work. It is killed when this is dropped.
pub struct Running {
    child: Child,
    lines: Receiver<String>,
    errors: Option<JoinHandle<String>>,
}

impl Running {
    fn until_attached(&self) -> Result<()> {
        // It says that it attaches before it does, and nothing afterwards.
        const COMPILES: Duration = Duration::from_secs(60);
        const ATTACHES: Duration = Duration::from_millis(1500);
        loop {
            match self.lines.recv_timeout(COMPILES) {
                Ok(line) if line.starts_with("Attaching") => break,
                Ok(_) => {}
                Err(_) => bail!("bpftrace attached nothing within {COMPILES:?}"),
            }
        }
        thread::sleep(ATTACHES);
        Ok(())
    }

    /// Ends it as Ctrl-C does.
    ///
    /// # Errors
    /// If it does not end, or failed.
    pub fn finish(mut self) -> Result<Output> {
        thread::sleep(DRAINS);
        let status = self.interrupt()?;
        let errors = self
            .errors
            .take()
            .and_then(|errors| errors.join().ok())
            .unwrap_or_default();
        ensure!(status.success(), "bpftrace ended with {status}: {errors}");
        let mut lines: Vec<_> = errors.lines().map(str::to_owned).collect();
        lines.extend(self.lines.iter());
        Ok(Output(lines))
    }

    /// Asks it to end until it does: on a busy machine one signal can pass without effect.
    fn interrupt(&mut self) -> Result<ExitStatus> {
        const PATIENCE: u32 = 60;
        const PAUSE: Duration = Duration::from_millis(500);
        for _ in 0..PATIENCE {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            let pid = Pid::from_child(&self.child);
            kill_process(pid, Signal::INT).context("cannot stop bpftrace")?;
            let asked = Instant::now();
            while asked.elapsed() < PAUSE {
                if let Some(status) = self.child.try_wait()? {
                    return Ok(status);
                }
                thread::sleep(PAUSE / 50);
            }
        }
        bail!("bpftrace does not end")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // After `finish` it is gone, and this says so.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What it has printed.
pub struct Output(Vec<String>);

impl Output {
    /// Lines that its buffers had no room for, as it says.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.after("Lost ").map(leading_number).sum()
    }

    /// The map `@NAME` of counts, all keys together.
    #[must_use]
    pub fn counted(&self, name: &str) -> u64 {
        let (keyed, alone) = (format!("@{name}["), format!("@{name}: "));
        let of_key = self.after(&keyed).filter_map(|rest| {
            let (_, number) = rest.split_once("]: ")?;
            Some(number)
        });
        let all = of_key.chain(self.after(&alone));
        all.map(leading_number).sum()
    }

    /// Lines that a script has printed for a call: so many words, the first of which is a thread.
    #[must_use]
    pub fn lines_of_calls(&self, words: usize) -> u64 {
        let is_of_call = |line: &&String| {
            line.split(' ').count() == words
                && line.starts_with(|first: char| first.is_ascii_digit())
        };
        self.0.iter().filter(is_of_call).count() as u64
    }

    fn after<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter_map(move |line| line.strip_prefix(prefix))
    }
}

fn leading_number(text: &str) -> u64 {
    let digits = text.find(|byte: char| !byte.is_ascii_digit());
    text[..digits.unwrap_or(text.len())].parse().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_of_every_form_are_read() {
        let lines = [
            "Attaching 2 probes...",
            "1 0x7f 3",
            "Lost 12 events",
            "@calls: 40",
            "@n[a, b]: 2",
            "@n[c]: 3",
        ];
        let output = Output(lines.map(str::to_owned).to_vec());
        assert_eq!(output.lost(), 12);
        assert_eq!(output.counted("calls"), 40);
        assert_eq!(output.counted("n"), 5);
        assert_eq!(output.counted("other"), 0);
        assert_eq!(output.lines_of_calls(3), 1);
    }
}
