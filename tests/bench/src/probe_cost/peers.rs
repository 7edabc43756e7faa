//! bpftrace and the kernel's own probe events at the same calls, as their users write them.

use std::{
    fmt::{self, Display, Formatter},
    fs::{self, OpenOptions},
    io::{BufRead as _, BufReader, Read as _, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{self, Receiver},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

use super::target::Target;
use crate::peer;

/// What is asked of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Job {
    /// How many calls there were.
    Count,
    /// A line with the arguments of each call.
    Entry,
    /// A line with an argument and the result of each call.
    Pair,
    /// A histogram of durations.
    Histogram,
}

/// How long bpftrace gets to print what it has seen.
const DRAINS: Duration = Duration::from_millis(300);

/// bpftrace, at the site that it chooses: a function's first instruction.
pub(super) struct Bpftrace {
    program: PathBuf,
    /// As it says itself.
    version: String,
}

impl Bpftrace {
    /// Finds or installs it.
    ///
    /// # Errors
    /// If it cannot be had.
    pub(super) fn find() -> Result<Self> {
        let program = peer::distribution("bpftrace", "bpftrace")?;
        let version = peer::version(&program, &["--version"]);
        Ok(Self { program, version })
    }

    /// A call's CPU time while it does `job`, in nanoseconds.
    ///
    /// # Errors
    /// If it does not attach, or did not see the calls.
    pub(super) fn cost(&self, job: Job, target: &mut Target) -> Result<f64> {
        let running = self.start(job, target)?;
        let (calls, cost) = target.calls_and_cost()?;
        thread::sleep(DRAINS);
        let seen = running.finish()?;
        // A line can be dropped on the way, and bpftrace says how many were, and the last ones can be
        // missing at its end; what matters here is that it was at work for the whole round.
        ensure!(
            seen.calls + seen.lost >= calls - calls / 100,
            "bpftrace accounts for {} calls and {} lost ones of {calls}",
            seen.calls,
            seen.lost
        );
        Ok(cost)
    }

    fn start(&self, job: Job, target: &Target) -> Result<RunningBpftrace> {
        let site = format!("{}:{}", target.file().display(), target.symbol());
        // A map says how many calls were seen where lines do not.
        let script = match job {
            Job::Count => format!("uprobe:{site} {{ @calls = count(); }}"),
            Job::Entry => {
                format!("uprobe:{site} {{ printf(\"%d %p %d\\n\", tid, arg0, arg1); }}")
            }
            Job::Pair => format!(
                "uprobe:{site} {{ @size[tid] = arg1; }} uretprobe:{site} \
                 {{ printf(\"%d %d %d\\n\", tid, @size[tid], retval); delete(@size[tid]); }}"
            ),
            Job::Histogram => format!(
                "uprobe:{site} {{ @start[tid] = nsecs; }} uretprobe:{site} /@start[tid]/ \
                 {{ @calls = count(); @ns = hist(nsecs - @start[tid]); delete(@start[tid]); }}"
            ),
        };
        let mut child = Command::new(&self.program)
            .args(["-p", &target.pid().to_string(), "-e", &script])
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
        let running = RunningBpftrace {
            child,
            lines,
            errors: Some(errors),
            prints: matches!(job, Job::Entry | Job::Pair),
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

struct RunningBpftrace {
    child: Child,
    lines: Receiver<String>,
    errors: Option<JoinHandle<String>>,
    /// Whether each call is a line of its own.
    prints: bool,
}

/// What bpftrace says of the calls.
struct Seen {
    calls: u64,
    lost: u64,
}

impl RunningBpftrace {
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

    fn finish(mut self) -> Result<Seen> {
        let status = self.interrupt()?;
        let errors = self
            .errors
            .take()
            .and_then(|errors| errors.join().ok())
            .unwrap_or_default();
        ensure!(status.success(), "bpftrace ended with {status}: {errors}");
        let mut seen = Seen { calls: 0, lost: 0 };
        let mut rest = errors.lines().map(str::to_owned).collect::<Vec<_>>();
        rest.extend(self.lines.iter());
        for line in rest {
            if let Some(lost) = line.strip_prefix("Lost ") {
                seen.lost += leading_number(lost);
            } else if let Some(calls) = line.strip_prefix("@calls: ") {
                seen.calls += leading_number(calls);
            } else if self.prints && line.split(' ').count() == 3 {
                seen.calls += 1;
            }
        }
        Ok(seen)
    }

    /// Asks it to end until it does: on a busy machine one signal can pass without effect.
    fn interrupt(&mut self) -> Result<ExitStatus> {
        const PATIENCE: u32 = 60;
        const PAUSE: Duration = Duration::from_millis(500);
        for _ in 0..PATIENCE {
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

impl Drop for RunningBpftrace {
    fn drop(&mut self) {
        // After `finish` it is gone, and this says so.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn leading_number(text: &str) -> u64 {
    let digits = text.find(|byte: char| !byte.is_ascii_digit());
    text[..digits.unwrap_or(text.len())].parse().unwrap_or(0)
}

/// The kernel's probe events, in an instance of their own, so that nobody else's tracing changes.
pub(super) struct Tracefs {
    root: PathBuf,
}

impl Tracefs {
    const GROUP: &str = "tracer_bench";

    /// Looks where the kernel keeps them.
    ///
    /// # Errors
    /// If they are not there, or this is not root.
    pub(super) fn find() -> Result<Self> {
        let root = PathBuf::from("/sys/kernel/tracing");
        OpenOptions::new()
            .append(true)
            .open(root.join("uprobe_events"))
            .context("the kernel's probe events cannot be written (are you root?)")?;
        Ok(Self { root })
    }

    /// A call's CPU time with a probe event at our entry and, for [`Job::Pair`], one at its return.
    ///
    /// # Errors
    /// If the kernel refuses, or did not see every call.
    pub(super) fn cost(&self, job: Job, target: &mut Target) -> Result<f64> {
        let events = Events::enable(self, job, target)?;
        let (calls, cost) = target.calls_and_cost()?;
        let hits = events.hits()?;
        ensure!(
            hits.iter().all(|&seen| seen == calls),
            "the probe events counted {hits:?} of {calls} calls"
        );
        Ok(cost)
    }
}

/// Enabled events; dropping them takes them away.
struct Events<'a> {
    tracefs: &'a Tracefs,
    instance: PathBuf,
    names: Vec<&'static str>,
}

impl<'a> Events<'a> {
    fn enable(tracefs: &'a Tracefs, job: Job, target: &Target) -> Result<Self> {
        let group = Tracefs::GROUP;
        let instance = tracefs.root.join("instances").join(group);
        let site = format!("{}:{:#x}", target.file().display(), target.entry());
        let mut events = Self {
            tracefs,
            instance,
            names: Vec::new(),
        };
        events.define("entry", &format!("p:{group}/entry {site} a=%di b=%si"))?;
        if job == Job::Pair {
            events.define("result", &format!("r:{group}/result {site} r=$retval"))?;
        }
        fs::create_dir(&events.instance).with_context(|| {
            format!(
                "cannot make {}; remove it if a run was killed",
                events.instance.display()
            )
        })?;
        for name in &events.names {
            events.switch(name, "1")?;
        }
        Ok(events)
    }

    fn define(&mut self, name: &'static str, definition: &str) -> Result<()> {
        append(&self.tracefs.root.join("uprobe_events"), definition)?;
        self.names.push(name);
        Ok(())
    }

    fn switch(&self, name: &str, state: &str) -> Result<()> {
        let file = Path::new("events").join(Tracefs::GROUP).join(name);
        let file = self.instance.join(file).join("enable");
        fs::write(&file, state).with_context(|| format!("cannot write {}", file.display()))
    }

    /// How often each was hit.
    fn hits(&self) -> Result<Vec<u64>> {
        let profile = fs::read_to_string(self.tracefs.root.join("uprobe_profile"))?;
        let of = |name: &&str| {
            let line = profile
                .lines()
                .map(|line| line.split_whitespace().rev().collect::<Vec<_>>())
                .find(|words| words.get(1) == Some(name));
            let hits = line.and_then(|words| words[0].parse().ok());
            hits.with_context(|| format!("the kernel counts no event {name}"))
        };
        self.names.iter().map(of).collect()
    }
}

impl Drop for Events<'_> {
    fn drop(&mut self) {
        for name in &self.names {
            let _ = self.switch(name, "0");
        }
        let _ = fs::remove_dir(&self.instance);
        for name in &self.names {
            let removal = format!("-:{}/{name}", Tracefs::GROUP);
            if let Err(error) = append(&self.tracefs.root.join("uprobe_events"), &removal) {
                eprintln!("tracer-bench: a probe event is left behind: {error:#}");
            }
        }
    }
}

fn append(file: &Path, line: &str) -> Result<()> {
    let mut events = OpenOptions::new().append(true).open(file)?;
    writeln!(events, "{line}")
        .with_context(|| format!("cannot write `{line}` to {}", file.display()))
}
